"""`acml-search explain`: why given molecules fit what was observed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from acml_search.cli import options
from acml_search.cli.observations import Adduct, CNmr, GcMs, HNmr, Image, LcMs, given
from acml_search.cli.written import check_out, format_of, opened

FORMATS = ("text", "json", "html")


def explain(
    index: Annotated[Path, typer.Argument(help="Index directory.", readable=False)],
    keys: Annotated[list[int], typer.Argument(metavar="KEY", help="Molecules, by their keys in answers.")],
    c_nmr: CNmr = None,
    h_nmr: HNmr = None,
    lc_ms: LcMs = None,
    gc_ms: GcMs = None,
    image: Image = None,
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
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write here instead of to stdout.", readable=False)
    ] = None,
) -> None:
    """Say why molecules fit what was observed, whatever their rank: which peak belongs to which atoms, and
    how far off it is.

    \b
    acml-search explain indexes/default 4711 --c-nmr "169.1, 153.2, 131.0, 121.2, 115.1, 23.9"
    acml-search explain indexes/mine 12 99 --c-nmr carbon.txt --lc-ms spectra.mgf#3 --out why.html
    """
    observed = given(c_nmr=c_nmr, h_nmr=h_nmr, lc_ms=lc_ms, gc_ms=gc_ms, image=image, adduct=adduct)
    if not observed:
        raise typer.BadParameter(
            "give at least one (--c-nmr, --h-nmr, --lc-ms, --gc-ms, --image)", param_hint="OBSERVATION"
        )
    check_out(out)
    wanted = format_of(format_, json_, out, offered=FORMATS, default="text")

    from acml_search.search import open_index
    from acml_search.search.reason.text import write_text
    from acml_search.search.write import WRITERS

    with open_index(index, model=model) as asked:
        answer = asked.explain(observed, keys, adduct=adduct, rerank=rerank)
    for note in answer.notes:
        typer.echo(f"acml-search: {note}", err=True)
    with opened(out) as stream:
        if wanted == "text":
            write_text(answer, stream, colour=stream.isatty() and "NO_COLOR" not in os.environ)
        else:
            WRITERS[wanted](answer, stream)
