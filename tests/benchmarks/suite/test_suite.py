"""`bench suite` against `bench recall` and `bench isomers`: the same question has the same answer."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from evaluation_files import SHIFTS

from acml_search.core.errors import ConfigError, FilterError
from acml_search.evaluation.data.structures import describe
from acml_search.evaluation.isomers import measure_isomers
from acml_search.evaluation.recall import RecallOptions, RetrievalOptions, measure_recall
from acml_search.evaluation.vectors import depends, stored
from benchmarks.suite import run as suite_run
from benchmarks.suite.files import read_suites
from benchmarks.suite.plan import Filter
from benchmarks.suite.run import SuiteOptions, measure_suite

TOY = Path(__file__).parents[1] / "toy"
CARBON = (TOY / "carbon.toml").read_text()
SAME = (
    "n_molecules", "n_pool", "n_failed", "mrr", "filter", "candidates_per_query", "n_pool_unreadable",
)  # fmt: skip


def recall(folder, model, **more):
    defaults = {
        "queries": folder / "spectra.parquet", "library": [folder / "library.smi"],
        "out": folder / "one.json", "model": str(model), "workers": 1,
    }  # fmt: skip
    options = RecallOptions(**(defaults | more))
    result = measure_recall(options)
    return result, {row["row"]: row for row in pq.read_table(folder / result["per_query"]).to_pylist()}


def result(folder, name):
    found = json.loads((folder / "results" / f"{name}.json").read_text())
    rows = pq.read_table(folder / "results" / found["per_query"]).to_pylist()
    return found, {row["row"]: row for row in rows}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("carbon", {"modality": "c_nmr", "split": "valid"}),
        ("carbon.formula", {"modality": "c_nmr", "split": "valid", "formula_filter": True}),
        ("carbon.20-da", {"modality": "c_nmr", "split": "valid", "mass_filter_da": 20.0}),
        ("carbon.5-ppm", {"modality": "c_nmr", "split": "valid", "mass_filter_ppm": 5.0}),
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
    one, rows = recall(folder, two_spaces, **options)
    other, found = result(folder, name)
    for key in SAME:
        if key == "n_pool_unreadable" and "to-record" in name:
            continue  # there `bench recall` counts records, and a suite molecules
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
    one = measure_isomers(
        RetrievalOptions(
            "c_nmr", folder / "spectra.parquet", folder / "one.json", [folder / "library.smi"],
            model=str(two_spaces), split="valid", workers=1,
        )
    )  # fmt: skip
    other, _ = result(folder, "carbon.isomers")
    for key in ("accuracy", "ci95", "chance", "mrr", "n_queries", "n_groups", "group_size", "tie_rule"):
        assert other[key] == one[key], key


def test_every_molecule_is_embedded_once(done, monkeypatch, two_spaces) -> None:
    folder, summary, options = done
    assert summary["n_molecules"] == 11 + 6 + 4
    assert summary["skipped"] == [
        {"question": "electrons", "why": "the model has no space for lc_ms"},
        {"question": "carbon pools of 1,000", "why": "the files hold 21 molecules"},
        {"question": "carbon stereoisomers", "why": "no query has a stereoisomer in the files"},
        {"question": "spelled peaks", "why": "the space smiles of this model predicts no peaks"},
    ]

    def never(_: object) -> None:
        raise AssertionError("a molecule was embedded again")

    monkeypatch.setattr(stored, "embed_graphs", never)
    before = {path.name: path.read_bytes() for path in (folder / "results").glob("spelled*.parquet")}
    assert len(before) == 2
    measure_suite(replace(options, files=(folder / "spelled.toml",), out=folder / "again"))
    assert before == {path.name: path.read_bytes() for path in (folder / "again").glob("spelled*.parquet")}


def test_changed_code_embeds_the_spaces_it_concerns_again(done, monkeypatch) -> None:
    folder, _, options = done
    monkeypatch.setattr(depends, "code_digest", lambda space, side: f"another {space}")
    seen = []
    embed = stored.embed_graphs
    monkeypatch.setattr(stored, "embed_graphs", lambda task: seen.append(task) or embed(task))
    measure_suite(replace(options, files=(folder / "spelled.toml",), out=folder / "again"))
    assert sum(len(task.smiles) for task in seen) == 11 + 6  # the large library is not asked for here
    assert {task.spaces for task in seen} == {("smiles",)}


def test_calibration_is_fitted_on_the_inner_part(done) -> None:
    folder, _, _ = done
    found = json.loads((folder / "results" / "carbon.calibration.json").read_text())
    assert found["scale_before"] == 9.0
    assert found["scale"] == pytest.approx(9.0 * found["factor"])
    assert found["n_pool"] == 17
    # the valid part: four molecules, two spectra each, and none of the two rows that failed
    assert (found["valid"]["n_queries"], found["valid"]["n_molecules"]) == (8, 4)
    train = [smiles for i, smiles in enumerate(SHIFTS) if i % 3]
    blocks = [one.block for one in describe([(smiles, "smiles", None) for smiles in train])]
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
        (('name = "carbon"\n', ""), "question 1 lacks 'name'"),
        (("isomers = true", "isomer = true"), "question 'carbon': nobody reads the key 'isomer'"),
        (('"20 Da"', '"20 kg"'), "the filter '20 kg' is not none, formula, or a mass"),
        (('seen = "fail"', 'seen = "no"'), "seen = 'no' is not one of fail, allowed"),
        (("pools = [3,", "pools = [1,"), "a pool of 1 holds nothing but the truth"),
        (("pools = [3,", "pool = 9\npools = [3,"), "it has `pool` and `pools`"),
        (('filters = ["none", ', "filters = ["), "`pools` are asked without filter"),
        (("recall_at", "recal_at"), "nobody reads the key 'recal_at'"),
        (("[[question]]", "[[question"), "this is not TOML"),
    ],
)
def test_a_suite_that_makes_no_sense_is_a_sentence(tmp_path, change, words) -> None:
    assert change[0] in CARBON
    path = tmp_path / "suite.toml"
    path.write_text(CARBON.replace(*change))
    with pytest.raises(ConfigError, match=words):
        read_suites([path])


def test_files_that_disagree_are_two_runs(tmp_path) -> None:
    other = tmp_path / "other.toml"
    other.write_text((TOY / "spelled.toml").read_text().replace("[1, 2, 5, 10, 20]", "[1]"))
    with pytest.raises(ConfigError, match="differ in `seed` or `recall_at`"):
        read_suites([TOY / "carbon.toml", other])
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


def test_filters_in_words() -> None:
    assert Filter.of("0.5 Da") == Filter("0.5 Da", da=0.5)
    assert (Filter.of("10 ppm").ppm, Filter.of("10 ppm").slug) == (10.0, "10-ppm")


def test_only_questions_that_the_model_can_answer(measured, two_spaces) -> None:
    options = SuiteOptions((TOY / "electrons.toml",), measured / "out", str(two_spaces))
    with pytest.raises(ConfigError, match="has spaces for c_nmr, smiles only"):
        measure_suite(options)


def test_a_condition_that_cannot_be_applied_is_said_before_embedding(measured, two_spaces) -> None:
    suite = measured / "suite.toml"
    for change, words in (
        (('training = "split', 'training = "slit'), "slit = 'train'.* cannot be applied"),
        (("split = 'valid'\"", "split = 'test'\""), "there are no queries whose columns fulfil"),
    ):
        suite.write_text(CARBON.replace(*change))
        with pytest.raises((ConfigError, FilterError), match=words):
            measure_suite(SuiteOptions((suite,), measured / "out", str(two_spaces), workers=1))
    assert not (measured / "cache" / "vectors").exists()


def test_stored_vectors_are_found_by_smiles() -> None:
    first = {"x": np.array([[1.0], [2.0]], np.float32)}
    second = {"x": np.array([[3.0], [9.0]], np.float32)}
    vectors = stored.StoredVectors([(["A", "B"], first), (["C", "A"], second)])
    assert vectors.take("x", ["C", "A", "B", "A"]).tolist() == [[3.0], [1.0], [2.0], [1.0]]


def test_comments_and_docstrings_are_not_code() -> None:
    plain = "def f(x):\n    return x + 1\n"
    told = '"""A file."""\n\n\ndef f(x):\n    """Adds."""\n    return (x + 1)  # one\n'
    assert depends.what_runs(plain) == depends.what_runs(told)
    assert depends.what_runs(plain) != depends.what_runs(plain.replace("1", "2"))
