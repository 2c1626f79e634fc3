"""`acml-search probe`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from acml_search.cli import options
from acml_search.cli.app import columns, command_line, print_json

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
        callback=options.say_licence,
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of every random choice.")]


def probe(
    where: Where = None,
    model: OwnModel = None,
    n: Annotated[int, typer.Option("--n", min=200, help="Molecules, a seeded choice.")] = 4_000,
    seed: Seed = 0,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for probe.json, probe.png, probe.svg.", readable=False),
    ] = None,
    smiles_column: options.SmilesColumn = None,
    json: options.Json = False,
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
