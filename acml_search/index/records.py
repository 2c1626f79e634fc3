"""Measured records of an index: merged from shards, each led to its molecule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from acml_search.core.errors import AcmlSearchError
from acml_search.core.io import place
from acml_search.core.progress import progress
from acml_search.index.embed import records_file
from acml_search.index.manifest import Manifest
from acml_search.index.merge import conform
from acml_search.library.store import MOLECULES, RECORD_ROW_GROUP, RECORDS, write_parquet

Keys = npt.NDArray[np.int64]


def merge_records(
    shards: Sequence[tuple[Path, Mapping[str, Any]]],
    measured: Sequence[str],
    added: Sequence[str],
    base: tuple[Path, Manifest] | None,
    out: Path,
    checksums: dict[str, str],
) -> None:
    """Write `records/<modality>` and the record side's embeddings to `out`, after those of `base`.

    shards: folder and marker of each; `added`: the modalities they have records of. Every record is kept;
    those of equal molecules lead to the one that stays, by the duplicates and molecules in `out`. What is
    placed unchanged enters its checksum.
    Raises AcmlSearchError when a modality is left without a record.
    """
    if not measured:
        return
    stays = _Stays.read(out / "duplicates.parquet")
    schema = _schema(next((out / "molecules").glob("*.parquet")))
    for name in measured:
        number = _place_base(base, name, schema, out, checksums) if base else 0
        for shard, marker in progress(
            shards if name in added else [], desc=f"records of {name}", unit=" shards"
        ):
            table = pq.read_table(shard / records_file(name))
            if not table.num_rows:
                continue
            part = f"part-{number:05d}.parquet"
            write_parquet(
                _led(table, stays, schema), _folder(out, name) / part, row_group_size=RECORD_ROW_GROUP
            )
            staged, target = shard / f"{name}.records.parquet", f"embeddings/{name}/records/{part}"
            place(staged, out / target)
            checksums[target] = marker["files"][staged.name]["sha256"]
            number += 1
        if number == 0:
            raise AcmlSearchError(
                f"none of the {name} records in the library could be used; "
                f"{out / 'rejects.parquet'} says of each why"
            )


def measured_of(manifest: Manifest) -> list[str]:
    """The modalities of which an index holds measured records."""
    return [name for name, space in manifest.spaces.items() if space.sides.get("records", {}).get("measured")]


def _folder(out: Path, modality: str) -> Path:
    return out / "records" / modality


def _place_base(
    base: tuple[Path, Manifest], name: str, schema: pa.Schema, out: Path, checksums: dict[str, str]
) -> int:
    """The parts of the index that is added to; the number of the next part."""
    directory, manifest = base
    parts = manifest.parts(f"records/{name}")
    for part in parts:
        if pq.read_schema(directory / part).equals(schema):
            place(directory / part, out / part)
            checksums[part] = manifest.files[part]["sha256"]
        else:
            table = conform(pq.read_table(directory / part), schema)
            write_parquet(table, out / part, row_group_size=RECORD_ROW_GROUP)
    for part in manifest.parts(f"embeddings/{name}/records"):
        place(directory / part, out / part)
        checksums[part] = manifest.files[part]["sha256"]
    return len(parts)


def _led(table: pa.Table, stays: _Stays, schema: pa.Schema) -> pa.Table:
    """`table` in the columns of `schema`, each record led to the molecule that stays."""
    keys = pa.array(stays.of(table.column("key").to_numpy()), pa.int64())
    at = table.schema.get_field_index("molecule_key")
    return conform(table.set_column(at, schema.field("molecule_key"), keys), schema)


def _schema(molecules: Path) -> pa.Schema:
    """Our columns of records, then the library's own as the molecules have them."""
    own = pq.read_schema(molecules)
    return pa.schema([*RECORDS, *(own.field(i) for i in range(len(MOLECULES), len(own)))])


class _Stays:
    """Which molecule stays of equal ones, by the row of each that does not."""

    def __init__(self, rows: Keys, keys: Keys) -> None:
        order = np.argsort(rows, kind="stable")
        self._rows, self._keys = rows[order], keys[order]

    @classmethod
    def read(cls, duplicates: Path) -> _Stays:
        table = pq.read_table(duplicates, columns=["source_row", "key"])
        return cls(table.column("source_row").to_numpy(), table.column("key").to_numpy())

    def of(self, rows: Keys) -> Keys:
        """The keys (n,) of the molecules that stay, for those of `rows` (n,)."""
        if not len(self._rows):
            return rows
        at = np.minimum(np.searchsorted(self._rows, rows), len(self._rows) - 1)
        return np.where(self._rows[at] == rows, self._keys[at], rows)
