"""`Hits`: its shapes, fills and conversions."""

import sys

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


def test_arrow_has_a_row_per_hit_and_none_per_fill() -> None:
    table = HITS.to_arrow()
    assert table.to_pydict() == {
        "query": [0, 0, 1],
        "rank": [1, 2, 1],
        "key": [7, 3, 4],
        "score": [np.float32(0.9), np.float32(0.8), 0.5],
    }


def test_pandas() -> None:
    pytest.importorskip("pandas")
    assert HITS.to_pandas()["key"].tolist() == [7, 3, 4]


def test_without_pandas_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ConfigError, match="to_arrow"):
        HITS.to_pandas()


def test_repr_shows_keys_and_scores() -> None:
    assert repr(HITS) == "Hits(nq=2, k=2)\n  0: 7: 0.9000, 3: 0.8000\n  1: 4: 0.5000"
    assert "… 15 more" in repr(Hits(np.ones((20, 1)), np.ones((20, 1))))
    assert "no hits" in repr(Hits([[-1]], [[0]]))


def test_equality_is_of_values() -> None:
    assert Hits([[1]], [[0.5]]) == Hits([[1]], [[0.5]])
    assert Hits([[1]], [[0.5]]) != Hits([[2]], [[0.5]])
