"""Hydrogens attached to carbons, as DEPT tells them."""

from __future__ import annotations

import numpy as np
import pytest

from acml_search.core.errors import InvalidRecord
from acml_search.nmr.dept import ANY, is_told, observed, word


def test_words_and_letters_say_the_same() -> None:
    words = {"shifts": [10.0, 20.0, 30.0, 40.0], "multiplicity": ["CH3", "CH2", "CH", "C"]}
    letters = {"shifts": [10.0, 20.0, 30.0, 40.0], "multiplicity": ["Q", "t", "D", "s"]}
    positions = np.array([10.0, 20.0, 30.0, 40.0], np.float32)
    assert observed(positions, words).attached.tolist() == [8, 4, 2, 1]
    assert observed(positions, letters).attached.tolist() == [8, 4, 2, 1]


def test_what_is_not_known_may_be_anything() -> None:
    record = {"shifts": [10.0, 20.0], "multiplicity": ["", None]}
    assert observed([10.0, 20.0], record).attached.tolist() == [ANY, ANY]
    assert observed([10.0], {"shifts": [10.0]}).attached.tolist() == [ANY]
    assert observed([10.0], [10.0]).attached.tolist() == [ANY]
    assert not is_told(record)
    assert not is_told({"shifts": [10.0], "multiplicity": None})
    assert is_told({"shifts": [10.0, 20.0], "multiplicity": ["", "CH"]})


def test_carbons_of_one_shift_may_be_either() -> None:
    """Two carbons at 128.5 ppm are one peak: CH or C."""
    record = {"shifts": [128.5, 20.0, 128.5], "multiplicity": ["CH", "CH3", "C"]}
    assert observed([20.0, 128.5], record).attached.tolist() == [8, 3]
    assert word(3) == "C or CH"


def test_an_entry_that_lacks_is_named() -> None:
    with pytest.raises(InvalidRecord, match="1 multiplicities for 2 shifts"):
        observed([10.0, 20.0], {"shifts": [10.0, 20.0], "multiplicity": ["CH"]})
