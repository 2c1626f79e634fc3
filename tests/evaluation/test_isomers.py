"""`bench isomers` on small files, against `bench recall` with the formula filter."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from acml_search.core.errors import ConfigError
from acml_search.evaluation.data.structures import Pool, Query, Structure
from acml_search.evaluation.isomers import isomer_result, measure_isomers
from acml_search.evaluation.measures.metrics import FAILED
from acml_search.evaluation.ranks.retrieval import Asked
from acml_search.evaluation.recall import RecallOptions, RetrievalOptions, measure_recall


def options(folder, model, kind=RetrievalOptions, **more):
    defaults = {
        "modality": "c_nmr",
        "queries": folder / "spectra.parquet",
        "library": [folder / "library.smi"],
        "out": folder / "out.json",
        "model": str(model),
        "workers": 1,
    }
    return kind(**(defaults | more))


def test_the_result_has_what_the_contract_says(measured, two_spaces) -> None:
    result = measure_isomers(options(measured, two_spaces))
    assert result == json.loads((measured / "out.json").read_text())
    # C2H6O: 2 molecules; C4H10: 2; C4H10O: 4 asked, 3 more in the library; the others are alone
    assert result["n_groups"] == 3
    assert result["n_queries"] == 2 * (2 + 2 + 4)
    assert result["n_molecules"] == 8
    assert result["group_size"] == {"median": 4.5, "mean": 4.5, "p90": 7.0, "max": 7}
    assert result["chance"] == pytest.approx((4 * 1 / 2 + 4 * 1 / 7) / 8)
    assert result["ci95"][0] <= result["accuracy"] <= result["ci95"][1]
    assert "tie is a miss" in result["tie_rule"]
    assert result["n_unreadable"] == 1


def test_it_agrees_with_recall_among_the_same_formula(measured, two_spaces) -> None:
    measure_isomers(options(measured, two_spaces, out=measured / "isomers.json"))
    found = pq.read_table(measured / "isomers.queries.parquet").to_pylist()
    recall = options(measured, two_spaces, RecallOptions, formula_filter=True)
    measure_recall(recall)
    other = {row["row"]: row for row in pq.read_table(measured / "out.queries.parquet").to_pylist()}
    assert len(found) == 16
    for row in found:
        assert row["n_candidates"] > 1
        assert {k: row[k] for k in ("rank", "n_candidates", "best_other_smiles")} == {
            k: other[row["row"]][k] for k in ("rank", "n_candidates", "best_other_smiles")
        }


def test_without_an_isomer_there_is_nothing_to_measure(measured, two_spaces) -> None:
    lone = measured / "lone.smi"
    lone.write_text("CCO\nCCC\n")
    words = "no query has an isomer among the 2 molecules of the pool; add a library with --library"
    with pytest.raises(ConfigError, match=words):
        measure_isomers(options(measured, two_spaces, modality="smiles", queries=lone, library=[]))


def pool_of(*formulas):
    return Pool([Structure(f"C{i}", f"B{i}", formula, 1.0) for i, formula in enumerate(formulas)], 0)


def ask(truth, rank, error=None):
    return Asked(Query(0, None, {}, None), truth, error, rank)


def test_accuracy_is_over_molecules_and_a_failed_query_is_a_miss(two_spaces) -> None:
    from acml_search.encoders.card import read_card

    pool = pool_of("A", "A", "B", "B", "B")
    asked = [ask(0, 1.0), ask(0, 2.0), ask(2, FAILED, "spoilt"), ask(3, 1.0)]
    found = isomer_result(asked, pool, modality="c_nmr", card=read_card(two_spaces), model="m", seed=0)
    assert found["accuracy"] == pytest.approx((0.5 + 0 + 1) / 3)
    assert found["mrr"] == pytest.approx((0.75 + 0 + 1) / 3)
    assert found["chance"] == pytest.approx((1 / 2 + 1 / 3 + 1 / 3) / 3)
    assert (found["n_failed"], found["n_groups"], found["n_queries"]) == (1, 2, 4)
    assert np.isfinite(found["mrr_chance"])
