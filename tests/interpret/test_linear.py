"""Probes are the optima scikit-learn finds; splits keep scaffolds whole; measures are scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import r2_score, roc_auc_score

from acml_search.interpret.linear import Scaler, _solve, deal, fit, folds
from acml_search.interpret.measures import aurocs, interval, r_squared, resamples


def data(n: int, f: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Correlated features (n, f) float32, and two numbers and two groups that depend on them."""
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(n, f)) @ rng.normal(size=(f, f))).astype(np.float32)
    x = Scaler.of(x)(x)
    signal = x @ rng.normal(size=(f, 4)) / np.sqrt(f)
    y = signal + rng.normal(size=(n, 4))
    y[:, 2:] = y[:, 2:] > 0.5
    return x, y


@pytest.mark.parametrize(("n", "f"), [(200, 20), (60, 90)])
@pytest.mark.parametrize("strength", [1.0, 30.0])
def test_the_optimum_is_that_of_scikit_learn(n: int, f: int, strength: float) -> None:
    x, y = data(n, f)
    weights, bias = _solve(x, y, np.array([False, False, True, True]), (strength,), 2_000)
    penalty = strength * n / 1000
    ridge = Ridge(alpha=penalty).fit(x, y[:, :2])
    assert np.abs(weights[:, 0, :2] - ridge.coef_.T).max() < 2e-3
    assert np.abs(bias[0, :2] - ridge.intercept_).max() < 1e-3
    for i in (2, 3):
        one = LogisticRegression(C=1 / penalty, tol=1e-8, max_iter=5_000).fit(x, y[:, i])
        ours, theirs = x @ weights[:, 0, i] + bias[0, i], one.decision_function(x)
        assert np.corrcoef(ours, theirs)[0, 1] > 0.999
        assert _loss(x, y[:, i], weights[:, 0, i], bias[0, i], penalty) == pytest.approx(
            _loss(x, y[:, i], one.coef_[0], one.intercept_[0], penalty), rel=2e-3
        )


def _loss(x: np.ndarray, y: np.ndarray, w: np.ndarray, b: float, penalty: float) -> float:
    logit = x @ w + b
    return float(np.logaddexp(0, logit).sum() - (y * logit).sum() + penalty / 2 * (w**2).sum())


def test_several_strengths_at_once_are_each_alone() -> None:
    x, y = data(150, 12)
    groups = np.array([False, True, False, True])
    y[:, [1]] = y[:, [1]] > 0
    together, bias = _solve(x, y, groups, (0.1, 10.0), 2_000)
    for s, strength in enumerate((0.1, 10.0)):
        alone, own = _solve(x, y, groups, (strength,), 2_000)
        assert np.abs(together[:, s] - alone[:, 0]).max() < 5e-3
        assert np.abs(bias[s] - own[0]).max() < 5e-3


def test_a_probe_learns_what_is_there_and_holds_back_from_noise() -> None:
    rng = np.random.default_rng(1)
    x, y = data(400, 15)
    y[:, 1] = rng.normal(size=400)  # has nothing to do with x
    rows = np.arange(400)
    probes = fit(x[:300], y[:300], np.array([False, False, True, True]), rows[:300], seed=0)
    found = probes(x[300:])
    assert r2_score(y[300:, 0], found[:, 0]) > 0.3
    assert r2_score(y[300:, 1], found[:, 1]) > -0.1
    assert probes.strengths[1] == max(probes.strengths)
    assert roc_auc_score(y[300:, 2], found[:, 2]) > 0.7


def test_groups_stay_whole_and_parts_get_their_share() -> None:
    groups = np.random.default_rng(0).integers(0, 60, 500)
    part = deal(groups, [0.75, 0.25], seed=3)
    assert all(len(set(part[groups == g])) == 1 for g in range(60))
    assert 0.7 < (part == 0).mean() < 0.8
    assert np.array_equal(part, deal(groups, [0.75, 0.25], seed=3))
    tested = np.concatenate([test for _, test in folds(groups, 3, 0)])
    assert sorted(tested) == list(range(500))
    for train, test in folds(groups, 3, 0):
        assert not set(groups[train]) & set(groups[test])


def test_measures_agree_with_scikit_learn_in_every_resample() -> None:
    rng = np.random.default_rng(0)
    y = (rng.random(60) < 0.3).astype(float)
    score = (rng.normal(size=60) + y).round(1)  # with ties
    number = rng.normal(size=60) + 100
    counts = resamples(60, seed=0, number=20)
    assert (counts[0] == 1).all()
    assert (counts.sum(axis=1) == 60).all()
    for row, auroc, r2 in zip(
        counts, aurocs(y, score, counts), r_squared(number, score, counts), strict=True
    ):
        assert auroc == pytest.approx(roc_auc_score(y, score, sample_weight=row), abs=1e-6)
        assert r2 == pytest.approx(r2_score(number, score, sample_weight=row), rel=1e-9)


def test_what_cannot_be_measured_is_nan() -> None:
    counts = resamples(5, seed=0, number=3)
    assert np.isnan(aurocs(np.zeros(5), np.arange(5.0), counts)).all()
    assert np.isnan(r_squared(np.ones(5), np.arange(5.0), counts)).all()
    assert np.isnan(interval(np.array([np.nan]))).all()
    assert interval(np.array([1.0, np.nan, 1.0])) == (1.0, 1.0)
