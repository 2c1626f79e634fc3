"""`benchmarks suite` against `bench recall` and `bench isomers`: the same question has the same answer."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from evaluation_files import SHIFTS, recall

from acml_search.core.errors import ConfigError, FilterError
from acml_search.evaluation import embedding
from acml_search.evaluation.metrics import FAILED
from acml_search.evaluation.pool import Query, describe
from acml_search.evaluation.results import QueryOutcome, figures
from acml_search.evaluation.retrieval import Filter
from benchmarks.suite import run as suite_run
from benchmarks.suite.plan import read_suites
from benchmarks.suite.run import measure_suite

TOY = Path(__file__).parents[1] / "toy"
CARBON = (TOY / "carbon.toml").read_text()
SAME = (
    "n_molecules", "n_pool", "n_failed", "mrr", "filter", "candidates_per_query", "n_pool_unreadable",
)  # fmt: skip


def result(folder, name):
    found = json.loads((folder / "results" / f"{name}.json").read_text())
    rows = pq.read_table(folder / "results" / found["per_query"]).to_pylist()
    return found, {row["row"]: row for row in rows}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("carbon", {"modality": "c_nmr", "split": "valid"}),
        ("carbon.formula", {"modality": "c_nmr", "split": "valid", "filter": Filter(formula=True)}),
        ("carbon.20-da", {"modality": "c_nmr", "split": "valid", "filter": Filter(da=20)}),
        ("carbon.5-ppm", {"modality": "c_nmr", "split": "valid", "filter": Filter(ppm=5)}),
        ("carbon.to-record", {"modality": "c_nmr", "split": "valid", "direction": "to-record"}),
        ("spelled", {"modality": "smiles", "where": "split = 'valid' AND spectrum_rank = 0", "pool": 9}),
        (
            "spelled.to-record",
            {
                "modality": "smiles",
                "where": "split = 'valid' AND spectrum_rank = 0",
                "pool": 9,
                "direction": "to-record",
            },
        ),
    ],
)
def test_the_same_question_has_the_same_answer(done, two_spaces, name, options) -> None:
    folder, _, _ = done
    one = recall(folder, two_spaces, out=folder / "one.json", **options).document()
    rows = {row["row"]: row for row in pq.read_table(folder / one["per_query"]).to_pylist()}
    other, found = result(folder, name)
    for key in SAME:
        assert other[key] == one[key], key
    for k in ("1", "5", "10", "20"):
        assert (other["recall"][k], other["ci95"][k]) == (one["recall"][k], one["ci95"][k])
    assert rows.keys() == found.keys()
    for row, expected in rows.items():
        for key in ("rank", "n_candidates", "molecule", "error"):
            assert found[row][key] == expected[key], (row, key)
        for key in ("score", "best_other_score"):
            assert found[row][key] == (expected[key] and pytest.approx(expected[key], abs=1e-6))


def test_isomers_are_those_of_bench_isomers(done, two_spaces) -> None:
    folder, _, _ = done
    one = recall(folder, two_spaces, out=folder / "one.json", isomers=True, split="valid").document()
    other, _ = result(folder, "carbon.isomers")
    for key in ("accuracy", "ci95", "chance", "mrr", "n_queries", "n_groups", "group_size", "tie_rule"):
        assert other[key] == one[key], key


def test_every_molecule_is_embedded_once(done, monkeypatch, two_spaces) -> None:
    folder, summary, ask = done
    assert summary["n_molecules"] == 11 + 6
    assert summary["skipped"] == [
        {"question": "electrons", "why": "the model has no space for lc_ms"},
        {"question": "carbon pools of 1,000", "why": "the files hold 17 molecules"},
        {"question": "spelled peaks", "why": "the space smiles of this model predicts no peaks"},
    ]

    def never(_: object) -> None:
        raise AssertionError("a molecule was embedded again")

    monkeypatch.setattr(embedding, "embed_graphs", never)
    before = {path.name: path.read_bytes() for path in (folder / "results").glob("spelled*.parquet")}
    assert len(before) == 2
    ask([folder / "spelled.toml"], folder / "again")
    assert before == {path.name: path.read_bytes() for path in (folder / "again").glob("spelled*.parquet")}


def test_calibration_is_fitted_on_the_dev_split(done) -> None:
    folder, _, _ = done
    found = json.loads((folder / "results" / "carbon.calibration.json").read_text())
    assert found["scale_before"] == 9.0
    assert found["scale"] == pytest.approx(9.0 * found["factor"])
    assert found["n_pool"] == 17
    # the valid part: four molecules, two spectra each, and none of the two rows that failed
    assert (found["valid"]["n_queries"], found["valid"]["n_molecules"]) == (8, 4)
    train = [smiles for i, smiles in enumerate(SHIFTS) if i % 3]
    blocks = [one.inchikey14 for one in describe([(smiles, "smiles", None) for smiles in train])]
    inner = sum(ord(block[0]) % 2 == 0 for block in blocks)
    assert 0 < inner < len(train)
    assert (found["inner"]["n_queries"], found["inner"]["n_molecules"]) == (2 * inner, inner)


def test_the_page_shows_what_was_reached(done) -> None:
    folder, _, _ = done
    page = (folder / "results" / suite_run.PAGE).read_text()
    assert "| carbon none@10 | at least 0.5 |" in page
    assert "| **no** |" in page  # no accuracy is 1.1
    assert "not comparable with recall in a pool" in page
    assert "- electrons: the model has no space for lc_ms" in page
    assert "as a test" in page


def test_similarity_is_to_molecules_that_training_saw(done) -> None:
    folder, _, _ = done
    _, rows = result(folder, "carbon")
    nearest = {row["smiles"]: row["nearest_training"] for row in rows.values()}
    assert nearest[None] is None
    assert all(0 <= x < 1 for smiles, x in nearest.items() if smiles is not None)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('name = "carbon"\n', ""), "missing key 'question.0.name'"),
        (("isomers = true", "isomer = true"), "unknown key 'question.0.isomer'"),
        (('"20 Da"', '"20 kg"'), "the filter '20 kg' is not none, formula, or a mass"),
        (
            ('leakage = "fail"', 'leakage = "no"'),
            "question.0.leakage: input should be 'report'",
        ),
        (("pools = [3,", "pools = [1,"), "a pool of 1 holds nothing but the truth"),
        (("pools = [3,", "pool = 9\npools = [3,"), "it has `pool` and `pools`"),
        (('filters = ["none", ', "filters = ["), "`pools` are without filter"),
        (("[[question]]", "[[question"), "this is not TOML"),
    ],
)
def test_a_suite_that_is_wrong_is_a_sentence(tmp_path, change, words) -> None:
    assert change[0] in CARBON
    path = tmp_path / "suite.toml"
    path.write_text(CARBON.replace(*change))
    with pytest.raises(ConfigError, match=words):
        read_suites([path])


def test_a_question_is_asked_once(tmp_path) -> None:
    other = tmp_path / "other.toml"
    other.write_text(CARBON)
    with pytest.raises(ConfigError, match="two questions are called 'carbon'"):
        read_suites([TOY / "carbon.toml", other])
    assert len(read_suites([TOY / "carbon.toml", TOY / "carbon.toml"]).questions) == 1
    with pytest.raises(ConfigError, match="there is no file of questions"):
        read_suites([])


def test_parts_are_found_beside() -> None:
    suite = read_suites([TOY / "both.toml"])
    assert ([one.name for one in suite.questions], [one.name for one in suite.fused]) == ([], ["both"])
    assert suite.part("carbon").modality == "c_nmr"
    assert read_suites([TOY / "both.toml", TOY / "carbon.toml"]).beside == (suite.part("spelled"),)


def test_only_questions_that_the_model_can_answer(measured, two_spaces) -> None:
    with pytest.raises(ConfigError, match="has spaces for c_nmr, smiles only"):
        measure_suite([TOY / "electrons.toml"], measured / "out", model=str(two_spaces))


def test_a_condition_that_cannot_be_applied_is_said_before_embedding(measured, two_spaces) -> None:
    suite = measured / "suite.toml"
    for change, words in (
        (('training = "split', 'training = "slit'), "slit = 'train'.* cannot be applied"),
        (("split = 'valid'\"", "split = 'test'\""), "there are no queries whose columns fulfil"),
    ):
        suite.write_text(CARBON.replace(*change))
        with pytest.raises((ConfigError, FilterError), match=words):
            measure_suite([suite], measured / "out", model=str(two_spaces), workers=1)
    assert not (measured / "cache" / "vectors").exists()


def test_a_failed_query_is_a_miss_in_every_pool() -> None:
    outcomes = [
        QueryOutcome(Query(0, None, {}, "unreadable"), -1, "unreadable", FAILED),
        QueryOutcome(Query(1, None, {}, None), 3, rank=1.0, n_candidates=10),
    ]
    found = figures(outcomes, 10)
    assert found["recall"]["1"] == found["recall"]["5"] == 0.5
    assert found["mrr"] == 0.5
    assert found["chance"]["1"] == pytest.approx(0.1)
    assert found["ci95"]["1"] == [0.0, 1.0]


def test_a_suite_tells_recall_by_pool(done) -> None:
    folder, _, _ = done
    result = json.loads((folder / "results" / "carbon.json").read_text())
    assert [one["n_pool"] for one in result["by_pool"]] == [3, 10]
    recall = [one["recall"]["1"] for one in result["by_pool"]]
    assert recall == sorted(recall, reverse=True)  # nested: a rank never gets better in a larger pool
    assert [one["chance"]["1"] for one in result["by_pool"]] == pytest.approx([1 / 3, 0.1], rel=0.3)


def test_reranked_answers_have_pools_too(done) -> None:
    folder, _, _ = done
    result = json.loads((folder / "results" / "carbon.rerank.json").read_text())
    assert [one["n_pool"] for one in result["by_pool"]] == [3, 10]
    formula = json.loads((folder / "results" / "carbon.formula.rerank.json").read_text())
    assert "by_pool" not in formula
