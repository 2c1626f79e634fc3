"""Streamed ranks against a full score matrix, and the tie rule by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acml_search.evaluation.measures.metrics import TIE_TOLERANCE
from acml_search.evaluation.ranks.ranking import Every, MassWithin, Ranker, SameFormula


def rank(queries, pool, truth, *, filters=None, block=3, groups=None):
    """A `Ranker` fed with blocks of at least `block` rows, a molecule's rows kept together."""
    queries = np.asarray(queries, np.float32)
    pool = np.asarray(pool, np.float32)
    groups = np.arange(len(pool)) if groups is None else np.asarray(groups)
    truth = np.asarray(truth)
    scores = [(pool[groups == t] @ q).max() for q, t in zip(queries, truth, strict=True)]
    ranker = Ranker(queries, np.array(scores, dtype=np.float64), truth, filters or Every())
    low = 0
    while low < len(pool):
        high = min(low + block, len(pool))
        while high < len(pool) and groups[high] == groups[high - 1]:
            high += 1
        ranker.add(pool[low:high], groups[low:high])
        low = high
    return ranker


def test_rank_counts_those_that_score_higher() -> None:
    pool = [[1.0], [0.9], [0.8], [0.7]]
    assert rank([[1.0]] * 4, pool, [0, 1, 2, 3]).ranks.tolist() == [1, 2, 3, 4]


def test_a_tie_loses() -> None:
    # three candidates with one score: the truth shares it with two others and is third, never first
    assert rank([[1.0]], [[0.5], [0.5], [0.5], [0.1]], [1]).ranks.tolist() == [3]


def test_a_difference_within_the_tolerance_is_a_tie() -> None:
    within, beyond = 0.5 - TIE_TOLERANCE / 2, 0.5 - 3 * TIE_TOLERANCE
    assert rank([[1.0]], [[0.5], [within]], [0]).ranks.tolist() == [2]
    assert rank([[1.0]], [[0.5], [beyond]], [0]).ranks.tolist() == [1]


def test_the_best_wrong_candidate_is_kept() -> None:
    ranker = rank([[1.0], [1.0]], [[0.1], [0.9], [0.4], [0.8]], [1, 2])
    assert ranker.best_other.tolist() == [3, 1]
    assert ranker.best_other_score == pytest.approx([0.8, 0.9])


def test_a_molecule_scores_as_its_best_record() -> None:
    # molecule 0 has records 0.2 and 0.6, molecule 1 has 0.5, molecule 2 has 0.9 and 0.1
    ranker = rank([[1.0]], [[0.2], [0.6], [0.5], [0.9], [0.1]], [0], groups=[0, 0, 1, 2, 2], block=1)
    assert ranker.ranks.tolist() == [2]
    assert ranker.n_candidates.tolist() == [3]


def test_formula_filter_leaves_isomers_only() -> None:
    filters = Every((SameFormula(np.array([7, 8, 7, 8])),))
    ranker = rank([[1.0]], [[0.9], [1.0], [0.1], [0.2]], [2], filters=filters)
    assert ranker.ranks.tolist() == [2]  # 0.9 has the formula, 1.0 and 0.2 have not
    assert ranker.n_candidates.tolist() == [2]


def test_mass_filter_in_da_and_ppm() -> None:
    masses = np.array([300.0, 300.02, 300.004, 299.5])
    pool = [[0.1], [0.9], [0.8], [0.7]]
    near = rank([[1.0]], pool, [0], filters=Every((MassWithin(masses, da=0.01),)))
    wide = rank([[1.0]], pool, [0], filters=Every((MassWithin(masses, ppm=100),)))  # 0.03 Da
    assert (near.ranks[0], near.n_candidates[0]) == (2, 2)
    assert (wide.ranks[0], wide.n_candidates[0]) == (3, 3)


def test_without_a_rival_the_truth_is_first_of_one() -> None:
    ranker = rank([[1.0]], [[0.3], [0.9]], [0], filters=Every((SameFormula(np.array([1, 2])),)))
    assert (ranker.ranks[0], ranker.n_candidates[0], ranker.best_other[0]) == (1, 1, -1)


@settings(deadline=None, max_examples=50)
@given(
    seed=st.integers(0, 2**16),
    n_pool=st.integers(1, 40),
    n_queries=st.integers(1, 12),
    block=st.integers(1, 41),
    grid=st.booleans(),
)
def test_streamed_ranks_are_those_of_the_whole_matrix(seed, n_pool, n_queries, block, grid) -> None:
    rng = np.random.default_rng(seed)
    pool = rng.standard_normal((n_pool, 4)).astype(np.float32)
    if grid:  # many exact ties
        pool = np.sign(pool)
    truth = rng.integers(0, n_pool, n_queries)
    queries = rng.standard_normal((n_queries, 4)).astype(np.float32).round(1)
    scores = queries.astype(np.float64) @ pool.astype(np.float64).T
    expected = [
        1 + sum(s >= row[t] - TIE_TOLERANCE for i, s in enumerate(row) if i != t)
        for row, t in zip(scores, truth, strict=True)
    ]
    assert rank(queries, pool, truth, block=block).ranks.tolist() == expected
