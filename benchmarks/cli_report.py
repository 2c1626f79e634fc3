"""`python -m benchmarks report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from acml_search.cli.output import command_line, print_json


def report(
    results: Annotated[
        list[Path],
        typer.Argument(help="Folders that benchmarks wrote, or JSON files of results.", readable=False),
    ],
    out: Annotated[Path, typer.Option(help="Folder for report.md and its plots.", readable=False)],
    readme: Annotated[
        Path | None,
        typer.Option(
            help="Also put the tables into this file, between `<!-- results: begin -->` and "
            "`<!-- results: end -->`, and the same with `properties`.",
            readable=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Say what was written as JSON.")] = False,
) -> None:
    """Results of all benchmarks as one Markdown page with tables and plots (PNG and SVG).

    \b
    python -m benchmarks report benchmarks/results/acml-base --out report --readme README.md
    """
    from benchmarks.report.page import ReportOptions, make_report

    told = make_report(ReportOptions(tuple(results), out, readme, command_line()))
    for sentence in told["left_out"]:
        typer.echo(f"note: {sentence}", err=True)
    if as_json:
        print_json(told)
        return
    n = sum(told["results"].values())
    typer.echo(f"{told['page']}: {n:,} results, {len(told['plots']) // 2} plots")
    if told["readme"]:
        typer.echo(f"{told['readme']}: tables replaced")
    for line in told["not_ahead"]:
        typer.echo(f"not ahead: {line.replace('**', '')}")
