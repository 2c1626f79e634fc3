"""`bench index` at toy size, end to end; its recall on cases worked out by hand."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pyarrow.parquet as pq
import pytest

from acml_search.core.errors import AcmlSearchError, ConfigError
from benchmarks.index_bench import engines
from benchmarks.index_bench.data import Data, Source, clustered, prepare
from benchmarks.index_bench.judge import Judge, exact_scores
from benchmarks.index_bench.plan import read_plan
from benchmarks.index_bench.run import IndexOptions, measure_index

HEAD = """
threads = 1
single = 5
k = [1, 5]
k_timed = 5
rounds = 2
"""
SYNTHETIC = """
[data]
kind = "synthetic"
n = 600
d = 16
clusters = 5
n_queries = 20
"""
AUTO = """
[[engine]]
name = "auto"
kind = "ours"
[engine.build]
factory = "IVF8,SQ8"
[engine.search]
nprobe = ["calibrated", 8]
"""
FLAT = """
[[engine]]
name = "flat"
kind = "faiss"
[engine.build]
factory = "Flat"
"""
HNSW = """
[[engine]]
name = "hnsw"
kind = "faiss"
[engine.build]
factory = "HNSW8,Flat"
[engine.search]
efSearch = [5, 200]
"""
USEARCH = """
[[engine]]
name = "usearch"
kind = "usearch"
[engine.build]
metric = "ip"
dtype = "f16"
[engine.search]
expansion_search = [200]
"""


def plan(folder, *parts):
    path = folder / "index.toml"
    path.write_text("".join(parts))
    return path


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The options and the result of all engines on clustered vectors."""
    folder = tmp_path_factory.mktemp("index")
    path = plan(folder, HEAD, SYNTHETIC, AUTO, FLAT, HNSW, USEARCH)
    options = IndexOptions(path, folder / "out.json", command="as a test")
    return options, measure_index(options)


def named(result, name):
    return [one for one in result["engines"] if one["name"] == name]


def test_every_engine_is_measured(done) -> None:
    options, result = done
    assert json.loads(options.out.read_text()) == result
    assert result["kind"] == "index"
    about = (result["n"], result["d"], result["n_queries"], result["k"], result["rounds"])
    assert about == (600, 16, 20, 5, 2)
    assert result["threads"] == {"single": 1, "batched": 1, "build": 1}
    assert result["command"] == "as a test"
    for one in result["engines"]:
        if "why_not" in one:
            assert one["name"] == "usearch"
            continue
        assert 0 <= one["recall_at_k"] <= 1
        assert one["ci95"][0] <= one["recall_at_k"] <= one["ci95"][1]
        assert 0 < one["p50_ms"] <= one["p95_ms"]
        assert one["build_seconds"] > 0
        assert one["queries_per_second_batched"] > 0
        for key in ("ratio_to_flat", "ratio_to_auto", "latency_ratio_to_flat", "latency_ratio_to_auto"):
            assert 0 < one[key]["low"] <= one[key]["median"] <= one[key]["high"]
        assert (one["memory_mb"] is None) != os.path.exists("/proc/self/status")


def test_an_exact_scan_finds_everything_and_is_once_its_own_reference(done) -> None:
    (flat,) = named(done[1], "flat")
    assert flat["recall"] == {"1": 1.0, "5": 1.0}
    assert flat["ratio_to_flat"] == {"median": 1.0, "low": 1.0, "high": 1.0}
    assert flat["bytes_per_vector"] == pytest.approx(4 * 16, rel=0.02)


def test_looking_further_finds_no_less(done) -> None:
    narrow, wide = named(done[1], "hnsw")
    assert (narrow["search"], wide["search"]) == ({"efSearch": 5}, {"efSearch": 200})
    assert narrow["recall_at_k"] <= wide["recall_at_k"]
    assert wide["recall_at_k"] > 0.9


def test_our_choice_says_what_it_looks_at(done) -> None:
    own = named(done[1], "auto")
    assert own[0]["params"]["factory"] == "IVF8,SQ8"
    assert own[0]["params"]["nprobe"] == own[0]["built"]["nprobe"]
    visits = [one["params"]["nprobe"] for one in own]
    assert visits[-1] == 8 or visits == [8]  # all lists once, be it by choice or by the plan
    assert own[-1]["recall_at_k"] > 0.95  # half precision decides some near ties
    stored = 16 * 2 + 8  # vectors and keys
    assert own[0]["bytes_per_vector"] > stored + 16


@pytest.mark.skipif(find_spec("usearch") is None, reason="usearch is not installed")
def test_usearch_takes_part(done) -> None:
    (one,) = named(done[1], "usearch")
    assert one["recall_at_k"] > 0.95
    assert one["params"] == {"metric": "ip", "dtype": "f16", "expansion_search": 200}
    assert one["version"].startswith("usearch ")


def test_records_per_query_give_the_recall(done) -> None:
    options, result = done
    rows = pq.read_table(options.out.with_name(result["per_query"])).to_pylist()
    told = [one for one in result["engines"] if "why_not" not in one]
    assert len(rows) == 20 * len(told)
    for place, one in enumerate(told):
        own = rows[20 * place : 20 * (place + 1)]
        assert {row["engine"] for row in own} == {one["name"]}
        assert sum(row["right_5"] for row in own) / (5 * 20) == pytest.approx(one["recall_at_k"])
        assert [len(row["milliseconds"] or []) for row in own] == [2] * 5 + [0] * 15


def test_what_is_done_is_not_done_again(done, monkeypatch) -> None:
    from benchmarks.index_bench import turns

    options, result = done

    def no(*arguments, **further):
        raise AssertionError("a process was started")

    monkeypatch.setattr(turns.subprocess, "run", no)
    again = measure_index(options)
    assert again["engines"] == result["engines"]
    assert not list(options.out.with_name("out.engines").rglob("index.faiss"))  # nothing left to ask


def test_one_engine_alone_has_no_ratio(tmp_path) -> None:
    options = IndexOptions(
        plan(tmp_path, HEAD, SYNTHETIC, FLAT, HNSW), tmp_path / "out.json", n=50, rounds=1, only=["hnsw"]
    )
    result = measure_index(options)
    assert (result["n"], result["rounds"]) == (50, 1)
    assert {one["name"] for one in result["engines"]} == {"hnsw"}
    assert result["engines"][0]["ratio_to_flat"] is None


def test_a_peer_that_is_missing_or_fails_says_so(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(engines.UsearchHnsw, "PACKAGE", "no_such_package")
    broken = FLAT.replace('"flat"', '"broken"').replace('"Flat"', '"IVF8,PQ5"')  # 16 is no multiple of 5
    path = plan(tmp_path, HEAD, SYNTHETIC, FLAT, broken, USEARCH)
    result = measure_index(IndexOptions(path, tmp_path / "out.json", n=60, rounds=1))
    assert "recall_at_k" in named(result, "flat")[0]
    assert "failed" in named(result, "broken")[0]["why_not"]
    assert named(result, "usearch")[0]["why_not"] == "no_such_package is not installed: pip install usearch"


def test_where_every_engine_fails_there_is_no_result(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(engines.UsearchHnsw, "PACKAGE", "no_such_package")
    options = IndexOptions(plan(tmp_path, HEAD, SYNTHETIC, USEARCH), tmp_path / "out.json", n=20)
    with pytest.raises(AcmlSearchError, match="no engine could be measured; usearch: no_such_package"):
        measure_index(options)
    assert not options.out.exists()


def judge(base, queries, k, folder):
    return Judge.of(np.array(base, np.float32), np.array(queries, np.float32), k, folder / "truth.npy")


def test_equally_near_ones_are_all_right_and_others_are_not(tmp_path) -> None:
    base = [[1, 0], [0, 1], [1, 0], [0.8, 0.6], [1, 0]]
    one = judge(base, [[1, 0]], 2, tmp_path)
    assert one.truth.tolist() == [[1.0, 1.0]]
    for found, right in (([0, 2], 2), ([4, 2], 2), ([0, 3], 1), ([1, 3], 0), ([0, 0], 1), ([0, -1], 1)):
        assert one.right(np.array([found]), 2).tolist() == [right]
    assert one.right(np.array([[3]]), 1).tolist() == [0]
    with pytest.raises(ConfigError, match="answered 5, of 5 vectors"):
        one.right(np.array([[0, 5]]), 2)


def test_fewer_vectors_than_k_can_all_be_found(tmp_path) -> None:
    one = judge([[1, 0], [0, 1]], [[1, 0]], 5, tmp_path)
    right = one.right(np.array([[1, 0, -1, -1, -1]]), 5)
    assert right.tolist() == [2]
    assert one.recall(right, 5, 0) == {"recall": 1.0, "ci95": [1.0, 1.0]}


def test_the_exact_scores_are_those_of_a_plain_sort() -> None:
    base, queries = clustered(40_000, 8, 3, 1), clustered(4, 8, 3, 1, of=1)
    plain = np.sort(queries.astype(np.float64) @ base.T.astype(np.float64), axis=1)[:, ::-1][:, :7]
    assert exact_scores(base, queries, 7) == pytest.approx(plain, abs=1e-12)


def test_clustered_vectors_are_seeded_units() -> None:
    one = clustered(50, 8, 4, 3)
    assert np.linalg.norm(one, axis=1) == pytest.approx(np.ones(50), abs=1e-5)
    assert (one == clustered(50, 8, 4, 3)).all()
    assert (one != clustered(50, 8, 4, 3, of=1)).any()


EMBEDDINGS = """
[data]
kind = "embeddings"
space = "c_nmr"
base = ["library.smi", "large.smi"]
queries = "spectra.parquet"
where = "split = 'valid' AND spectrum_rank = 0"
calibrate = "split = 'train'"
n_queries = 10
"""


@pytest.fixture
def source(two_spaces, tmp_path):
    return Source(str(two_spaces), tmp_path / "cache", 1)


def test_real_embeddings(measured, source, tmp_path) -> None:
    read = read_plan(plan(measured, HEAD, EMBEDDINGS, FLAT))
    data = prepare(read, None, source, tmp_path)
    # 6 readable of 7 isomers, and 7 more molecules of which CC(C)CO is known
    assert data.base().shape == (12, 32)
    assert np.linalg.norm(data.base(), axis=1) == pytest.approx(np.ones(12), abs=1e-4)
    assert data.about["n"] == 12
    # four valid molecules with a spectrum; one without shifts fails, one has no structure
    assert (data.about["n_queries"], data.about["n_queries_failed"]) == (4, 1)
    assert data.queries().shape == (4, 32)
    assert len(data.typical()) == data.about["n_typical"] == 12
    assert prepare(read, None, source, tmp_path).folder == data.folder
    some = prepare(read, 5, source, tmp_path)
    assert some.base().shape == (5, 32)
    assert some.folder != data.folder


def test_other_molecules_than_the_plan_names(measured, two_spaces, tmp_path) -> None:
    path = plan(measured, HEAD, EMBEDDINGS, FLAT)
    options = IndexOptions(
        path,
        tmp_path / "out.json",
        base=[measured / "large.smi"],
        rounds=1,
        model=str(two_spaces),
        workers=1,
    )
    result = measure_index(options)
    assert (result["n"], result["d"], result["space"], result["n_queries"]) == (7, 32, "c_nmr", 4)
    assert result["data"]["base"] == ["large.smi"]
    assert named(result, "flat")[0]["recall"] == {"1": 1.0, "5": 1.0}
    synthetic = plan(tmp_path, HEAD, SYNTHETIC, FLAT)
    with pytest.raises(ConfigError, match="leave --base out"):
        measure_index(replace(options, plan=synthetic))


def test_a_space_that_the_model_has_not(measured, source, tmp_path) -> None:
    read = read_plan(plan(measured, HEAD, EMBEDDINGS.replace("c_nmr", "taste"), FLAT))
    with pytest.raises(AcmlSearchError, match="taste"):
        prepare(read, None, source, tmp_path)


def test_damaged_vectors_are_named(tmp_path) -> None:
    (tmp_path / "base.npy").write_bytes(b"nothing")
    with pytest.raises(ConfigError, match=r"base\.npy: the vectors cannot be read"):
        Data(tmp_path, {}).base()


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((HEAD, SYNTHETIC), r"there is no \[\[engine\]\]"),
        ((HEAD, FLAT), r"\[data\] kind is None"),
        ((HEAD, SYNTHETIC.replace("d = 16", ""), FLAT), r"\[data\] lacks 'd'"),
        ((HEAD, SYNTHETIC, "colour = 1\n", FLAT), "nobody reads the key 'colour'"),
        ((HEAD, SYNTHETIC, FLAT, FLAT), "two engines are called 'flat'"),
        ((HEAD, SYNTHETIC, FLAT.replace('"faiss"', '"magic"')), "there is no kind 'magic'"),
        ((HEAD, SYNTHETIC, FLAT, "speed = 9\n"), "'flat': nobody reads the key 'speed'"),
        ((HEAD.replace("k_timed = 5", "k_timed = 7"), SYNTHETIC, FLAT), "k_timed, 7, is none of k"),
        ((HEAD.replace("rounds = 2", "rounds = 0"), SYNTHETIC, FLAT), "rounds is 0; give a positive"),
        (("x = ",), "this is not TOML"),
    ],
)
def test_a_plan_that_makes_no_sense(tmp_path, parts, message) -> None:
    with pytest.raises(ConfigError, match=message):
        read_plan(plan(tmp_path, *parts))


def test_build_and_search_grids_are_separate(tmp_path) -> None:
    grid = HNSW.replace(
        'factory = "HNSW8,Flat"', 'factory = ["HNSW8,Flat", "HNSW8,SQ8"]\nefConstruction = [40, 80]'
    )
    builds = read_plan(plan(tmp_path, HEAD, SYNTHETIC, grid)).builds
    assert len(builds) == len({one.name for one in builds}) == 4
    assert all(one.searches == ({"efSearch": 5}, {"efSearch": 200}) for one in builds)
    assert builds[0].name == "hnsw-efConstruction-40-factory-HNSW8_Flat"


def test_an_engine_that_is_not_in_the_plan(tmp_path) -> None:
    options = IndexOptions(plan(tmp_path, HEAD, SYNTHETIC, FLAT), tmp_path / "out.json", only=["annoy"])
    with pytest.raises(ConfigError, match="there is no engine 'annoy'; there are flat"):
        measure_index(options)


def test_the_shipped_plan_can_be_read() -> None:
    from pathlib import Path

    read = read_plan(Path(__file__).parents[2] / "benchmarks" / "index.toml")
    assert {"auto", "flat"} <= {one.name for one in read.builds}
    assert read.ks == (1, 10, 100)
