"""Benchmark results on disk: one JSON document, and the per-query records it was computed from."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from acml_search.core.errors import ConfigError
from acml_search.evaluation.data.structures import Pool
from acml_search.evaluation.ranks.retrieval import Asked

_COLUMNS: dict[str, pa.DataType] = {
    "row": pa.int64(),
    "molecule": pa.string(),
    "smiles": pa.string(),
    "formula": pa.string(),
    "exact_mass": pa.float64(),
    "rank": pa.int64(),
    "score": pa.float64(),
    "n_candidates": pa.int64(),
    "best_other_smiles": pa.string(),
    "best_other_score": pa.float64(),
    "nearest_training": pa.float64(),
    "error": pa.string(),
}
PER_QUERY = pa.schema(_COLUMNS)


def check_out(path: Path) -> None:
    """Raises ConfigError when the result could not be written to `path`: before the measuring, not after."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not path.is_file():
        raise ConfigError(f"{path} is no file that can be written; name a file with --out")
    if not os.access(path.parent, os.W_OK):
        raise ConfigError(f"{path}: the folder may not be written to; choose another --out")


def write_per_query(
    asked: Sequence[Asked], pool: Pool, path: Path, *, nearest: Sequence[float | None] | None = None
) -> None:
    """One row per query; a failed query has no rank but an error, a query that has no rival no best_other.

    `nearest`: each query's similarity to the nearest training molecule, where that was worked out.
    """
    rows = []
    for one, similarity in zip(asked, nearest or [None] * len(asked), strict=True):
        known = one.query.structure
        ranked = np.isfinite(one.rank)
        rival = ranked and one.best_other >= 0
        rows.append(
            {
                "row": one.query.row,
                "molecule": known.block if known else None,
                "smiles": known.smiles if known else None,
                "formula": known.formula if known else None,
                "exact_mass": known.mass if known else None,
                "rank": int(one.rank) if ranked else None,
                "score": one.score if ranked else None,
                "n_candidates": one.n_candidates,
                "best_other_smiles": pool.structures[one.best_other].smiles if rival else None,
                "best_other_score": one.best_other_score if rival else None,
                "nearest_training": similarity,
                "error": one.error,
            }
        )
    partial = path.with_name(path.name + ".partial")
    pq.write_table(pa.Table.from_pylist(rows, schema=PER_QUERY), partial, compression="zstd")
    os.replace(partial, path)


def write_json(result: dict[str, Any], path: Path) -> None:
    """Write `result`, whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(partial, path)
