"""Roughly how long a cell takes: for the order of the work and for the progress bar, never for a result.

Fitted to processor seconds of one core (2026, AVX-512) on FreeSolv, ESOL and Tox21.
"""

from __future__ import annotations

import numpy as np

from acml_search.properties.features import POOLED
from acml_search.properties.heads import MAX_LANDMARKS
from benchmarks.property_bench.plan import System
from benchmarks.property_bench.rows import Parts, Rows

_COLUMNS = {"morgan": 2_048, "rdkit": 220, "minimol": 512, "untrained": 2_304}
_ALL, _TRUNK = 3_584, 2_304
"""columns of an embedding of ours, with and without the spaces"""


def seconds(system: System, head: str, task: str, parts: Parts, rows: Rows) -> float:
    """An estimate in seconds on one idle core."""
    n, targets = len(parts.train), rows.y.shape[1]
    if system.kind == "chemprop":
        return 12.0 + n * (system.epochs or 50) / 850
    if system.kind == "finetuned":
        return 1.0 + n * (system.epochs or 30) / 4_000
    columns = _COLUMNS.get(system.kind, _TRUNK if system.parts == POOLED else _ALL)
    if head == "linear" and task == "regression":
        return 0.2 + columns**3 / 5e9 + n * columns**2 / 3e10
    if head == "linear":
        return 0.2 + n * columns * (4 + 0.6 * targets) * 8e-8
    if head == "kernel":
        landmarks = min(n, MAX_LANDMARKS)
        return 0.2 + 4 * (landmarks**3 / 4e9 + n * landmarks * (columns + 200 + 60 * targets) / 2e10)
    labelled = n * float(np.isfinite(rows.y[parts.train]).mean())
    dense = 0.15 if system.kind == "morgan" else 1.0
    return targets * dense * (0.5 + labelled * columns * 1e-6)
