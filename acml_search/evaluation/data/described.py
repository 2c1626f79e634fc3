"""The structures of library files, worked out once and kept: `<cache>/structures/<digest>.parquet`.

What is kept depends on the file's content, the column read, and the standardisation with its versions of
RDKit and InChI; another of these is another file in the cache.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from acml_search.core.errors import ConfigError
from acml_search.evaluation.data.structures import (
    Described,
    LibraryRows,
    LibraryStructures,
    Structure,
    describe_rows,
)
from acml_search.evaluation.workers import Workers

_COLUMNS: dict[str, pa.DataType] = {
    "smiles": pa.string(),
    "block": pa.string(),
    "formula": pa.string(),
    "mass": pa.float64(),
    "error": pa.string(),
}
SCHEMA = pa.schema(_COLUMNS)
_RECIPE = b"standardisation"


def standardisation() -> str:
    """How structures are standardised here, versions of RDKit and InChI included, as JSON."""
    from acml_search.chem.molecule import STANDARDISATION

    return json.dumps(STANDARDISATION, sort_keys=True)


def kept_standardisation(path: Path, cache: Path, smiles_column: str | None = None) -> str:
    """How the kept structures of a file were standardised, as their own file says.

    Raises ConfigError where `described_file` kept none.
    """
    kept = _kept(path, cache, smiles_column)
    try:
        told = (pq.read_schema(kept).metadata or {}).get(_RECIPE)
    except (OSError, pa.ArrowInvalid) as error:
        raise ConfigError(f"{kept}: the kept structures cannot be read ({error}); remove the file") from error
    # Files kept before they said so are named by what they were standardised with.
    return standardisation() if told is None else told.decode()


def described_file(
    path: Path, workers: Workers, cache: Path, smiles_column: str | None = None
) -> list[Described]:
    """The structure of every row of a file, or the reason why there is none; from the cache if it is there.

    Raises LibraryError for a file that cannot be read, ConfigError for a damaged file of the cache.
    """
    kept = _kept(path, cache, smiles_column)
    if kept.exists():
        return _read(kept)
    rows = LibraryRows([path], smiles_column)
    found = list(describe_rows(rows.all(), workers, path.name))
    kept.parent.mkdir(parents=True, exist_ok=True)
    partial = kept.with_name(f"{kept.name}.{os.getpid()}.partial")
    table = _table(found).replace_schema_metadata({_RECIPE: standardisation()})
    pq.write_table(table, partial, compression="zstd")
    os.replace(partial, kept)
    return found


def _kept(path: Path, cache: Path, smiles_column: str | None) -> Path:
    """Where the structures of a file are kept, by its content and the standardisation."""
    from acml_search.chem.molecule import STANDARDISATION
    from acml_search.library.read import open_library

    content = open_library([path], smiles_column=smiles_column).digest()
    recipe = json.dumps([content, STANDARDISATION], sort_keys=True)
    return cache / "structures" / f"{hashlib.sha256(recipe.encode()).hexdigest()[:24]}.parquet"


class KnownStructures(LibraryStructures):
    """The structures of libraries' rows that were worked out before. `found`: every row's, in order."""

    def __init__(self, found: list[Described]) -> None:
        self._found = found

    def count(self) -> int:
        return len(self._found)

    def all(self) -> Iterator[Described]:
        return iter(self._found)

    def some(self, numbers: Sequence[int]) -> dict[int, Described]:
        return {number: self._found[number] for number in numbers}


def _table(found: Sequence[Described]) -> pa.Table:
    known = [None if isinstance(one, str) else one for one in found]
    columns = {
        "smiles": [one and one.smiles for one in known],
        "block": [one and one.block for one in known],
        "formula": [one and one.formula for one in known],
        "mass": [one and one.mass for one in known],
        "error": [one if isinstance(one, str) else None for one in found],
    }
    return pa.table(columns, schema=SCHEMA)


def _read(path: Path) -> list[Described]:
    try:
        table = pq.read_table(path, schema=SCHEMA)
    except (OSError, pa.ArrowInvalid) as error:
        raise ConfigError(f"{path}: the kept structures cannot be read ({error}); remove the file") from error
    columns = [table[name].to_pylist() for name in SCHEMA.names]
    return [
        Structure(smiles, block, formula, mass) if error is None else error
        for smiles, block, formula, mass, error in zip(*columns, strict=True)
    ]
