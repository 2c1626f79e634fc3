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
from acml_search.index.build import build_index
from benchmarks import index as bench
from benchmarks.index import exact_scores, measure, read_plan, right

HEAD = """
threads = 1
k = 5
rounds = 1
[data]
space = "smiles"
queries = "records.parquet"
where = "split = 'valid'"
n_queries = 10
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


def vectors_made(plan, root, folder, index, n, model):
    """`make_vectors` of 600 random unit vectors."""
    vectors = np.random.default_rng(0).normal(size=(620, 16)).astype(np.float16)
    np.save(folder / "queries.npy", vectors[600:].astype(np.float32))
    np.save(folder / "typical.npy", np.empty((0, 16), np.float32))
    np.save(index / "base.npy", vectors[:600])
    return {"n": n or 600, "d": 16, "n_queries": 20, "vectors": str(index / "base.npy")}


@pytest.fixture(autouse=True)
def made(monkeypatch):
    """Vectors that need no index."""
    monkeypatch.setattr(bench, "make_vectors", vectors_made)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Where the result of all engines is, and the result."""
    folder = tmp_path_factory.mktemp("index")
    path = plan(folder, HEAD, AUTO, FLAT, HNSW, USEARCH)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench, "make_vectors", vectors_made)
        result = measure(path, folder / "out.json", index=folder, command="as a test")
    return path, folder / "out.json", result


def named(result, name):
    return [one for one in result["engines"] if one["name"] == name]


def test_every_engine_is_measured(done) -> None:
    _, out, result = done
    assert json.loads(out.read_text()) == result
    about = (result["kind"], result["n"], result["d"], result["n_queries"], result["k"], result["rounds"])
    assert about == ("index", 600, 16, 20, 5, 1)
    assert result["threads"] == {"query": 1, "build": 1}
    for one in result["engines"]:
        if "why_not" in one:
            assert one["name"] == "usearch"
            continue
        assert one["ci95"][0] <= one["recall_at_k"] <= one["ci95"][1]
        assert 0 < one["p50_ms"] <= one["p95_ms"]
        assert 0 < one["bytes_in_memory"] <= one["bytes_per_vector"]
    (flat,) = named(result, "flat")
    assert flat["recall_at_k"] == 1
    assert flat["bytes_in_memory"] == pytest.approx(4 * 16, rel=0.02)
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


def test_an_engine_that_is_missing_or_fails_says_so(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(bench.Usearch, "PACKAGE", "no_such_package")
    broken = FLAT.replace('"flat"', '"broken"').replace('"Flat"', '"IVF8,PQ5"')  # 16 is no multiple of 5
    path = plan(tmp_path, HEAD, FLAT, broken, USEARCH)
    result = measure(path, tmp_path / "out.json", index=tmp_path, n=60)
    assert result["n"] == 60
    assert "recall_at_k" in named(result, "flat")[0]
    assert "failed" in named(result, "broken")[0]["why_not"]
    assert named(result, "usearch")[0]["why_not"] == "no_such_package is not installed: pip install usearch"
    with pytest.raises(AcmlSearchError, match="no engine could be measured; usearch: no_such_package"):
        measure(path, tmp_path / "none.json", index=tmp_path, n=60, only=["usearch"])
    with pytest.raises(ConfigError, match="there is no engine 'annoy'; there are flat"):
        measure(path, tmp_path / "none.json", index=tmp_path, only=["annoy"])
    assert {one.name for one in tmp_path.iterdir()} == {"index.toml", "out.json", "base.npy"}


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
    vectors = np.random.default_rng(1).normal(size=(70_004, 8)).astype(np.float16)
    base, queries = vectors[4:], vectors[:4].astype(np.float32)
    plain = np.sort(queries.astype(np.float64) @ base.T.astype(np.float64), axis=1)[:, ::-1][:, :7]
    assert exact_scores(base, queries, 7) == pytest.approx(plain, abs=1e-12)


def test_the_vectors_of_an_index(tiny_model, tmp_path, monkeypatch) -> None:
    monkeypatch.undo()
    (tmp_path / "library.smi").write_text("CCO\nCCN\nOCC\nC1CC\nCCC\n")
    table = {"smiles": ["CCO", "CCC", "CC"], "split": ["valid", "valid", "train"]}
    pq.write_table(pa.table(table), tmp_path / "records.parquet")
    path, index = plan(tmp_path, HEAD, FLAT), tmp_path / "made"
    build_index(tmp_path / "library.smi", index, model=tiny_model, factory="HNSW8,SQ8", workers=1)
    result = measure(path, tmp_path / "out.json", index=index, model=str(tiny_model))
    assert (result["n"], result["d"], result["space"], result["n_queries"]) == (3, 32, "smiles", 2)
    assert named(result, "flat")[0]["recall_at_k"] == 1


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((HEAD,), "missing key 'engine'"),
        ((FLAT,), "missing key 'data'"),
        ((HEAD.replace('space = "smiles"', ""), FLAT), r"missing key 'data\.space'"),
        ((HEAD, "colour = 1\n", FLAT), "unknown key 'data.colour'"),
        ((HEAD, FLAT, FLAT), "two engines are called 'flat'"),
        ((HEAD, FLAT.replace('"faiss"', '"magic"')), "kind"),
        ((HEAD.replace("rounds = 1", "rounds = 0"), FLAT), "rounds: input should be greater"),
        (("x = ",), "this is not TOML"),
    ],
)
def test_a_wrong_plan(tmp_path, parts, message) -> None:
    with pytest.raises(ConfigError, match=message):
        read_plan(plan(tmp_path, *parts))


def test_the_shipped_plan_can_be_read() -> None:
    read = read_plan(Path(bench.__file__).with_name("index.toml"))
    assert {"auto", "fast", "flat"} <= {one.name for one in read.engine}
    assert read.k == 10
