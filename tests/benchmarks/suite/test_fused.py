"""Several observations of one compound: the ranks of the summed logits, by brute force."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from acml_search.core.errors import ConfigError
from acml_search.encoders.card import read_card
from benchmarks.cards import fill_card
from benchmarks.suite import plan
from benchmarks.suite.plan import read_suites
from benchmarks.suite.run import measure_suite

TOY = Path(__file__).parents[1] / "toy"


def answers(folder, name):
    result = json.loads((folder / "results" / f"{name}.json").read_text())
    return result, pq.read_table(folder / "results" / result["per_query"]).to_pylist()


def test_together_is_the_sum_of_the_logits(done, two_spaces):
    folder, summary, _ = done
    assert {"both.json", "both.carbon-alone.json", "both.spelled-alone.json"} <= set(summary["results"])
    result, rows = answers(folder, "both")
    carbon, carbons = answers(folder, "both.carbon-alone")
    spelled, spellings = answers(folder, "both.spelled-alone")
    molecules = [row["molecule"] for row in rows]
    assert molecules == [row["molecule"] for row in carbons] == [row["molecule"] for row in spellings]
    assert len(set(molecules)) == len(rows) == result["n_queries"] > 3
    assert result["n_pool"] == carbon["n_pool"] == spelled["n_pool"]
    a, b = (read_card(two_spaces).spaces[name].scale for name in ("c_nmr", "smiles"))
    for row, one, other in zip(rows, carbons, spellings, strict=True):
        if row["error"] is not None:
            assert row["rank"] is None
            continue
        expected = (a * one["score"] + b * other["score"]) / np.hypot(a, b) / np.sqrt(2)
        assert row["score"] == pytest.approx(expected, abs=1e-5)
        if one["rank"] == other["rank"] == 1:
            assert row["rank"] == 1
    assert [row["error"] for row in rows if row["error"]] == [row["error"] for row in carbons if row["error"]]
    gain, best = result["gain"], max(carbon["recall"]["1"], spelled["recall"]["1"])
    assert gain["recall_at_1"] == pytest.approx(result["recall"]["1"] - best)
    assert gain["ci95"][0] <= gain["recall_at_1"] <= gain["ci95"][1]
    assert "### Observations of one compound" in (folder / "results" / "suite.md").read_text()


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ('name = "x"\nparts = ["carbon"]', "two parts"),
        ('name = "x"\nparts = ["carbon", "nitrogen"]', "'nitrogen', a part of .* is no question here"),
        ('name = "x"', "missing key 'fused.1.parts'"),
        ('name = "both"\nparts = ["carbon", "spelled"]', "two questions are called 'both'"),
        ('name = "x"\nparts = ["carbon", "spelled"]\nweight = 2', "unknown key 'fused.1.weight'"),
    ],
)
def test_a_table_that_is_wrong_is_named(tmp_path, table, reason):
    shutil.copytree(TOY, tmp_path / "toy")
    path = tmp_path / "toy" / "both.toml"
    path.write_text(f"{path.read_text()}\n[[fused]]\n{table}\n")
    with pytest.raises(ConfigError, match=reason):
        read_suites([path])


def test_it_can_be_asked_for_alone(done, tmp_path):
    folder, _, ask = done
    summary = ask([folder / "both.toml"], tmp_path / "alone")
    assert {name.split(".")[0] for name in summary["results"]} == {"both"}


def test_the_same_observation_twice_is_reranked_as_once(measured, two_spaces, tmp_path):
    model = Path(shutil.copytree(two_spaces, tmp_path / "weighed"))
    card = json.loads((model / "card.json").read_text())
    card["spaces"]["c_nmr"]["rerank"] = {"cosine": 4.0, "evidence": 0.5}
    (model / "card.json").write_text(json.dumps(card))
    question = 'modality = "c_nmr"\nqueries = "spectra.parquet"\nwhere = "split = \'valid\'"\nbatch = 0\n'
    for name in ("one", "two"):
        text = f'library = ["library.smi"]\n[[question]]\nname = "{name}"\n{question}'
        (measured / f"{name}.toml").write_text(text)
    both = measured / "both.toml"
    both.write_text('[[fused]]\nname = "both"\nparts = ["one", "two"]\nfilters = ["none", "formula"]\n')
    summary = measure_suite([both], measured / "results", model=str(model), workers=1)
    assert {"both.rerank.json", "both.formula.rerank.json"} <= set(summary["results"])
    for what in ("", ".formula", ".rerank", ".formula.rerank"):
        result, rows = answers(measured, f"both{what}")
        _, alone = answers(measured, f"both.one-alone{what}")
        assert [row["rank"] for row in rows] == [row["rank"] for row in alone]
        assert result["gain"]["recall_at_1"] == 0.0
        assert result["rerank"] == ("rerank" in what)


@pytest.fixture
def fitted(measured: Path, two_spaces: Path, monkeypatch: pytest.MonkeyPatch):
    """The questions of toy/both.toml with `calibrate`; one molecule in two is in the dev split. A function
    that asks them of a model, into a folder.
    """
    monkeypatch.setattr(plan, "is_dev", lambda block: ord(block[0]) % 2 == 0)
    for name in ("carbon", "spelled", "both"):
        shutil.copy(TOY / f"{name}.toml", measured / f"{name}.toml")
    both = measured / "both.toml"
    text = both.read_text().replace("[fused.targets]", "calibrate = \"split = 'train'\"\n[fused.targets]")
    both.write_text(text)
    return lambda out, model=two_spaces: measure_suite([both], out, model=str(model), workers=1)


def test_a_suite_fits_them_and_ranks_by_them(fitted, two_spaces: Path, tmp_path: Path) -> None:
    out = tmp_path / "results"
    summary = fitted(out)
    assert "both.together.json" in summary["results"]
    found = json.loads((out / "both.together.json").read_text())
    assert found["modality"] == "c_nmr+smiles"
    assert set(found["plain"]) == {"c_nmr", "smiles"}
    assert found["plain"] != {"c_nmr": 1.0, "smiles": 1.0}
    assert found["inner"]["n_queries"] > 3
    result = json.loads((out / "both.json").read_text())
    assert result["trust"] == found["plain"]
    rows = [
        pq.read_table(out / f"both{part}.queries.parquet").to_pylist()
        for part in ("", ".carbon-alone", ".spelled-alone")
    ]
    spaces = read_card(two_spaces).spaces
    a, b = (found["plain"][name] * spaces[name].scale for name in ("c_nmr", "smiles"))
    for row, one, other in zip(*rows, strict=True):
        if row["error"] is None:
            expected = (a * one["score"] + b * other["score"]) / np.hypot(a, b) / np.sqrt(2)
            assert row["score"] == pytest.approx(expected, abs=1e-5)
    model = Path(shutil.copytree(two_spaces, tmp_path / "model"))
    card = fill_card(model, [out])
    assert card.fusion_weights(["smiles", "c_nmr"], "plain") == pytest.approx(found["plain"])
    assert card.fusion_weights(["c_nmr"], "plain") == {"c_nmr": 1.0}
    again = fitted(tmp_path / "again", model)
    assert json.loads((tmp_path / "again" / "both.json").read_text())["recall"] == result["recall"]
    assert again["results"] == summary["results"]


def test_no_dev_molecule_with_all_observations_is_said(fitted, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(plan, "is_dev", lambda block: False)
    summary = fitted(tmp_path / "results")
    assert "both.together.json" not in summary["results"]
    why = {one["question"]: one["why"] for one in summary["skipped"]}
    assert why["both together"] == "no molecule of the dev split of `calibrate` has carbon and spelled"
