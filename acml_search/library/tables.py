"""Molecules and rejects as Arrow tables, and Parquet files written whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from acml_search import modalities
from acml_search.chem.molecule import AtomCounts, count_atoms, read_stored
from acml_search.core.errors import AcmlSearchError
from acml_search.core.io import atomic, reading

if TYPE_CHECKING:
    from acml_search.library.standardise import Accepted, Rejected

ROW_GROUP = 512
"""Rows. Small, because the catalog fetches single rows, and for one it has to unpack a row group (0.5 ms)."""

_ALL_DIFFERENT = ("smiles", "inchikey")
"""Columns for which a dictionary of their values is a waste."""

COUNTS: pa.Schema = pa.schema([(name, pa.uint16()) for name in AtomCounts._fields])
"""Columns of `chem.molecule.AtomCounts`; indexes of versions before 0.2 have none."""

MOLECULES: pa.Schema = pa.schema(
    [
        pa.field("key", pa.int64(), nullable=False),
        pa.field("smiles", pa.string(), nullable=False),
        pa.field("inchikey", pa.string(), nullable=False),
        pa.field("formula", pa.string(), nullable=False),
        pa.field("exact_mass", pa.float64(), nullable=False),
        pa.field("source_row", pa.int64(), nullable=False),
        pa.field("removed", pa.string()),
        *COUNTS,
    ]
)
"""Our own columns; the user's follow. `exact_mass` in Da; `removed`: SMILES of what was taken off."""

RECORDS: pa.Schema = pa.schema(
    [
        *MOLECULES,
        pa.field("molecule_key", pa.int64(), nullable=False),
        pa.field("record_file", pa.string(), nullable=False),
        pa.field("record_number", pa.int64(), nullable=False),
    ]
)
"""Our columns of measured records of any modality; those that hold the record (`records_schema`) and the
user's follow. `key` is the record's own (its row in the library), `molecule_key` leads to `molecules`; the
molecule's columns are as its own row gave them. File and number (from 1) say where the record is."""

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
    counts = [count_atoms(item.mol) for item in accepted]
    rows = [item.row for item in accepted]
    own: list[list[Any]] = [
        rows,
        [molecule.smiles for molecule in molecules],
        [molecule.inchikey for molecule in molecules],
        [molecule.formula for molecule in molecules],
        [molecule.exact_mass for molecule in molecules],
        rows,
        [molecule.removed for molecule in molecules],
        *([getattr(one, name) for one in counts] for name in COUNTS.names),
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


def counted(table: pa.Table) -> pa.Table:
    """A table of molecules or records with `COUNTS`, of their SMILES where an older version left them out.

    Raises AcmlSearchError where columns of the user's have these names.
    """
    if set(COUNTS).issubset(table.schema):
        return table
    if taken := [name for name in COUNTS.names if name in table.column_names]:
        raise AcmlSearchError(
            f"the index has a column {taken[0]!r} of its library's, which is a name of our own since version "
            "0.2; build the index again, which renames that column"
        )
    counts = [count_atoms(read_stored(str(text))) for text in table.column("smiles").to_pylist()]
    for place, field in enumerate(COUNTS):
        table = table.append_column(field, pa.array([one[place] for one in counts], field.type))
    return table


def records_schema(modality: str) -> pa.Schema:
    """Our columns of measured records of a modality: `RECORDS`, then its `storage`."""
    storage = modalities.get(modality).storage
    return pa.schema([*RECORDS, *(pa.field(name, _arrow_type(kind)) for name, kind in storage.items())])


def _arrow_type(text: str) -> pa.DataType:
    """`"list<double>"` or the name of a plain type."""
    if text.startswith("list<"):
        return pa.list_(_arrow_type(text.removeprefix("list<").removesuffix(">")))
    return pa.type_for_alias(text)  # type: ignore[call-overload]


def records_table(
    modality: str, accepted: Sequence[Accepted], metadata_types: Mapping[str, pa.DataType]
) -> pa.Table:
    """One row per measured record of `accepted`, in the columns of `records_schema` and the metadata.

    `molecule_key` is the record's own key: which molecule stays of equal ones is not known before all shards
    are there.
    """
    molecules, schema = molecules_table(accepted, metadata_types), records_schema(modality)
    observed = [item.observed for item in accepted if item.observed is not None]
    stored = [modalities.get(modality).stored(one.record) for one in observed]
    own: list[list[Any]] = [
        [item.row for item in accepted],
        [one.file for one in observed],
        [one.number for one in observed],
        *([record[name] for record in stored] for name in schema.names[len(RECORDS) :]),
    ]
    at = len(MOLECULES)
    arrays = [pa.array(column, schema.field(at + i).type) for i, column in enumerate(own)]
    fields = [*schema, *(molecules.schema.field(i) for i in range(at, molecules.num_columns))]
    columns = [*molecules.columns[:at], *arrays, *molecules.columns[at:]]
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


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


def read_parquet(path: Path, columns: list[str] | None = None) -> pa.Table:
    """A table as `write_parquet` wrote it. Raises IndexCorrupt."""
    with reading(path) as file:
        return file.read(columns)


def column_of(files: Iterable[Path], name: str) -> npt.NDArray[np.int64]:
    """A column of keys or rows of several tables, (n,). Raises IndexCorrupt."""
    found = [read_parquet(file, [name]).column(name).to_numpy() for file in files]
    return np.concatenate(found) if found else np.empty(0, np.int64)


def write_parquet(table: pa.Table, path: Path, *, row_group_size: int = ROW_GROUP) -> None:
    """Writes to a temporary sibling, then renames: `path` is whole or absent, even after a power cut.

    The same table gives the same bytes with the same version of pyarrow.
    """
    columns = (field.name for field in table.schema if _is_text(field.type))
    repeating: Any = [name for name in columns if name not in _ALL_DIFFERENT] or False
    with atomic(path) as temporary:
        pq.write_table(
            table,
            temporary,
            row_group_size=row_group_size,
            compression="snappy",  # a hit costs the reading of its whole row group
            use_dictionary=repeating,
        )
