"""`python -m benchmarks index` at toy size, end to end; its recall on cases worked out by hand."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from acml_search.core.errors import AcmlSearchError, ConfigError
from benchmarks import index as bench
from benchmarks.index import builds, clustered, exact_scores, measure, read_plan, right

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
    """Where the result of all engines on clustered vectors is, and the result."""
    folder = tmp_path_factory.mktemp("index")
    path = plan(folder, HEAD, SYNTHETIC, AUTO, FLAT, HNSW, USEARCH)
    return path, folder / "out.json", measure(path, folder / "out.json", command="as a test")


def named(result, name):
    return [one for one in result["engines"] if one["name"] == name]


def test_every_engine_is_measured(done) -> None:
    _, out, result = done
    assert json.loads(out.read_text()) == result
    about = (result["kind"], result["n"], result["d"], result["n_queries"], result["k"], result["rounds"])
    assert about == ("index", 600, 16, 20, 5, 2)
    assert result["threads"] == {"single": 1, "batched": 1, "build": 1}
    for one in result["engines"]:
        if "why_not" in one:
            assert one["name"] == "usearch"
            continue
        assert one["ci95"][0] <= one["recall_at_k"] <= one["ci95"][1]
        assert 0 < one["p50_ms"] <= one["p95_ms"]
        for key in ("ratio_to_flat", "ratio_to_auto"):
            assert 0 < one[key]["low"] <= one[key]["median"] <= one[key]["high"]
    (flat,) = named(result, "flat")
    assert flat["recall"] == {"1": 1.0, "5": 1.0}
    assert flat["ratio_to_flat"] == {"median": 1.0, "low": 1.0, "high": 1.0}
    assert flat["bytes_per_vector"] == pytest.approx(4 * 16, rel=0.02)
    narrow, wide = named(result, "hnsw")
    assert (narrow["search"], wide["search"]) == ({"efSearch": 5}, {"efSearch": 200})
    assert narrow["recall_at_k"] <= wide["recall_at_k"]
    own = named(result, "auto")
    assert own[0]["params"] == {"factory": "IVF8,SQ8", "nprobe": own[0]["built"]["nprobe"]}
    assert own[-1]["recall_at_k"] > 0.95  # half precision decides some near ties


@pytest.mark.skipif(find_spec("usearch") is None, reason="usearch is not installed")
def test_usearch_takes_part(done) -> None:
    (one,) = named(done[2], "usearch")
    assert one["recall_at_k"] > 0.95
    assert one["params"] == {"metric": "ip", "dtype": "f16", "expansion_search": 200}


def test_finished_steps_are_not_run_again(done, monkeypatch) -> None:
    path, out, result = done

    def no(*arguments, **further):
        raise AssertionError("a process was started")

    monkeypatch.setattr(bench.subprocess, "run", no)
    assert measure(path, out)["engines"] == result["engines"]
    assert not list(out.with_name("out.engines").rglob("index.faiss"))


def test_an_engine_that_is_missing_or_fails_says_so(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(bench.Usearch, "PACKAGE", "no_such_package")
    broken = FLAT.replace('"flat"', '"broken"').replace('"Flat"', '"IVF8,PQ5"')  # 16 is no multiple of 5
    path = plan(tmp_path, HEAD, SYNTHETIC, FLAT, broken, USEARCH)
    result = measure(path, tmp_path / "out.json", n=60, rounds=1)
    assert result["n"] == 60
    assert "recall_at_k" in named(result, "flat")[0]
    assert named(result, "flat")[0]["ratio_to_auto"] is None
    assert "failed" in named(result, "broken")[0]["why_not"]
    assert named(result, "usearch")[0]["why_not"] == "no_such_package is not installed: pip install usearch"
    with pytest.raises(AcmlSearchError, match="no engine could be measured; usearch: no_such_package"):
        measure(path, tmp_path / "none.json", n=60, only=["usearch"])
    assert not (tmp_path / "none.json").exists()
    with pytest.raises(ConfigError, match="there is no engine 'annoy'; there are flat"):
        measure(path, tmp_path / "none.json", only=["annoy"])


def test_equally_near_ones_are_all_right_and_others_are_not() -> None:
    base = np.array([[1, 0], [0, 1], [1, 0], [0.8, 0.6], [1, 0]], np.float32)
    queries = base[:1]
    truth = exact_scores(base, queries, 2)
    assert truth.tolist() == [[1.0, 1.0]]
    for found, n in (([0, 2], 2), ([4, 2], 2), ([0, 3], 1), ([1, 3], 0), ([0, 0], 1), ([0, -1], 1)):
        assert right(base, queries, truth, np.array([found]), 2).tolist() == [n]
    with pytest.raises(ConfigError, match="answered 5, of 5 vectors"):
        right(base, queries, truth, np.array([[0, 5]]), 2)


def test_the_exact_scores_are_those_of_a_plain_sort() -> None:
    base, queries = clustered(70_000, 8, 3, 1), clustered(4, 8, 3, 1, part=1)
    plain = np.sort(queries.astype(np.float64) @ base.T.astype(np.float64), axis=1)[:, ::-1][:, :7]
    assert exact_scores(base, queries, 7) == pytest.approx(plain, abs=1e-12)
    assert np.linalg.norm(queries, axis=1) == pytest.approx(np.ones(4), abs=1e-5)


EMBEDDINGS = """
[data]
kind = "embeddings"
space = "smiles"
base = ["library.smi"]
queries = "records.parquet"
where = "split = 'valid'"
n_queries = 10
"""


def test_real_embeddings(tiny_model, tmp_path) -> None:
    (tmp_path / "library.smi").write_text("CCO\nCCN\nOCC\nC1CC\nCCC\n")
    table = {"smiles": ["CCO", "CCC", "CC"], "split": ["valid", "valid", "train"]}
    pq.write_table(pa.table(table), tmp_path / "records.parquet")
    path = plan(tmp_path, HEAD, EMBEDDINGS, FLAT)
    result = measure(path, tmp_path / "out.json", model=str(tiny_model), workers=1, rounds=1)
    assert (result["n"], result["d"], result["space"], result["n_queries"]) == (3, 32, "smiles", 2)
    assert named(result, "flat")[0]["recall"] == {"1": 1.0, "5": 1.0}


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((HEAD, SYNTHETIC), "missing key 'engine'"),
        ((HEAD, FLAT), "missing key 'data'"),
        ((HEAD, SYNTHETIC.replace("d = 16", ""), FLAT), r"missing key 'data\.synthetic\.d'"),
        ((HEAD, SYNTHETIC, "colour = 1\n", FLAT), "unknown key 'data.synthetic.colour'"),
        ((HEAD, SYNTHETIC, FLAT, FLAT), "two engines are called 'flat'"),
        ((HEAD, SYNTHETIC, FLAT.replace('"faiss"', '"magic"')), "kind"),
        ((HEAD, SYNTHETIC, HNSW.replace("efSearch", "speed")), "unknown key 'speed'"),
        ((HEAD.replace("k_timed = 5", "k_timed = 7"), SYNTHETIC, FLAT), "k_timed, 7, is not one of k"),
        ((HEAD.replace("rounds = 2", "rounds = 0"), SYNTHETIC, FLAT), "rounds: input should be greater"),
        (("x = ",), "this is not TOML"),
    ],
)
def test_a_wrong_plan(tmp_path, parts, message) -> None:
    with pytest.raises(ConfigError, match=message):
        read_plan(plan(tmp_path, *parts))


def test_build_and_search_grids_are_separate(tmp_path) -> None:
    grid = HNSW.replace(
        'factory = "HNSW8,Flat"', 'factory = ["HNSW8,Flat", "HNSW8,SQ8"]\nefConstruction = [40, 80]'
    )
    found = builds(read_plan(plan(tmp_path, HEAD, SYNTHETIC, grid)))
    assert len(found) == len({one.name for one in found}) == 4
    assert all(one.searches == [{"efSearch": 5}, {"efSearch": 200}] for one in found)
    assert found[0].name == "hnsw-efConstruction-40-factory-HNSW8_Flat"


def test_the_shipped_plan_can_be_read() -> None:
    read = read_plan(Path(bench.__file__).with_name("index.toml"))
    assert {"auto", "flat"} <= {one.name for one in read.engine}
    assert read.k == [1, 10, 100]
