"""Assignments against hand-made cases and against every assignment there is; hydrogens from DEPT."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acml_search.core.errors import InvalidRecord
from acml_search.nmr import assign as module
from acml_search.nmr.assign import (
    ANY,
    Costs,
    DeptPeaks,
    Groups,
    assign_all,
    carbon_classes,
    dept_peaks,
    has_dept,
    log_likelihoods,
)

COSTS = Costs(
    alike=0.01, wider=1.0, floor=0.0, tail=0.1, reach=5.0, extra=6.0, missing=1.0, shared=2.0, split=4.0
)


def shown(position, spread=1.0, present=0.9, attached=ANY):
    """Predicted peaks of the atoms 3, 4, ... in that order, sorted as a comparison takes them."""
    n = len(position)
    order = np.argsort(position, kind="stable")
    position, spread, present = (
        np.broadcast_to(np.asarray(x, float), n)[order] for x in (position, spread, present)
    )
    kept = np.broadcast_to(np.asarray(attached, np.uint8), n)[order]
    return Groups(position, spread, present, [[3 + i] for i in order.tolist()], kept)


def assign(observed, groups, costs):
    return assign_all(observed, [groups], costs)[0]


def pair_score(error, spread=1.0, present=0.9, costs=COSTS):
    error = abs(error) / spread
    near = (1 - costs.tail) * math.exp(-error)
    far = costs.tail / costs.reach * math.exp(-error / costs.reach)
    return math.log(near + far) - math.log(2 * spread) + math.log(present)


ALONE = COSTS.extra + COSTS.missing - math.log(1 - 0.9)


@pytest.mark.parametrize(
    ("observed", "predicted", "pairs", "alone", "likelihood"),
    [
        ([20.5, 130.0], [130.0, 20.0], [(0, 0), (1, 1)], ([], []), pair_score(0.5) + pair_score(0)),
        ([20.0, 77.0], [20.0, 170.0], [(0, 0)], ([1], [1]), pair_score(0) - ALONE),
        # two predicted peaks on one observed, and one predicted peak that is split
        ([128.5], [128.3, 128.7], [(0, 0), (0, 1)], ([], []), 2 * pair_score(0.2) - COSTS.shared),
        ([161.6, 162.8], [162.2], [(0, 0), (1, 0)], ([], []), 2 * pair_score(0.6) - COSTS.split),
        # observed peaks keep their own numbers
        ([130.0, 50.0, 20.0], [20.0, 130.0], [(2, 0), (0, 1)], ([1], []), 2 * pair_score(0) - COSTS.extra),
        # a molecule without the nucleus
        ([1.0, 2.0], [], [], ([0, 1], []), -2 * COSTS.extra),
    ],
)
def test_cases_by_hand(observed, predicted, pairs, alone, likelihood):
    found = assign(observed, shown(predicted), COSTS)
    assert found.pairs == pairs
    assert (found.unmatched_observed, found.unmatched_predicted) == alone
    assert found.log_likelihood == pytest.approx(likelihood, rel=1e-5)


def test_the_better_molecule_is_the_likelier():
    observed = [14.1, 22.7, 60.5, 170.1]
    right, wrong = shown([14.0, 22.0, 60.0, 171.0]), shown([14.0, 40.0, 60.0, 128.0])
    assert assign(observed, right, COSTS).log_likelihood > assign(observed, wrong, COSTS).log_likelihood


def test_no_candidates_have_no_likelihoods():
    assert len(log_likelihoods([1.0], [], COSTS)) == 0


def test_a_peak_that_is_hopelessly_far_is_no_partner():
    found = assign([-1e6], shown([100.0], spread=0.1), COSTS)
    assert found.unmatched_observed == [0]
    assert np.isfinite(found.log_likelihood)


def test_batches_change_nothing(monkeypatch):
    rng = np.random.default_rng(4)
    candidates = [shown(rng.uniform(0, 50, size)) for size in (3, 0, 7, 2, 5)]
    observed = rng.uniform(0, 50, 4)
    whole = assign_all(observed, candidates, COSTS)
    monkeypatch.setattr(module, "PART", 2)
    parts = assign_all(observed, candidates, COSTS)
    for one, other in zip(whole, parts, strict=True):
        assert one.log_likelihood == pytest.approx(other.log_likelihood)
        assert one.pairs == other.pairs
    assert log_likelihoods(observed, candidates, COSTS) == pytest.approx(
        [x.log_likelihood for x in whole], rel=1e-5
    )


def every_assignment(observed, groups, costs):
    """The best of all ways that do not cross: each observed peak picks a set of groups, or none."""
    n, g = len(observed), len(groups.position)
    scores = [
        [
            pair_score(observed[i] - groups.position[j], groups.spread[j], groups.present[j], costs)
            for j in range(g)
        ]
        for i in range(n)
    ]
    alone = [costs.missing - math.log(1 - p) for p in groups.present.tolist()]

    @cache
    def best(i, used_by_last, used):
        """Best for peaks i.. ; `used` groups so far as a bit mask, `used_by_last` those of peak i - 1."""
        if i == n:
            return -sum(alone[j] for j in range(g) if not used >> j & 1)
        options = [best(i + 1, 0, used) - costs.extra]
        for chosen in range(1, 1 << g):
            members = [j for j in range(g) if chosen >> j & 1]
            goes_on = members[0] + 1 == used.bit_length()
            if members[0] + 1 < used.bit_length() or (goes_on and not chosen & used_by_last):
                continue  # only the last group may go on, and only to the next peak
            total = sum(scores[i][j] for j in members)
            total -= costs.shared * (len(members) - 1) + costs.split * goes_on
            options.append(total + best(i + 1, chosen, used | chosen))
        return max(options)

    return best(0, 0, 0)


ppm = st.floats(0, 30).map(lambda x: round(x, 1))


@settings(max_examples=60, deadline=None)
@given(
    observed=st.lists(ppm, min_size=1, max_size=4, unique=True),
    position=st.lists(ppm, min_size=1, max_size=4, unique=True),
    spread=st.floats(0.3, 4),
    present=st.floats(0.05, 0.99),
    shared=st.floats(0.1, 6),
    split=st.floats(0.1, 6),
)
def test_no_assignment_is_better(observed, position, spread, present, shared, split):
    costs = Costs(0.01, 1.0, 0.0, 0.1, 5.0, 6.0, 1.0, shared, split)
    groups = shown(position, spread, present)
    found = assign_all(observed, [groups], costs)[0]
    assert found.log_likelihood == pytest.approx(
        every_assignment(sorted(observed), groups, costs), rel=1e-5, abs=1e-4
    )
    assert found.log_likelihood == pytest.approx(added_up(found, observed, costs), rel=1e-5, abs=1e-4)


def added_up(found, observed, costs):
    """The likelihood added up from what an assignment says, which must account for every peak once."""
    groups = found.groups
    total = sum(
        pair_score(observed[i] - groups.position[j], groups.spread[j], groups.present[j], costs)
        for i, j in found.pairs
    )
    for (i, j), (later_i, later_j) in zip(found.pairs, found.pairs[1:], strict=False):
        total -= costs.shared * (i == later_i) + costs.split * (j == later_j)
    assert sorted({i for i, _ in found.pairs} | set(found.unmatched_observed)) == list(range(len(observed)))
    assert sorted({j for _, j in found.pairs} | set(found.unmatched_predicted)) == list(
        range(len(groups.position))
    )
    total -= costs.extra * len(found.unmatched_observed)
    return total - sum(costs.missing - math.log(1 - groups.present[j]) for j in found.unmatched_predicted)


def test_hydrogens_that_contradict_cost_what_they_should() -> None:
    """Two carbons alike in shift: the one that carries what DEPT says is the likelier."""
    costs = replace(COSTS, contradicted=3.0)
    right = shown([40.0], attached=4)
    wrong = shown([40.0], attached=2)
    observed = DeptPeaks(np.array([40.5]), np.array([4], np.uint8))
    likely = log_likelihoods(observed, [right, wrong], costs)
    assert likely[0] == pytest.approx(pair_score(0.5))
    assert likely[1] == pytest.approx(pair_score(0.5) - 3.0)
    silent = log_likelihoods([40.5], [right, wrong], costs)
    assert silent[0] == silent[1] == pytest.approx(pair_score(0.5))


def test_hydrogens_go_with_their_peaks_whatever_the_order() -> None:
    costs = replace(COSTS, contradicted=3.0)
    groups = shown([130.0, 20.0], attached=[2, 8])
    assert groups.attached.tolist() == [8, 2]
    observed = DeptPeaks(np.array([130.0, 20.0]), np.array([2, 8], np.uint8))
    found = assign_all(observed, [groups], costs)[0]
    assert found.log_likelihood == pytest.approx(2 * pair_score(0))
    other = DeptPeaks(np.array([130.0, 20.0]), np.array([8, 2], np.uint8))
    assert assign_all(other, [groups], costs)[0].log_likelihood == pytest.approx(2 * pair_score(0) - 6.0)


def test_words_and_letters_say_the_same() -> None:
    words = {"shifts": [10.0, 20.0, 30.0, 40.0], "multiplicity": ["CH3", "CH2", "CH", "C"]}
    letters = {"shifts": [10.0, 20.0, 30.0, 40.0], "multiplicity": ["Q", "t", "D", "s"]}
    positions = np.array([10.0, 20.0, 30.0, 40.0], np.float32)
    assert dept_peaks(positions, words).attached.tolist() == [8, 4, 2, 1]
    assert dept_peaks(positions, letters).attached.tolist() == [8, 4, 2, 1]


def test_what_is_not_known_may_be_anything() -> None:
    record = {"shifts": [10.0, 20.0], "multiplicity": ["", None]}
    assert dept_peaks([10.0, 20.0], record).attached.tolist() == [ANY, ANY]
    assert dept_peaks([10.0], {"shifts": [10.0]}).attached.tolist() == [ANY]
    assert dept_peaks([10.0], [10.0]).attached.tolist() == [ANY]
    assert not has_dept(record)
    fluorine = {"shifts": [161.5, 20.0], "multiplicity": ["d", "CH3"], "couplings": [[245.0], None]}
    assert dept_peaks([20.0, 161.5], fluorine).attached.tolist() == [8, ANY]
    assert not has_dept({"shifts": [10.0], "multiplicity": None})
    assert has_dept({"shifts": [10.0, 20.0], "multiplicity": ["", "CH"]})


def test_carbons_of_one_shift_may_be_either() -> None:
    """Two carbons at 128.5 ppm are one peak: CH or C."""
    record = {"shifts": [128.5, 20.0, 128.5], "multiplicity": ["CH", "CH3", "C"]}
    assert dept_peaks([20.0, 128.5], record).attached.tolist() == [8, 3]
    assert carbon_classes(3) == "C or CH"


def test_an_entry_that_lacks_is_named() -> None:
    with pytest.raises(InvalidRecord, match="1 multiplicities for 2 shifts"):
        dept_peaks([10.0, 20.0], {"shifts": [10.0, 20.0], "multiplicity": ["CH"]})
