"""Streamed ranks against a full score matrix, the tie rule by hand, and nested pools."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acml_search.evaluation.metrics import TIE_TOLERANCE
from acml_search.evaluation.pool import Query, Structure
from acml_search.evaluation.ranking import (
    Conditions,
    HydrogenBias,
    Ranker,
    pool_order,
    rank_in_pools,
    truth_scores,
)
from acml_search.evaluation.rescoring import Weights, shortlists
from acml_search.evaluation.results import QueryOutcome
from acml_search.nmr.hydrogens import hydrogen_prior


def rank(queries, pool, truth, *, filters=None, block=3, groups=None):
    """A `Ranker` fed with blocks of at least `block` rows, a molecule's rows kept together."""
    queries = np.asarray(queries, np.float32)
    pool = np.asarray(pool, np.float32)
    groups = np.arange(len(pool)) if groups is None else np.asarray(groups)
    truth = np.asarray(truth)
    scores = truth_scores(queries, truth, groups, pool)
    ranker = Ranker(queries, scores, truth, filters or Conditions())
    low = 0
    while low < len(pool):
        high = min(low + block, len(pool))
        while high < len(pool) and groups[high] == groups[high - 1]:
            high += 1
        ranker.add(pool[low:high], groups[low:high])
        low = high
    return ranker


MASSES = np.array([300.0, 300.02, 300.004, 299.5])
WITHIN, BEYOND = 0.5 - TIE_TOLERANCE / 2, 0.5 - 3 * TIE_TOLERANCE


@pytest.mark.parametrize(
    ("pool", "truth", "more", "expected"),
    [
        ([1.0, 0.9, 0.8, 0.7], 2, {}, (3, 4, 0)),
        ([0.1, 0.9, 0.4, 0.8], 1, {}, (1, 4, 3)),  # the best wrong one is kept
        ([0.5, 0.5, 0.5, 0.1], 1, {}, (3, 4, 0)),  # a tie loses: third, never first
        ([0.5, WITHIN], 0, {}, (2, 2, 1)),  # within the tolerance is a tie
        ([0.5, BEYOND], 0, {}, (1, 2, 1)),
        # a molecule scores as its best record: 0 has 0.2 and 0.6, 1 has 0.5, 2 has 0.9 and 0.1
        ([0.2, 0.6, 0.5, 0.9, 0.1], 0, {"groups": [0, 0, 1, 2, 2], "block": 1}, (2, 3, 2)),
        # 0.9 has the formula, 1.0 and 0.2 have not
        ([0.9, 1.0, 0.1, 0.2], 2, {"filters": Conditions(codes=np.array([7, 8, 7, 8]))}, (2, 2, 0)),
        ([0.1, 0.9, 0.8, 0.7], 0, {"filters": Conditions(masses=MASSES, da=0.01)}, (2, 2, 2)),
        ([0.1, 0.9, 0.8, 0.7], 0, {"filters": Conditions(masses=MASSES, ppm=100)}, (3, 3, 1)),  # 0.03 Da
        ([0.3, 0.9], 0, {"filters": Conditions(codes=np.array([1, 2]))}, (1, 1, -1)),  # first of one
    ],
)
def test_rank_candidates_and_best_other_by_hand(pool, truth, more, expected) -> None:
    ranker = rank([[1.0]], [[x] for x in pool], [truth], **more)
    assert (ranker.ranks[0], ranker.n_candidates[0], ranker.best_other[0]) == expected


def test_hydrogens_that_are_counted_count_with_the_scores() -> None:
    """Against the whole matrix; the truth's own hydrogens count, and one query counts none."""
    rng = np.random.default_rng(1)
    queries, pool = rng.normal(size=(4, 3)).astype(np.float32), rng.normal(size=(9, 3)).astype(np.float32)
    truth, observed = np.array([1, 8, 3, 5]), np.array([10, 7, -1, 12])
    hydrogens, exchangeable = rng.integers(6, 14, 9), rng.integers(0, 3, 9)
    prior = hydrogen_prior(observed[:, None], hydrogens, exchangeable)
    prior[2] = 0
    totals = queries @ pool.T + prior / 5
    own = totals[np.arange(4), truth][:, None]
    bias = HydrogenBias(observed, hydrogens, exchangeable, 5.0)
    scores = truth_scores(queries, truth, np.arange(9), pool)
    by_vector = Ranker(queries, scores, truth, depth=4, bias=bias)
    by_score = Ranker(queries, scores, truth, depth=4, bias=bias)
    for block in (np.arange(4), np.arange(4, 9)):
        by_vector.add(pool[block], block)
        by_score.add_scores(queries @ pool[block].T, block)
    for ranker in (by_vector, by_score):
        assert ranker.ranks.tolist() == (totals >= own).sum(axis=1).tolist()
        assert ranker.truth_scores == pytest.approx(own[:, 0])
    outcomes = [
        QueryOutcome(Query(i, Structure("C", str(i), "CH4", 16.0), {}, None), int(truth[i]), None)
        for i in range(4)
    ]
    lists = shortlists(outcomes, by_vector, range(4))
    cosines = np.take_along_axis(queries @ pool.T, lists.places, axis=1)
    assert lists.cosines == pytest.approx(cosines, abs=1e-6)
    assert lists.logits(Weights(5.0, 0.0)) == pytest.approx(
        5 * np.take_along_axis(totals, lists.places, axis=1), abs=1e-5
    )


def test_of_equal_candidates_the_first_in_the_pool_is_kept_whatever_the_order() -> None:
    ranker = Ranker(np.ones((1, 1), np.float32), np.array([0.1]), np.array([0]))
    for places in ([4, 5], [1, 3], [2]):
        ranker.add(np.full((len(places), 1), 0.5, np.float32), np.array(places))
    assert ranker.best_other.tolist() == [1]


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


# molecule 0 to 5, and the order in which they enter
SCORES = np.array([0.5, 0.9, 0.5, 0.1, 0.7, 0.6], np.float32)
ORDER = np.array([3, 1, 4, 0, 2, 5])


def ranks_in(sizes, truths, depth=None, missing=()):
    table = SCORES[:, None]
    truths = np.array(truths)
    scores = SCORES[truths].astype(np.float64)
    ranker = Ranker(np.ones((len(truths), 1), np.float32), scores, truths, depth=depth)

    def vectors(positions):
        kept = positions[~np.isin(positions, missing)]
        return kept, table[kept]

    return dict(rank_in_pools(ranker, sizes, ORDER, vectors))


def test_a_pool_is_the_truth_and_the_first_others_of_the_order() -> None:
    # Truth 0 (0.5), fourth in the order. Of 2: itself and 3 (0.1) -> 1st. Of 3: 3, 1 (0.9) -> 2nd.
    # Of 4: 3, 1, 4 (0.7) -> 3rd. Of 5: and 2, which has its score and wins the tie -> 4th. Of 6: 5 -> 5th.
    # Truth 3 (0.1), first in the order: always the last. Truth 5 (0.6), last: 3, 1, 4, 0, 2 enter before it.
    found = ranks_in([2, 3, 4, 5, 6], [0, 3, 5])
    assert {size: one.ranks.tolist() for size, one in found.items()} == {
        2: [1, 2, 1],
        3: [2, 3, 2],
        4: [3, 4, 3],
        5: [4, 5, 3],
        6: [5, 6, 3],
    }


def test_every_pool_has_its_size_for_every_query() -> None:
    for size, one in ranks_in([1, 2, 3, 4, 5, 6], range(6)).items():
        assert one.n_candidates.tolist() == [size] * 6


def test_a_molecule_without_a_vector_is_no_candidate() -> None:
    found = ranks_in([3, 6], [0], missing=[1])
    assert {size: (one.ranks.tolist(), one.n_candidates.tolist()) for size, one in found.items()} == {
        3: ([1], [2]),
        6: ([4], [5]),
    }


def test_shortlists_are_those_of_the_pool() -> None:
    for size, one in ranks_in([3, 5], [0, 5], depth=200).items():
        listed = [sorted(row[row >= 0].tolist()) for row in one.listed]
        # truth 0 stands fourth: of 5 it sees all but 5; truth 5 stands last
        assert listed == {3: [[1, 3], [1, 3]], 5: [[1, 2, 3, 4], [0, 1, 3, 4]]}[size]


def test_the_order_is_seeded() -> None:
    assert sorted(pool_order(7, 0).tolist()) == list(range(7))
    assert len({tuple(pool_order(7, seed).tolist()) for seed in (0, 0, 1, 2)}) == 3


def test_a_top_k_ranker_keeps_the_best_others_and_ranks_as_before() -> None:
    rng = np.random.default_rng(3)
    queries, table = (rng.normal(size=(n, 4)).astype(np.float32) for n in (7, 50))
    truth = rng.integers(0, 50, 7)
    scores = np.einsum("nd,nd->n", queries, table[truth])
    codes = rng.integers(0, 8, 50)
    for candidates in (Conditions(), Conditions(codes=codes)):
        listing, plain = (
            Ranker(queries, scores, truth, candidates, depth=6),
            Ranker(queries, scores, truth, candidates),
        )
        for ranker in (listing, plain):
            for low in range(0, 50, 16):
                ranker.add(table[low : low + 16], np.arange(low, min(low + 16, 50)))
        assert listing.ranks.tolist() == plain.ranks.tolist()
        for i in range(7):
            free = not candidates
            others = [j for j in range(50) if j != truth[i] and (free or codes[j] == codes[truth[i]])]
            best = sorted(others, key=lambda j: -float(queries[i] @ table[j]))[:5]
            assert sorted(listing.listed[i][listing.listed[i] >= 0]) == sorted(best)
