"""The number of hydrogens by a 1H spectrum, and how well molecules fit it."""

from __future__ import annotations

import numpy as np
import pytest

from acml_search.nmr.hydrogens import hydrogen_prior, stated_hydrogens


@pytest.mark.parametrize(
    ("counts", "total"),
    [
        ([3, 2, 1], 6),
        ([3, 2, 1, None], 6),
        ([3, None], None),
        ([None], None),
        ([0, 3, 3, 3], 9),
        ([], None),
    ],
)
def test_most_signals_must_state_a_count(counts: list[int | None], total: int | None) -> None:
    assert stated_hydrogens(counts) == total


@pytest.mark.parametrize(
    ("hydrogens", "exchangeable", "prior"),
    [
        (10, 0, 0.0),
        (12, 2, -2.0),  # two OH that the line does not list
        (10, 2, 0.0),  # two that it lists
        (9, 0, -4.25),
        (13, 2, -4.25),
        (2, 0, -8.0),
        (60, 1, -8.0),
    ],
)
def test_what_does_not_fit_costs_little_by_little(hydrogens: int, exchangeable: int, prior: float) -> None:
    assert hydrogen_prior(10, [hydrogens], [exchangeable]) == pytest.approx([prior])


def test_several_spectra_at_once() -> None:
    found = hydrogen_prior(np.array([[10], [8]]), np.array([10, 8], np.uint16), np.zeros(2, np.uint16))
    assert found == pytest.approx(np.array([[0.0, -5.0], [-5.0, 0.0]]))
