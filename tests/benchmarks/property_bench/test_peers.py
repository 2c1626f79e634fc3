"""Other projects' models, asked through files."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from property_files import options, toy_rows

from acml_search.core.errors import ConfigError
from benchmarks.property_bench import peers
from benchmarks.property_bench.run import measure_properties

PEER = """
import json, sys
from pathlib import Path
if sys.argv[1] == "--version":
    print(json.dumps({"toy": "1"}))
    raise SystemExit
import numpy as np
import pyarrow.parquet as pq
folder = Path(sys.argv[1])
train, test = (pq.read_table(folder / f"{name}.parquet") for name in ("train", "test"))
assert test.column_names == ["smiles"], test.column_names
y = np.array(train.column("y").to_pylist())
answers = np.tile(y.mean(axis=0), (test.num_rows, 1))
answers[0] = np.nan
np.save(folder / "predictions.npy", answers)
(folder / "about.json").write_text(json.dumps({"versions": {"toy": "1"}}))
"""


def test_a_peer_is_asked_through_files_and_sees_no_test_label(
    toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts = toy.parent / "peers"
    scripts.mkdir()
    (scripts / "chemprop_train.py").write_text(PEER)
    (scripts / "minimol_embed.py").write_text("raise SystemExit('no such thing')")
    monkeypatch.setattr(peers, "SCRIPTS", scripts)
    peers.peer_versions.cache_clear()
    python = Path(sys.executable)
    result = measure_properties(options(toy, only=("carbons",), systems=("chemprop",), peer_python=python))
    found = result["sets"][0]["systems"]["chemprop"]
    train = [row["y"] for row in toy_rows() if row["split"] == "train" and row["y"] not in (99.0, 1.0)]
    tested = [row["y"] for row in toy_rows() if row["split"] == "test"]
    expected = np.sqrt(np.mean((np.array(tested) - np.mean(train)) ** 2))
    assert found["values"] == pytest.approx([expected, expected], abs=1e-5)
    assert found["n_failed"] == 0  # the first one asked is of the valid part
    (scripts / "chemprop_train.py").write_text(PEER + "\nraise SystemExit('out of luck')")
    for path in (toy.parent / "out" / "cells").rglob("*.json"):
        path.unlink()
    result = measure_properties(options(toy, only=("carbons",), systems=("chemprop",), peer_python=python))
    assert "out of luck" in result["sets"][0]["systems"]["chemprop"]["why_not"]


def test_a_peer_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the peer's Python cannot be run"):
        peers.run_peer(tmp_path / "python", "minimol_embed.py", [])
    with pytest.raises(ConfigError, match="the script is not here"):
        peers.run_peer(sys.executable, "nothing.py", [])
