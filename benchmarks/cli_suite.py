"""`python -m benchmarks suite`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from acml_search.cli.options import Model, Workers
from acml_search.cli.output import command_line


def suite(
    questions: Annotated[
        list[Path], typer.Argument(metavar="QUESTION.toml...", help="Files of questions.", readable=False)
    ],
    out: Annotated[Path, typer.Option(help="Folder for the results.", readable=False)],
    model: Model = "acml-base",
    cache: Annotated[
        Path | None,
        typer.Option(
            help="Folder where structures and vectors are kept for other questions and runs. "
            "Default: `cache` beside OUT.",
            readable=False,
        ),
    ] = None,
    baselines: Annotated[
        bool, typer.Option(help="Ask the baselines too that the questions name: most of the time of a run.")
    ] = True,
    workers: Workers = None,
) -> None:
    """Ask the questions of one or several files, in all spaces of one model, from one embedding pass.

    \b
    python -m benchmarks suite benchmarks/c_nmr.toml benchmarks/h_nmr.toml --out benchmarks/results/acml-base
    """
    from benchmarks.suite.run import PAGE, SuiteOptions, measure_suite

    measure_suite(
        SuiteOptions(
            files=tuple(questions),
            out=out,
            model=model,
            cache=cache,
            baselines=baselines,
            workers=workers,
            command=command_line(),
        )
    )
    typer.echo((out / PAGE).read_text(encoding="utf-8"), nl=False)
