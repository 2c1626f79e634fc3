"""An index in Milvus answers as the directory it was pushed from: with milvus-lite."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

import acml_search
from acml_search.cli import app
from acml_search.core.errors import AcmlSearchError, ConfigError, FilterError, NoCandidates, StoreError
from acml_search.search.pipeline import Index, open_index

pytest.importorskip("pymilvus")
pytest.importorskip("milvus_lite")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")

from acml_search.index import milvus  # noqa: E402


@pytest.fixture(scope="module")
def lite(small_index: Path, spectral_index: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Both indexes in one milvus-lite: NAME is `small` and `spectral`."""
    where = f"milvus:{tmp_path_factory.mktemp('lite') / 'all.db'}"
    milvus.push(small_index, f"{where}#small")
    milvus.push(spectral_index, f"{where}#spectral")
    return where


@pytest.fixture(scope="module")
def small(lite: str, small_index: Path) -> Iterator[tuple[Index, Index]]:
    with open_index(small_index) as here, open_index(f"{lite}#small") as there:
        yield here, there


@pytest.fixture(scope="module")
def spectral(lite: str, spectral_index: Path) -> Iterator[tuple[Index, Index]]:
    with open_index(spectral_index) as here, open_index(f"{lite}#spectral") as there:
        yield here, there


def answered(index: Index, ask: Any) -> Any:
    """An answer as a document without what may differ, or the class of its error."""
    try:
        document = ask(index).to_dict()
    except AcmlSearchError as error:
        return type(error)
    notes = [note for note in document.pop("notes", []) if "Milvus" not in note]
    return {**{k: v for k, v in document.items() if k not in ("index", "seconds")}, "notes": notes}


@pytest.mark.parametrize(
    "conditions",
    [
        {},
        {"where": "price < 20 and score >= 3 or name in ('m1', 'm2')"},
        {"where": "price between 3 and 9.5 and formula = 'C2H6O'"},
        {"where": "name LIKE 'm1%'"},
        {"where": "NOT (score = 3)"},
        {"where": "name <> 'm2' and price < 9"},
        {"where": "no_such_column = 1"},
        {"formula": "C2H6O"},
        {"mass": 46.0419, "tol_da": 0.001},
        {"mass": 4600.0},
        {"elements_allowed": "C,H,O"},
        {"hydrogens": "6-10", "carbons": 3},
    ],
    ids=str,
)
def test_molecules_and_filters(small: tuple[Index, Index], conditions: dict[str, Any]) -> None:
    here, there = (answered(index, lambda one: one.search("CCCO", k=8, **conditions)) for index in small)
    assert here == there


@pytest.mark.parametrize(
    "ask",
    [
        lambda index: index.identify({"c_nmr": "58.0, 18.2"}, k=5),
        lambda index: index.identify({"c_nmr": "58.0, 18.2"}, k=100, where="exact_mass < 100", rerank=False),
        lambda index: index.identify(
            {"h_nmr": "3.7 (q, 2H), 2.6 (s, 1H), 1.2 (t, 3H)", "c_nmr": "58, 18"}, k=9
        ),
        lambda index: index.identify({"h_nmr": "3.7 (q, 2H), 1.2 (t, 3H)"}, carbons="1-4", k=9),
        lambda index: index.explain({"c_nmr": "58.0, 18.2"}, [0, 5]),
        lambda index: index.explain({"c_nmr": "58.0, 18.2"}, [9999]),
        lambda index: index.identify(
            {"lc_ms": {"mzs": [41.0, 47.05], "intensities": [1.0, 9.0], "precursor_mz": 47.0491}},
            adduct="[M+H]+",
        ),
    ],
)
def test_observations_and_explanations(spectral: tuple[Index, Index], ask: Any) -> None:
    here, there = (answered(index, ask) for index in spectral)
    assert here == there


def test_a_filter_that_is_no_expression_says_what_it_cost(small: tuple[Index, Index]) -> None:
    assert any("were fetched" in note for note in small[1].search("CCO", where="name LIKE 'm%'").notes)
    with pytest.raises(NoCandidates, match="none of the"):
        small[1].search("CCO", mass=4600.0)
    with pytest.raises(FilterError, match="the columns are key"):
        small[1].search("CCO", where="no_such_column = 1")


def test_columns_of_any_type_come_back() -> None:
    table = pa.table(
        {
            "key": pa.array([1, 2], pa.int64()),
            "a b": pa.array([None, 2.5], pa.float32()),
            "when": pa.array([None, 86_400], pa.timestamp("s")),
            "tags": [["x", "ä"], None],
            "yes": [True, None],
            "n": pa.array([3, 4], pa.uint16()),
            "none": pa.nulls(2),
        }
    )
    columns = milvus.columns_of(table.schema)
    back = {name: one.decoded(one.encoded(table.column(name))) for name, one in columns.items()}
    assert pa.table({"key": table["key"], **back}) == table


class Killed(BaseException):
    pass


def test_a_push_goes_on_where_it_was_killed(
    small_index: Path, spectral_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, sent, real = f"milvus:{tmp_path}/x.db", [], milvus.Server.call
    monkeypatch.setattr(milvus, "BATCH", 8)

    def call(self: Any, method: str, *arguments: Any, **named: Any) -> Any:
        if method == "upsert" and "manifest" not in arguments[0]:
            sent.append(arguments[1][0]["key"])
            if len(sent) == 3:  # half of a batch arrives
                real(self, method, arguments[0], arguments[1][:4])
                raise Killed
        return real(self, method, *arguments, **named)

    monkeypatch.setattr(milvus.Server, "call", call)
    with pytest.raises(StoreError, match=r"no index was pushed here; run `acml-search push INDEX milvus:"):
        open_index(where)
    with pytest.raises(Killed):
        milvus.push(small_index, where)
    with pytest.raises(StoreError, match="not pushed to its end"):
        open_index(where)
    report = milvus.push(small_index, where)
    assert sent[:2] == [0, 8]
    assert sent[2] == sent[3]
    assert set(report["rows"].values()) == {len(acml_search.open_index(small_index))}
    before = len(sent)
    assert milvus.push(small_index, where)["already_complete"]
    assert len(sent) == before
    with open_index(small_index) as here, open_index(where) as there:
        assert answered(here, lambda one: one.search("CCO")) == answered(there, lambda one: one.search("CCO"))
    with pytest.raises(StoreError, match="--restart to replace it"):
        milvus.push(spectral_index, where)
    assert not milvus.push(spectral_index, where, restart=True)["already_complete"]
    with open_index(where) as there:
        assert there.spaces == ["c_nmr", "h_nmr", "lc_ms"]


KILLED = """
import sys, threading, time
from pathlib import Path
from acml_search.index import milvus
index, where, stop = sys.argv[1:]
milvus.BATCH = 3
real = milvus.Server.call
def call(self, method, *arguments, **named):
    global stop
    if method in ("upsert", "create_collection"):
        stop = int(stop) - 1
        if stop <= 0:
            print(method, flush=True)
    return real(self, method, *arguments, **named)
milvus.Server.call = call
milvus.push(Path(index), where)
"""


@pytest.mark.parametrize("stop", [1, 5, 25])
def test_a_push_that_is_killed_is_finished_by_the_next(
    spectral_index: Path, tmp_path: Path, stop: int
) -> None:
    """Killed just as a call begins, which is another one each time."""
    where = f"milvus:{tmp_path}/x.db"
    arguments = [sys.executable, "-c", KILLED, str(spectral_index), where, str(stop)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        assert process.stdout.readline(), "it finished before it could be killed"
        time.sleep(random.Random(stop).uniform(0, 0.02))
        process.kill()
    report = milvus.push(spectral_index, where)
    assert not report["already_complete"]
    with open_index(spectral_index) as here, open_index(where) as there:
        for name in report["rows"]:
            one, other = (index._directory.vectors(*name.rsplit("_", 1)) for index in (here, there))
            found = other._collection.server.call("query", other._collection.name, filter="key >= 0")
            assert sorted(row["key"] for row in found) == list(one.keys)
            np.testing.assert_array_equal(other.stored(one.keys), one.stored(np.arange(one.n)))
        rows = [index._directory.catalog.rows(here._directory.keys) for index in (here, there)]
        assert rows[0] == rows[1]


def test_a_server_that_goes_away(small_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from milvus_lite.adapter.grpc.server import start_server_in_thread

    monkeypatch.setattr(milvus, "BATCH", 8)

    def patience(seconds: float) -> None:
        monkeypatch.setattr(milvus, "TIMEOUT", seconds)
        monkeypatch.setitem(real.__kwdefaults__, "timeout", seconds)

    server, db, port = start_server_in_thread(str(tmp_path / "data"))
    where, real, batches = f"milvus:http://127.0.0.1:{port}", milvus.Server.call, []

    def call(self: Any, method: str, *arguments: Any, **named: Any) -> Any:
        batches.append(method)
        if batches.count("upsert") == 4:
            server.stop(grace=None).wait()
            patience(1.0)
        return real(self, method, *arguments, **named)

    monkeypatch.setattr(milvus.Server, "call", call)
    with pytest.raises(StoreError, match=r"Milvus does not answer.*same command again"):
        milvus.push(small_index, where)
    db.close()
    patience(60.0)
    monkeypatch.setattr(milvus.Server, "call", real)
    server, db, port = start_server_in_thread(str(tmp_path / "data"), port=port)
    result = CliRunner().invoke(app, ["push", str(small_index), where])
    assert result.exit_code == 0, result.output
    with open_index(where) as there:
        assert len(there.search("CCO", k=3).lists[0]) == 3
        found = CliRunner().invoke(app, ["query", where, "--smiles", "CCO", "--json"])
        assert (found.exit_code, '"C2H6O"' in found.stdout) == (0, True)
        server.stop(grace=None).wait()
        patience(1.0)
        with pytest.raises(StoreError, match="Milvus does not answer"):
            there.search("CCO", k=3)
        db.close()
        patience(60.0)
        server, db, port = start_server_in_thread(str(tmp_path / "data"), port=port)
        assert len(there.search("CCO", k=3).lists[0]) == 3
        server.stop(grace=None).wait()
        db.close()
        patience(1.0)
    gone = CliRunner().invoke(app, ["query", where, "--smiles", "CCO"])
    assert gone.exit_code == 1
    assert len(gone.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("milvus:somewhere", "give milvus:http://HOST:19530"),
        ("milvus:http://me:secret@host:19530", "MILVUS_TOKEN"),
        ("milvus:http://host:19530#a-b", "no name of a collection"),
    ],
)
def test_wrong_places(where: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as raised:
        open_index(where)
    assert "secret" not in str(raised.value) or why != "MILVUS_TOKEN"


def test_scores_are_those_of_the_directory(spectral: tuple[Index, Index]) -> None:
    one, other = (index.vectors("c_nmr", [3, 1]) for index in spectral)
    np.testing.assert_array_equal(one, other)
    assert spectral[1].vectors("c_nmr").shape == spectral[0].vectors("c_nmr").shape
    xq = np.random.default_rng(0).normal(size=(3, 32)).astype(np.float32)
    here, there = (index._directory.vectors("c_nmr").search(xq, 7) for index in spectral)
    np.testing.assert_array_equal(here[1], there[1])
    np.testing.assert_array_equal(here[0], there[0])
