"""Recall of what engines answered, by scores computed again here; never by the scores they claim.

A returned neighbour is right if its true score reaches that of the k-th exact neighbour, within `TOLERANCE`:
which of several equally near vectors comes back is no merit. The same vector twice counts once. Truth and
answers are scored in the same way, float64 sums over the float32 vectors.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from acml_search.core.errors import ConfigError
from acml_search.core.progress import progress
from acml_search.evaluation.measures.metrics import bootstrap_interval

Floats = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]

TOLERANCE = 1e-6
BLOCK = 16_384
SPARE = 32  # kept beyond k in single precision, so that its rounding cannot decide the last place


@dataclass(frozen=True)
class Judge:
    """`truth` (nq, kmax) float64: the best scores of each query, best first."""

    base: Floats
    queries: Floats
    truth: Scores

    @classmethod
    def of(cls, base: Floats, queries: Floats, k: int, kept: Path) -> Judge:
        """Exact search for the best `k`, or what an earlier one left in `kept` (.npy)."""
        k = min(k, len(base))
        if kept.exists():
            truth: Scores = np.load(kept, allow_pickle=False)
            if truth.shape[0] == len(queries) and truth.shape[1] >= k:
                return cls(base, queries, truth)
        truth = exact_scores(base, queries, k)
        np.save(kept, truth)
        return cls(base, queries, truth)

    def right(self, found: Positions, k: int) -> npt.NDArray[np.int64]:
        """(nq,) how many of each query's `found` (nq, k) are among its true k nearest, ties counted as such.

        Raises ConfigError for a position that no vector has: such an engine is broken.
        """
        if found.max(initial=-1) >= len(self.base):
            raise ConfigError(f"an engine answered {found.max()}, of {len(self.base):,} vectors")
        k = min(k, self.truth.shape[1])
        out = np.zeros(len(self.queries), np.int64)
        for row, (at, query) in enumerate(zip(found, self.queries, strict=True)):
            scores = true_scores(self.base, query, np.unique(at[at >= 0]))
            out[row] = min(k, int(np.sum(scores >= self.truth[row, k - 1] - TOLERANCE)))
        return out

    def recall(self, right: npt.NDArray[np.int64], k: int, seed: int) -> dict[str, Any]:
        """The mean share of right ones, and its 95 % interval over queries."""
        shares = right / min(k, self.truth.shape[1])
        low, high = bootstrap_interval(shares, seed=seed)
        return {"recall": float(shares.mean()), "ci95": [low, high]}


def true_scores(base: Floats, query: Floats, at: Positions) -> Scores:
    """(m,) inner products of `query` (d,) with the vectors at `at`, summed in float64."""
    return base[at].astype(np.float64) @ query.astype(np.float64)


def exact_scores(base: Floats, queries: Floats, k: int) -> Scores:
    """(nq, k) the best scores of all of `base` for each query, best first."""
    keep = min(k + SPARE, len(base))
    best = np.full((len(queries), 0), -np.inf, np.float32)
    best_at = np.zeros((len(queries), 0), np.int64)
    with progress(total=len(base), desc="exact search", unit="vec") as bar:
        for low in range(0, len(base), BLOCK):
            block = np.ascontiguousarray(base[low : low + BLOCK])
            scores = queries @ block.T
            at = np.broadcast_to(np.arange(low, low + len(block)), scores.shape)
            if scores.shape[1] > keep:
                top = np.argpartition(-scores, keep - 1, axis=1)[:, :keep]
                scores, at = np.take_along_axis(scores, top, 1), np.take_along_axis(at, top, 1)
            best, best_at = np.hstack([best, scores]), np.hstack([best_at, at])
            if best.shape[1] > keep:
                top = np.argpartition(-best, keep - 1, axis=1)[:, :keep]
                best, best_at = np.take_along_axis(best, top, 1), np.take_along_axis(best_at, top, 1)
            bar.update(len(block))
    out = [
        np.sort(true_scores(base, query, at))[::-1][:k] for query, at in zip(queries, best_at, strict=True)
    ]
    return np.array(out)
