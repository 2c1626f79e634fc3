"""Filters as values: what is accepted, and what the catalogue is asked."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acml_search.errors import FilterError
from acml_search.search.filters import Filters


class Asked:
    """A catalogue that remembers the question and answers with `keys`."""

    def __init__(self, *keys: int) -> None:
        self.answer = np.array(keys, np.int64)
        self.question: dict[str, Any] | None = None

    def keys(self, **question: Any) -> np.ndarray:
        self.question = question
        return self.answer

    def count(self) -> int:
        return 12_345


def test_no_condition_asks_nothing() -> None:
    catalog = Asked(1)
    assert Filters().keys(catalog) is None
    assert catalog.question is None
    assert not Filters()


def test_conditions_reach_the_catalogue_in_its_own_terms() -> None:
    catalog = Asked(1, 5)
    keys = Filters(where="a > 1", formula="O4H8C9", mass=200.0, tol_ppm=50).keys(catalog)
    assert keys is not None
    assert keys.tolist() == [1, 5]
    assert catalog.question == {
        "where": "a > 1",
        "formula": "C9H8O4",
        "mass": 200.0,
        "tol_da": pytest.approx(0.01),
    }


@given(mass=st.floats(1, 5000), ppm=st.floats(0, 1000))
def test_ppm_is_relative_to_the_mass(mass: float, ppm: float) -> None:
    assert Filters(mass=mass, tol_ppm=ppm).half_width == pytest.approx(mass * ppm / 1e6)


def test_ten_ppm_unless_told() -> None:
    assert Filters(mass=100.0).half_width == pytest.approx(0.001)
    assert Filters(mass=100.0, tol_da=0.5).half_width == 0.5


def test_nothing_passing_is_said_with_the_filter_and_the_count() -> None:
    with pytest.raises(FilterError, match=r"none of the 12,345 .* formula C6H6 and mass 78\.04695 ± 10 ppm"):
        Filters(formula="C6H6", mass=78.04695).keys(Asked())


@pytest.mark.parametrize(
    ("conditions", "says"),
    [
        ({"where": "  "}, "empty"),
        ({"formula": "Xx"}, "no element"),
        ({"where": 5}, "give text"),
        ({"formula": 5}, "give text"),
        ({"mass": "46"}, "a number of Da"),
        ({"mass": 100.0, "tol_ppm": "5"}, "a number of ppm"),
        ({"mass": 0.0}, "more than zero"),
        ({"mass": -5.0}, "more than zero"),
        ({"mass": math.nan}, "more than zero"),
        ({"mass": math.inf}, "more than zero"),
        ({"mass": 100.0, "tol_ppm": -1.0}, "zero or more"),
        ({"mass": 100.0, "tol_da": math.nan}, "zero or more"),
        ({"mass": 100.0, "tol_da": 0.1, "tol_ppm": 10.0}, "give one"),
        ({"tol_ppm": 10.0}, "without a mass"),
        ({"tol_da": 0.1}, "without a mass"),
    ],
)
def test_what_makes_no_sense_is_refused(conditions: dict[str, Any], says: str) -> None:
    with pytest.raises(FilterError, match=says):
        Filters(**conditions)


def test_to_dict_says_what_is_applied() -> None:
    assert Filters(formula="H6C6", mass=78.0).to_dict() == {"formula": "C6H6", "mass": 78.0, "tol_ppm": 10.0}
