"""`acml-search properties fit | predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from acml_search.cli.app import FILES, Device, Json, Model, Seed, SmilesColumn, command_line, print_json, say

app = typer.Typer(no_args_is_help=True, help="Predict properties of molecules from the graph encoder.")


@app.command()
def fit(
    data: Annotated[Path, typer.Argument(help=f"Molecules with labels. {FILES}", readable=False)],
    target: Annotated[list[str], typer.Option(help="Column to predict; may be repeated.")],
    out: Annotated[Path, typer.Option(help="Folder for the model.")],
    task: Annotated[
        Literal["regression", "classification"] | None,
        typer.Option(help="Default: by the labels (0 and 1 are classes)."),
    ] = None,
    finetune: Annotated[
        bool, typer.Option("--finetune", help="Train the graph trunk further, instead of a head on it.")
    ] = False,
    head: Annotated[
        Literal["auto", "linear", "kernel"],
        typer.Option(help="kernel: by likeness to known molecules. auto: the best on an inner part."),
    ] = "auto",
    descriptors: Annotated[
        bool,
        typer.Option(
            "--descriptors",
            help="Read RDKit's 2-D descriptors too: often better, and 100 to 200 molecules a second.",
        ),
    ] = False,
    model: Model = "acml-base",
    smiles_column: SmilesColumn = None,
    seed: Seed = 0,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Learn a property from labelled molecules; missing labels and bad rows do no harm.

    \b
    acml-search properties fit solubility.csv --target logS --out models/solubility
    """
    given = locals()
    del given["json"]
    from acml_search.properties.model import fit_file

    card = fit_file(**given, command=command_line())
    if card["rejected"]:
        say(
            f"{card['rejected']:,} of {card['rows']:,} rows are not used, or in part; why: "
            f"{out}/rejects.parquet"
        )
    if json:
        print_json(card)
        return
    inner = card["inner"]
    measures = ", ".join(
        f"{name} {inner[name]:.3f}"
        + ("" if (ci := inner["ci95"][name]) is None else f" ({ci[0]:.3f} to {ci[1]:.3f})")
        for name in ("auroc", "auprc", "rmse", "mae", "r2", "spearman")
        if name in inner
    )
    typer.echo(
        f"{out}: {card['task']} of {', '.join(card['targets'])} by {card['kind']} "
        f"({card['members']} members{', with descriptors' if card['descriptors'] else ''}), "
        f"{card['molecules']:,} molecules\n  on {inner['n']:,} molecules of other scaffolds: {measures}"
    )


@app.command()
def predict(
    directory: Annotated[Path, typer.Argument(metavar="MODEL", help="Folder of `fit`.", readable=False)],
    library: Annotated[Path, typer.Argument(help=FILES, readable=False)],
    out: Annotated[Path, typer.Option(help="File to write, .csv or .parquet.")],
    model: Annotated[
        str | None,
        typer.Option(help="Where the base model is, if not where it was.", metavar="NAME|DIR"),
    ] = None,
    smiles_column: SmilesColumn = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Predict for every molecule of a library: its columns, the prediction and the uncertainty.

    \b
    acml-search properties predict models/solubility screening.smi --out predicted.csv
    """
    from acml_search.properties.model import predict_file

    counts = predict_file(directory, library, out, model=model, smiles_column=smiles_column, device=device)
    if counts["rejected"]:
        say(
            f"{counts['rejected']:,} of {counts['rows']:,} rows cannot be read and have no "
            f"prediction; why: {counts['rejects']}"
        )
    if json:
        print_json(counts)
    else:
        typer.echo(f"{out}: {counts['predicted']:,} molecules")
