"""Order and probabilities."""

import numpy as np
import pytest

from acml_search.search.rank import TIE, own_first, softmax, tied_with_best


def test_probabilities_are_the_softmax_of_the_filled_places() -> None:
    keys = np.array([[5, 6, -1], [-1, -1, -1]])
    scores = np.array([[0.9, 0.8, -np.inf], [-np.inf] * 3], np.float32)
    p = softmax(scores, keys, scale=10.0)
    ratio = np.exp(10.0 * (np.float64(scores[0, 1]) - np.float64(scores[0, 0])))
    assert p[0] == pytest.approx([1 / (1 + ratio), ratio / (1 + ratio), 0.0])
    assert p[1].tolist() == [0.0, 0.0, 0.0]


def test_a_large_scale_does_not_overflow() -> None:
    p = softmax(np.array([[1.0, -1.0]], np.float32), np.array([[1, 2]]), scale=1e6)
    assert p[0].tolist() == [1.0, 0.0]


def test_ties_are_those_half_precision_cannot_tell_apart() -> None:
    keys = np.array([[1, 2, 3, -1]])
    scores = np.array([[0.9, 0.9 - TIE / 2, 0.9 - 2 * TIE, -np.inf]], np.float32)
    assert tied_with_best(scores, keys).tolist() == [2]
    assert tied_with_best(np.full((1, 2), -np.inf, np.float32), np.array([[-1, -1]])).tolist() == [0]


def test_own_molecule_goes_first_only_among_those_it_ties_with() -> None:
    names = ["A", "B", "OWN", "C"]
    assert own_first(names, tied=3, own="OWN").tolist() == [2, 0, 1, 3]
    assert own_first(names, tied=2, own="OWN").tolist() == [0, 1, 2, 3]
    assert own_first(names, tied=4, own="ELSE").tolist() == [0, 1, 2, 3]
