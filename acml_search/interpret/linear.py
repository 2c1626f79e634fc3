"""Linear probes: ridge and logistic regression of many concepts at once, strengths by inner cross-validation.

scikit-learn fits one logistic regression after another: 40 concepts x 8 descriptions x 5 strengths x 3 folds
take it an hour. Here all concepts and strengths of one description are columns of one problem, solved in the
basis of the principal axes, in which the bound of Böhning and Lindsay (1988) on the curvature is diagonal:
accelerated gradient steps (Nesterov 1983, restarted as by O'Donoghue and Candès 2015) then need no line
search. The tests hold the result to scikit-learn's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

STRENGTHS = (1e-3, 3e-2, 1.0, 30.0, 1e3)
"""penalties on the squared weights of features of unit variance, for 1,000 molecules; more with more"""
FOLDS = 3
_STEPS, _FINAL_STEPS = 30, 300
_LEAST_GAIN = 1e-8  # of the log-loss a molecule, in one step

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Groups = npt.NDArray[np.int64]


class Scaler(NamedTuple):
    """Features as the probes read them: (x - mean) / scale."""

    mean: Singles
    """(f,)"""
    scale: Singles
    """(f,)"""

    @classmethod
    def of(cls, x: Singles) -> Scaler:
        """Mean and standard deviation of (n, f). Bits are only centred: dividing by the deviation would make
        the rarest bits, of which the least is known, the loudest.
        """
        mean, spread = x.mean(axis=0), x.std(axis=0)
        if ((x == 0) | (x == 1)).all():
            total = float(np.sqrt((spread**2).mean())) or 1.0
            return cls(mean, np.full_like(spread, total))
        return cls(mean, np.where(spread > 1e-6, spread, 1.0).astype(np.float32))

    def __call__(self, x: Singles) -> Singles:
        return ((x - self.mean) / self.scale).astype(np.float32)


class Probes(NamedTuple):
    """Fitted probes of k concepts: `(x - mean) / scale @ weights + bias`, a number or a logit."""

    scaler: Scaler
    weights: Singles
    """(f, k)"""
    bias: Floats
    """(k,)"""
    strengths: list[float]
    """of the penalty, as chosen"""

    def __call__(self, x: Singles) -> Floats:
        """(n, f) -> (n, k) float64."""
        return (self.scaler(x) @ self.weights).astype(np.float64) + self.bias


def fit(x: Singles, y: Floats, is_group: npt.NDArray[np.bool_], groups: Groups, *, seed: int) -> Probes:
    """Probes of the concepts y (n, k), on features x (n, f).

    is_group (k,): logistic where true (y is 0 or 1), ridge elsewhere. groups (n,): molecules of one scaffold
    stay together in the folds by which each concept's strength is chosen, by R2 or AUROC.
    """
    scores = np.full((FOLDS, len(STRENGTHS), y.shape[1]), np.nan)
    for i, (train, test) in enumerate(folds(groups, FOLDS, seed)):
        scaler = Scaler.of(x[train])
        weights, bias = _solve(scaler(x[train]), y[train], is_group, STRENGTHS, _STEPS)
        seen = scaler(x[test])
        for s in range(len(STRENGTHS)):
            scores[i, s] = _quality(seen @ weights[:, s] + bias[s], y[test], is_group)
    known = ~np.isnan(scores)
    mean = np.where(known, scores, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    chosen = mean.argmax(axis=0)
    scaler = Scaler.of(x)
    scaled = scaler(x)
    final = np.empty((x.shape[1], y.shape[1]), np.float32)
    bias = np.empty(y.shape[1])
    for s in np.unique(chosen):
        mine = np.flatnonzero(chosen == s)
        w, b = _solve(scaled, y[:, mine], is_group[mine], (STRENGTHS[s],), _FINAL_STEPS)
        final[:, mine], bias[mine] = w[:, 0], b[0]
    return Probes(scaler, final, bias, [STRENGTHS[s] for s in chosen])


def folds(groups: Groups, n: int, seed: int) -> Iterator[tuple[Groups, Groups]]:
    """Train and test rows, n times; groups whole, dealt at random, each to the fold that has fewest rows."""
    part = deal(groups, [1 / n] * n, seed)
    for i in range(n):
        yield np.flatnonzero(part != i), np.flatnonzero(part == i)


def deal(groups: Groups, shares: list[float], seed: int) -> Groups:
    """(n,) the part each row belongs to: groups in random order, each to the part that lacks most of its
    share of rows.
    """
    _, group_of, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    lacking = np.array(shares) * len(groups)
    part = np.empty(len(sizes), np.int64)
    for group in np.random.default_rng(seed).permutation(len(sizes)):
        part[group] = int(lacking.argmax())
        lacking[part[group]] -= sizes[group]
    return part[group_of]


def _solve(
    x: Singles, y: Floats, is_group: npt.NDArray[np.bool_], strengths: tuple[float, ...], steps: int
) -> tuple[Singles, Floats]:
    """Weights (f, s, k) and biases (s, k) for s strengths, of centred features x (n, f)."""
    n, f = x.shape
    values, axes = np.linalg.eigh((x.T @ x if f <= n else x @ x.T).astype(np.float64))
    keep = values > max(values[-1], 1e-12) * 1e-7
    values, axes = values[keep], axes[:, keep]
    if f > n:  # the axes of the smaller matrix lead to those of the larger
        axes = (x.T @ axes) / np.sqrt(values)
    basis = axes.astype(np.float32)  # (f, r)
    z = x @ basis
    penalties = np.array(strengths) * n / 1000
    weights = np.zeros((basis.shape[1], len(strengths), y.shape[1]), np.float32)
    bias = np.zeros((len(strengths), y.shape[1]))
    numbers, logistic = np.flatnonzero(~is_group), np.flatnonzero(is_group)
    if len(numbers):
        mean = y[:, numbers].mean(axis=0)
        along = z.T.astype(np.float64) @ (y[:, numbers] - mean)
        weights[:, :, numbers] = along[:, None, :] / (values[:, None] + penalties)[:, :, None]
        bias[:, numbers] = mean
    if len(logistic):
        w, b = _logistic(z, values, y[:, logistic], penalties, steps)
        weights[:, :, logistic], bias[:, logistic] = w, b
    return np.tensordot(basis, weights, axes=1), bias


def _logistic(z: Singles, values: Floats, y: Floats, penalties: Floats, steps: int) -> tuple[Singles, Floats]:
    """Weights (r, s, k) and biases (s, k) that minimise sum log-loss + penalty / 2 |w|^2, in the principal
    axes: z (n, r) with z.T @ z = diag(values).
    """
    n, r = z.shape
    s, k = len(penalties), y.shape[1]
    # one column per strength and concept; the last row is the bias, which has no penalty
    ones = np.ones((n, 1), np.float32)
    full = np.concatenate([z, ones], axis=1)
    penalty = np.concatenate([np.repeat(penalties[None], r, axis=0), np.zeros((1, s))]).repeat(k, axis=1)
    # second derivatives are at most this: p (1 - p) <= 1/4
    bound = np.concatenate([values, [n]])[:, None] / 4 + penalty
    penalty, bound = penalty.astype(np.float32), bound.astype(np.float32)
    target = np.tile(y, s).astype(np.float32)
    at = np.zeros((r + 1, s * k), np.float32)
    share = y.mean(axis=0).clip(1e-6, 1 - 1e-6)
    at[-1] = np.tile(np.log(share / (1 - share)), s)
    ahead, t = at.copy(), np.ones(s * k, np.float32)
    moving = np.arange(s * k)
    for _ in range(steps):
        p = 1 / (1 + np.exp(-(full @ ahead[:, moving]).clip(-30, 30)))
        slope = full.T @ (p - target[:, moving]) + penalty[:, moving] * ahead[:, moving]
        step = slope / bound[:, moving]
        new = ahead[:, moving] - step
        moved = new - at[:, moving]
        # momentum that points uphill is dropped
        restart = (slope * moved).sum(axis=0) > 0
        t_old = np.where(restart, 1.0, t[moving])
        t_new = (1 + np.sqrt(1 + 4 * t_old**2)) / 2
        ahead[:, moving] = new + np.where(restart, 0, (t_old - 1) / t_new) * moved
        at[:, moving], t[moving] = new, t_new
        # in units of log-loss: what the step can still gain, per molecule
        gain = (slope * step).sum(axis=0) / n
        moving = moving[gain > _LEAST_GAIN]
        if not len(moving):
            break
    return at[:-1].reshape(r, s, k), at[-1].reshape(s, k).astype(np.float64)


def _quality(predicted: npt.NDArray[np.floating], y: Floats, is_group: npt.NDArray[np.bool_]) -> Floats:
    """(k,) R2 of numbers, AUROC of groups; NaN where all of y are equal."""
    from acml_search.interpret.measures import aurocs, r_squared

    out = np.full(y.shape[1], np.nan)
    even = np.ones((1, len(y)))
    for i, group in enumerate(is_group):
        measure = aurocs if group else r_squared
        out[i] = measure(y[:, i], predicted[:, i].astype(np.float64), even)[0]
    return out
