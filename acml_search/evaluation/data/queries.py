"""The file of a benchmark's queries: every row with its structure, and the choice of those that ask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from acml_search.core.errors import ConfigError, FilterError
from acml_search.evaluation.data.described import described_file
from acml_search.evaluation.data.structures import CHUNK, Query, describe_rows
from acml_search.evaluation.workers import Workers
from acml_search.library.where import where_clause
from acml_search.modalities import get


@dataclass(frozen=True)
class QueryFile:
    """All rows of a file; `types`: its further columns and their Arrow types."""

    path: Path
    queries: list[Query]
    types: Mapping[str, pa.DataType]

    def select(
        self, *, split: str | None = None, where: str | None = None, needs: str | None = None
    ) -> list[Query]:
        """The rows whose column `split` says so and that fulfil the SQL condition `where`.

        Raises ConfigError where no row is left or there is no such column, nor one called `needs`, and
        FilterError for other SQL.
        """
        chosen = self.queries
        if needs is not None:
            self._need(needs, "the question")
        if split is not None:
            self._need("split", f"--split {split}")
            chosen = [query for query in chosen if query.metadata.get("split") == split]
        if where is not None:
            rows = self._fulfilling(where)
            chosen = [query for query in chosen if query.row in rows]
        if not chosen:
            told = [f"split is {split!r}"] if split is not None else []
            told += [f"columns fulfil {where!r}"] if where is not None else []
            raise ConfigError(f"{self.path}: there are no queries whose {' and '.join(told)}")
        return chosen

    def check_columns(self, modality: str) -> None:
        """Raises ConfigError when the file lacks a column that records of `modality` are read from."""
        kind = get(modality)
        for column in kind.columns:
            known = f"{' and '.join(kind.columns)} are read"
            if kind.optional:
                known += f", and {', '.join(kind.optional)} where they are there"
            self._need(column, f"a {modality} record", known if len(kind.columns) > 1 else "")

    def _need(self, column: str, what: str, known: str = "") -> None:
        if column not in self.types:
            there = ", ".join(self.types) or "none"
            told = f" ({known})" if known else ""
            raise ConfigError(
                f"{self.path}: {what} needs a column named {column}{told}; further columns here: {there}"
            )

    def _fulfilling(self, where: str) -> set[int]:
        """Numbers of the rows for which the SQL condition is true. Columns that hold lists have no say."""
        plain = {name: kind for name, kind in self.types.items() if not pa.types.is_nested(kind)}
        columns: dict[str, pa.Array] = {"_row": pa.array([query.row for query in self.queries], pa.int64())}
        for name, kind in plain.items():
            columns[name] = pa.array([query.metadata.get(name) for query in self.queries], kind)
        with duckdb.connect(":memory:") as connection:
            clause = where_clause(connection.cursor(), where)
            connection.register("rows", pa.table(columns))
            try:
                found = connection.execute(f"SELECT _row FROM rows WHERE {clause}").fetchall()
            except duckdb.Error as error:
                there = ", ".join(plain) or "none"
                reason = str(error).splitlines()[0]
                raise FilterError(
                    f"{self.path}: the condition {where!r} cannot be applied ({reason}); columns: {there}"
                ) from error
        return {int(row) for (row,) in found}


def read_queries(
    path: Path, workers: Workers, *, smiles_column: str | None = None, cache: Path | None = None
) -> QueryFile:
    """Every row of a file in any library format. With `cache`, structures read once are kept there.

    Raises LibraryError for a file that cannot be read and ConfigError where it has no row.
    """
    from acml_search.library.read import open_library

    library = open_library([path], smiles_column=smiles_column)
    rows = [row for batch in library.batches(CHUNK) for row in batch]
    if not rows:
        raise ConfigError(f"{path}: there are no queries")
    if cache is not None:
        described = described_file(path, workers, cache, smiles_column)
    else:
        described = list(describe_rows([(row.text, row.kind, row.error) for row in rows], workers, "queries"))
    queries = []
    for row, found in zip(rows, described, strict=True):
        known, error = (None, found) if isinstance(found, str) else (found, None)
        queries.append(Query(row.row, known, row.metadata, error, row.text))
    return QueryFile(path, queries, library.metadata_types)
