"""The part of `verify` that is about measured records: where they lead, and a sample embedded again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from acml_search import modalities
from acml_search.index import parts

if TYPE_CHECKING:
    from acml_search.encoders.model import Model

Keys = npt.NDArray[np.int64]


def check_records(files: Sequence[Path], keys: Keys, molecules: Keys) -> list[str]:
    """What is wrong with the tables of records: `keys` are of their vectors, `molecules` of all molecules."""
    problems = []
    tables = [pq.read_table(file, columns=["key", "molecule_key"]) for file in files]
    own = _column(tables, "key")
    if not np.array_equal(own, keys):
        problems.append("not every record has one vector, or there are vectors of records that are not here")
    if not np.isin(_column(tables, "molecule_key"), molecules).all():
        problems.append("there are records of molecules that the index does not hold")
    return problems


def sample_again(
    files: Sequence[Path], vectors: Sequence[Path], modality: str, sample: int, model: Model
) -> list[str]:
    """Records spread over the tables `files`, read and embedded again, that do not meet their stored
    `vectors`.
    """
    n = parts.count(files)
    at = np.unique(np.linspace(0, n - 1, min(sample, n)).astype(np.int64))
    table = parts.rows_at(files, at)
    rows = table.to_pylist()
    again = model.encode_records(modality, [record_of(row, modality) for row in rows])
    cosine = np.einsum("nd,nd->n", again, parts.vectors_at(vectors, at))
    return [
        f"record {rows[i]['key']} embedded again has cosine {cosine[i]:.4f} with its stored vector"
        for i in np.flatnonzero(~(cosine >= parts.SAME))[:3]
    ]


def record_of(row: dict[str, Any], modality: str) -> dict[str, Any]:
    """The record that the modality's `read` takes, from a row of the table of records."""
    kind = modalities.get(modality)
    known = {name: row[name] for name in kind.optional if row.get(name) is not None}
    values = (row["record_positions"], row["record_intensities"])
    return {**dict(zip(kind.columns, values, strict=False)), **known}


def _column(tables: Sequence[pa.Table], name: str) -> Keys:
    found = [table.column(name).to_numpy() for table in tables]
    return np.concatenate(found) if found else np.empty(0, np.int64)
