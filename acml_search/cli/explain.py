"""`acml-search explain`: why given molecules fit an observation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from acml_search.cli import options
from acml_search.cli.app import check_out, format_of, show
from acml_search.cli.options import Adduct, Observed, flags, takes_observations

FORMATS = ("text", "json", "html")


@takes_observations
def explain(
    index: Annotated[Path, typer.Argument(help="Index directory.", readable=False)],
    keys: Annotated[list[int], typer.Argument(metavar="KEY", help="Molecules, by their keys in answers.")],
    observed: Observed,
    adduct: Adduct = None,
    rerank: Annotated[
        bool, typer.Option("--rerank/--no-rerank", help="Compare spectra peak by peak. Default: yes.")
    ] = True,
    model: options.IndexModel = None,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format", metavar="|".join(FORMATS), help="Default: by the ending of --out, else text."
        ),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    out: options.Out = None,
) -> None:
    """Explain why molecules fit an observation, whatever their rank: which peak belongs to which atoms, and
    how far off it is.

    \b
    acml-search explain indexes/default 4711 --c-nmr "169.1, 153.2, 131.0, 121.2, 115.1, 23.9"
    acml-search explain indexes/mine 12 99 --c-nmr carbon.txt --lc-ms spectra.mgf#3 --out why.html
    """
    if not observed:
        raise typer.BadParameter(f"give at least one ({flags()})", param_hint="OBSERVATION")
    check_out(out)
    form = format_of(format_, json_, out, offered=FORMATS, default="text")

    from acml_search.search.query import open_index

    with open_index(index, model=model) as opened_index:
        answer = opened_index.explain(observed, keys, adduct=adduct, rerank=rerank)
    show(answer, form, out)
