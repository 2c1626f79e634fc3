"""Temperatures and calibration errors on cases whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from acml_search.core.errors import ConfigError
from acml_search.evaluation.calibration import (
    calibrate,
    calibration_errors,
    first_probability,
    fit_factor,
    is_first,
    negative_log_likelihood,
    reliability,
)
from acml_search.evaluation.fusion import Shortlists


def lists(cosines, truth_at=None, listed=None, inchikeys=None):
    """Shortlists of cosines, the truth's in column `truth_at` (default: the first)."""
    cosines = np.array(cosines, np.float64)
    n = len(cosines)
    rows, truth_at = np.arange(n), np.zeros(n, int) if truth_at is None else np.asarray(truth_at)
    cosines[rows, truth_at], cosines[:, 0] = cosines[:, 0].copy(), cosines[rows, truth_at].copy()
    listed = np.ones(n, bool) if listed is None else np.asarray(listed)
    keys = inchikeys or [f"BLOCK{i}" for i in range(n)]
    return Shortlists(cosines, np.zeros_like(cosines), np.zeros(cosines.shape, int), listed, keys)


def drawn(n, seed=3):
    """Five candidates each, the truth drawn by the softmax of 7 x cosine."""
    rng = np.random.default_rng(seed)
    cosines = np.sort(rng.uniform(0, 1, (n, 5)), axis=1)[:, ::-1]
    p = np.exp(7.0 * cosines)
    p /= p.sum(axis=1, keepdims=True)
    return cosines, (p.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)


def test_probability_is_the_softmax_of_scaled_cosines() -> None:
    two = lists([[0.9, 0.9], [0.9, 0.8]], [0, 0])
    assert first_probability(two, 10.0) == pytest.approx([0.5, 1 / (1 + np.exp(-1))])


def test_likelihood_by_hand() -> None:
    # 1 against 0 at scale ln 3: the truth has 3/4 when first, 1/4 when second
    one = lists([[1.0, 0.0], [1.0, 0.0]], [0, 1])
    assert negative_log_likelihood(one, np.log(3)) == pytest.approx(-(np.log(3 / 4) + np.log(1 / 4)) / 2)


def test_a_truth_that_the_shortlist_lacks_is_counted_and_left_out() -> None:
    cosines, truth_at = drawn(2_000)
    whole = lists(cosines, truth_at)
    listed = np.arange(2_500) < 2_000
    more = lists(np.concatenate([cosines, cosines[:500]]), np.concatenate([truth_at, truth_at[:500]]), listed)
    found, wanted = calibrate(more, None, 14.0), calibrate(whole, None, 14.0)
    assert found["scale"] == pytest.approx(wanted["scale"])
    assert found["inner"]["truth_in_shortlist"] == pytest.approx(0.8)
    assert found["inner"]["n_queries"] == 2_000


def test_the_fit_finds_the_temperature_that_made_the_data() -> None:
    made = lists(*drawn(20_000))
    assert fit_factor(made, 14.0) == pytest.approx(0.5, rel=0.05)
    found = calibrate(made, made.some(np.arange(len(made)) < 5_000), 14.0)
    assert found["scale"] == pytest.approx(7.0, rel=0.05)
    assert found["temperature"] == pytest.approx(2.0, rel=0.05)
    for part in ("inner", "valid"):
        assert found[part]["after"]["ece"] < 0.03 < 0.1 < found[part]["before"]["ece"]
        assert found[part]["after"]["brier"] < found[part]["before"]["brier"]


def test_records_of_one_molecule_weigh_together_as_one() -> None:
    blocks = ["A", "A", "A", "B"]
    four = lists([[1.0, 0.0]] * 4, [0, 0, 0, 1], inchikeys=blocks)
    two = lists([[1.0, 0.0]] * 2, [0, 1], inchikeys=["A", "B"])
    assert negative_log_likelihood(four, 2.0) == pytest.approx(negative_log_likelihood(two, 2.0))
    assert calibration_errors(first_probability(four, 2.0), four)["accuracy"] == pytest.approx(0.5)


def test_a_tie_for_the_first_place_is_not_right() -> None:
    assert is_first(lists([[0.5, 0.5], [0.5, 0.4]])).tolist() == [False, True]


def test_bins_hold_equal_weight_and_their_error_is_by_hand() -> None:
    p, right = [0.1, 0.2, 0.8, 0.9], [0, 1, 1, 1]
    bins = reliability(p, right, [1.0] * 4, bins=2)
    assert [one["probability"] for one in bins] == pytest.approx([0.15, 0.85])
    assert [one["accuracy"] for one in bins] == [0.5, 1.0]
    assert [one["weight"] for one in bins] == [0.5, 0.5]
    # heavier queries fill a bin alone
    assert [one["weight"] for one in reliability(p, right, [3.0, 1.0, 1.0, 1.0], bins=2)] == [0.5, 0.5]


def test_perfect_confidence_in_the_truth_has_no_error() -> None:
    sure = lists([[1.0, -1.0]] * 20, [0] * 20)
    found = calibration_errors(first_probability(sure, 100.0), sure)
    assert (found["ece"], found["brier"], found["accuracy"]) == pytest.approx((0, 0, 1))


def test_without_queries_there_is_no_temperature() -> None:
    with pytest.raises(ConfigError, match="no query to fit a temperature on"):
        fit_factor(lists(np.zeros((0, 5)), np.zeros(0, int)), 1.0)
