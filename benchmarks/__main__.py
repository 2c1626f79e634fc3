"""The benchmark program: `python -m benchmarks --help`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from acml_search.cli.app import ErrorGroup, Model, Workers, command_line, print_json, run
from benchmarks.index import index
from benchmarks.milvus import milvus
from benchmarks.properties import properties

app = typer.Typer(
    name="benchmarks",
    cls=ErrorGroup,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Measure acml-search against baselines, in a checkout.",
)


@app.command()
def suite(
    questions: Annotated[
        list[Path], typer.Argument(metavar="QUESTION.toml...", help="Files of questions.", readable=False)
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the results. Default: benchmarks/results/MODEL.", readable=False),
    ] = None,
    model: Model = "acml-base",
    cache: Annotated[
        Path | None,
        typer.Option(
            help="Folder that keeps structures and vectors for other questions and runs. "
            "Default: `cache` beside OUT.",
            readable=False,
        ),
    ] = None,
    baselines: Annotated[
        bool, typer.Option(help="Measure the baselines of the questions too: most of the time of a run.")
    ] = True,
    workers: Workers = None,
) -> None:
    """Measure the questions of one or several files, in all spaces of one model, from one embedding pass.

    \b
    python -m benchmarks suite benchmarks/c_nmr.toml benchmarks/h_nmr.toml --out benchmarks/results/acml-base
    """
    from benchmarks.suite.run import PAGE, measure_suite

    out = out or Path("benchmarks/results") / Path(model).name
    measure_suite(
        questions, out, model=model, cache=cache, baselines=baselines, workers=workers, command=command_line()
    )
    typer.echo((out / PAGE).read_text(encoding="utf-8"), nl=False)


@app.command()
def report(
    results: Annotated[
        list[Path],
        typer.Argument(help="Folders that benchmarks wrote, or JSON files of results.", readable=False),
    ],
    out: Annotated[Path, typer.Option(help="Folder for report.md and its plots.", readable=False)],
    into: Annotated[
        Path | None,
        typer.Option(
            "--into",
            "--readme",
            help="Also put the tables into this file, between `<!-- results: begin -->` and "
            "`<!-- results: end -->`, and the same with `properties`.",
            readable=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")] = False,
) -> None:
    """Results of all benchmarks as one Markdown page with tables and plots (PNG and SVG).

    \b
    python -m benchmarks report benchmarks/results/acml-base --out report --into docs/benchmarks.md
    """
    from benchmarks.report import make_report

    written = make_report(results, out, into=into, command=command_line())
    for sentence in written["left_out"]:
        typer.echo(f"left out: {sentence}", err=True)
    if as_json:
        print_json(written)
        return
    n = sum(written["results"].values())
    typer.echo(f"{written['page']}: {n:,} results, {len(written['plots']) // 2} plots")
    if into is not None:
        typer.echo(f"{into}: tables replaced")
    for line in written["not_ahead"]:
        typer.echo(f"not ahead: {line.replace('**', '')}")


app.command()(index)
app.command()(milvus)
app.command()(properties)

if __name__ == "__main__":
    run(app, "python -m benchmarks")
