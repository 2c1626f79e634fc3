"""Fits that find what made the data, errors of probabilities by hand, and what suites do with them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from evaluation_files import SHIFTS, recall

from acml_search.core.errors import ConfigError
from acml_search.encoders.card import read_card
from acml_search.evaluation.pool import Query, Structure
from acml_search.evaluation.rescoring import (
    TIE,
    Shortlists,
    Weights,
    ranks,
    set_reranked,
    weighted,
    weights_of,
)
from acml_search.evaluation.results import QueryOutcome
from benchmarks.suite.fits import (
    calibrate,
    calibration_errors,
    cross_fitted,
    fit,
    molecule_weights,
    negative_log_likelihood,
    reliability,
    summarise_factors,
)


def lists_of(cosines, scores=None, listed=None, inchikeys=None) -> Shortlists:
    cosines = np.array(cosines, float)
    scores = np.zeros_like(cosines) if scores is None else np.array(scores, float)
    places = np.where(np.isfinite(cosines), np.arange(cosines.size).reshape(cosines.shape), -1)
    listed = np.ones(len(cosines), bool) if listed is None else np.array(listed)
    keys = inchikeys or [f"{i:014d}" for i in range(len(cosines))]
    return Shortlists(cosines, scores, places, listed, keys)


def drawn(n, weights, seed, k=8, spread=(1.0, 3.0)) -> Shortlists:
    """Shortlists whose truths are drawn by the softmax of given weights."""
    rng = np.random.default_rng(seed)
    cosines, scores = (rng.normal(0, x, (n, k)) for x in spread)
    logits = weights[0] * cosines + weights[1] * scores + rng.gumbel(size=(n, k))
    first = logits.argmax(axis=1)
    for values in (cosines, scores):
        values[np.arange(n), first], values[:, 0] = values[:, 0].copy(), values[np.arange(n), first].copy()
    return lists_of(cosines, scores)


def likelihood(lists, at, features=None):
    features = lists.features if features is None else features
    known = np.isfinite(features).all(axis=2)
    return negative_log_likelihood(features, known, molecule_weights(lists), np.array(at))


def test_the_rank_is_by_the_sum_and_ties_lose() -> None:
    lists = lists_of([[0.5, 0.9, 0.4, -np.inf]], [[0.0, -4.0, 1.0, -np.inf]])
    totals = lists.logits(Weights(10.0, 1.0))
    assert totals[0].tolist() == [5.0, 5.0, 5.0, -np.inf]
    assert ranks(lists, totals, [7]).tolist() == [3.0]
    assert ranks(lists, totals - [[0, 2 * TIE, 2 * TIE, 0]], [7]).tolist() == [1.0]
    parts = np.stack([[[1.0, -np.inf]], [[2.0, -np.inf]]], axis=2)
    assert weighted(parts, [0.0, 3.0]).tolist() == [[6.0, -np.inf]]


def test_a_truth_outside_the_shortlist_keeps_its_rank() -> None:
    lists = lists_of([[0.1, 0.9]], [[50.0, 0.0]], listed=[False])
    query = Query(0, Structure("C", "A" * 14, "CH4", 16.0), {}, None)
    asked = [QueryOutcome(query, -1), QueryOutcome(query, 0, rank=300.0)]
    set_reranked(asked, lists, [1], lists.logits(Weights(1.0, 1.0)))
    assert asked[1].rank == 300.0
    assert asked[1].score == pytest.approx(50.1)
    assert (asked[1].best_other, asked[1].best_other_score) == (1, pytest.approx(0.9))
    assert asked[0].rank == np.inf


@pytest.mark.parametrize("weights", [(5.0, 0.7), (1.2, 0.4)])
def test_the_fit_finds_the_weights_that_drew_the_truths(weights) -> None:
    lists = drawn(6000, weights, 1)
    found = fit(lists, lists.features, (20.0, 0.1))
    assert found == pytest.approx(weights, rel=0.1)
    value, slope = likelihood(lists, found)
    assert np.abs(slope).max() < 1e-4
    for other in (found * [1.1, 1.0], found * [1.0, 0.9]):
        assert likelihood(lists, other)[0] > value
    inner = summarise_factors(lists, lists.features)
    assert inner["factors"]["recall"]["1"] > inner["sum"]["recall"]["1"]


def test_what_speaks_against_the_truth_weighs_nothing() -> None:
    lists = drawn(500, (4.0, 0.0), 2)
    turned = replace(lists, scores=lists.scores - 2.0 * (np.arange(8) == 0))
    cosine, evidence = fit(turned, turned.features, (10.0, 1.0))
    assert evidence == 0.0
    assert cosine > 0


def test_the_likelihood_and_its_gradient_are_right() -> None:
    # 1 against 0 at scale ln 3: the truth has 3/4 when first, 1/4 when second
    one = lists_of([[1.0, 0.0], [0.0, 1.0]])
    assert likelihood(one, [np.log(3), 0])[0] == pytest.approx(-(np.log(3 / 4) + np.log(1 / 4)) / 2)
    lists = drawn(40, (3.0, 0.5), 5)
    _, slope = likelihood(lists, [2.0, 0.4])
    for i, step in enumerate(np.eye(2) * 1e-5):
        high, low = (likelihood(lists, np.array([2.0, 0.4]) + s) for s in (step, -step))
        assert (high[0] - low[0]) / 2e-5 == pytest.approx(slope[i], rel=1e-5)


def test_records_of_one_molecule_weigh_together_as_one() -> None:
    four = lists_of([[1.0, 0.0]] * 3 + [[0.0, 1.0]], inchikeys=["A", "A", "A", "B"])
    two = lists_of([[1.0, 0.0], [0.0, 1.0]], inchikeys=["A", "B"])
    assert likelihood(four, [2.0, 0])[0] == pytest.approx(likelihood(two, [2.0, 0])[0])
    assert calibration_errors(four, 2 * four.cosines)["accuracy"] == pytest.approx(0.5)


def test_cross_fitting_uses_the_other_folds() -> None:
    lists = drawn(200, (5.0, 0.7), 6)
    crossed = cross_fitted(lists, lists.features, (5.0, 0.7))
    whole = weighted(lists.features, fit(lists, lists.features, (5.0, 0.7)))
    assert crossed == pytest.approx(whole, rel=0.5, abs=2.0)
    assert not np.allclose(crossed, whole)


def test_shortlists_without_their_truth_are_left_out() -> None:
    lists = drawn(400, (1.0, 0.5), 2)
    some = replace(lists, listed=np.arange(400) < 300)
    alone = lists.some(some.listed)
    assert fit(some, some.features, (1, 1)) == pytest.approx(fit(alone, alone.features, (1, 1)))
    with pytest.raises(ConfigError, match="no shortlist with its truth"):
        fit(replace(lists, listed=np.zeros(400, bool)), lists.features, (1, 1))


def test_calibration_finds_the_scale_that_made_the_data() -> None:
    made = drawn(20_000, (7.0, 0.0), 3, k=5, spread=(0.3, 1.0))
    more = replace(made, listed=np.arange(20_000) < 16_000)
    found = calibrate(more, made.some(np.arange(20_000) < 5_000), 14.0)
    assert found["scale"] == pytest.approx(7.0, rel=0.05)
    assert found["temperature"] == pytest.approx(2.0, rel=0.05)
    assert (found["inner"]["n_queries"], found["inner"]["truth_in_shortlist"]) == (16_000, pytest.approx(0.8))
    for part in ("inner", "valid"):
        assert found[part]["after"]["ece"] < 0.03 < 0.05 < found[part]["before"]["ece"]
        assert found[part]["after"]["brier"] < found[part]["before"]["brier"]


def test_errors_of_probabilities_by_hand() -> None:
    two = lists_of([[0.9, 0.9], [0.9, 0.8]])
    found = calibration_errors(two, 10 * two.cosines)
    assert found["accuracy"] == 0.5  # a tie for the first place is not right
    assert found["mean_probability"] == pytest.approx((0.5 + 1 / (1 + np.exp(-1))) / 2)
    sure = lists_of([[1.0, -1.0]] * 20)
    found = calibration_errors(sure, 100 * sure.cosines)
    assert (found["ece"], found["brier"], found["accuracy"]) == pytest.approx((0, 0, 1))
    p, right = [0.1, 0.2, 0.8, 0.9], [0, 1, 1, 1]
    bins = reliability(p, right, [1.0] * 4, bins=2)
    assert [one["probability"] for one in bins] == pytest.approx([0.15, 0.85])
    assert [one["accuracy"] for one in bins] == [0.5, 1.0]
    assert [one["weight"] for one in bins] == [0.5, 0.5]
    # heavier queries fill a bin alone
    assert [one["weight"] for one in reliability(p, right, [3.0, 1.0, 1.0, 1.0], bins=2)] == [0.5, 0.5]


def test_a_suite_fits_and_single_benchmarks_rerank_by_the_card(done, two_spaces, tmp_path) -> None:
    folder, summary, _ = done
    fitted, again, plain, among = (
        json.loads((folder / "results" / f"carbon{name}.json").read_text())
        for name in (".rerank-fit", ".rerank", "", ".isomers.rerank")
    )
    assert fitted["inner"]["n_queries"] > 0
    assert (again["rerank"], again["asks"], again["must"]) == (True, "rerank none", {"rerank none@10": 0.5})
    assert again["rerank_weights"] == {"cosine": fitted["cosine"], "evidence": fitted["evidence"]}
    assert again["by_cosine"]["recall"] == plain["recall"]
    assert again["n_queries"] == plain["n_queries"] == 2 * len(list(SHIFTS)[::3]) + 2
    assert again["n_failed"] == plain["n_failed"]
    assert "carbon.formula.rerank.json" in summary["results"]
    assert "rerank none@10" in (folder / "results" / "suite.md").read_text()
    asked = {"out": tmp_path / "one.json", "rerank": True, "split": "valid"}
    with pytest.raises(ConfigError, match="no weights to re-rank c_nmr with"):
        recall(folder, two_spaces, **asked)
    model = Path(shutil.copytree(two_spaces, tmp_path / "model"))
    data = dict(read_card(model).data)
    data["spaces"]["c_nmr"]["rerank"] = {key: fitted[key] for key in ("cosine", "evidence")}
    (model / "card.json").write_text(json.dumps(data))
    assert weights_of(read_card(model), "c_nmr") == Weights(fitted["cosine"], fitted["evidence"])
    result = recall(folder, model, **asked)
    assert result.recall == {k: again["recall"][k] for k in result.recall}
    assert result.rerank is True
    assert recall(folder, model, isomers=True, **asked).accuracy == among["accuracy"]
    with pytest.raises(ConfigError, match="to-molecule"):
        recall(folder, model, direction="to-record", **asked)
    with pytest.raises(ConfigError, match="no weights to re-rank smiles with"):
        recall(folder, model, **(asked | {"modality": "smiles"}))
