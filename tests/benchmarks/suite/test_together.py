"""What observations count for together: fitted, written, put into a card, and used."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from acml_search.encoders.card import read_card
from acml_search.evaluation.rerank.together import added, fit_factors, told
from acml_search.evaluation.rerank.weights import Lists
from benchmarks.cards import fill_card
from benchmarks.suite import fused
from benchmarks.suite.run import SuiteOptions, measure_suite

TOY = Path(__file__).parents[1] / "toy"


def drawn(n: int, factors: tuple[float, float], seed: int, k: int = 8):
    """Two logits of shortlists whose truths are drawn by the softmax of factors x logits."""
    rng = np.random.default_rng(seed)
    one, two = rng.normal(0, 2, (n, k)), rng.normal(0, 3, (n, k))
    first = (factors[0] * one + factors[1] * two + rng.gumbel(size=(n, k))).argmax(axis=1)
    for values in (one, two):
        values[np.arange(n), first], values[:, 0] = values[:, 0].copy(), values[np.arange(n), first].copy()
    places = np.arange(n * k).reshape(n, k)
    blocks = [f"{i:014d}" for i in range(n)]
    return Lists(one, np.zeros((n, k)), places, np.ones(n, bool), blocks), [one, two]


def test_the_fit_finds_the_factors_that_drew_the_truths() -> None:
    lists, logits = drawn(6000, (1.2, 0.4), 1)
    assert fit_factors(lists, logits) == pytest.approx([1.2, 0.4], rel=0.1)
    inner = told(lists, logits, seed=0)
    assert inner["factors"]["recall"]["1"] > inner["sum"]["recall"]["1"]


def test_shortlists_without_their_truth_are_left_out() -> None:
    lists, logits = drawn(400, (1.0, 0.5), 2)
    listed = np.arange(400) < 300
    some = replace(lists, listed=listed)
    alone = lists.some(listed)
    assert fit_factors(some, logits) == pytest.approx(fit_factors(alone, [one[listed] for one in logits]))
    assert fit_factors(replace(lists, listed=np.zeros(400, bool)), logits) is None


def test_no_candidate_is_no_candidate_whatever_it_counts_for() -> None:
    total = added([np.array([[1.0, -np.inf]]), np.array([[2.0, -np.inf]])], [0.0, 3.0])
    assert total.tolist() == [[6.0, -np.inf]]


@pytest.fixture
def fitted(measured: Path, two_spaces: Path, monkeypatch: pytest.MonkeyPatch) -> SuiteOptions:
    """The questions of toy/both.toml with `calibrate`; one molecule in two is inner."""
    monkeypatch.setattr(fused, "is_inner", lambda block: ord(block[0]) % 2 == 0)
    for name in ("carbon", "spelled", "both"):
        shutil.copy(TOY / f"{name}.toml", measured / f"{name}.toml")
    both = measured / "both.toml"
    text = both.read_text().replace("[fused.must]", "calibrate = \"split = 'train'\"\n[fused.must]")
    both.write_text(text)
    return SuiteOptions((both,), measured / "results", str(two_spaces), workers=1, command="as a test")


def test_a_suite_fits_them_and_ranks_by_them(fitted: SuiteOptions, two_spaces: Path, tmp_path: Path) -> None:
    summary = measure_suite(fitted)
    assert "both.together.json" in summary["results"]
    found = json.loads((fitted.out / "both.together.json").read_text())
    assert found["modality"] == "c_nmr+smiles"
    assert set(found["plain"]) == {"c_nmr", "smiles"}
    assert found["plain"] != {"c_nmr": 1.0, "smiles": 1.0}
    assert found["inner"]["n_queries"] > 3
    result = json.loads((fitted.out / "both.json").read_text())
    assert result["trust"] == found["plain"]
    rows = [
        pq.read_table(fitted.out / f"both{part}.queries.parquet").to_pylist()
        for part in ("", ".carbon-alone", ".spelled-alone")
    ]
    spaces = read_card(two_spaces).spaces
    a, b = (found["plain"][name] * spaces[name].scale for name in ("c_nmr", "smiles"))
    for row, one, other in zip(*rows, strict=True):
        if row["error"] is None:
            expected = (a * one["score"] + b * other["score"]) / np.hypot(a, b) / np.sqrt(2)
            assert row["score"] == pytest.approx(expected, abs=1e-5)
    model = Path(shutil.copytree(two_spaces, tmp_path / "model"))
    card = fill_card(model, [fitted.out])
    assert card.trust(["smiles", "c_nmr"], "plain") == pytest.approx(found["plain"])
    assert card.trust(["c_nmr"], "plain") == {"c_nmr": 1.0}
    again = measure_suite(replace(fitted, model=str(model), out=tmp_path / "again"))
    assert json.loads((tmp_path / "again" / "both.json").read_text())["recall"] == result["recall"]
    assert again["results"] == summary["results"]


def test_no_inner_molecule_with_all_observations_is_said(
    fitted: SuiteOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fused, "is_inner", lambda block: False)
    summary = measure_suite(fitted)
    assert "both.together.json" not in summary["results"]
    why = {one["question"]: one["why"] for one in summary["skipped"]}
    assert why["both together"] == "no inner molecule of `calibrate` has carbon and spelled"
