"""`acml-search check`: does a structure fit its NMR spectra, and would another fit them better?"""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import Annotated

import typer

from acml_search.cli import options
from acml_search.cli.app import print_json
from acml_search.cli.options import Observed, takes_observations


@partial(takes_observations, wanted=lambda kind: bool(kind.nuclei) and not kind.made_of)
def check(
    smiles: Annotated[str, typer.Option(help="The structure.")],
    observed: Observed,
    alternative: Annotated[
        list[str] | None, typer.Option(metavar="SMILES", help="Compare it with this one; may be repeated.")
    ] = None,
    isomers: Annotated[
        bool,
        typer.Option(
            "--isomers",
            help="Compare it with isomers in which one substituent of a ring sits elsewhere on it, or two "
            "have changed places; at most 50.",
        ),
    ] = False,
    model: options.Model = "acml-base",
    json: options.Json = False,
) -> None:
    """Say how probable a structure is by its NMR spectra, which peaks of which atoms do not fit, and which of
    several structures fits best. Needs no index.

    \b
    acml-search check --smiles "CC(=O)Nc1ccc(O)cc1" --c-nmr "169.1, 153.2, 131.0, 121.2, 115.1, 23.9"
    acml-search check --smiles "COc1cc(C=O)ccc1O" --h-nmr proton.txt --c-nmr carbon.txt --isomers --json
    """
    if not observed:
        raise typer.BadParameter("give a spectrum: --c-nmr or --h-nmr", param_hint="OBSERVATION")

    from acml_search.search.check import check as answer_check
    from acml_search.search.render.text import checked

    answer = answer_check(smiles, alternatives=alternative or (), isomers=isomers, model=model, **observed)
    for note in answer.notes:
        typer.echo(f"acml-search: {note}", err=True)
    if json:
        print_json(answer.to_dict())
    else:
        typer.echo(checked(answer, colour=sys.stdout.isatty() and "NO_COLOR" not in os.environ))
