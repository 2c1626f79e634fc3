"""Retrieval metrics on ranks, averaged over molecules, with intervals and chance levels. NumPy only.

Rules, the same for every benchmark:

- A **rank** is 1 + the number of other candidates that score at least as high as the truth: ties lose.
  Scores are float32 sums taken in varying order, so "at least as high" means within `TIE_TOLERANCE`.
- A query that **failed** has the rank `FAILED` (infinity): a miss at every k, a reciprocal rank of 0.
- Several queries of one molecule weigh together as one: averages are over **molecules**.
- The **interval** is a 95 % percentile bootstrap over molecules. Where every molecule has the same value the
  bootstrap cannot see beyond it and gives that value twice; with n molecules and no miss, the true miss rate
  is below 3/n (rule of three).
- **Chance** is what a uniformly random ranking scores on average: min(k, n) / n for recall@k and H(n) / n for
  MRR, with n the query's number of candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from acml_search.core.typing import Floats

FAILED = np.inf
TIE_TOLERANCE = 1e-6
KS = (1, 5, 10, 20)
RESAMPLES = 2_000
TIE_RULE = "a tie is a miss: a candidate within tie_tolerance of the truth's score counts as better"
GROUP_SIZES = (
    *((2, 2), (3, 5), (6, 10), (11, 20), (21, 50), (51, 100)),
    *((101, 200), (201, 500), (501, 1000), (1001, None)),
)
"""smallest and largest number of molecules of one formula, the truth included"""


def hits_at_k(ranks: npt.ArrayLike, k: int) -> Floats:
    """1.0 where the rank is at most `k`, else 0.0. `ranks` (nq,), `FAILED` allowed -> (nq,) float64."""
    return (np.asarray(ranks, dtype=np.float64) <= k).astype(np.float64)


def reciprocal_ranks(ranks: npt.ArrayLike) -> Floats:
    """1 / rank; 0.0 for `FAILED`. `ranks` (nq,) -> (nq,) float64."""
    return 1.0 / np.asarray(ranks, dtype=np.float64)


def per_molecule(values: npt.ArrayLike, molecules: npt.ArrayLike) -> Floats:
    """Mean of `values` (nq,) by label in `molecules` (nq,) -> (n molecules,), in sort order."""
    values = np.asarray(values, dtype=np.float64)
    molecules = np.asarray(molecules)
    if values.shape != molecules.shape or values.ndim != 1:
        raise ValueError(
            f"values {values.shape} and molecules {molecules.shape} must be one list each, as long"
        )
    _, groups, sizes = np.unique(molecules, return_inverse=True, return_counts=True)
    return np.bincount(groups, weights=values) / sizes


def bootstrap_interval(
    values: npt.ArrayLike, *, seed: int = 0, level: float = 0.95, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """Percentile interval of the mean of `values` (n,) under resampling with replacement.

    The mean of a resample depends only on how often each distinct value was drawn, and these counts are
    multinomial: so the counts are drawn, exactly as good as drawing n values, and cheap for a million.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.size == 0:
        return (float("nan"), float("nan"))
    distinct, counts = np.unique(values, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(values.size, counts / values.size, size=resamples)
    means = drawn @ distinct / values.size
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return (float(low), float(high))


def chance_hits_at_k(n_candidates: npt.ArrayLike, k: int) -> Floats:
    """Expected recall@k of a random ranking, per query: min(k, n) / n. `n_candidates` (nq,) has the truth."""
    n = np.maximum(np.asarray(n_candidates, dtype=np.float64), 1.0)
    return np.minimum(k, n) / n


def chance_reciprocal_ranks(n_candidates: npt.ArrayLike) -> Floats:
    """Expected reciprocal rank of a random ranking, per query: H(n) / n."""
    n = np.maximum(np.asarray(n_candidates, dtype=np.int64), 1)
    harmonic = np.cumsum(1.0 / np.arange(1, int(n.max(initial=1)) + 1))
    return harmonic[n - 1] / n


def summarise(
    ranks: npt.ArrayLike,
    molecules: npt.ArrayLike,
    n_candidates: npt.ArrayLike,
    *,
    ks: Sequence[int] = KS,
    seed: int = 0,
) -> dict[str, Any]:
    """Recall@k and MRR with intervals and chance levels, in the layout of the result files.

    `{"recall": {"1": x}, "mrr": x, "ci95": {"1": [low, high], "mrr": ..}, "chance": {"1": x, "mrr": x}}`.

    All three arguments are (nq,): ranks (`FAILED` = miss), a label per molecule, and the number of candidates
    each query was ranked among (the truth included).
    """
    hits = {str(k): per_molecule(hits_at_k(ranks, k), molecules) for k in ks}
    mrr = per_molecule(reciprocal_ranks(ranks), molecules)
    chance = {str(k): _mean(per_molecule(chance_hits_at_k(n_candidates, k), molecules)) for k in ks}
    chance["mrr"] = _mean(per_molecule(chance_reciprocal_ranks(n_candidates), molecules))
    intervals = {k: list(bootstrap_interval(v, seed=seed)) for k, v in (hits | {"mrr": mrr}).items()}
    return {
        "recall": {k: _mean(v) for k, v in hits.items()},
        "mrr": _mean(mrr),
        "ci95": intervals,
        "chance": chance,
    }


def _mean(values: Floats) -> float:
    return float(values.mean()) if values.size else float("nan")


def group_size_summary(sizes: npt.ArrayLike) -> dict[str, float]:
    """Median, mean, 90th percentile and maximum of the sizes of molecules' groups, (n,) integers."""
    sizes = np.asarray(sizes)
    return {
        "median": float(np.median(sizes)),
        "mean": float(sizes.mean()),
        "p90": float(np.quantile(sizes, 0.9)),
        "max": int(sizes.max()),
    }


def by_group_size(
    ranks: npt.ArrayLike, molecules: npt.ArrayLike, sizes: npt.ArrayLike, *, seed: int = 0
) -> list[dict[str, Any]]:
    """Accuracy and MRR of the molecules whose group has a size within each of `GROUP_SIZES`, empty ones left
    out. All three are (nq,); the queries of a molecule have groups of one size. Each entry: `{"size": [low,
    high or None], "n_molecules", "accuracy", "ci95", "chance", "mrr", "mrr_ci95"}`.
    """
    ranks, molecules, sizes = np.asarray(ranks), np.asarray(molecules), np.asarray(sizes)
    entries = []
    for low, high in GROUP_SIZES:
        mine = (sizes >= low) & (sizes <= (high or sizes.max(initial=0)))
        if mine.any():
            found = summarise(ranks[mine], molecules[mine], sizes[mine], ks=(1,), seed=seed)
            entries.append(
                {
                    "size": [low, high],
                    "n_molecules": len(np.unique(molecules[mine])),
                    "accuracy": found["recall"]["1"],
                    "ci95": found["ci95"]["1"],
                    "chance": found["chance"]["1"],
                    "mrr": found["mrr"],
                    "mrr_ci95": found["ci95"]["mrr"],
                }
            )
    return entries
