"""Nested pools by hand: the truth and the first others of one order, ties and failures as everywhere."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from acml_search.evaluation.data.structures import Query
from acml_search.evaluation.ranks.pools import NestedPools, fitting, summary
from acml_search.evaluation.ranks.ranking import Ranker
from acml_search.evaluation.ranks.retrieval import Asked
from acml_search.evaluation.rerank.rescoring import Listing

# molecule 0 to 5, and the order in which they enter
SCORES = np.array([0.5, 0.9, 0.5, 0.1, 0.7, 0.6], np.float32)
ORDER = np.array([3, 1, 4, 0, 2, 5])


def ranks_in(sizes, truths, kind=Ranker, missing=()):
    nested = NestedPools(tuple(sizes), ORDER)
    table = SCORES[:, None]
    truths = np.array(truths)
    ranker = kind(np.ones((len(truths), 1), np.float32), SCORES[truths].astype(np.float64), truths)

    def vectors(positions):
        kept = positions[~np.isin(positions, missing)]
        return kept, table[kept]

    return dict(nested.rank(ranker, vectors))


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
    for size, one in ranks_in([3, 5], [0, 5], kind=Listing).items():
        listed = [sorted(row[row >= 0].tolist()) for row in one.listed]
        # truth 0 stands fourth: of 5 it sees all but 5; truth 5 stands last
        assert listed == {3: [[1, 3], [1, 3]], 5: [[1, 2, 3, 4], [0, 1, 3, 4]]}[size]


def test_the_order_is_seeded_and_own_files_come_first() -> None:
    one, other = NestedPools.of([5, 2], 4, 3, seed=0), NestedPools.of([5, 2], 4, 3, seed=0)
    assert one.sizes == (2, 5)
    assert one.order.tolist() == other.order.tolist()
    assert sorted(one.order[:4].tolist()) == [0, 1, 2, 3]
    assert sorted(one.order[4:].tolist()) == [4, 5, 6]
    orders = {tuple(NestedPools.of([2], 4, 3, seed=seed).order.tolist()) for seed in range(9)}
    assert len(orders) > 1
    with pytest.raises(ValueError, match="from 7 molecules"):
        NestedPools.of([8], 4, 3, seed=0)
    assert fitting([2, 7, 8], 7) == ([2, 7], [8])


def test_a_failed_query_is_a_miss_in_every_pool() -> None:
    asked = [
        Asked(Query(0, None, {}, "unreadable"), -1, "unreadable"),
        Asked(Query(1, None, {}, None), 3, rank=1.0, n_candidates=10),
    ]
    found = summary(10, asked, [-1, 3], ks=(1, 5), seed=0)
    assert found["recall"] == {"1": 0.5, "5": 0.5}
    assert found["mrr"] == 0.5
    assert found["chance"]["1"] == pytest.approx(0.1)
    assert found["ci95"]["1"] == [0.0, 1.0]


def test_a_suite_tells_recall_by_pool(done) -> None:
    folder, _, _ = done
    result = json.loads((folder / "results" / "carbon.json").read_text())
    assert [one["n_pool"] for one in result["by_pool"]] == [3, 10, 20]
    assert [one["n_from_large"] for one in result["by_pool"]] == [0, 0, 3]
    recall = [one["recall"]["1"] for one in result["by_pool"]]
    assert recall == sorted(recall, reverse=True)  # nested: a rank never gets better in a larger pool
    assert [one["chance"]["1"] for one in result["by_pool"]] == pytest.approx([1 / 3, 0.1, 0.05], rel=0.3)
    rows = pq.read_table(folder / "results" / result["per_query_by_pool"]).to_pylist()
    of = {(row["n_pool"], row["row"]): row["rank"] for row in rows}
    whole = {row["row"]: row for row in pq.read_table(folder / "results" / result["per_query"]).to_pylist()}
    assert len(rows) == 3 * len(whole)
    for row, kept in whole.items():
        if kept["rank"] is None:
            assert of[3, row] is of[10, row] is of[20, row] is None
        else:
            assert of[3, row] <= of[10, row] <= kept["rank"] <= of[20, row]


def test_reranked_answers_have_pools_too(done) -> None:
    folder, _, _ = done
    result = json.loads((folder / "results" / "carbon.rerank.json").read_text())
    assert [one["n_pool"] for one in result["by_pool"]] == [3, 10, 20]
    formula = json.loads((folder / "results" / "carbon.formula.rerank.json").read_text())
    assert "by_pool" not in formula
