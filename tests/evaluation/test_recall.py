"""`measure_recall` from files to files, with an untrained model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rdkit import Chem

from acml_search.core.errors import ConfigError, FilterError, LibraryError, UnknownModality
from acml_search.encoders.model import load_model
from acml_search.evaluation.data.records import record_of
from acml_search.evaluation.measures.metrics import TIE_TOLERANCE
from acml_search.evaluation.recall import RecallOptions, measure_recall

QUERIES = ["CCO", "CCN", "CC(=O)O", "c1ccccc1O", "OCC", "C1CC", "CC(C)Cc1ccc(cc1)C(C)C(=O)O"]
LIBRARY = ["CCCC", "CC(C)C", "NCC", "COC", "CC(=O)Nc1ccc(O)cc1", "not a molecule", "c1ccncc1", "CCS"]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Queries with one unreadable row (C1CC) and one molecule twice (CCO, OCC); a library that shares one."""
    splits = ["valid", "train", "valid", "valid", "valid", "valid", "train"]
    pq.write_table(pa.table({"smiles": QUERIES, "split": splits}), tmp_path / "queries.parquet")
    (tmp_path / "library.smi").write_text("\n".join(LIBRARY) + "\n")
    return tmp_path


def measure(files: Path, model: Path, **options) -> dict:
    defaults = {
        "modality": "smiles",
        "queries": files / "queries.parquet",
        "library": [files / "library.smi"],
        "out": files / "out.json",
        "model": str(model),
        "workers": 1,
    }
    return measure_recall(RecallOptions(**(defaults | options)))


def test_the_result_has_what_the_contract_says(files, tiny_model) -> None:
    result = measure(files, tiny_model)
    assert result == json.loads((files / "out.json").read_text())
    assert result["n_queries"] == 7
    assert result["n_molecules"] == 6  # ethanol is asked twice; the unreadable row is a molecule of its own
    assert result["n_failed"] == 1
    assert result["n_pool"] == 5 + 6  # ethylamine is in both files, one library row is unreadable
    assert result["n_pool_unreadable"] == 1
    assert set(result["recall"]) == {"1", "5", "10", "20"}
    assert result["recall"]["20"] == pytest.approx(5 / 6)  # all but the failed one
    assert result["chance"]["1"] == pytest.approx(1 / 11)
    assert (result["direction"], result["filter"], result["rerank"], result["seed"]) == (
        "to-molecule",
        None,
        False,
        0,
    )
    assert result["ci95"]["20"][0] <= 5 / 6 <= result["ci95"]["20"][1]
    assert result["seconds_per_query"] > 0


def test_queries_that_all_fail_are_no_measurement(files, tiny_model) -> None:
    (files / "bad.smi").write_text("C1CC\nXX\n")
    with pytest.raises(ConfigError, match=r"bad\.smi: none of the 2 queries can be read; row 0: .*ring"):
        measure(files, tiny_model, queries=files / "bad.smi")


def test_a_folder_or_device_as_output_is_refused_before_measuring(files, tiny_model) -> None:
    for out in (files, Path("/dev/null")):
        with pytest.raises(ConfigError, match="no file that can be written"):
            measure(files, tiny_model, out=out, queries=files / "queries.parquet")
    assert not Path("/dev/null").is_file()


def test_ranks_are_those_of_a_whole_score_matrix(files, tiny_model) -> None:
    result = measure(files, tiny_model)
    stored = pq.read_table(files / result["per_query"]).to_pylist()
    model = load_model(tiny_model)
    pool = ["CCO", "CCN", "CC(=O)O", "Oc1ccccc1", "CC(C)Cc1ccc(C(C)C(=O)O)cc1"]
    pool += ["CCCC", "CC(C)C", "COC", "CC(=O)Nc1ccc(O)cc1", "c1ccncc1", "CCS"]
    mols = [Chem.MolFromSmiles(smiles) for smiles in pool]
    blocks = [Chem.MolToInchiKey(mol)[:14] for mol in mols]
    graph = model.encode_molecules(mols)["smiles"]
    for row in stored:
        if row["smiles"] is None:
            continue
        record = record_of("smiles", row["smiles"], row["molecule"], None, 0)
        scores = graph @ model.encode_records("smiles", [record])[0]
        truth = blocks.index(row["molecule"])
        others = np.delete(scores, truth)
        assert row["score"] == pytest.approx(scores[truth], abs=1e-5)
        assert row["best_other_score"] == pytest.approx(others.max(), abs=1e-5)
        # where the oracle is within rounding of the tie rule's edge either rank is right
        low = 1 + np.count_nonzero(others >= scores[truth] + TIE_TOLERANCE)
        high = 1 + np.count_nonzero(others >= scores[truth] - 3 * TIE_TOLERANCE)
        assert low <= row["rank"] <= high


def test_a_query_that_cannot_be_read_is_stored_with_its_reason(files, tiny_model) -> None:
    stored = pq.read_table(files / measure(files, tiny_model)["per_query"]).to_pylist()
    failed = stored[5]
    assert (failed["row"], failed["rank"], failed["molecule"]) == (5, None, None)
    assert "C1CC" in failed["error"]


def test_molecules_ask_once_for_their_record(files, tiny_model) -> None:
    result = measure(files, tiny_model, direction="to-record")
    assert (result["n_queries"], result["n_failed"], result["n_pool"]) == (6, 1, 11)


def test_two_runs_agree_and_workers_do_not_matter(files, tiny_model) -> None:
    timed = ("seconds", "seconds_per_query", "workers", "per_query")
    one, two = measure(files, tiny_model), measure(files, tiny_model, workers=2, out=files / "two.json")
    assert {k: v for k, v in one.items() if k not in timed} == {
        k: v for k, v in two.items() if k not in timed
    }
    assert pq.read_table(files / one["per_query"]).equals(pq.read_table(files / two["per_query"]))


def test_split_and_limit_and_pool(files, tiny_model) -> None:
    split = measure(files, tiny_model, split="train", library=[])
    assert (split["n_queries"], split["n_pool"]) == (2, 5)  # the other rows of the file stay candidates
    where = measure(files, tiny_model, where="split IN ('train', 'test')", library=[])
    assert {k: where[k] for k in ("n_queries", "n_pool", "recall")} == {
        k: split[k] for k in ("n_queries", "n_pool", "recall")
    }
    limited = measure(files, tiny_model, limit=2)
    assert (limited["n_queries"], limited["n_pool"]) == (2, 11)
    small = measure(files, tiny_model, limit=1, pool=4)
    assert (small["n_queries"], small["n_pool"]) == (1, 4)


def test_filters_narrow_the_candidates(files, tiny_model) -> None:
    result = measure(files, tiny_model, formula_filter=True)
    assert result["filter"] == "same formula"
    assert result["candidates_per_query"] == {
        "median": 1.0,
        "max": 11,
    }  # the failed query keeps the whole pool
    assert measure(files, tiny_model, mass_filter_da=0.01)["filter"] == "neutral exact mass within 0.01 Da"


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"modality": "taste"}, UnknownModality, "no modality 'taste'; known are"),
        ({"direction": "sideways"}, ConfigError, "--direction sideways is not one of to-molecule, to-record"),
        ({"mass_filter_da": 1.0, "mass_filter_ppm": 5.0}, ConfigError, "not both"),
        ({"rerank": True}, ConfigError, "nothing to re-rank by for 'smiles'"),
        ({"pool": 3}, ConfigError, "a pool of 3 cannot hold the 5 molecules asked for"),
        ({"pool": 500}, ConfigError, "the files hold 11 distinct molecules, too few for a pool of 500"),
        ({"split": "test"}, ConfigError, "there are no queries whose split is 'test'"),
        ({"where": "split = 'x'"}, ConfigError, "there are no queries whose columns fulfil"),
        ({"where": "rank = 0"}, FilterError, "cannot be applied .*columns: split"),
        ({"where": "1; DROP TABLE rows"}, FilterError, "is refused"),
        ({"queries": Path("nowhere.parquet")}, LibraryError, "nowhere.parquet"),
    ],
)
def test_what_cannot_be_measured_is_said(files, tiny_model, options, error, words) -> None:
    with pytest.raises(error, match=words):
        measure(files, tiny_model, **options)


def test_a_missing_split_column_names_those_there_are(files, tiny_model) -> None:
    with pytest.raises(ConfigError, match="needs a column named split; further columns here: name"):
        measure(files, tiny_model, queries=files / "library.smi", split="valid")


def test_structures_kept_in_a_cache_give_the_same_result(files, tiny_model) -> None:
    timed = ("seconds", "seconds_per_query", "per_query")
    results = []
    for cache in (None, files / "cache", files / "cache"):
        found = measure(files, tiny_model, cache=cache, pool=7)
        results.append({k: v for k, v in found.items() if k not in timed})
    assert results[0] == results[1] == results[2]
    assert len(list((files / "cache" / "structures").glob("*.parquet"))) == 2


def test_a_damaged_cache_is_named(files, tiny_model) -> None:
    measure(files, tiny_model, cache=files / "cache")
    for kept in (files / "cache" / "structures").glob("*.parquet"):
        kept.write_bytes(b"nonsense")
    with pytest.raises(ConfigError, match=r"kept structures cannot be read .*remove the file"):
        measure(files, tiny_model, cache=files / "cache")


def test_a_spectrum_needs_its_columns(files, two_spaces) -> None:
    words = "a c_nmr record needs a column named shifts; further columns here: split"
    with pytest.raises(ConfigError, match=words):
        measure(files, two_spaces, modality="c_nmr")


def test_a_column_of_another_kind_is_no_hundred_misses(files, two_spaces) -> None:
    pq.write_table(pa.table({"smiles": ["CCO", "CCN"], "shifts": ["58, 18", "37"]}), files / "text.parquet")
    words = r"text\.parquet: none of the 2 records of shifts can be read as c_nmr; row 0: .*give ppm values"
    with pytest.raises(ConfigError, match=words):
        measure(files, two_spaces, modality="c_nmr", queries=files / "text.parquet")


def test_all_columns_of_a_spectrum_are_named(files, two_spaces) -> None:
    from acml_search.evaluation.data.queries import read_queries
    from acml_search.evaluation.workers import Workers

    pq.write_table(pa.table({"smiles": ["CCO"], "mzs": [[45.0]]}), files / "peaks.parquet")
    with Workers(1) as workers:
        file = read_queries(files / "peaks.parquet", workers)
    words = r"needs a column named intensities \(mzs and intensities are read, and precursor_mz,"
    with pytest.raises(ConfigError, match=words):
        file.check_columns("lc_ms")
