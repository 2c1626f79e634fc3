"""`acml-search attribute`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from acml_search.cli.app import check_out, command_line, print_json
from acml_search.cli.probe import OwnModel, Seed


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
