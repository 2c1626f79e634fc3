"""Many queries from a file, one JSON line of hits each: molecules in any format a library may have, or
records in a Parquet file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TextIO, Unpack

import pyarrow as pa
import pyarrow.parquet as pq

from acml_search import modalities
from acml_search.core.errors import ConfigError, FilterError, InvalidMolecule, InvalidRecord, LibraryError
from acml_search.core.progress import progress
from acml_search.library.read import open_library
from acml_search.search.engine import BATCH, Query
from acml_search.search.filters import Conditions, Filters
from acml_search.search.observation import of_record
from acml_search.search.query import Index
from acml_search.search.write import write_failure, write_line


class BatchReport(NamedTuple):
    """How many queries a batch had, and how many of them could not be read."""

    queries: int
    failed: int


def read_queries(path: Path | str, smiles_column: str | None = None) -> Iterator[Query]:
    """The molecules of a file, streamed; a row that is itself broken becomes a query with an error.

    smiles_column: of a table that does not call it "smiles".
    Raises LibraryError at once when the file as a whole cannot be read.
    """
    library = open_library([path], smiles_column=smiles_column)

    def stream() -> Iterator[Query]:
        for rows in library.batches(BATCH):
            for row in rows:
                yield Query(row.text, row.kind, row.row, row.error, dict(row.metadata))

    return stream()


def read_records(path: Path | str, modality: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The records of a Parquet file with their row numbers (from 0), streamed.

    Raises LibraryError where the file cannot be read, and ConfigError where it lacks a column that records of
    `modality` are read from.
    """
    kind = modalities.get(modality)
    if kind.derived:
        raise ConfigError(f"--batch with --modality {modality}: only spectra are read from a Parquet file")
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise LibraryError(
            path, f"it cannot be read as Parquet ({error}); give a Parquet of records"
        ) from error
    there = file.schema_arrow.names
    for column in kind.columns:
        if column not in there:
            raise ConfigError(
                f"{path}: a {modality} record needs a column named {column}; there are {', '.join(there)}"
            )
    row = 0
    for batch in file.iter_batches(BATCH):
        for record in batch.to_pylist():
            yield row, record
            row += 1


def run_records(
    index: Index,
    path: Path | str,
    modality: str,
    out: TextIO,
    *,
    k: int = 10,
    rerank: bool = True,
    by_precursor: bool = True,
    **conditions: Unpack[Conditions],
) -> BatchReport:
    """As `run_batch`, with a record of `modality` in every row of a Parquet file."""
    used = {*modalities.get(modality).columns, *modalities.get(modality).optional}
    queries = failed = 0
    for row, record in progress(read_records(path, modality), desc="queries", unit="query"):
        about = {name: value for name, value in record.items() if name not in used}
        queries += 1
        try:
            asked = of_record(modality, record, f"row {row}")
            answer = index.identify([asked], k=k, rerank=rerank, by_precursor=by_precursor, **conditions)
        except (InvalidRecord, FilterError) as error:
            failed += 1
            write_failure({"row": row, "about": about}, error, out)
            continue
        answer.query.update({"row": row, "about": about})
        write_line(answer, out)
    return BatchReport(queries, failed)


def run_batch(
    index: Index,
    path: Path | str,
    out: TextIO,
    *,
    k: int = 10,
    filters: Filters | None = None,
    modality: str | None = None,
    smiles_column: str | None = None,
) -> BatchReport:
    """Search for every molecule of `path` and write one line of JSON each to `out`, in the file's order.

    A query that cannot be read gives a line with "error", and the run goes on.
    """
    queries = failed = 0
    asked = read_queries(path, smiles_column)
    answers = index.search_queries(asked, k=k, filters=filters, modality=modality)
    for answer in progress(answers, desc="queries", unit="query"):
        write_line(answer, out)
        queries += 1
        failed += isinstance(answer, InvalidMolecule)
    return BatchReport(queries, failed)
