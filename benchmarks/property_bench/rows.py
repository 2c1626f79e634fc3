"""The rows of a property set: standardised structures, targets, splits; what cannot be read is counted.

A molecule is known by the first block of its InChIKey. Where a molecule of a run's test part stands in its
train or valid part too, it is taken out of these: nothing of a test molecule is learned or chosen by.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from acml_search.core.errors import ConfigError, LibraryError
from acml_search.evaluation.data.structures import Described
from benchmarks.property_bench.plan import PropertySet

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_STRUCTURES = frozenset({"smiles", "smiles_original", "inchikey", "inchikey14"})
_SHOWN = 5


@dataclass(frozen=True)
class Rows:
    """The usable rows of a set, n of them with t targets."""

    numbers: Ints
    """(n,) row in the file, from 0"""
    smiles: list[str]
    """standardised, canonical"""
    blocks: list[str]
    """first block of the InChIKey"""
    targets: tuple[str, ...]
    y: Floats
    """(n, t), NaN where there is no label"""
    splits: Mapping[str, npt.NDArray[np.str_]]
    """column -> (n,) train, valid, test or what else the file says"""
    n_file: int
    failed: tuple[tuple[int, str], ...]
    """(row in the file, reason) of what cannot be read"""

    def __len__(self) -> int:
        return len(self.smiles)

    def digest(self) -> str:
        """SHA-256 over structures, labels and splits: another of these is another measurement."""
        sha = hashlib.sha256("\n".join([*self.smiles, *self.targets]).encode())
        sha.update(np.ascontiguousarray(self.y).tobytes())
        for name in sorted(self.splits):
            sha.update("\n".join([name, *self.splits[name].tolist()]).encode())
        return sha.hexdigest()


@dataclass(frozen=True)
class Parts:
    """Positions among a set's rows, (k,) each, for one split."""

    train: Ints
    valid: Ints
    test: Ints
    n_dropped: int
    """rows of train and valid whose molecule is in test"""


def read_rows(asked: PropertySet, structures: Sequence[Described]) -> Rows:
    """The set's rows; `structures` are those of all rows of its file.

    Raises LibraryError for a file that cannot be read, ConfigError for a column it does not have or a set
    without a single usable row.
    """
    table = _table(asked.file)
    wanted = np.ones(table.num_rows, bool)
    for column, value in asked.rows:
        _check_columns(asked, table, [column])
        wanted &= np.array([str(one) == value for one in table.column(column).to_pylist()], bool)
    numbers = np.flatnonzero(wanted)
    picked = table.take(numbers.astype(np.int64))
    targets = asked.targets or tuple(
        name for name in table.column_names if name not in _STRUCTURES and not name.startswith("split")
    )
    _check_columns(asked, table, [*targets, *asked.splits])
    found = [structures[i] for i in numbers.tolist()]
    good = np.array([not isinstance(one, str) for one in found], bool)
    failed = [(int(i), one) for i, one in zip(numbers, found, strict=True) if isinstance(one, str)]
    if not good.any():
        raise ConfigError(f"{asked.file}: none of the {len(found):,} rows of {asked.name!r} can be used")
    known = [one for one in found if not isinstance(one, str)]
    y = np.column_stack([_numbers(asked, picked, name) for name in targets])
    splits = {name: np.array([str(one) for one in picked.column(name).to_pylist()]) for name in asked.splits}
    return Rows(
        numbers=numbers[good].astype(np.int64),
        smiles=[one.smiles for one in known],
        blocks=[one.block for one in known],
        targets=tuple(targets),
        y=y[good],
        splits={name: values[good] for name, values in splits.items()},
        n_file=len(numbers),
        failed=tuple(failed),
    )


def parts_of(asked: PropertySet, rows: Rows, split: str) -> Parts:
    """Train, valid and test of one split. Raises ConfigError where one of them is empty."""
    said = rows.splits[split]
    labelled = np.isfinite(rows.y).any(axis=1)
    test = np.flatnonzero((said == "test") & labelled)
    tested = {rows.blocks[i] for i in test.tolist()}
    free = np.array([block not in tested for block in rows.blocks], bool)
    learn = {name: (said == name) & labelled for name in ("train", "valid")}
    kept = {name: np.flatnonzero(mask & free) for name, mask in learn.items()}
    empty = [name for name, at in (*kept.items(), ("test", test)) if not len(at)]
    if empty:
        raise ConfigError(f"{asked.file}: {asked.name!r}: the {empty[0]} part of {split!r} is empty")
    n_dropped = sum(int((mask & ~free).sum()) for mask in learn.values())
    return Parts(kept["train"], kept["valid"], test, n_dropped)


def failed_shown(rows: Rows) -> list[dict[str, object]]:
    """The first few rows that could not be read, for the result."""
    return [{"row": row, "why": why} for row, why in rows.failed[:_SHOWN]]


def _table(path: Path) -> pa.Table:
    try:
        return pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise LibraryError(
            path, f"the set cannot be read as Parquet ({error}); name a Parquet file"
        ) from error


def _check_columns(asked: PropertySet, table: pa.Table, names: Sequence[str]) -> None:
    for name in names:
        if name not in table.column_names:
            raise ConfigError(f"{asked.file}: {asked.name!r} needs the column {name!r}, which is not there")


def _numbers(asked: PropertySet, table: pa.Table, name: str) -> Floats:
    try:
        column = table.column(name).cast(pa.float64()).to_numpy()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ConfigError(
            f"{asked.file}: {asked.name!r}: the target {name!r} is no number ({error})"
        ) from error
    values = np.array(column, np.float64)
    if asked.task == "classification" and not np.isin(values[np.isfinite(values)], (0.0, 1.0)).all():
        raise ConfigError(f"{asked.file}: {asked.name!r}: the target {name!r} is a class that is not 0 or 1")
    return values
