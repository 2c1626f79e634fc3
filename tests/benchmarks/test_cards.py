"""Results of a suite in a model's card."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from evaluation_files import recall

from acml_search.core.errors import ConfigError
from acml_search.encoders.card import read_card
from acml_search.encoders.checkpoint import load_model
from benchmarks.cards import fill_card


@pytest.fixture
def model(two_spaces, tmp_path) -> Path:
    return Path(shutil.copytree(two_spaces, tmp_path / "two"))


def test_a_card_says_what_was_measured_and_by_which_command(done, model) -> None:
    folder, _, _ = done
    before = read_card(model)
    card = fill_card(model, [folder / "results"], command="fill")
    result = json.loads((folder / "results" / "carbon.json").read_text())
    (metric,) = (
        one
        for one in card.data["metrics"]
        if (one["question"], one.get("asks"), one.get("direction")) == ("carbon", "none", "to-molecule")
    )
    assert (metric["recall"], metric["ci95"]) == (result["recall"], result["ci95"])
    assert {one["command"] for one in card.data["metrics"]} == {"as a test"}
    assert [one["asks"] for one in card.data["metrics"] if one["kind"] == "isomers"] == [
        "isomers",
        "rerank isomers",
    ]
    fitted = json.loads((folder / "results" / "carbon.rerank-fit.json").read_text())
    kept = card.data["spaces"]["c_nmr"]["rerank"]
    assert (kept["cosine"], kept["evidence"]) == (fitted["cosine"], fitted["evidence"])
    assert kept["inner"] == fitted["inner"]
    assert "rerank" not in card.data["spaces"]["smiles"]
    assert card.data["within_batches"][0]["batch"] == 3
    assert "not comparable" in card.data["within_batches"][0]["note"]
    # what vectors depend on has not changed, and the weights still are those of the card
    assert card.digest == before.digest
    assert load_model(model).card.digest == before.digest


def test_the_scale_becomes_the_calibrated_one(done, model) -> None:
    folder, _, _ = done
    card = fill_card(model, [folder / "results"])
    fitted = json.loads((folder / "results" / "carbon.calibration.json").read_text())
    assert card.spaces["c_nmr"].scale == pytest.approx(fitted["scale"])
    assert card.spaces["smiles"].scale == 14.0  # not calibrated
    told = card.data["calibration"]["c_nmr"]
    assert told["scale_before"] == 9.0
    assert told["valid"]["after"]["ece"] == fitted["valid"]["after"]["ece"]
    assert fill_card(model, [folder / "results"]).spaces["c_nmr"].scale == card.spaces["c_nmr"].scale


def test_classes_are_those_of_the_results(done, model) -> None:
    folder, _, _ = done
    found = fill_card(model, [folder / "results"]).data["recall_by_class"]
    carbon = {one["value"]: one for one in found if one["question"] == "carbon"}
    # ethanol, butane, 2-methyl-2-propanol ... are small; phenol is not among the valid ones
    assert carbon["1 to 10 heavy atoms"]["n_molecules"] == carbon["C, H, N, O only"]["n_molecules"] == 5


def test_single_benchmarks_go_in_beside_suites(done, model) -> None:
    folder, _, _ = done
    one = {"modality": "smiles", "library": (), "out": folder / "one.json"}
    recall(folder, model, command="alone", **one)
    card = fill_card(model, [folder / "results", folder / "one.json"])
    assert [metric["command"] for metric in card.data["metrics"]].count("alone") == 1
    alone = fill_card(model, [folder / "results"])
    assert len(card.data["metrics"]) == len(alone.data["metrics"]) + 1


def test_results_of_another_model_are_refused(done, tiny_model) -> None:
    folder, _, _ = done
    text = (tiny_model / "card.json").read_text()
    with pytest.raises(ConfigError, match=r"results: it was measured with another model than .*tiny"):
        fill_card(tiny_model, [folder / "results"])
    assert (tiny_model / "card.json").read_text() == text


def test_two_calibrations_of_one_space_are_refused(done, model) -> None:
    folder, _, ask = done
    again = folder / "calibrated-again"
    ask([folder / "spelled.toml"], again)
    for name in ("one", "two"):
        result = json.loads((folder / "results" / "carbon.calibration.json").read_text())
        (again / f"{name}.json").write_text(json.dumps({**result, "question": name}))
    with pytest.raises(ConfigError, match="the space c_nmr was calibrated by one and by two"):
        fill_card(model, [again / "one.json", again / "two.json"])


def test_a_folder_gives_the_results_of_all_runs_into_it(done, model, tmp_path) -> None:
    folder, _, ask = done
    results = Path(shutil.copytree(folder / "results", tmp_path / "results"))
    whole = fill_card(model, [results]).data["metrics"]
    ask([folder / "spelled.toml"], results)  # its summary is alone now
    assert [one["question"] for one in fill_card(model, [results]).data["metrics"]] == [
        one["question"] for one in whole
    ]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="there are no results to read here"):
        fill_card(model, [tmp_path / "empty"])


def test_weights_for_signals_stand_beside_the_others(done, model, tmp_path) -> None:
    folder, _, _ = done
    results = Path(shutil.copytree(folder / "results", tmp_path / "results"))
    fitted = json.loads((results / "carbon.rerank-fit.json").read_text())
    signals = {**fitted, "question": "lines", "signals": True, "cosine": 7.0, "evidence": 0.7}
    (results / "lines.rerank-fit.json").write_text(json.dumps(signals))
    card = fill_card(model, [results])
    assert card.rerank_weights("c_nmr")["cosine"] == fitted["cosine"]
    assert card.rerank_weights("c_nmr", "signals")["cosine"] == 7.0
    assert card.rerank_weights("smiles", "signals") is None
