"""Queries of `bench` on a fixed pool: made once, by the predictions of the weights then, and stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from characterisation.inputs import rdkit_smiles

POOL = 400


def write_bench(folder: Path, queries: dict[str, list[dict[str, Any]]]) -> None:
    """The pool and one file of queries for each modality."""
    pool = rdkit_smiles(POOL, least=8, most=30)
    (folder / "pool.smi").write_text("\n".join(pool) + "\n")
    for modality, rows in queries.items():
        pq.write_table(pa.Table.from_pylist(rows), folder / f"ask-{modality}.parquet")
