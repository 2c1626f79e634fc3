"""Queries against a pool, with a model whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest

from acml_search.evaluation.data.structures import Pool, Query, choose, describe
from acml_search.evaluation.ranks import retrieval
from acml_search.evaluation.ranks.ranking import Every, SameFormula
from acml_search.evaluation.ranks.retrieval import Asked, Clock, rank_queries
from acml_search.evaluation.workers import Workers

POOL = ["CCO", "COC", "c1ccccc1O", "CC(=O)O", "CCN", "CCCC", "CC(C)C", "OCCO"]


def ask(smiles, pool=POOL, direction="to-molecule", filters=None):
    """The queries, each a row of one file, after ranking; and how many pool molecules were lost."""
    structures = describe([(text, "smiles", None) for text in pool])
    position = {structure.block: i for i, structure in enumerate(structures)}
    found = describe([(text, "smiles", None) for text in smiles])
    asked = [
        Asked(Query(i, None, {}, one), -1, one)
        if isinstance(one, str)
        else Asked(Query(i, one, {}, None), position[one.block])
        for i, one in enumerate(found)
    ]
    n_lost = rank_queries(
        asked,
        [one.query for one in asked],
        Pool(structures, 0),
        modality="smiles",
        derived=True,
        direction=direction,
        filters=filters or Every(),
        workers=Workers(1),
        seed=0,
        clock=Clock(),
    )
    return asked, n_lost


@pytest.mark.parametrize("direction", ["to-molecule", "to-record"])
def test_a_perfect_model_finds_every_molecule(hash_model, direction) -> None:
    asked, n_lost = ask(["CCO", "CCCC", "OCCO"], direction=direction)
    assert [one.rank for one in asked] == [1, 1, 1]
    assert [one.n_candidates for one in asked] == [8, 8, 8]
    assert [one.score for one in asked] == pytest.approx([1, 1, 1])
    assert n_lost == 0


@pytest.mark.parametrize("block", [1, 3, 100])
def test_the_size_of_blocks_does_not_matter(hash_model, monkeypatch, block) -> None:
    monkeypatch.setattr(retrieval, "BLOCK", block)
    hash_model.same = {"CCO", "COC", "CCN"}
    asked, _ = ask(["CCO", "OCCO", "CCN"])
    assert [one.rank for one in asked] == [3, 1, 3]


def test_molecules_with_one_vector_tie_and_nobody_wins(hash_model) -> None:
    hash_model.same = {"CCO", "COC"}
    asked, _ = ask(["CCO", "COC"])
    assert [one.rank for one in asked] == [2, 2]
    assert [one.best_other for one in asked] == [1, 0]


def test_a_bad_record_is_one_miss_and_spoils_no_other(hash_model) -> None:
    hash_model.bad = {"CCN"}
    asked, _ = ask(["CCO", "CCN", "not a molecule", "OCCO"])
    assert [one.rank for one in asked] == [1, np.inf, np.inf, 1]
    assert asked[1].error == "this smiles record cannot be used: spoilt"
    assert "not a molecule" in asked[2].error


def test_a_vector_that_is_not_finite_is_a_miss_not_a_win(hash_model) -> None:
    hash_model.nan = {"CCN"}
    asked, n_lost = ask(["CCO", "CCN"])
    assert [one.rank for one in asked] == [1, np.inf]
    assert asked[1].error == "the model gave no finite vector"
    assert n_lost == 1


def test_a_truth_without_a_vector_is_a_miss(hash_model) -> None:
    hash_model.bad = {"CCN"}
    asked, n_lost = ask(["CCN", "CCO"], direction="to-record")
    assert [one.rank for one in asked] == [np.inf, 1]
    assert asked[0].error == "the true molecule has no vector in the pool"
    assert n_lost == 1


def test_records_are_never_the_canonical_spelling_where_there_is_another(hash_model) -> None:
    ask(["c1ccccc1O", "CC(=O)O"])
    assert len(hash_model.records) == 2
    assert not {"Oc1ccccc1", "CC(=O)O"} & set(hash_model.records)


def test_a_filter_is_applied_to_the_truths_own_formula(hash_model) -> None:
    structures = describe([(text, "smiles", None) for text in POOL])
    codes = Pool(structures, 0).formula_codes()
    asked, _ = ask(["CCO", "CCCC", "OCCO"], filters=Every((SameFormula(codes),)))
    assert [one.n_candidates for one in asked] == [2, 2, 1]


def test_a_choice_of_queries_is_seeded_and_keeps_their_order() -> None:
    queries = [Query(i, None, {}, None) for i in range(100)]
    few = [query.row for query in choose(queries, 10, seed=1)]
    assert few == sorted(few)
    assert few == [query.row for query in choose(queries, 10, seed=1)]
    assert few != [query.row for query in choose(queries, 10, seed=2)]
    assert choose(queries, None, seed=1) == queries == choose(queries, 100, seed=1)
