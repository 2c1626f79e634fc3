"""`acml-search probe`, `map` and `attribute`: what the spaces know."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from acml_search.cli.app import (
    Json,
    Seed,
    SmilesColumn,
    check_out,
    columns,
    command_line,
    print_json,
    say_licence,
)

Where = Annotated[
    Path | None,
    typer.Argument(
        metavar="[INDEX|LIBRARY]",
        help="Folder of an index, or a library file. Default: indexes/default, or RDKit's own molecules.",
        readable=False,
    ),
]
OwnModel = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|DIR",
        help="Checkpoint. Default: the index's own, else acml-base.",
        callback=say_licence,
    ),
]


def probe(
    where: Where = None,
    model: OwnModel = None,
    n: Annotated[int, typer.Option("--n", min=200, help="Molecules, a seeded choice.")] = 4_000,
    seed: Seed = 0,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for probe.json, probe.png, probe.svg.", readable=False),
    ] = None,
    smiles_column: SmilesColumn = None,
    json: Json = False,
) -> None:
    """Measure what chemistry can be read from each space: linear probes of concepts, beside Morgan bits and
    an untrained trunk, on scaffolds that no probe saw.

    \b
    acml-search probe
    acml-search probe library.smi --n 2000 --out probes/library
    """
    if out is not None and out.exists() and not out.is_dir():
        raise typer.BadParameter(f"{out} is a file; name a folder", param_hint="'--out'")

    from acml_search.interpret import probe as probes

    result = probes.probe(
        where=where, model=model, n=n, seed=seed, smiles_column=smiles_column, command=command_line()
    )
    if out is not None:
        probes.write_probe(result, out)
    if json:
        print_json(result)
    else:
        lines = [probes.headline(result), "", _table(result), "", "*: best of the spaces", ""]
        lines += [*result["reading"], probes.left_out_line(result)]
        typer.echo("\n".join(lines).rstrip())


def _table(result: dict[str, Any]) -> str:
    """A row per concept, a column per representation."""
    rows: list[list[str]] = [["concept", "", *result["views"]]]
    for concept in result["concepts"]:
        cells = [
            f"{value['value']:.2f}{'*' if view == concept['best_space'] else ' '}"
            for view, value in concept["values"].items()
        ]
        rows.append([concept["name"], concept["metric"], *cells])
    return columns(rows)


def map_(
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="File to write: .png, .svg or .html.", readable=False)
    ],
    where: Where = None,
    space: Annotated[
        str, typer.Option(help="Space of the model, such as c_nmr; or trunk; or Morgan, the bits.")
    ] = "trunk",
    colour: Annotated[
        str,
        typer.Option(
            metavar="COLUMN",
            help="Column of the library, or what `acml-search probe` names: logP, ketone, ...",
        ),
    ] = "molecular weight",
    method: Annotated[
        Literal["pca", "umap", "tsne"], typer.Option(help="Projection to two dimensions.")
    ] = "pca",
    n: Annotated[int, typer.Option("--n", min=2, help="Molecules, a seeded choice.")] = 5_000,
    seed: Seed = 0,
    model: OwnModel = None,
    smiles_column: SmilesColumn = None,
    json: Json = False,
) -> None:
    """Draw a library as a map: near are molecules that the space takes for similar. The HTML page shows
    structures on hover.

    \b
    acml-search map --space c_nmr --colour "aromatic fraction" --out map.html
    acml-search map library.csv --method tsne --colour vendor --out map.png
    """
    given = locals()
    del given["json"]
    check_out(out)

    from acml_search.interpret.map import draw_map

    made = draw_map(**given, command=command_line())
    if json:
        print_json(made)
    else:
        typer.echo(f"{made['map']}: {made['molecules']:,} molecules, {made['bytes'] / 1e3:,.0f} kB")


def attribute(
    smiles: Annotated[str, typer.Argument(help="The molecule.")],
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="File to write: .png, .svg or .json.", readable=False)
    ],
    to: Annotated[
        str | None, typer.Option(metavar="SMILES", help="Explain the similarity to this molecule.")
    ] = None,
    probe: Annotated[
        str | None,
        typer.Option(metavar="CONCEPT", help="Explain a linear probe, such as logP or ketone (see `probe`)."),
    ] = None,
    space: Annotated[
        str, typer.Option(help="Space of the similarity or the probe, such as c_nmr; or trunk.")
    ] = "trunk",
    fit_on: Annotated[
        Path | None,
        typer.Option(
            metavar="INDEX|LIBRARY",
            help="What the probe is fitted on. Default: indexes/default, or RDKit's own molecules.",
            readable=False,
        ),
    ] = None,
    model: OwnModel = None,
    seed: Seed = 0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document as well.")] = False,
) -> None:
    """Show which atoms a score comes from: a similarity or a concept, drawn on the molecule.

    \b
    acml-search attribute "CC(=O)Nc1ccc(O)cc1" --to "CC(=O)Oc1ccccc1C(=O)O" --space c_nmr --out why.svg
    acml-search attribute "CC(=O)Nc1ccc(O)cc1" --probe TPSA --out tpsa.png
    """
    given = locals()
    del given["json"]
    check_out(out)

    from acml_search.interpret.attribute import explain

    made = explain(**given, command=command_line())
    if json:
        print_json(made)
    else:
        typer.echo(f"{out}: {made['score']}, {made['molecules'][0]['score']:.4g} {made['unit']}".rstrip())
