"""Is one system better than another on a set beyond the luck of its test molecules? A paired bootstrap.

The spread over seeds says little where a system draws nothing, and nothing of how few molecules were tested.
So the test molecules of each run are drawn anew, with replacement, for both systems alike, and the difference
of their metrics, mean over the runs, gets a 95 % percentile interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from benchmarks.property_bench.scores import score

RESAMPLES = 200
MAX_LABELS = 200_000
"""larger test parts (molecules times targets) are not resampled: it would take longer than the measuring"""

Floats = npt.NDArray[np.float64]


def difference(
    pairs: Sequence[tuple[Path, Path]], metric: str, *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float] | None:
    """The interval of metric(a) - metric(b), from the stored predictions of both in each run.

    None where there is no run, where the test part is too large, or where no draw can be scored.
    """
    runs = []
    for a, b in pairs:
        (y, mine), (_, theirs) = _test(a), _test(b)
        if y.size > MAX_LABELS or mine.shape != theirs.shape:
            return None
        runs.append((y, mine, theirs))
    rng = np.random.default_rng(seed)
    drawn: list[float] = []
    for _ in range(resamples if runs else 0):
        gains = []
        for y, mine, theirs in runs:
            at = rng.integers(0, len(y), len(y))
            a_score, b_score = score(metric, y[at], mine[at]), score(metric, y[at], theirs[at])
            if a_score is not None and b_score is not None:
                gains.append(a_score - b_score)
        if len(gains) == len(runs):
            drawn.append(float(np.mean(gains)))
    if not drawn:
        return None
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def _test(path: Path) -> tuple[Floats, Floats]:
    """(n, t) labels and predictions of the test part."""
    table: Any = pq.read_table(path, columns=["part", "y", "prediction"])
    tested = np.array(table.column("part").to_pylist()) == "test"
    y, predicted = (
        np.array(table.column(name).to_pylist(), np.float64).reshape(len(tested), -1)[tested]
        for name in ("y", "prediction")
    )
    return y, predicted
