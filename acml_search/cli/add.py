"""`acml-search add`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from acml_search.cli import options
from acml_search.cli.output import print_report, wanted_records


def add(
    index: options.Index,
    library: Annotated[list[Path], typer.Argument(help=options.FILES, readable=False)],
    workers: options.Workers = None,
    shard_size: options.ShardSize = 10_000,
    limit: options.Limit = None,
    smiles_column: options.SmilesColumn = None,
    records: options.Records = None,
    model: options.IndexModel = None,
    restart: options.Restart = False,
    json: options.Json = False,
) -> None:
    """Add the molecules of a library to an index. The same command again goes on where it stopped.

    \b
    acml-search add indexes/screening more.smi
    """
    from acml_search.index.add import add_library

    report = add_library(
        index,
        library,
        workers=workers,
        shard_size=shard_size,
        limit=limit,
        smiles_column=smiles_column,
        records=wanted_records(records),
        model=model,
        restart=restart,
    )
    print_report(report.to_dict(), json)
