"""Many queries from a file: molecules in any format a library may have, one JSON line of hits each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TextIO

from acml_search.errors import InvalidMolecule
from acml_search.library.read import open_library
from acml_search.progress import progress
from acml_search.search.engine import BATCH, Query
from acml_search.search.filters import Filters
from acml_search.search.query import Index
from acml_search.search.write import write_line


class BatchReport(NamedTuple):
    """How many queries a batch had, and how many of them could not be read."""

    queries: int
    failed: int


def read_queries(path: Path | str) -> Iterator[Query]:
    """The molecules of a file, streamed; a row that is itself broken becomes a query with an error.

    Raises LibraryError at once when the file as a whole cannot be read.
    """
    library = open_library([path])

    def stream() -> Iterator[Query]:
        for rows in library.batches(BATCH):
            for row in rows:
                yield Query(row.text, row.kind, row.row, row.error, dict(row.metadata))

    return stream()


def run_batch(
    index: Index,
    path: Path | str,
    out: TextIO,
    *,
    k: int = 10,
    filters: Filters | None = None,
    modality: str | None = None,
) -> BatchReport:
    """Search for every molecule of `path` and write one line of JSON each to `out`, in the file's order.

    A query that cannot be read gives a line with "error", and the run goes on.
    """
    queries = failed = 0
    answers = index.search_queries(read_queries(path), k=k, filters=filters, modality=modality)
    for answer in progress(answers, desc="queries", unit="query"):
        write_line(answer, out)
        queries += 1
        failed += isinstance(answer, InvalidMolecule)
    return BatchReport(queries, failed)
