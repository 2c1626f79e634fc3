"""The molecules of an index: filtered by SQL, fetched by key. The Parquet files are read in place."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from functools import cached_property
from glob import escape
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from acml_search.core.errors import FilterError, IndexCorrupt, shorten
from acml_search.core.io import reading
from acml_search.library.tables import COUNTS

if TYPE_CHECKING:
    import duckdb

MEMORY_LIMIT = "512MB"
OPEN_FILES = 256  # per thread
FEW_ROWS = 512
MASSES_IN_MEMORY = 4_000_000
sql_seconds: ContextVar[float | None] = ContextVar("sql_seconds", default=None)
"""how long a condition in SQL may take, where others than the user wait for it"""


def take(table: pa.Table, places: npt.NDArray[np.int64]) -> pa.Table:
    """The rows of `table` at `places` (n,).

    Arrow's own conversions from NumPy import pandas when it is installed, half a second of every cold start;
    by way of buffers they do not. A few rows are sliced, for `Table.take` imports `pyarrow.compute`, another
    tenth.
    """
    if 0 < len(places) <= FEW_ROWS:
        return pa.concat_tables([table.slice(place, 1) for place in places.tolist()])
    buffer = pa.py_buffer(places.astype(np.int64).tobytes())
    return table.take(pa.Array.from_buffers(pa.int64(), len(places), [None, buffer]))


def numbers(chunks: Iterable[Any], kind: npt.DTypeLike = np.int64) -> npt.NDArray[Any]:
    """The values (n,) of Arrow arrays of numbers without nulls; without pandas, as `take`."""
    dtype = np.dtype(kind)
    arrays = [
        np.frombuffer(cast("bytes", chunk.buffers()[1]), dtype, len(chunk), chunk.offset * dtype.itemsize)
        for chunk in chunks
        if len(chunk)
    ]
    return np.concatenate(arrays) if arrays else np.zeros(0, dtype)


class Catalog:
    """`molecule_parts`: Parquet files as `library.tables` writes them; together in ascending order of `key`.
    Rows with the keys `removed` (ascending) are not there.

    May be used from several threads. Raises `IndexCorrupt` for a part that is missing or damaged.
    """

    def __init__(
        self, molecule_parts: Sequence[Path], removed: npt.NDArray[np.int64] | Sequence[int] = ()
    ) -> None:
        self._removed = np.asarray(removed, np.int64)
        self._paths = [Path(path).resolve() for path in molecule_parts]
        if not self._paths:
            raise ValueError("a catalog needs at least one part")
        self._metadata = [_footer(path) for path in self._paths]
        self._schema = _common_schema(self._paths, self._metadata)
        self._groups = _row_groups(self._paths, self._metadata)
        # The first key of every row group, by which a key finds its group.
        self._first_keys = np.array([first for first, _, _ in self._groups], dtype=np.int64)
        self._open = threading.local()

    def __enter__(self) -> Catalog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if "_connection" in self.__dict__:
            self._connection.close()

    def count(self) -> int:
        """Number of molecules."""
        if len(self._removed):
            return int(self._there.sum())
        return sum(int(metadata.num_rows) for metadata in self._metadata)

    @cached_property
    def _there(self) -> npt.NDArray[np.bool_]:
        """Which rows of the parts are there still."""
        return ~np.isin(numbers(self._chunks("key")), self._removed)

    def _chunks(self, name: str) -> list[Any]:
        """A column of all parts, with what was removed."""
        tables = (self._file(part).read([name], use_threads=False) for part in range(len(self._paths)))
        return [chunk for table in tables for chunk in table.column(name).chunks]

    def _still(self, keys: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """`keys` without those removed."""
        return keys[~np.isin(keys, self._removed)] if len(self._removed) else keys

    def columns(self) -> list[str]:
        """Names that a filter may use: ours, then the metadata of the library."""
        return list(self._schema.names)

    @cached_property
    def has_counts(self) -> bool:
        """Are the columns `tables.COUNTS` there? Older indexes may have columns of the user's so named."""
        return set(COUNTS).issubset(self._schema)

    def shown(self) -> list[str]:
        """`columns` without those of `tables.COUNTS`, which filters use and hits do not show."""
        return [name for name in self.columns() if not (self.has_counts and name in COUNTS.names)]

    def numbers(self, name: str) -> npt.NDArray[np.uint16]:
        """A column of `tables.COUNTS`, (n,) in the order of the keys."""
        found = numbers(self._chunks(name), np.uint16)
        return found[self._there] if len(self._removed) else found

    def keys(
        self,
        where: str | None = None,
        formula: str | None = None,
        mass: float | None = None,
        tol_da: float | None = None,
        elements_allowed: Sequence[str] | None = None,
        elements_required: Sequence[str] | None = None,
        hydrogens: tuple[int, int] | None = None,
        carbons: tuple[int, int] | None = None,
    ) -> npt.NDArray[np.int64]:
        """Keys of the molecules that pass all that is given, ascending, (n,) int64.

        `where`: one SQL expression over `columns()`; `formula` in Hill order; `mass` and `tol_da` in Da, both
        ends included; `elements_allowed`: symbols of which the formula is made, and of no others;
        `elements_required`: symbols that it has; `hydrogens`, `carbons`: how many, least and most. Raises
        `FilterError` when a filter is refused or cannot be applied.
        """
        others = (where, formula, elements_allowed, elements_required or None, hydrogens, carbons)
        alone = others == (None,) * len(others)
        if mass is not None and tol_da is not None and tol_da >= 0 and alone and self._by_mass is not None:
            masses, of_masses = self._by_mass
            low = np.searchsorted(masses, mass - tol_da)
            return self._still(np.sort(of_masses[low : np.searchsorted(masses, mass + tol_da, "right")]))
        import duckdb

        from acml_search.library.where import where_clause

        clauses: list[str] = []
        values: list[object] = []
        cursor = self._connection.cursor()
        limit = sql_seconds.get()
        timer = None if limit is None else threading.Timer(limit, cursor.interrupt)
        try:
            if timer is not None:
                timer.start()
            if where is not None:
                clauses.append(where_clause(cursor, where))
            if formula is not None:
                clauses.append("formula = ?")
                values.append(formula)
            if mass is not None:
                if tol_da is None or not tol_da >= 0:
                    raise FilterError("a mass filter needs a tolerance of 0 Da or more")
                clauses.append("exact_mass BETWEEN ? AND ?")
                values += [mass - tol_da, mass + tol_da]
            if elements_allowed is not None:
                clauses.append("regexp_full_match(formula, ?)")
                values.append(_made_of(elements_allowed))
            for symbol in elements_required or ():
                clauses.append("regexp_matches(formula, ?)")
                values.append(_with(symbol))
            for name, range_ in (("hydrogens", hydrogens), ("carbons", carbons)):
                if range_ is not None:
                    clauses.append(f"{name if self.has_counts else _count(name[0].upper())} BETWEEN ? AND ?")
                    values += range_
            condition = " AND ".join(clauses) or "TRUE"
            found = cursor.execute(f"SELECT key FROM molecules WHERE {condition}", values).fetchnumpy()
        except duckdb.InterruptException as error:
            raise FilterError(
                f"the filter {shorten(where or '')!r} took more than {limit:g} s; make it simpler"
            ) from error
        except duckdb.Error as error:
            raise self._filter_error(where, error) from error
        finally:
            if timer is not None:
                timer.cancel()
            cursor.close()
        return self._still(np.sort(np.asarray(found["key"], dtype=np.int64)))

    @cached_property
    def _by_mass(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]] | None:
        """All masses, ascending, and the keys of their molecules, since runs ask for a mass a thousand times;
        None where there are too many to keep, or some are unknown."""
        if self.count() > MASSES_IN_MEMORY:
            return None
        chunks = self._chunks("exact_mass")
        if any(chunk.null_count for chunk in chunks):
            return None
        masses = numbers(chunks, np.float64)
        order = np.argsort(masses)
        return masses[order], numbers(self._chunks("key"))[order]

    def of_inchikeys(self, inchikeys: Sequence[str], removed: bool = False) -> dict[str, tuple[int, str]]:
        """Key and SMILES of the molecules with these standard InChIKeys, by InChIKey, if there; with
        `removed`, also of those that were."""
        query = "SELECT inchikey, key, smiles FROM molecules WHERE inchikey IN (SELECT unnest(?))"
        with self._connection.cursor() as cursor:
            found = cursor.execute(query, [list(inchikeys)]).fetchall()
        gone = set() if removed else set(self._removed.tolist())
        return {one: (key, smiles) for one, key, smiles in sorted(found, reverse=True) if key not in gone}

    def rows(
        self, keys: Sequence[int] | npt.NDArray[np.int64], columns: Sequence[str] | None = None
    ) -> pa.Table:
        """The molecules with these keys, one row each in the order of `keys`; the columns `shown`, or those
        named.

        Raises `KeyError` for a key that no molecule has.
        """
        read = list(dict.fromkeys(["key", *(self.shown() if columns is None else columns)]))
        schema = pa.schema([self._schema.field(name) for name in read])
        wanted = np.asarray(keys, dtype=np.int64)
        if len(self._still(wanted)) < len(wanted):
            raise KeyError(f"a molecule of these was removed: {wanted[np.isin(wanted, self._removed)][0]}")
        order = np.argsort(wanted, kind="stable")
        ascending = wanted[order]
        group_of = np.searchsorted(self._first_keys, ascending, side="right") - 1
        found = [pa.Table.from_batches([], schema)]
        for group in np.unique(group_of):
            found.append(self._from_group(int(group), ascending[group_of == group], read))
        table = pa.concat_tables(found, promote_options="permissive")
        back = np.empty(len(order), dtype=np.int64)
        back[order] = np.arange(len(order))
        return take(table, back).combine_chunks()

    def _from_group(self, group: int, keys: npt.NDArray[np.int64], columns: list[str]) -> pa.Table:
        """Rows of one row group, for ascending keys."""
        if group < 0:
            raise KeyError(f"there is no molecule with key {keys[0]}")
        _, part, within = self._groups[group]
        path = self._paths[part]
        try:
            table = self._file(part).read_row_group(within, columns=columns, use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise IndexCorrupt(path, f"it cannot be read ({_line(error)})") from error
        there = numbers(table.column("key").chunks)
        at = np.searchsorted(there, keys)
        missing = (at >= len(there)) | (there[np.minimum(at, len(there) - 1)] != keys)
        if missing.any():
            raise KeyError(f"there is no molecule with key {keys[missing][0]}")
        return take(table, at)

    def _file(self, part: int) -> pq.ParquetFile:
        """An open part. Opening costs as much as reading a row group; each thread keeps some open."""
        files: dict[int, pq.ParquetFile] = self._open.__dict__.setdefault("files", {})
        if part not in files:
            if len(files) >= OPEN_FILES:
                files.pop(next(iter(files))).close()
            files[part] = pq.ParquetFile(self._paths[part], metadata=self._metadata[part], memory_map=True)
        return files[part]

    @cached_property
    def _connection(self) -> duckdb.DuckDBPyConnection:
        """A database of nothing but the view `molecules`, that can reach no other file and no setting; opened
        by the first filter."""
        import duckdb

        connection = duckdb.connect(":memory:")
        # DuckDB takes * ? [ in a path for a pattern, which would find the files of other indexes.
        directories = sorted({name for p in self._paths for name in (str(p.parent), escape(str(p.parent)))})
        same = all(metadata.schema.equals(self._metadata[0].schema) for metadata in self._metadata)
        files = _sql_list([escape(str(path)) for path in self._paths])
        for statement in (
            f"SET memory_limit = '{MEMORY_LIMIT}'",
            f"SET threads = {min(4, os.cpu_count() or 1)}",
            "SET temp_directory = ''",
            "SET parquet_metadata_cache = true",
            "SET autoinstall_known_extensions = false",
            "SET autoload_known_extensions = false",
            f"SET allowed_directories = {_sql_list(directories)}",
            "SET enable_external_access = false",
            f"CREATE VIEW molecules AS SELECT * FROM read_parquet({files}, union_by_name = {not same})",
            "SET lock_configuration = true",
        ):
            connection.execute(statement)
        return connection

    def _filter_error(self, where: str | None, error: duckdb.Error) -> FilterError:
        shown = "" if where is None else f" {shorten(where)!r}"
        columns = ", ".join(_quoted(name) for name in self.columns())
        return FilterError(f"the filter{shown} cannot be applied: {_line(error)}; the columns are {columns}")


def _footer(path: Path) -> pq.FileMetaData:
    with reading(path) as file:
        return file.metadata


def _common_schema(paths: list[Path], footers: list[pq.FileMetaData]) -> pa.Schema:
    """Columns of all parts. Parts that were added later may have columns of their own."""
    schemas = [footer.schema.to_arrow_schema() for footer in footers]
    for path, schema in zip(paths, schemas, strict=True):
        if "key" not in schema.names:
            raise IndexCorrupt(path, "this part of the index has no column 'key'")
    try:
        return pa.unify_schemas(schemas, promote_options="permissive").remove_metadata()
    except pa.ArrowException as error:
        raise IndexCorrupt(
            paths[0].parent, f"the parts of the index do not fit together: {_line(error)}"
        ) from error


def _row_groups(paths: list[Path], footers: list[pq.FileMetaData]) -> list[tuple[int, int, int]]:
    """(first key, part, row group within it) of every row group, by the statistics in the footers."""
    groups: list[tuple[int, int, int]] = []
    for part, footer in enumerate(footers):
        column = footer.schema.names.index("key")
        for group in range(footer.num_row_groups):
            statistics: Any = footer.row_group(group).column(column).statistics
            if footer.row_group(group).num_rows == 0:
                continue
            if statistics is None or not statistics.has_min_max:
                raise IndexCorrupt(paths[part], "this part of the index has no statistics of its keys")
            groups.append((int(statistics.min), part, group))
    return sorted(groups)


def _made_of(symbols: Sequence[str]) -> str:
    """Regular expression that matches the whole of a Hill formula made of these elements, with its charge.

    Elements begin with a capital letter, so `C` and a number never eat into `Cl`: its `l` would be left over.
    """
    any_of = "|".join(_symbol(symbol) for symbol in symbols)
    return f"(?:(?:{any_of})[0-9]*)+(?:[+-][0-9]*)?"


def _with(symbol: str) -> str:
    """Regular expression found in a formula that has the element: `C` is not found in `Cl`."""
    return f"{_symbol(symbol)}(?:[^a-z]|$)"


def _count(symbol: str) -> str:
    """SQL for the atoms of an element in a formula: H of He is none."""
    pattern = f"'{symbol}([0-9]*)(?:[^a-z0-9]|$)'"
    number = f"coalesce(try_cast(regexp_extract(formula, {pattern}, 1) AS INTEGER), 1)"
    return f"CASE WHEN regexp_matches(formula, {pattern}) THEN {number} ELSE 0 END"


def _symbol(text: str) -> str:
    if not (text.isascii() and text.isalpha() and text.istitle() and len(text) <= 2):
        raise FilterError(f"{shorten(text, 20)!r} is no symbol of an element; write one like Cl")
    return text


def _quoted(name: str) -> str:
    """A column's name as SQL takes it."""
    return name if name.isidentifier() else '"' + name.replace('"', '""') + '"'


def _sql_list(texts: list[str]) -> str:
    return "[" + ", ".join("'" + text.replace("'", "''") + "'" for text in texts) + "]"


def _line(error: Exception) -> str:
    """The first line of a message, without the excerpt of the query that DuckDB adds."""
    return str(error).strip().split("\n", 1)[0].strip()
