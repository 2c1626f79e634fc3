"""Runs that a suite must refuse: molecules that training saw, a pool without the truth, mixed standards."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from evaluation_files import SHIFTS, recall

from acml_search.core.errors import ConfigError
from acml_search.encoders.card import read_card
from acml_search.encoders.training_molecules import TrainingMolecules, write_training_list
from acml_search.evaluation import leakage
from acml_search.evaluation.pool import Pool, Query, Structure, describe
from acml_search.evaluation.results import QueryOutcome
from benchmarks.suite.run import measure_suite

BLOCKS = [one.inchikey14 for one in describe([(smiles, "smiles", None) for smiles in SHIFTS])]
ETHANOL, ETHER, ACID, BUTANE = BLOCKS[:4]  # 0, 3, 6, 9 are valid


def trained(model: Path, to: Path, structures, records) -> Path:
    folder = Path(shutil.copytree(model, to))
    write_training_list(folder, TrainingMolecules.of(structures, records), "by hand")
    return folder


def ask(folder: Path, model: Path, modality: str, more: str = "") -> dict:
    (folder / "q.toml").write_text(
        f'library = ["library.smi"]\n[[question]]\nname = "q"\nmodality = "{modality}"\nbatch = 0\n'
        f'queries = "spectra.parquet"\nwhere = "split = \'valid\' AND spectrum_rank = 0"\n{more}'
    )
    measure_suite([folder / "q.toml"], folder / "out", model=str(model), workers=1)
    return json.loads((folder / "out" / "q.json").read_text())


def test_a_query_that_was_trained_on_ends_the_run(measured, two_spaces, tmp_path) -> None:
    model = trained(two_spaces, tmp_path / "m", BLOCKS, {"c_nmr": [ETHANOL]})
    with pytest.raises(
        ConfigError, match=r"q: 1 of the molecules that ask .* training of two, such as that of row 0"
    ):
        ask(measured, model, "c_nmr")
    assert not (measured / "cache" / "vectors").exists()  # said before the long part
    found = ask(measured, model, "c_nmr", 'leakage = "report"\n')
    assert found["leakage"] == {"seen_records": 1, "seen_structures": 3, "n_unseen": 2, "checked": True}


def test_structures_leak_only_where_records_are_made_of_them(measured, two_spaces, tmp_path) -> None:
    model = trained(two_spaces, tmp_path / "m", [BUTANE], {})
    assert ask(measured, model, "c_nmr")["leakage"]["seen_structures"] == 1
    with pytest.raises(ConfigError, match="1 of the molecules that ask"):
        ask(measured, model, "smiles")


def test_unseen_asks_only_what_training_did_not_see(measured, two_spaces, tmp_path) -> None:
    model = trained(two_spaces, tmp_path / "m", [BUTANE], {"c_nmr": [ETHANOL]})
    everything = ask(measured, model, "smiles", 'leakage = "report"\n')
    found = ask(measured, model, "smiles", 'leakage = "drop"\n')
    assert found["n_queries"] == everything["n_queries"] - 2
    assert found["n_pool"] == everything["n_pool"]
    assert found["leakage"]["seen_records"] == found["leakage"]["seen_structures"] == 0
    assert ask(measured, model, "smiles", 'leakage = "drop"\nlimit = 2\n')["n_queries"] == 2


def test_a_model_without_a_list_is_said_to_be_unchecked(measured, two_spaces) -> None:
    assert ask(measured, two_spaces, "c_nmr")["leakage"] == {
        "seen_records": 0, "seen_structures": 0, "n_unseen": 6, "checked": False, "why_not": leakage.NO_LIST,
    }  # fmt: skip


def test_a_pool_without_the_truth_is_refused() -> None:
    ours, other = Structure("C", "A" * 14, "CH4", 16.0), Structure("CC", "B" * 14, "C2H6", 30.0)
    pool = Pool([ours], 0)
    leakage.check_truths([QueryOutcome(Query(4, ours, {}, None), 0)], pool, "q")
    leakage.check_truths([QueryOutcome(Query(4, None, {}, "unreadable"), -1)], pool, "q")
    for truth in (0, 1, -1):
        with pytest.raises(ConfigError, match=f"q: the pool lacks {'B' * 14}, the molecule of row 4"):
            leakage.check_truths([QueryOutcome(Query(4, other, {}, None), truth)], pool, "q")


def test_a_pool_that_forgets_the_queries_ends_the_run(measured, two_spaces, monkeypatch) -> None:
    from acml_search.evaluation import retrieval

    def forget(chosen, *_, **__):
        return Pool([one for one in describe([("CCCCCC", "smiles", None)]) if not isinstance(one, str)])

    monkeypatch.setattr(retrieval, "make_pool", forget)
    with pytest.raises(ConfigError, match="q: the pool lacks"):
        ask(measured, two_spaces, "c_nmr")
    with pytest.raises(ConfigError, match=r"spectra\.parquet: the pool lacks .*the molecule of row 0"):
        recall(measured, two_spaces, split="valid")


def test_a_users_own_data_is_told_what_training_saw(measured, two_spaces, tmp_path) -> None:
    model = trained(two_spaces, tmp_path / "m", [BUTANE], {"c_nmr": [ETHANOL]})
    found = recall(measured, model, split="valid")
    told = found.leakage
    assert (told["seen_records"], told["seen_structures"], told["checked"]) == (1, 1, True)
    assert told["n_unseen"] == found.n_molecules - 2
    dropped = recall(measured, model, split="valid", leakage="drop")
    assert told["recall_unseen"] == dropped.recall
    assert told["ci95_unseen"] == dropped.ci95
    assert (dropped.n_pool, dropped.n_molecules) == (found.n_pool, told["n_unseen"])
    assert leakage.warning(dropped.leakage) is None
    line = leakage.warning(told)
    assert line is not None
    assert "training saw 2 of the molecules that ask (1 with measured records)" in line
    with pytest.raises(ConfigError, match=r"spectra\.parquet: 1 of the molecules that ask"):
        recall(measured, model, split="valid", leakage="fail")


def test_all_molecules_seen_leave_nothing_to_ask(measured, two_spaces, tmp_path) -> None:
    model = trained(two_spaces, tmp_path / "m", BLOCKS, {"c_nmr": BLOCKS})
    report = recall(measured, model, split="train").leakage
    assert (report["seen_records"], report["n_unseen"], report["recall_unseen"]) == (6, 0, None)
    with pytest.raises(ConfigError, match="training saw every molecule that could ask"):
        recall(measured, model, split="train", leakage="drop")


def test_isomers_tell_it_too(measured, two_spaces, tmp_path) -> None:
    model = trained(two_spaces, tmp_path / "m", [], {"c_nmr": [ETHANOL]})
    found = recall(measured, model, split="valid", isomers=True)
    assert found.leakage["seen_records"] == 1
    assert found.leakage["n_unseen"] == found.n_molecules - 1
    assert read_card(model).data["training_list"]["made_by"] == "by hand"
