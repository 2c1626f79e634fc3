"""`bench recall` and `bench isomers`: with a model whose answers are known, and from files to files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from evaluation_files import recall
from rdkit import Chem

from acml_search.core.errors import ConfigError, FilterError, LibraryError, UnknownModality
from acml_search.core.timing import Stopwatch
from acml_search.encoders.checkpoint import load_model
from acml_search.evaluation import ranking
from acml_search.evaluation.cache import Cache
from acml_search.evaluation.metrics import FAILED, TIE_TOLERANCE
from acml_search.evaluation.pool import Pool, Query, Structure, describe, record_of
from acml_search.evaluation.results import QueryOutcome, isomers_result
from acml_search.evaluation.retrieval import (
    Candidates,
    Filter,
    PreparedQuestion,
    QueryFile,
    Question,
    Store,
    embed_question,
    to_outcomes,
)
from acml_search.evaluation.workers import model_workers

POOL = ["CCO", "COC", "c1ccccc1O", "CC(=O)O", "CCN", "CCCC", "CC(C)C", "OCCO"]


def ask(smiles, model, direction="to-molecule", wanted=Filter()):  # noqa: B008
    """The ranked queries, each a row of one file, and how many candidates had no vector."""
    structures = describe([(text, "smiles", None) for text in POOL])
    found = describe([(text, "smiles", None) for text in smiles])
    rows = [
        Query(i, None, {}, one) if isinstance(one, str) else Query(i, one, {}, None)
        for i, one in enumerate(found)
    ]
    store = Store("none", model_workers(1))
    store.__dict__["card"] = model
    store._files[Path("q")] = QueryFile(Path("q"), rows, {})
    question = Question(name="q", modality="smiles", queries="q", direction=direction)
    pool = Pool(structures)
    outcomes = to_outcomes(rows, pool, once=False)
    prepared = embed_question(question, store, rows, pool, outcomes, Stopwatch())
    return prepared.answer(wanted).outcomes, prepared.candidates.n_failed


@pytest.mark.parametrize("direction", ["to-molecule", "to-record"])
def test_a_perfect_model_finds_every_molecule(hash_model, direction) -> None:
    outcomes, n_failed = ask(["CCO", "CCCC", "OCCO"], hash_model, direction)
    assert [one.rank for one in outcomes] == [1, 1, 1]
    assert [one.n_candidates for one in outcomes] == [8, 8, 8]
    assert [one.score for one in outcomes] == pytest.approx([1, 1, 1])
    assert n_failed == 0


@pytest.mark.parametrize("block", [1, 3, 100])
def test_the_size_of_blocks_does_not_matter(hash_model, monkeypatch, block) -> None:
    from acml_search.evaluation import retrieval

    for module in (retrieval, ranking):
        monkeypatch.setattr(module, "BLOCK", block)
    hash_model.same = {"CCO", "COC", "CCN"}
    outcomes, _ = ask(["CCO", "OCCO", "CCN"], hash_model)
    assert [one.rank for one in outcomes] == [3, 1, 3]
    assert [one.best_other for one in outcomes if one.rank == 3] == [1, 0]


def test_a_bad_record_is_one_miss_and_spoils_no_other(hash_model) -> None:
    hash_model.bad = {"CCN"}
    outcomes, _ = ask(["CCO", "CCN", "not a molecule", "OCCO"], hash_model)
    assert [one.rank for one in outcomes] == [1, np.inf, np.inf, 1]
    assert outcomes[1].error == "this smiles record cannot be used: spoilt"
    assert "not a molecule" in outcomes[2].error


def test_a_vector_that_is_not_finite_is_a_miss_not_a_win(hash_model) -> None:
    hash_model.nan = {"CCN"}
    outcomes, n_failed = ask(["CCO", "CCN"], hash_model)
    assert [one.rank for one in outcomes] == [1, np.inf]
    assert outcomes[1].error == "the model gave no finite vector"
    assert n_failed == 1


def test_a_truth_without_a_vector_is_a_miss(hash_model) -> None:
    hash_model.bad = {"CCN"}
    outcomes, n_failed = ask(["CCN", "CCO"], hash_model, "to-record")
    assert [one.rank for one in outcomes] == [np.inf, 1]
    assert outcomes[0].error == "the true molecule has no vector in the pool"
    assert n_failed == 1


def test_records_are_never_the_canonical_spelling_where_there_is_another(hash_model) -> None:
    ask(["c1ccccc1O", "CC(=O)O"], hash_model)
    assert len(hash_model.records) == 2
    assert not {"Oc1ccccc1", "CC(=O)O"} & set(hash_model.records)


def test_a_filter_is_applied_to_the_truths_own_formula(hash_model) -> None:
    outcomes, _ = ask(["CCO", "CCCC", "OCCO"], hash_model, wanted=Filter(formula=True))
    assert [one.n_candidates for one in outcomes] == [2, 2, 1]


def test_filters_in_words() -> None:
    assert Filter.parse("0.5 Da") == Filter(da=0.5)
    assert (Filter.parse("10 ppm").ppm, Filter.parse("10 ppm").slug) == (10.0, "10-ppm")
    for text in ("none", "formula", "5 Da", "10 ppm"):
        assert Filter.parse(text).text == text
    assert Filter(formula=True, da=5).name == "same formula and neutral exact mass within 5 Da"


QUERIES = ["CCO", "CCN", "CC(=O)O", "c1ccccc1O", "OCC", "C1CC", "CC(C)Cc1ccc(cc1)C(C)C(=O)O"]
LIBRARY = ["CCCC", "CC(C)C", "NCC", "COC", "CC(=O)Nc1ccc(O)cc1", "not a molecule", "c1ccncc1", "CCS"]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Queries with one unreadable row (C1CC) and one molecule twice (CCO, OCC); a library that shares one."""
    splits = ["valid", "train", "valid", "valid", "valid", "valid", "train"]
    pq.write_table(pa.table({"smiles": QUERIES, "split": splits}), tmp_path / "queries.parquet")
    (tmp_path / "library.smi").write_text("\n".join(LIBRARY) + "\n")
    return tmp_path


def measure(files: Path, model: Path, **options):
    return recall(files, model, **{"modality": "smiles", "queries": files / "queries.parquet", **options})


def test_the_result_has_what_the_contract_says(files, tiny_model) -> None:
    result = measure(files, tiny_model)
    assert result.document() == json.loads((files / "out.json").read_text())
    assert result.n_queries == 7
    assert result.n_molecules == 6  # ethanol is asked twice; the unreadable row is a molecule of its own
    assert result.n_failed == 1
    assert result.n_pool == 5 + 6  # ethylamine is in both files, one library row is unreadable
    document = result.document()
    assert document["n_pool_unreadable"] == 1
    assert set(result.recall) == {"1", "5", "10", "20"}
    assert result.recall["20"] == pytest.approx(5 / 6)  # all but the failed one
    assert result.chance["1"] == pytest.approx(1 / 11)
    assert (result.direction, result.filter, result.rerank, result.seed) == ("to-molecule", None, False, 0)
    assert result.ci95["20"][0] <= 5 / 6 <= result.ci95["20"][1]
    assert document["seconds_per_query"] > 0


def test_ranks_are_those_of_a_whole_score_matrix(files, tiny_model) -> None:
    result = measure(files, tiny_model)
    stored = pq.read_table(files / result.per_query).to_pylist()
    model = load_model(tiny_model)
    pool = ["CCO", "CCN", "CC(=O)O", "Oc1ccccc1", "CC(C)Cc1ccc(C(C)C(=O)O)cc1"]
    pool += ["CCCC", "CC(C)C", "COC", "CC(=O)Nc1ccc(O)cc1", "c1ccncc1", "CCS"]
    mols = [Chem.MolFromSmiles(smiles) for smiles in pool]
    keys = [Chem.MolToInchiKey(mol)[:14] for mol in mols]
    graph = model.encode_molecules(mols)["smiles"]
    for row in stored:
        if row["smiles"] is None:
            continue
        record = record_of("smiles", row["smiles"], row["molecule"], None, 0)
        scores = graph @ model.encode_records("smiles", [record])[0]
        truth = keys.index(row["molecule"])
        others = np.delete(scores, truth)
        assert row["score"] == pytest.approx(scores[truth], abs=1e-5)
        assert row["best_other_score"] == pytest.approx(others.max(), abs=1e-5)
        # where the oracle is within rounding of the tie rule's edge either rank is right
        low = 1 + np.count_nonzero(others >= scores[truth] + TIE_TOLERANCE)
        high = 1 + np.count_nonzero(others >= scores[truth] - 3 * TIE_TOLERANCE)
        assert low <= row["rank"] <= high
    failed = stored[5]
    assert (failed["row"], failed["rank"], failed["molecule"]) == (5, None, None)
    assert "C1CC" in failed["error"]


def test_molecules_ask_once_for_their_record(files, tiny_model) -> None:
    result = measure(files, tiny_model, direction="to-record")
    assert (result.n_queries, result.n_failed, result.n_pool) == (6, 1, 11)


def test_two_runs_agree_and_neither_workers_nor_a_cache_matter(files, tiny_model) -> None:
    timed = ("seconds", "seconds_per_query", "workers", "per_query")
    results, tables = [], []
    for number, options in enumerate(({}, {"workers": 2}, {"cache": "cache"}, {"cache": "cache"})):
        options = options | ({"cache": files / "cache"} if "cache" in options else {})
        found = measure(files, tiny_model, out=files / f"{number}.json", **options)
        results.append({k: v for k, v in found.document().items() if k not in timed})
        tables.append(pq.read_table(files / found.per_query))
    assert all(one == results[0] for one in results)
    assert all(one.equals(tables[0]) for one in tables)
    kept = list((files / "cache" / "structures").glob("*.parquet"))
    assert len(kept) == 2
    for path in kept:
        path.write_bytes(b"nonsense")
    with pytest.raises(ConfigError, match=r"kept structures cannot be read .*remove the file"):
        measure(files, tiny_model, cache=files / "cache")


@pytest.mark.parametrize("cached", [False, True])
def test_split_and_limit_and_pool(files, tiny_model, cached) -> None:
    cache = files / "cache" if cached else None
    split = measure(files, tiny_model, split="train", library=(), cache=cache)
    assert (split.n_queries, split.n_pool) == (2, 5)  # the other rows of the file stay candidates
    where = measure(files, tiny_model, where="split IN ('train', 'test')", library=(), cache=cache)
    assert (where.n_queries, where.n_pool, where.recall) == (split.n_queries, split.n_pool, split.recall)
    limited = measure(files, tiny_model, limit=2, cache=cache)
    assert (limited.n_queries, limited.n_pool) == (2, 11)
    small = measure(files, tiny_model, limit=1, pool=4, cache=cache)
    assert (small.n_queries, small.n_pool) == (1, 4)


def test_filters_narrow_the_candidates(files, tiny_model) -> None:
    result = measure(files, tiny_model, filter=Filter(formula=True))
    assert result.filter == "same formula"
    # the failed query keeps the whole pool
    assert result.candidates_per_query == {"median": 1.0, "max": 11}
    assert measure(files, tiny_model, filter=Filter(da=0.01)).filter == "neutral exact mass within 0.01 Da"


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"modality": "taste"}, UnknownModality, "no modality 'taste'; known are"),
        ({"filter": Filter(da=1.0, ppm=5.0)}, ConfigError, "not both"),
        ({"rerank": True}, ConfigError, "no weights to re-rank smiles with"),
        ({"pool": 3}, ConfigError, "a pool of 3 cannot hold the 5 molecules asked for"),
        ({"pool": 500}, ConfigError, "the files hold 11 distinct molecules, too few for a pool of 500"),
        ({"split": "test"}, ConfigError, "there are no queries whose split is 'test'"),
        ({"where": "split = 'test'"}, ConfigError, "there are no queries whose columns fulfil"),
        ({"where": "molweight > 3"}, FilterError, "cannot be applied .*columns: split"),
        ({"where": "1; DROP TABLE rows"}, FilterError, "is refused"),
        ({"queries": Path("nowhere.smi")}, LibraryError, "nowhere.smi"),
        ({"modality": "c_nmr"}, ConfigError, "has no space for c_nmr; it has smiles"),
    ],
)
def test_what_cannot_be_measured_is_a_sentence(files, tiny_model, options, error, words) -> None:
    with pytest.raises(error, match=words):
        measure(files, tiny_model, **options)


def test_files_and_folders_that_cannot_be_used_are_named(files, tiny_model, two_spaces) -> None:
    for out in (files, Path("/dev/null")):
        with pytest.raises(ConfigError, match="no file that can be written"):
            measure(files, tiny_model, out=out)
    assert not Path("/dev/null").is_file()
    (files / "bad.smi").write_text("C1CC\nXX\n")
    with pytest.raises(ConfigError, match=r"bad\.smi: none of the 2 queries can be read; row 0: .*ring"):
        measure(files, tiny_model, queries=files / "bad.smi")
    with pytest.raises(ConfigError, match="needs a column named split; further columns here: name"):
        measure(files, tiny_model, queries=files / "library.smi", split="valid")
    with pytest.raises(ConfigError, match=r"a c_nmr record needs a column named shifts; .*: split"):
        measure(files, two_spaces, modality="c_nmr")
    pq.write_table(pa.table({"smiles": ["CCO", "CCN"], "shifts": ["58, 18", "37"]}), files / "text.parquet")
    words = r"text\.parquet: none of the 2 records of shifts can be read as c_nmr; row 0: .*give ppm values"
    with pytest.raises(ConfigError, match=words):
        measure(files, two_spaces, modality="c_nmr", queries=files / "text.parquet")


def test_isomers_have_what_the_contract_says(measured, two_spaces) -> None:
    result = recall(measured, two_spaces, isomers=True)
    assert result.document() == json.loads((measured / "out.json").read_text())
    # C2H6O: 2 molecules; C4H10: 2; C4H10O: 4 asked, 3 more in the library; the others are alone
    assert result.n_groups == 3
    assert result.n_queries == 2 * (2 + 2 + 4)
    assert result.n_molecules == 8
    assert result.group_size == {"median": 4.5, "mean": 4.5, "p90": 7.0, "max": 7}
    assert result.chance == pytest.approx((4 * 1 / 2 + 4 * 1 / 7) / 8)
    assert result.ci95[0] <= result.accuracy <= result.ci95[1]
    assert "tie is a miss" in result.tie_rule
    assert result.document()["n_unreadable"] == 1


def test_isomers_agree_with_recall_among_the_same_formula(measured, two_spaces) -> None:
    recall(measured, two_spaces, isomers=True, out=measured / "isomers.json")
    found = pq.read_table(measured / "isomers.queries.parquet").to_pylist()
    recall(measured, two_spaces, filter=Filter(formula=True))
    other = {row["row"]: row for row in pq.read_table(measured / "out.queries.parquet").to_pylist()}
    assert len(found) == 16
    for row in found:
        assert row["n_candidates"] > 1
        for key in ("rank", "n_candidates", "best_other_smiles"):
            assert row[key] == other[row["row"]][key]


def test_without_an_isomer_there_is_nothing_to_measure(measured, two_spaces) -> None:
    (measured / "lone.smi").write_text("CCO\nCCC\n")
    words = "no query has an isomer among the 2 molecules of the pool; add a library with --library"
    with pytest.raises(ConfigError, match=words):
        recall(
            measured, two_spaces, modality="smiles", queries=measured / "lone.smi", library=(), isomers=True
        )


def test_accuracy_is_over_molecules_and_a_failed_query_is_a_miss() -> None:
    pool = Pool([Structure(f"C{i}", f"B{i}", formula, 1.0) for i, formula in enumerate("AABBB")])
    query = Query(0, None, {}, None)
    rows = [(0, 1.0, None), (0, 2.0, None), (2, FAILED, "spoilt"), (3, 1.0, None)]
    found = isomers_result([QueryOutcome(query, truth, error, rank) for truth, rank, error in rows], pool)
    assert found.accuracy == pytest.approx((0.5 + 0 + 1) / 3)
    assert found.mrr == pytest.approx((0.75 + 0 + 1) / 3)
    assert found.chance == pytest.approx((1 / 2 + 1 / 3 + 1 / 3) / 3)
    assert (found.n_failed, found.n_groups, found.n_queries) == (1, 2, 4)
    assert np.isfinite(found.mrr_chance)


def test_counts_of_a_1h_line_are_compared_with_the_pool(tmp_path: Path) -> None:
    """As many hydrogens as were counted, beside what exchanges; a row without counts has no say."""
    structures = describe([(text, "smiles", None) for text in POOL])
    counts = [[3, 2], [3, None], None]
    rows = [Query(i, structures[i], {"counts": some}, None) for i, some in enumerate(counts)]
    store = Store("none", model_workers(1), Cache(tmp_path))
    store.__dict__["card"] = SimpleNamespace(spaces={"h_nmr": SimpleNamespace(scale=8.0)})
    pool = Pool(structures)
    asked = to_outcomes(rows, pool, once=False)
    none = Candidates(np.zeros(0, np.int64), np.zeros((0, 4), np.float32))
    question = Question(name="q", modality="h_nmr", queries="q")
    prepared = PreparedQuestion(question, store, rows, pool, asked, np.zeros((3, 4)), none, Stopwatch())
    for _ in range(2):  # computed, then from the cache
        bias = prepared.bias
        assert bias is not None
        assert bias.observed.tolist() == [5, -1, -1]
        assert bias.hydrogens.tolist() == [6, 6, 6, 4, 7, 10, 10, 6]
        assert bias.exchangeable.tolist() == [1, 0, 1, 1, 2, 0, 0, 2]
        found = bias.logits(np.arange(3), np.arange(8))
        assert found[0] == pytest.approx([-2, -4.25, -2, -4.25, -2, -7.25, -7.25, -2])
        assert not found[1:].any()
        del prepared.__dict__["bias"]
    assert replace(prepared, outcomes=asked[1:]).bias is None
    assert replace(prepared, question=question.model_copy(update={"modality": "c_nmr"})).bias is None
