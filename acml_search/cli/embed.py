"""`acml-search embed`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from acml_search.cli import options
from acml_search.cli.output import names, print_report, wanted_records


def embed(
    library: Annotated[list[Path], typer.Argument(help=options.FILES, readable=False)],
    out: Annotated[Path, typer.Option(help="Folder for the Parquet files.")],
    modalities: Annotated[
        str, typer.Option(help="Record sides to derive as well, with commas between. Default: none.")
    ] = "",
    records: options.Records = None,
    model: options.Model = "acml-base",
    workers: options.Workers = None,
    shard_size: options.ShardSize = 10_000,
    limit: options.Limit = None,
    smiles_column: options.SmilesColumn = None,
    tautomer: options.Tautomer = False,
    restart: options.Restart = False,
    json: options.Json = False,
) -> None:
    """Embed a library to Parquet files, without a search index. The same command again goes on.

    \b
    acml-search embed screening.smi --out embeddings/screening
    """
    from acml_search.index.build import embed_library

    report = embed_library(
        library,
        out,
        modalities=names(modalities),
        records=wanted_records(records),
        model=model,
        workers=workers,
        shard_size=shard_size,
        limit=limit,
        smiles_column=smiles_column,
        tautomer=tautomer,
        restart=restart,
    )
    print_report(report.to_dict(), json)
