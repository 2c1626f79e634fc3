"""Over all shards together: which molecules are duplicates, and which type each of the user's columns has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from glob import escape  # DuckDB takes * ? [ in a path for a pattern
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from acml_search.core.io import write_atomic
from acml_search.library.store import MOLECULES

_DUPLICATE_COLUMNS: dict[str, pa.DataType] = {
    "source_row": pa.int64(),
    "key": pa.int64(),
    "smiles": pa.string(),
    "inchikey": pa.string(),
}
DUPLICATES = pa.schema(_DUPLICATE_COLUMNS)
MEMORY = "400MB"
# Leading zeros make an identifier, not a number; more than 18 digits do not fit an int64.
WHOLE = r"-?(0|[1-9][0-9]{0,17})"
NUMBER = r"[+-]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?"

_DUPLICATES = """
    WITH molecules AS (SELECT key, smiles, inchikey FROM read_parquet($files)),
    first AS (SELECT inchikey, min(key) AS key FROM molecules GROUP BY inchikey HAVING count(*) > 1)
    SELECT molecules.key AS source_row, first.key AS key, smiles, inchikey
    FROM molecules JOIN first USING (inchikey)
    WHERE molecules.key <> first.key ORDER BY source_row
"""


def find_duplicates(
    molecules: Sequence[Path], known: Path | None, scratch: Path, out: Path
) -> npt.NDArray[np.int64]:
    """Write the duplicates among `molecules` (Parquet files with key, smiles, inchikey) to `out`; their rows,
    ascending.

    Of molecules with one InChIKey the one with the smallest key stays. `known` is an earlier table of
    duplicates that goes first. DuckDB groups within a fixed memory and spills to `scratch`.
    """
    rows: list[npt.NDArray[np.int64]] = [np.empty(0, np.int64)]
    with _database(scratch) as db:

        def write(path: Path) -> None:
            with pq.ParquetWriter(path, DUPLICATES, compression="zstd") as writer:
                if known is not None:
                    writer.write_table(pq.read_table(known).cast(DUPLICATES))
                found = db.execute(_DUPLICATES, {"files": [escape(str(path)) for path in molecules]})
                while batch := found.fetchmany(100_000):
                    columns = [list(column) for column in zip(*batch, strict=True)]
                    table = pa.table(dict(zip(DUPLICATES.names, columns, strict=True)), schema=DUPLICATES)
                    writer.write_table(table)
                    rows.append(table.column("source_row").to_numpy())

        write_atomic(out, write)
    return np.concatenate(rows)


def column_types(molecules: Sequence[Path], may_cast: Sequence[bool], scratch: Path) -> pa.Schema:
    """The schema of the molecules table over all files: our columns, then the user's in order of first
    appearance.

    A column of text from a text file (`may_cast`) becomes int64 or float64 when every value is such a number,
    an empty one counting as absent. Files that disagree meet in the wider type, in the end as text.
    """
    types: dict[str, set[pa.DataType]] = {}
    texts: dict[str, list[Path]] = {}
    fixed: set[str] = set()
    for path, cast in zip(molecules, may_cast, strict=True):
        for field in pq.read_schema(path):
            if field.name in MOLECULES.names:
                continue
            seen = types.setdefault(field.name, set())
            if not pa.types.is_string(field.type):
                seen.add(field.type)
            elif cast:
                texts.setdefault(field.name, []).append(path)
            else:
                fixed.add(field.name)
    with _database(scratch) as db:
        for name, paths in texts.items():
            if name not in fixed:
                types[name].add(_number_type(db, name, paths))
    return pa.schema(
        [
            *MOLECULES,
            *(
                pa.field(name, pa.string() if name in fixed else _widest(seen))
                for name, seen in types.items()
            ),
        ]
    )


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """`table` in the columns and types of `schema`; absent columns are null, empty text is null where numbers
    are.
    """
    columns = []
    for field in schema:
        if field.name not in table.column_names:
            columns.append(pa.nulls(table.num_rows, field.type))
            continue
        column = table.column(field.name)
        if pa.types.is_string(column.type) and not pa.types.is_string(field.type):
            column = pc.if_else(pc.equal(column, pa.scalar("")), pa.scalar(None, pa.string()), column)
        columns.append(column.cast(field.type))
    return pa.Table.from_arrays(columns, schema=schema)


def _number_type(db: duckdb.DuckDBPyConnection, name: str, paths: Sequence[Path]) -> pa.DataType:
    quoted = '"' + name.replace('"', '""') + '"'
    row = db.execute(
        f"""
        SELECT count(*), bool_and(regexp_full_match({quoted}, $whole)),
            bool_and(regexp_full_match({quoted}, $number))
        FROM read_parquet($files) WHERE {quoted} <> ''
        """,
        {"whole": WHOLE, "number": NUMBER, "files": [escape(str(path)) for path in paths]},
    ).fetchone()
    assert row is not None
    values, whole, number = row
    if values == 0:
        return pa.string()
    return pa.int64() if whole else pa.float64() if number else pa.string()


def _widest(types: set[pa.DataType]) -> pa.DataType:
    """One type that holds them all; text when there is no other."""
    if len(types) == 1:
        return types.copy().pop()
    try:
        merged = pa.unify_schemas(
            [pa.schema([("x", kind)]) for kind in sorted(types, key=str)], promote_options="permissive"
        )
    except pa.ArrowTypeError:
        return pa.string()
    return merged.field("x").type


@contextmanager
def _database(scratch: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    scratch.mkdir(parents=True, exist_ok=True)
    settings: dict[str, Any] = {
        "memory_limit": MEMORY,
        "temp_directory": str(scratch),
        "threads": 2,
        "preserve_insertion_order": False,
    }
    with duckdb.connect(":memory:", config=settings) as db:
        yield db
