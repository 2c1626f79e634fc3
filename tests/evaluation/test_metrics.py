"""Every number here can be worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from acml_search.evaluation.metrics import (
    FAILED,
    bootstrap_interval,
    by_group_size,
    chance_hits_at_k,
    chance_reciprocal_ranks,
    group_size_summary,
    hits_at_k,
    per_molecule,
    reciprocal_ranks,
    summarise,
)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (hits_at_k([1, 2, 5, 6, FAILED], 5), [1, 1, 1, 0, 0]),
        (hits_at_k([FAILED], 10**9), [0]),
        (reciprocal_ranks([FAILED, 1, 4]), [0, 1, 0.25]),
        # molecule A: two hits of four, molecule B: one of one
        (per_molecule([1, 0, 1, 0, 1], ["A", "A", "A", "A", "B"]), [0.5, 1.0]),
        (chance_hits_at_k([1, 10, 100], 5), [1.0, 0.5, 0.05]),
        # the harmonic mean rank: 1; (1 + 1/2) / 2; (1 + 1/2 + 1/3 + 1/4) / 4
        (chance_reciprocal_ranks([1, 2, 4, 2]), [1, 0.75, 25 / 48, 0.75]),
        (bootstrap_interval([1.0] * 7), (1.0, 1.0)),
    ],
)
def test_figures_by_hand(found, expected) -> None:
    assert tuple(found) == pytest.approx(tuple(expected))


def test_per_molecule_refuses_lists_of_different_length() -> None:
    with pytest.raises(ValueError, match=r"\(2,\) and molecules \(1,\)"):
        per_molecule([1, 0], ["A"])


def test_interval_of_no_values_is_not_a_number() -> None:
    assert all(math.isnan(end) for end in bootstrap_interval([]))


def test_interval_is_that_of_the_binomial() -> None:
    # 80 of 100: standard error sqrt(.8 * .2 / 100) = 0.04, so 0.8 -+ 1.96 * 0.04
    low, high = bootstrap_interval([1.0] * 80 + [0.0] * 20, seed=3)
    assert low == pytest.approx(0.7216, abs=0.015)
    assert high == pytest.approx(0.8784, abs=0.015)


def test_interval_agrees_with_resampling_the_values_themselves() -> None:
    values = np.random.default_rng(1).choice([0.0, 0.25, 0.5, 1.0], size=300, p=[0.2, 0.3, 0.1, 0.4])
    rng = np.random.default_rng(2)
    means = [rng.choice(values, size=len(values)).mean() for _ in range(2_000)]
    assert bootstrap_interval(values) == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.01)


def test_interval_is_seeded() -> None:
    values = [0.0, 0.5, 1.0, 1.0]
    assert bootstrap_interval(values, seed=5) == bootstrap_interval(values, seed=5)


def test_summary() -> None:
    found = summarise([1, 3, FAILED, 2], ["A", "A", "B", "C"], [10, 10, 10, 10], ks=(1, 2))
    # at 1: A 1/2, B 0, C 0; at 2: A 1/2, B 0, C 1; reciprocal: A (1 + 1/3) / 2, B 0, C 1/2
    assert found["recall"] == {"1": pytest.approx(1 / 6), "2": pytest.approx(0.5)}
    assert found["mrr"] == pytest.approx((2 / 3 + 0 + 1 / 2) / 3)
    assert found["chance"] == {
        "1": pytest.approx(0.1),
        "2": pytest.approx(0.2),
        "mrr": pytest.approx(7381 / 2520 / 10),
    }
    assert set(found["ci95"]) == {"1", "2", "mrr"}
    assert found["ci95"]["1"][0] <= 1 / 6 <= found["ci95"]["1"][1]


def test_accuracy_by_the_size_of_the_group() -> None:
    # molecule 0 asks twice in a group of 2 (a hit, a miss), 1 in one of 4, 2 failed in one of 5
    found = by_group_size([1, 2, 1, np.inf], [0, 0, 1, 2], [2, 2, 4, 5])
    assert [one["size"] for one in found] == [[2, 2], [3, 5]]
    assert [one["n_molecules"] for one in found] == [1, 2]
    assert [one["accuracy"] for one in found] == [0.5, 0.5]
    assert [one["mrr"] for one in found] == [0.75, 0.5]
    assert [one["chance"] for one in found] == pytest.approx([0.5, (1 / 4 + 1 / 5) / 2])
    assert by_group_size([1.0], [0], [5_000])[0]["size"] == [1001, None]
    assert group_size_summary([2, 4, 6]) == {"median": 4.0, "mean": 4.0, "p90": pytest.approx(5.6), "max": 6}
