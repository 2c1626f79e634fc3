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
    property_model: Annotated[
        Path | None,
        typer.Option(
            "--property", metavar="MODEL", help="Explain a linear model of `properties fit`.", readable=False
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(metavar="Y", help="Target of the property model. Default: the only one."),
    ] = None,
    space: Annotated[
        str, typer.Option(help="Space of the similarity or the probe, such as c_nmr; or trunk.")
    ] = "trunk",
    method: Annotated[
        str, typer.Option(metavar="occlusion|gradient", help="Leave atoms out, or gradient x input.")
    ] = "occlusion",
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
    """Show which atoms a score comes from: a similarity, a concept or a property, drawn on the molecule.

    \b
    acml-search attribute "CC(=O)Nc1ccc(O)cc1" --to "CC(=O)Oc1ccccc1C(=O)O" --space c_nmr --out why.svg
    acml-search attribute "CC(=O)Nc1ccc(O)cc1" --probe TPSA --out tpsa.png
    """
    given = locals()
    del given["json"]
    check_out(out)
    if target is not None and property_model is None:
        raise typer.BadParameter("a target belongs to --property", param_hint="'--target'")

    from acml_search.interpret.attribute import explain

    made = explain(**given, command=command_line())
    if json:
        print_json(made)
    else:
        typer.echo(f"{out}: {made['score']}, {made['molecules'][0]['score']:.4g} {made['unit']}".rstrip())
