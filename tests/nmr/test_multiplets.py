"""Signals of 1H: read, and assigned to the protons of candidates; against every assignment there is."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acml_search.core.errors import InvalidRecord
from acml_search.nmr.assign import Groups
from acml_search.nmr.multiplets import (
    CLASSES,
    EDGES,
    SignalCosts,
    assign_signals,
    bin_of,
    class_of,
    log_likelihoods,
    read_signals,
)
from acml_search.nmr.predicted import ALIPHATIC, AROMATIC, HETERO, PARTNERS, Coupling

BARE = SignalCosts(multiplicity=0.0, coupling=0.0)


def groups(*sets, spread=0.1, present=0.9) -> Groups:
    """sets: (ppm, atoms, hydrogens, kind, partners, special), by position."""
    position = np.array([one[0] for one in sets], float)
    columns = [np.array(column) for column in zip(*(one[1:4] for one in sets), strict=True)]
    partners = np.array([PARTNERS.index(tuple(sorted(one[4], reverse=True))) for one in sets])
    special = np.array([one[5] for one in sets], bool)
    coupling = Coupling(*columns, partners, special, np.zeros(len(sets), bool))
    n = len(sets)
    atoms = [[i] for i in range(n)]
    none = np.zeros(n, np.uint8)
    return Groups(position, np.full(n, spread), np.full(n, present), atoms, none, coupling.bits())


ETHYL = groups(
    (1.2, 1, 3, ALIPHATIC, (2, 0, 0), False),
    (2.6, 1, 1, HETERO, (0, 0, 0), False),
    (3.7, 1, 2, ALIPHATIC, (3, 0, 0), False),
)
LINE = {"shifts": [3.72, 1.21], "counts": [2, 3], "multiplicity": ["q", "t"], "couplings": [[7.0], [7.0]]}


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("br s", "s"), ("brs", "s"), ("bs", "s"), ("br", "s"), ("s, br", "s"), ("app t", "t"), ("S", "s"),
        ("p", "quint"), ("quin", "quint"), ("hept", "sept"), ("sep", "sept"), ("td", "dt"), ("t of d", "dt"),
        ("dd", "dd"), ("AA'BB'", "other"), ("m", "m"), ("multiplet", "m"), ("br. d", "d"), ("d, br.", "d"),
    ],
)  # fmt: skip
def test_words_of_multiplicity(word, expected) -> None:
    assert CLASSES[class_of(word)] == expected


def test_nothing_stated_is_no_class() -> None:
    assert class_of(None) == class_of("") == class_of(" - ") == -1


def test_signals_come_by_position_with_what_is_stated() -> None:
    found = read_signals(LINE)
    assert found.position.tolist() == [1.21, 3.72]
    assert found.protons.tolist() == [3, 2]
    assert [CLASSES[kind] for kind in found.kind] == ["t", "q"]
    assert found.low.tolist() == found.high.tolist() == found.position.tolist()
    assert read_signals([3.0, 1.0]).protons.tolist() == [0, 0]
    wide = read_signals({"shifts": [7.3, 1.0], "low": [7.35, None], "high": [7.25, None]})
    assert (wide.low.tolist(), wide.high.tolist()) == ([1.0, 7.25], [1.0, 7.35])


def test_a_shift_listed_for_each_proton_is_one_signal() -> None:
    record = {"shifts": [3.7, 1.2, 1.2, 3.7], "multiplicity": ["q", "", "t", "q"]}
    found = read_signals(record)
    assert found.position.tolist() == [1.2, 3.7]
    assert [CLASSES[kind] for kind in found.kind] == ["t", "q"]
    assert not found.protons.any()


def test_lists_of_two_lengths_are_refused() -> None:
    with pytest.raises(InvalidRecord, match="1 counts for 2 shifts"):
        read_signals({"shifts": [1.0, 2.0], "counts": [3]})


def test_signals_are_the_protons_they_fit() -> None:
    signals = read_signals(LINE)
    (found,) = assign_signals(signals, [ETHYL], SignalCosts())
    assert found.runs == [[0], [2]]
    assert not found.unseen  # the OH need not be seen
    assert found.log_likelihood == pytest.approx(
        log_likelihoods(read_signals(LINE), [ETHYL], SignalCosts())[0]
    )


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"counts": [2, 6]}, "protons that do not add up"),
        ({"multiplicity": ["s", "s"]}, "multiplicities of other neighbours"),
        ({"shifts": [5.0, 1.21]}, "a shift that is far off"),
    ],
)
def test_what_contradicts_costs(change, why) -> None:
    right, wrong = (
        log_likelihoods(read_signals(r), [ETHYL], SignalCosts())[0] for r in (LINE, LINE | change)
    )
    assert wrong < right - 2, why


def test_overlapping_protons_are_one_multiplet() -> None:
    phenyl = groups(
        (7.26, 1, 1, AROMATIC, (1, 1, 0), True),
        (7.29, 2, 1, AROMATIC, (1, 0, 0), True),
        (7.35, 2, 1, AROMATIC, (1, 1, 0), True),
    )
    record = {"shifts": [7.3], "low": [7.25], "high": [7.4], "counts": [5], "multiplicity": ["m"]}
    (found,) = assign_signals(read_signals(record), [phenyl], SignalCosts())
    assert found.runs == [[0, 1, 2]]
    three = log_likelihoods(read_signals(record | {"counts": [3]}), [phenyl], SignalCosts())[0]
    assert three < found.log_likelihood


def test_two_protons_of_a_ch2_may_be_two_signals() -> None:
    ring = groups((1.8, 1, 2, ALIPHATIC, (2, 0, 0), True))
    plain = groups((1.8, 1, 2, ALIPHATIC, (2, 0, 0), False))
    two = read_signals({"shifts": [1.7, 1.9], "counts": [1, 1]})
    found = assign_signals(two, [ring, plain], BARE)
    assert found[0].runs == [[0], [0]]
    assert found[0].log_likelihood > found[1].log_likelihood


def test_an_exchangeable_proton_explains_a_signal_anywhere() -> None:
    line = read_signals({"shifts": [1.2, 3.7, 5.3], "counts": [3, 2, 1], "multiplicity": ["t", "q", "br s"]})
    without = groups(*[(1.2, 1, 3, ALIPHATIC, (2, 0, 0), False), (3.7, 1, 2, ALIPHATIC, (3, 0, 0), False)])
    found = assign_signals(line, [ETHYL, without], BARE)
    assert [one.runs for one in found] == [[[0], [2], [1]], [[0], [1], []]]
    assert found[0].log_likelihood - found[1].log_likelihood == pytest.approx(BARE.extra - BARE.exchangeable)


def test_company_and_emptiness_change_nothing() -> None:
    signals = read_signals(LINE)
    empty = groups((2.0, 1, 1, HETERO, (0, 0, 0), False))
    together = log_likelihoods(signals, [empty, ETHYL], SignalCosts())
    assert together[1] == pytest.approx(log_likelihoods(signals, [ETHYL], SignalCosts())[0])
    assert np.isfinite(together).all()
    assert len(log_likelihoods(signals, [], SignalCosts())) == 0


def test_couplings_have_bins() -> None:
    assert [bin_of(x) for x in (0.5, EDGES[0], 20.0)] == [0, 1, len(EDGES)]


ppm = st.floats(0, 3).map(lambda x: round(x, 1))


@settings(max_examples=60, deadline=None)
@given(
    shifts=st.lists(st.tuples(ppm, st.integers(0, 4)), min_size=1, max_size=3, unique_by=lambda x: x[0]),
    sets=st.lists(st.tuples(ppm, st.integers(1, 3)), min_size=1, max_size=4, unique_by=lambda x: x[0]),
    shared=st.floats(0.1, 3),
)
def test_no_assignment_is_better_and_none_in_order_either(shifts, sets, shared) -> None:
    costs = SignalCosts(multiplicity=0.0, coupling=0.0, shared=shared)
    shifts, sets = sorted(shifts), sorted(sets)
    candidate = groups(*[(at, 1, n, ALIPHATIC, (0, 0, 0), False) for at, n in sets])
    record = {"shifts": [at for at, _ in shifts], "counts": [n or None for _, n in shifts]}
    (found,) = assign_signals(read_signals(record), [candidate], costs)
    every = {
        places: likelihood(places, shifts, sets, costs)
        for places in itertools.product(range(len(shifts) + 1), repeat=len(sets))
    }
    in_order = [
        x
        for x in every
        if (seen := [i for i in x if i < len(shifts)]) == sorted(seen) and runs(x, len(shifts))
    ]
    assert max(every[x] for x in in_order) - 1e-9 <= found.log_likelihood <= max(every.values()) + 1e-9
    places = [
        next((i for i, run in enumerate(found.runs) if j in run), len(shifts)) for j in range(len(sets))
    ]
    assert found.log_likelihood == pytest.approx(every[tuple(places)])


def runs(places, unseen) -> bool:
    """Are the sets of each signal neighbours?"""
    return all(len(list(same)) == places.count(i) for i, same in itertools.groupby(places) if i < unseen)


def likelihood(places, shifts, sets, costs) -> float:
    """Of one assignment: the signal of each set, or their number where it is not seen."""
    present, width, total = 0.9, costs.wider * 0.1, 0.0
    for i, (at, count) in enumerate(shifts):
        run = [j for j, place in enumerate(places) if place == i]
        total -= costs.shared * (len(run) - 1) if run else costs.extra
        for j in run:
            error = abs(at - sets[j][0]) / width
            near = (1 - costs.tail) * math.exp(-error)
            near += costs.tail / costs.reach * math.exp(-error / costs.reach)
            total += math.log(near + 1e-300) - math.log(2 * width) + math.log(present)
        off = abs(sum(sets[j][1] for j in run) - count)
        total -= (costs.miscounted + costs.each * off) if run and count and off else 0
    return total + places.count(len(shifts)) * (math.log(1 - present) - costs.missing)


def test_a_wide_multiplet_may_lie_over_other_signals() -> None:
    arene = [
        (at, n, 1, AROMATIC, (1, 1, 0), True)
        for at, n in ((7.18, 1), (7.25, 4), (7.30, 1), (7.37, 1), (7.4, 4))
    ]
    record = {"shifts": [7.33, 7.3, 7.18], "low": [None, 7.2, None], "high": [None, 7.45, None]}
    (found,) = assign_signals(read_signals(record | {"counts": [1, 9, 1]}), [groups(*arene)], BARE)
    assert found.runs == [[0], [1, 3, 4], [2]] or found.runs == [[0], [1, 2, 4], [3]]
    assert not found.unseen
