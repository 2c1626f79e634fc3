"""R2 and AUROC over many resamples of the test molecules at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

RESAMPLES = 1_000

Floats = npt.NDArray[np.float64]


def resamples(n: int, *, seed: int, number: int = RESAMPLES) -> Floats:
    """(number + 1, n) how often each of n molecules is drawn; the first row is 1 throughout: the sample.

    The same rows for every description, so that differences between descriptions are paired.
    """
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=number)
    return np.concatenate([np.ones((1, n)), drawn])


def r_squared(y: Floats, predicted: Floats, counts: Floats) -> Floats:
    """(r,) 1 - squared error / variance, weighted by counts (r, n); NaN where y does not vary."""
    total = counts.sum(axis=1)
    centred = y - y.mean()  # for precision: the variance does not depend on it
    spread = counts @ centred**2 - (counts @ centred) ** 2 / total
    error = counts @ (y - predicted) ** 2
    return np.where(spread > 1e-12, 1 - error / np.where(spread > 1e-12, spread, 1), np.nan)


def aurocs(y: Floats, score: Floats, counts: Floats) -> Floats:
    """(r,) chance that a molecule that has the group scores above one that lacks it, ties half, weighted by
    counts (r, n); NaN where one kind is missing.
    """
    has = y > 0.5
    with_group, without = counts[:, has].astype(np.float32), counts[:, ~has].astype(np.float32)
    above, below = score[has][:, None], score[~has][None]
    wins = (above > below) + np.float32(0.5) * (above == below)
    won = ((with_group @ wins) * without).sum(axis=1, dtype=np.float64)
    pairs = with_group.sum(axis=1, dtype=np.float64) * without.sum(axis=1, dtype=np.float64)
    return np.where(pairs > 0, won / np.where(pairs > 0, pairs, 1), np.nan)


def interval(values: Floats, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of resampled values (r,); NaN twice where none could be worked out."""
    known = values[~np.isnan(values)]
    if not len(known):
        return (float("nan"), float("nan"))
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return (float(low), float(high))
