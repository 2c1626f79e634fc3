"""`acml-search map`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from acml_search.cli import options
from acml_search.cli.app import check_out, command_line, print_json
from acml_search.cli.probe import OwnModel, Seed, Where


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
    smiles_column: options.SmilesColumn = None,
    json: options.Json = False,
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
