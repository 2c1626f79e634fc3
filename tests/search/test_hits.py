"""`Hits`: its shapes and fills."""

import numpy as np
import pytest

from acml_search.core.errors import ConfigError
from acml_search.search.results import Hits

HITS = Hits(keys=[[7, 3], [4, -1]], scores=[[0.9, 0.8], [0.5, 0.0]])


def test_lists_become_typed_arrays() -> None:
    assert (HITS.keys.dtype, HITS.keys.shape) == (np.int64, (2, 2))
    assert (HITS.scores.dtype, HITS.scores.shape) == (np.float32, (2, 2))


def test_one_query_may_be_given_flat() -> None:
    assert Hits([7, 3], [0.9, 0.8]).keys.shape == (1, 2)


def test_an_unfilled_place_scores_minus_infinity_whatever_it_came_with() -> None:
    assert HITS.scores[1, 1] == -np.inf
    assert HITS.counts.tolist() == [2, 1]


def test_it_does_not_write_to_the_callers_scores() -> None:
    scores = np.zeros((1, 1), np.float32)
    Hits(np.array([[-1]]), scores)
    assert scores[0, 0] == 0


@pytest.mark.parametrize("scores", [[[0.9]], [[0.9, 0.8, 0.7]], [[[0.9, 0.8]]]])
def test_shapes_that_differ_are_refused_by_name(scores: list) -> None:
    with pytest.raises(ConfigError, match=r"one shape \(nq, k\), not \(1, 2\)"):
        Hits([[7, 3]], scores)
