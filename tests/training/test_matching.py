"""Matching of peaks against trying every way."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acml_search.training.matching import match_peaks, match_sorted

ppm = st.lists(st.floats(0, 200, allow_nan=False).map(lambda x: round(x, 2)), min_size=1, max_size=6)


@settings(max_examples=200, deadline=None)
@given(ppm, ppm)
def test_no_other_choice_costs_less(a: list[float], b: list[float]) -> None:
    few, many = sorted((np.sort(a), np.sort(b)), key=len)
    partners = match_sorted(few, many)
    assert (np.diff(partners) > 0).all()
    best = min(np.abs(few - many[list(c)]).sum() for c in combinations(range(len(many)), len(few)))
    assert np.abs(few - many[partners]).sum() == pytest.approx(best)


def test_a_value_per_atom_is_matched_over_atoms() -> None:
    atoms, values, classes = match_peaks(np.array([128.0, 20.0, 128.0]), np.array([21.0, 129.0, 129.0]))
    assert sorted(zip(atoms.tolist(), values.tolist(), strict=True)) == [(0, 129.0), (1, 21.0), (2, 129.0)]
    assert classes == 2


def test_a_value_per_class_is_matched_over_classes() -> None:
    atoms, values, classes = match_peaks(np.array([128.0, 20.0, 128.0]), np.array([130.0, 19.0]))
    assert len(atoms) == 2
    assert 1 in atoms
    assert sorted(values.tolist()) == [19.0, 130.0]
    assert classes == 2


def test_missing_and_surplus_peaks_leave_the_far_ones_alone() -> None:
    atoms, values, _ = match_peaks(np.array([20.0, 60.0, 170.0]), np.array([171.0, 21.0]))
    assert sorted(zip(atoms.tolist(), values.tolist(), strict=True)) == [(0, 21.0), (2, 171.0)]
    atoms, values, _ = match_peaks(np.array([20.0, 60.0]), np.array([59.0, 77.2, 21.0]))
    assert sorted(zip(atoms.tolist(), values.tolist(), strict=True)) == [(0, 21.0), (1, 59.0)]
