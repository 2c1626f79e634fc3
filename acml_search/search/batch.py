"""Many queries from a file, one JSON line of hits each: molecules in any format a library may have, or
records in a Parquet file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO, Unpack

from acml_search import modalities
from acml_search.core.errors import ConfigError, FilterError, InvalidMolecule, InvalidRecord, LibraryError
from acml_search.core.progress import progress
from acml_search.search.pipeline import BATCH
from acml_search.search.render.files import write_failure, write_line
from acml_search.search.request import MoleculeQuery, SearchRequest

if TYPE_CHECKING:
    from acml_search.search.query import Index
    from acml_search.search.request import Conditions


class BatchReport(NamedTuple):
    """How many queries a batch had, and how many of them could not be read."""

    queries: int
    failed: int


def run_molecules(
    index: Index, path: Path | str, request: SearchRequest, out: TextIO, *, smiles_column: str | None = None
) -> BatchReport:
    """Search for every molecule of `path` and write one line of JSON each to `out`, in the file's order.

    A query that cannot be read gives a line with "error", and the run goes on. smiles_column: of a table that
    does not call it "smiles". Raises LibraryError when the file as a whole cannot be read.
    """
    queries = failed = 0
    answers = index.search_queries(_molecules(path, smiles_column), request)
    for answer in progress(answers, desc="queries", unit="query"):
        write_line(answer, out)
        queries += 1
        failed += isinstance(answer, InvalidMolecule)
    return BatchReport(queries, failed)


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
    """As `run_molecules`, with a record of `modality` in every row of a Parquet file."""
    kind = modalities.get(modality)
    read = {*kind.columns, *kind.optional}
    queries = failed = 0
    for row, record in progress(_records(path, modality), desc="queries", unit="query"):
        about = {name: value for name, value in record.items() if name not in read}
        queries += 1
        try:
            observation = kind.observe(record, f"row {row}")
            answer = index.identify(
                [observation], k=k, rerank=rerank, by_precursor=by_precursor, **conditions
            )
        except (InvalidRecord, FilterError) as error:
            failed += 1
            write_failure({"row": row, "about": about}, error, out)
            continue
        answer.query.update({"row": row, "about": about})
        write_line(answer, out)
    return BatchReport(queries, failed)


def _molecules(path: Path | str, smiles_column: str | None) -> Iterator[MoleculeQuery]:
    """The molecules of a file, streamed; a row that is itself broken becomes a query with an error."""
    from acml_search.library.stream import open_library

    library = open_library([path], smiles_column=smiles_column)
    return (
        MoleculeQuery(row.text, row.kind, row.row, row.error, dict(row.metadata))
        for rows in library.batches(BATCH)
        for row in rows
    )


def _records(path: Path | str, modality: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The records of a Parquet file with their row numbers (from 0), streamed.

    Raises LibraryError where the file cannot be read, and ConfigError where it lacks a column that records of
    `modality` are read from.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    kind = modalities.get(modality)
    if kind.from_structure:
        raise ConfigError(f"--batch with --modality {modality}: only spectra are read from a Parquet file")
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise LibraryError(
            path, f"it cannot be read as Parquet ({error}); give a Parquet of records"
        ) from error
    names = file.schema_arrow.names
    for column in kind.columns:
        if column not in names:
            raise ConfigError(
                f"{path}: a {modality} record needs a column named {column}; there are {', '.join(names)}"
            )
    row = 0
    for batch in file.iter_batches(BATCH):
        for record in batch.to_pylist():
            yield row, record
            row += 1
