"""`acml-search verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from acml_search.cli import options
from acml_search.cli.output import print_json


def verify(
    index: options.Index = Path("indexes/default"),
    sample: Annotated[int, typer.Option(min=0, help="Molecules to embed again and compare.")] = 64,
    model: options.IndexModel = None,
    json: options.Json = False,
) -> None:
    """Check an index: checksums, counts, and a sample embedded again. Exit status 1 when something is wrong.

    \b
    acml-search verify indexes/screening
    """
    from acml_search.index.verify import verify as check

    problems = check(index, sample=sample, model=model)
    if json:
        found = [{"file": problem.file, "what": problem.what} for problem in problems]
        print_json({"index": str(index), "sound": not problems, "problems": found})
    elif not problems:
        typer.echo(f"{index}: sound")
    for problem in problems:
        typer.echo(f"acml-search: {index}/{problem.file}: {problem.what}", err=True)
    if problems:
        raise typer.Exit(1)
