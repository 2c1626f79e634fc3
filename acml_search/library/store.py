"""Molecules and rejects as Arrow tables, and Parquet files written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from acml_search.library.prepare import Accepted, Rejected

ROW_GROUP = 512
"""Rows. Small, because the catalog fetches single rows, and for one it has to unpack a row group (0.5 ms)."""

_ALL_DIFFERENT = ("smiles", "inchikey")
"""Columns for which a dictionary of their values is a waste."""

MOLECULES: pa.Schema = pa.schema(
    [  # type: ignore[arg-type]
        pa.field("key", pa.int64(), nullable=False),
        pa.field("smiles", pa.string(), nullable=False),
        pa.field("inchikey", pa.string(), nullable=False),
        pa.field("formula", pa.string(), nullable=False),
        pa.field("exact_mass", pa.float64(), nullable=False),
        pa.field("source_row", pa.int64(), nullable=False),
        pa.field("removed", pa.string()),
    ]
)
"""Our own columns; the user's follow. `exact_mass` in Da; `removed`: SMILES of what was taken off."""

RECORDS: pa.Schema = pa.schema(
    [
        *MOLECULES,
        pa.field("molecule_key", pa.int64(), nullable=False),
        pa.field("record_file", pa.string(), nullable=False),
        pa.field("record_number", pa.int64(), nullable=False),
        pa.field("record_positions", pa.list_(pa.float64())),
        pa.field("record_intensities", pa.list_(pa.float32())),
    ]
)
"""Our columns of measured records; the user's follow. `key` is the record's own (its row in the library),
`molecule_key` leads to `molecules`; the molecule's columns are as its own row gave them. File and number
(from 1) say where the record is, positions (ppm or Th) and intensities (any scale; null of shifts) what it
is."""

RECORD_ROW_GROUP = 64
"""Rows. Smaller than the molecules', because the peaks make a row long."""

REJECTS: pa.Schema = pa.schema(
    [  # type: ignore[arg-type]
        pa.field("source_row", pa.int64(), nullable=False),
        pa.field("input", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
    ]
)


def molecules_table(
    accepted: Sequence[Accepted], metadata_types: Mapping[str, pa.DataType] | None = None
) -> pa.Table:
    """One row per accepted molecule, key = source row, with the columns of `MOLECULES` and the metadata.

    `metadata_types` (of `Library.metadata_types`) makes all shards of a library alike; without it, columns
    and types are those of these rows. A value that is absent is null.
    """
    molecules = [item.molecule for item in accepted]
    rows = [item.row for item in accepted]
    own: list[list[Any]] = [
        rows,
        [molecule.smiles for molecule in molecules],
        [molecule.inchikey for molecule in molecules],
        [molecule.formula for molecule in molecules],
        [molecule.exact_mass for molecule in molecules],
        rows,
        [molecule.removed for molecule in molecules],
    ]
    arrays = [pa.array(column, field.type) for column, field in zip(own, MOLECULES, strict=True)]
    fields = list(MOLECULES)
    kinds: dict[str, pa.DataType | None] = dict(metadata_types or {})
    if metadata_types is None:
        kinds = dict.fromkeys(name for item in accepted for name in item.metadata)
    for name, kind in kinds.items():
        column = _column([item.metadata.get(name) for item in accepted], kind)
        arrays.append(column)
        fields.append(pa.field(name, column.type))
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def records_table(accepted: Sequence[Accepted], metadata_types: Mapping[str, pa.DataType]) -> pa.Table:
    """One row per measured record of `accepted`, with the columns of `RECORDS` and the metadata.

    `molecule_key` is the record's own key: which molecule stays of equal ones is not known before all shards
    are there.
    """
    table = molecules_table(accepted, metadata_types)
    observed = [item.observed for item in accepted if item.observed is not None]
    peaks = [_peaks(one.record) for one in observed]
    own: list[list[Any]] = [
        [item.row for item in accepted],
        [one.file for one in observed],
        [one.number for one in observed],
        [positions for positions, _ in peaks],
        [intensities for _, intensities in peaks],
    ]
    at = len(MOLECULES)
    arrays = [pa.array(column, RECORDS.field(at + i).type) for i, column in enumerate(own)]
    fields = [*RECORDS, *(table.schema.field(i) for i in range(at, table.num_columns))]
    columns = [*table.columns[:at], *arrays, *table.columns[at:]]
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def _peaks(record: Mapping[str, Any]) -> tuple[list[float], list[float] | None]:
    """Positions, ascending, and intensities of a record."""
    if "shifts" in record:
        return sorted(float(shift) for shift in record["shifts"]), None
    pairs = sorted(zip(map(float, record["mzs"]), map(float, record["intensities"]), strict=True))
    return [mz for mz, _ in pairs], [intensity for _, intensity in pairs]


def _column(values: list[object], kind: pa.DataType | None) -> Any:
    if kind is not None and pa.types.is_string(kind):
        # Files that disagree on a column's type meet as text.
        values = [value if value is None or isinstance(value, str) else str(value) for value in values]
    return pa.array(values, kind)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def rejects_table(rejected: Sequence[Rejected]) -> pa.Table:
    """One row per rejected row, in the columns of `REJECTS`."""
    arrays: list[Any] = [
        pa.array([item.row for item in rejected], pa.int64()),
        # A file may hold what Unicode calls surrogates, which cannot be stored as UTF-8.
        pa.array([item.input.encode(errors="replace").decode() for item in rejected], pa.string()),
        pa.array([item.reason for item in rejected], pa.string()),
    ]
    return pa.Table.from_arrays(arrays, schema=REJECTS)


def write_parquet(table: pa.Table, path: Path, *, row_group_size: int = ROW_GROUP) -> None:
    """Writes to a temporary sibling, then renames: `path` is whole or absent, even after a power cut.

    The same table gives the same bytes with the same version of pyarrow.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = (field.name for field in table.schema if _is_text(field.type))
    repeating: Any = [name for name in columns if name not in _ALL_DIFFERENT] or False
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            pq.write_table(
                table,
                file,
                row_group_size=row_group_size,
                compression="snappy",  # a hit costs the reading of its whole row group
                use_dictionary=repeating,
            )
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
