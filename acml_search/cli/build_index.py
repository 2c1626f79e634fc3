"""`acml-search build-index`, `add` and `embed`: libraries to indexes, or to vectors alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from acml_search.cli import options
from acml_search.cli.app import names, print_report, wanted_records

Libraries = Annotated[list[Path], typer.Argument(help=options.FILES, readable=False)]


def build_index(
    library: Annotated[
        list[Path] | None,
        typer.Argument(
            help=f"{options.FILES} None: RDKit's own molecules.", show_default=False, readable=False
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the index.")] = Path("indexes/default"),
    modalities: Annotated[
        str, typer.Option(help="Record sides to derive from the structures, with commas between; or none.")
    ] = "smiles",
    records: options.Records = None,
    model: options.Model = "acml-base",
    factory: Annotated[
        str, typer.Option(help="auto (chosen by count), flat, or any FAISS factory string.")
    ] = "auto",
    workers: options.Workers = None,
    shard_size: options.ShardSize = 10_000,
    limit: options.Limit = None,
    smiles_column: options.SmilesColumn = None,
    tautomer: options.Tautomer = False,
    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(help="What makes the shards: processes of this machine, or a ray cluster."),
    ] = "local",
    device: options.Device = "auto",
    restart: options.Restart = False,
    json: options.Json = False,
) -> None:
    """Embed a library and index it. The same command again goes on where it stopped.

    \b
    acml-search build-index
    acml-search build-index screening.csv.gz --out indexes/screening --workers 2
    acml-search build-index massbank.msp screening.csv.gz --out indexes/spectra
    acml-search build-index measured.parquet --records c_nmr --out indexes/carbon
    """
    from acml_search.index import build

    report = build.build_index(
        library or None,
        out,
        modalities=() if modalities == "none" else names(modalities),
        records=wanted_records(records),
        model=model,
        factory=factory,
        workers=workers,
        shard_size=shard_size,
        limit=limit,
        smiles_column=smiles_column,
        tautomer=tautomer,
        engine=engine,
        device=device,
        restart=restart,
    )
    print_report(report.to_dict(), json)


def add(
    index: options.Index,
    library: Libraries,
    workers: options.Workers = None,
    shard_size: options.ShardSize = 10_000,
    limit: options.Limit = None,
    smiles_column: options.SmilesColumn = None,
    records: options.Records = None,
    model: options.IndexModel = None,
    device: options.Device = "auto",
    restart: options.Restart = False,
    json: options.Json = False,
) -> None:
    """Add the molecules of a library to an index. The same command again goes on where it stopped.

    \b
    acml-search add indexes/screening more.smi
    """
    from acml_search.index.build import add_library

    report = add_library(
        index,
        library,
        workers=workers,
        shard_size=shard_size,
        limit=limit,
        smiles_column=smiles_column,
        records=wanted_records(records),
        model=model,
        device=device,
        restart=restart,
    )
    print_report(report.to_dict(), json)


def embed(
    library: Libraries,
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
    device: options.Device = "auto",
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
        device=device,
        restart=restart,
    )
    print_report(report.to_dict(), json)
