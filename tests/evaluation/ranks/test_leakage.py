"""Runs that a suite must refuse: molecules that training saw, a pool without the truth, mixed standards."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from evaluation_files import SHIFTS

from acml_search.core.errors import ConfigError
from acml_search.encoders.card import read_card
from acml_search.encoders.seen import SeenList, write_training_list
from acml_search.evaluation.data import described
from acml_search.evaluation.data.structures import Pool, Query, Structure, describe
from acml_search.evaluation.isomers import measure_isomers
from acml_search.evaluation.ranks import leakage
from acml_search.evaluation.ranks.retrieval import Asked
from acml_search.evaluation.recall import RecallOptions, RetrievalOptions, measure_recall
from benchmarks.suite.run import SuiteOptions, measure_suite

BLOCKS = [one.block for one in describe([(smiles, "smiles", None) for smiles in SHIFTS])]
ETHANOL, ETHER, ACID, BUTANE = BLOCKS[:4]  # 0, 3, 6, 9 are valid


def trained(model: Path, to: Path, structures, records) -> Path:
    folder = Path(shutil.copytree(model, to))
    write_training_list(folder, SeenList.of(structures, records), "by hand")
    return folder


def ask(folder: Path, model: Path, modality: str, more: str = "") -> dict:
    (folder / "q.toml").write_text(
        f'library = ["library.smi"]\n[[question]]\nname = "q"\nmodality = "{modality}"\nbatch = 0\n'
        f'queries = "spectra.parquet"\nwhere = "split = \'valid\' AND spectrum_rank = 0"\n{more}'
    )
    measure_suite(SuiteOptions((folder / "q.toml",), folder / "out", str(model), workers=1))
    return json.loads((folder / "out" / "q.json").read_text())


def test_a_query_that_was_trained_on_ends_the_run(measured, two_spaces, tmp_path) -> None:
    model = trained(two_spaces, tmp_path / "m", BLOCKS, {"c_nmr": [ETHANOL]})
    with pytest.raises(
        ConfigError, match=r"q: 1 of the molecules that ask .* training of two, such as that of row 0"
    ):
        ask(measured, model, "c_nmr")
    assert not (measured / "cache" / "vectors").exists()  # said before the long part
    found = ask(measured, model, "c_nmr", 'seen = "allowed"\n')
    assert found["leakage"] == {"n_seen": 1, "n_seen_structures": 3, "checked": True}


def test_structures_leak_only_where_records_are_made_of_them(measured, two_spaces, tmp_path) -> None:
    model = trained(two_spaces, tmp_path / "m", [BUTANE], {})
    assert ask(measured, model, "c_nmr")["leakage"]["n_seen_structures"] == 1
    with pytest.raises(ConfigError, match="1 of the molecules that ask"):
        ask(measured, model, "smiles")


def test_unseen_asks_only_what_training_did_not_see(measured, two_spaces, tmp_path) -> None:
    model = trained(two_spaces, tmp_path / "m", [BUTANE], {"c_nmr": [ETHANOL]})
    everything = ask(measured, model, "smiles", 'seen = "allowed"\n')
    found = ask(measured, model, "smiles", "unseen = true\n")
    assert found["n_queries"] == everything["n_queries"] - 2
    assert found["n_pool"] == everything["n_pool"]
    assert found["leakage"]["n_seen"] == found["leakage"]["n_seen_structures"] == 0
    assert ask(measured, model, "smiles", "unseen = true\nlimit = 2\n")["n_queries"] == 2


def test_a_model_without_a_list_is_said_to_be_unchecked(measured, two_spaces) -> None:
    assert ask(measured, two_spaces, "c_nmr")["leakage"] == {
        "n_seen": 0, "n_seen_structures": 0, "checked": False, "why_not": leakage.NO_LIST,
    }  # fmt: skip


def test_a_pool_without_the_truth_is_refused() -> None:
    ours, other = Structure("C", "A" * 14, "CH4", 16.0), Structure("CC", "B" * 14, "C2H6", 30.0)
    pool = Pool([ours], 0)
    leakage.check_truths([Asked(Query(4, ours, {}, None), 0)], pool, "q")
    leakage.check_truths([Asked(Query(4, None, {}, "unreadable"), -1)], pool, "q")
    for truth in (0, 1, -1):
        with pytest.raises(ConfigError, match=f"q: the pool lacks {'B' * 14}, the molecule of row 4"):
            leakage.check_truths([Asked(Query(4, other, {}, None), truth)], pool, "q")


def test_a_pool_that_forgets_the_queries_ends_the_run(measured, two_spaces, monkeypatch) -> None:
    from acml_search.evaluation import recall
    from benchmarks.suite import asking

    def forget(asked, *_, **__):
        return Pool([one for one in describe([("CCCCCC", "smiles", None)]) if not isinstance(one, str)], 0)

    for module in (asking, recall):
        monkeypatch.setattr(module, "make_pool", forget)
    with pytest.raises(ConfigError, match="q: the pool lacks"):
        ask(measured, two_spaces, "c_nmr")
    with pytest.raises(ConfigError, match=r"spectra\.parquet: the pool lacks .*the molecule of row 0"):
        measure_recall(options_of(measured, two_spaces))


def test_two_standards_are_refused(measured, two_spaces, monkeypatch) -> None:
    ask(measured, two_spaces, "c_nmr")
    kept = sorted((measured / "cache" / "structures").glob("*.parquet"))
    assert len(kept) == 2
    table = pq.read_table(kept[0])
    recipe = json.loads(described.standardisation())
    assert json.loads(table.schema.metadata[b"standardisation"]) == recipe
    other = json.dumps({**recipe, "rdkit": "1999.01"}, sort_keys=True)
    pq.write_table(table.replace_schema_metadata({"standardisation": other}), kept[0])
    with pytest.raises(ConfigError, match=r"were standardised differently \(rdkit: .*1999\.01"):
        ask(measured, two_spaces, "c_nmr")


def options_of(folder: Path, model: Path, **more) -> RecallOptions:
    return RecallOptions(
        "c_nmr", folder / "spectra.parquet", folder / "out.json", [folder / "library.smi"],
        model=str(model), split="valid", workers=1, **more,
    )  # fmt: skip


def test_a_users_own_data_is_told_what_training_saw(measured, two_spaces, tmp_path) -> None:
    model = trained(two_spaces, tmp_path / "m", [BUTANE], {"c_nmr": [ETHANOL]})
    found = measure_recall(options_of(measured, model))
    told = found["leakage"]
    assert (told["seen_records"], told["seen_structures"], told["checked"]) == (1, 1, True)
    assert told["n_unseen"] == found["n_molecules"] - 2
    dropped = measure_recall(options_of(measured, model, seen="drop"))
    assert told["recall_unseen"] == dropped["recall"]
    assert told["ci95_unseen"] == dropped["ci95"]
    assert (dropped["n_pool"], dropped["n_molecules"]) == (found["n_pool"], told["n_unseen"])
    assert leakage.warning(dropped["leakage"]) is None
    line = leakage.warning(told)
    assert line is not None
    assert line.startswith("training saw 2 of the molecules that ask (1 with measured records)")
    with pytest.raises(ConfigError, match="1 of the molecules that ask"):
        measure_recall(options_of(measured, model, seen="fail"))
    with pytest.raises(ConfigError, match="--seen maybe is not one of report, drop, fail"):
        measure_recall(options_of(measured, model, seen="maybe"))


def test_all_molecules_seen_leave_nothing_to_ask(measured, two_spaces, tmp_path) -> None:
    model = trained(two_spaces, tmp_path / "m", BLOCKS, {"c_nmr": BLOCKS})
    options = replace(options_of(measured, model), split="train")
    report = measure_recall(options)["leakage"]
    assert (report["seen_records"], report["n_unseen"], report["recall_unseen"]) == (6, 0, None)
    with pytest.raises(ConfigError, match="training saw every molecule that could ask"):
        measure_recall(replace(options, seen="drop"))


def test_isomers_tell_it_too(measured, two_spaces, tmp_path) -> None:
    model = trained(two_spaces, tmp_path / "m", [], {"c_nmr": [ETHANOL]})
    found = measure_isomers(
        RetrievalOptions(
            "c_nmr", measured / "spectra.parquet", measured / "out.json", [measured / "library.smi"],
            model=str(model), split="valid", workers=1,
        )
    )  # fmt: skip
    assert found["leakage"]["seen_records"] == 1
    assert found["leakage"]["n_unseen"] == found["n_molecules"] - 1
    assert read_card(model).data["training_list"]["made_by"] == "by hand"
