"""Weights and factors of logits: fits that find what made the data, ranks by the sum, and what suites do."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from evaluation_files import SHIFTS, recall

from acml_search.core.errors import ConfigError
from acml_search.encoders.card import read_card
from acml_search.evaluation.fusion import (
    TIE,
    Shortlists,
    Weights,
    cross_fitted,
    fit_factors,
    fit_weights,
    negative_log_likelihood,
    ranks,
    summarise_factors,
    weighted_sum,
)
from acml_search.evaluation.pool import Query, Structure
from acml_search.evaluation.rescoring import set_reranked, weights_of
from acml_search.evaluation.results import QueryOutcome


def lists_of(cosines, scores, listed=None):
    cosines, scores = np.array(cosines, float), np.array(scores, float)
    n = len(cosines)
    places = np.where(np.isfinite(cosines), np.arange(cosines.size).reshape(cosines.shape), -1)
    listed = np.ones(n, bool) if listed is None else np.array(listed)
    return Shortlists(cosines, scores, places, listed, [f"{i:014d}" for i in range(n)])


def test_the_rank_is_by_the_sum_and_ties_lose() -> None:
    lists = lists_of([[0.5, 0.9, 0.4, -np.inf]], [[0.0, -4.0, 1.0, -np.inf]])
    weights = Weights(10.0, 1.0)
    totals = weights.logits(lists.cosines, lists.scores)
    assert totals[0].tolist() == [5.0, 5.0, 5.0, -np.inf]
    assert ranks(lists, totals, [7]).tolist() == [3.0]
    assert ranks(lists, totals - [[0, 2 * TIE, 2 * TIE, 0]], [7]).tolist() == [1.0]


def test_a_truth_outside_the_shortlist_keeps_its_rank() -> None:
    lists = lists_of([[0.1, 0.9]], [[50.0, 0.0]], listed=[False])
    query = Query(0, Structure("C", "A" * 14, "CH4", 16.0), {}, None)
    asked = [QueryOutcome(query, -1), QueryOutcome(query, 0, rank=300.0)]
    set_reranked(asked, lists, [1], Weights(1.0, 1.0).logits(lists.cosines, lists.scores))
    assert asked[1].rank == 300.0
    assert asked[1].score == pytest.approx(50.1)
    assert (asked[1].best_other, asked[1].best_other_score) == (1, pytest.approx(0.9))
    assert asked[0].rank == np.inf


def drawn(n, weights, rng, k=8):
    """Shortlists whose truths are drawn by the softmax of given weights."""
    cosines, scores = rng.uniform(0, 1, (n, k)), rng.normal(0, 3, (n, k))
    logits = weights.logits(cosines, scores) + rng.gumbel(size=(n, k))
    first = logits.argmax(axis=1)
    for values in (cosines, scores):
        values[np.arange(n), first], values[:, 0] = values[:, 0].copy(), values[np.arange(n), first].copy()
    return lists_of(cosines, scores)


def likelihood(lists, weights):
    features = np.stack([lists.cosines, lists.scores], axis=2)
    there = np.isfinite(lists.cosines)
    return negative_log_likelihood(features, there, lists.molecule_weights, np.array(weights))


def test_the_fit_finds_the_weights_that_drew_the_truths() -> None:
    lists = drawn(6000, Weights(5.0, 0.7), np.random.default_rng(1))
    found = fit_weights(lists, Weights(20.0, 0.1))
    assert found.cosine == pytest.approx(5.0, rel=0.1)
    assert found.evidence == pytest.approx(0.7, rel=0.1)
    value, slope = likelihood(lists, found)
    assert np.abs(slope).max() < 1e-4
    for other in (Weights(found.cosine * 1.1, found.evidence), Weights(found.cosine, found.evidence * 0.9)):
        assert likelihood(lists, other)[0] > value


def test_what_speaks_against_the_truth_weighs_nothing() -> None:
    rng = np.random.default_rng(2)
    lists = drawn(500, Weights(4.0, 0.0), rng)
    turned = replace(lists, scores=lists.scores - 2.0 * (np.arange(8) == 0))
    found = fit_weights(turned, Weights(10.0, 1.0))
    assert found.evidence == 0.0
    assert found.cosine > 0


def test_the_gradient_is_right() -> None:
    lists = drawn(40, Weights(3.0, 0.5), np.random.default_rng(5))
    at = np.array([2.0, 0.4])
    _, slope = likelihood(lists, at)
    for i, step in enumerate(np.eye(2) * 1e-5):
        high, low = (likelihood(lists, at + s) for s in (step, -step))
        assert (high[0] - low[0]) / 2e-5 == pytest.approx(slope[i], rel=1e-5)


def test_cross_fitting_uses_the_other_folds() -> None:
    lists = drawn(200, Weights(5.0, 0.7), np.random.default_rng(6))
    crossed = cross_fitted(lists, Weights(5.0, 0.7))
    whole = fit_weights(lists, Weights(5.0, 0.7)).logits(lists.cosines, lists.scores)
    assert crossed == pytest.approx(whole, rel=0.5, abs=2.0)
    assert not np.allclose(crossed, whole)


def test_no_truth_in_any_list_is_refused() -> None:
    with pytest.raises(ConfigError, match="no shortlist with its truth"):
        fit_weights(lists_of([[0.1, 0.9]], [[0.0, 0.0]], listed=[False]), Weights(1.0, 1.0))


def test_a_suite_fits_and_asks_again(done) -> None:
    folder, summary, _ = done
    fitted = json.loads((folder / "results" / "carbon.rerank-fit.json").read_text())
    again = json.loads((folder / "results" / "carbon.rerank.json").read_text())
    plain = json.loads((folder / "results" / "carbon.json").read_text())
    assert fitted["inner"]["n_queries"] > 0
    assert again["rerank"] is True
    assert again["asks"] == "rerank none"
    assert again["must"] == {"rerank none@10": 0.5}
    assert again["rerank_weights"] == {"cosine": fitted["cosine"], "evidence": fitted["evidence"]}
    assert again["by_cosine"]["recall"] == plain["recall"]
    assert again["n_queries"] == plain["n_queries"] == 2 * len(list(SHIFTS)[::3]) + 2
    assert again["n_failed"] == plain["n_failed"]
    assert {"carbon.formula.rerank.json", "carbon.isomers.rerank.json"} <= set(summary["results"])
    assert "rerank none@10" in (folder / "results" / "suite.md").read_text()


def test_single_benchmarks_rerank_by_the_card(done, two_spaces, tmp_path) -> None:
    folder, _, _ = done
    fitted = json.loads((folder / "results" / "carbon.rerank-fit.json").read_text())
    again = json.loads((folder / "results" / "carbon.rerank.json").read_text())
    asked = {"out": tmp_path / "one.json", "rerank": True, "split": "valid"}
    with pytest.raises(ConfigError, match="no weights to re-rank c_nmr with"):
        recall(folder, two_spaces, **asked)
    model = tmp_path / "model"
    model.mkdir()
    for name in ("card.json", "model.safetensors"):
        (model / name).write_bytes((two_spaces / name).read_bytes())
    data = dict(read_card(model).data)
    data["spaces"]["c_nmr"]["rerank"] = {key: fitted[key] for key in ("cosine", "evidence")}
    (model / "card.json").write_text(json.dumps(data))
    assert weights_of(read_card(model), "c_nmr") == Weights(fitted["cosine"], fitted["evidence"])
    result = recall(folder, model, **asked)
    assert result.recall == {k: again["recall"][k] for k in result.recall}
    assert result.rerank is True
    among = json.loads((folder / "results" / "carbon.isomers.rerank.json").read_text())
    assert recall(folder, model, isomers=True, **asked).accuracy == among["accuracy"]
    with pytest.raises(ConfigError, match="to-molecule"):
        recall(folder, model, direction="to-record", **asked)
    with pytest.raises(ConfigError, match="no weights to re-rank smiles with"):
        recall(folder, model, **(asked | {"modality": "smiles"}))


def two_logits(n, factors, seed, k=8):
    """Two logits of shortlists whose truths are drawn by the softmax of factors x logits."""
    rng = np.random.default_rng(seed)
    one, two = rng.normal(0, 2, (n, k)), rng.normal(0, 3, (n, k))
    first = (factors[0] * one + factors[1] * two + rng.gumbel(size=(n, k))).argmax(axis=1)
    for values in (one, two):
        values[np.arange(n), first], values[:, 0] = values[:, 0].copy(), values[np.arange(n), first].copy()
    places = np.arange(n * k).reshape(n, k)
    blocks = [f"{i:014d}" for i in range(n)]
    return Shortlists(one, np.zeros((n, k)), places, np.ones(n, bool), blocks), [one, two]


def test_the_fit_finds_the_factors_that_drew_the_truths() -> None:
    lists, logits = two_logits(6000, (1.2, 0.4), 1)
    assert fit_factors(lists, logits) == pytest.approx([1.2, 0.4], rel=0.1)
    inner = summarise_factors(lists, logits, seed=0)
    assert inner["factors"]["recall"]["1"] > inner["sum"]["recall"]["1"]


def test_shortlists_without_their_truth_are_left_out() -> None:
    lists, logits = two_logits(400, (1.0, 0.5), 2)
    listed = np.arange(400) < 300
    some = replace(lists, listed=listed)
    alone = lists.some(listed)
    assert fit_factors(some, logits) == pytest.approx(fit_factors(alone, [one[listed] for one in logits]))
    assert fit_factors(replace(lists, listed=np.zeros(400, bool)), logits) is None


def test_no_candidate_is_no_candidate_whatever_it_counts_for() -> None:
    total = weighted_sum([np.array([[1.0, -np.inf]]), np.array([[2.0, -np.inf]])], [0.0, 3.0])
    assert total.tolist() == [[6.0, -np.inf]]
