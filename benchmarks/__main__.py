"""The benchmark program: `python -m benchmarks --help`."""

from __future__ import annotations

import typer

from acml_search.cli.app import ErrorGroup, run
from benchmarks.cli_report import report
from benchmarks.cli_suite import suite
from benchmarks.index import index
from benchmarks.properties import properties

app = typer.Typer(
    name="benchmarks",
    cls=ErrorGroup,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Measure acml-search against baselines and peers, in a checkout.",
)
for command in (suite, index, properties, report):
    app.command()(command)

if __name__ == "__main__":
    run(app, "python -m benchmarks")
