"""The picture of learning curves."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("matplotlib", reason="dependency group bench")

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "curves.py"
LOG = [
    {"epoch": 1, "step": 9, "lr": 0.1, "c_nmr": 2.0, "c_nmr_inner_at_1": 0.1, "c_nmr_scale": 14.0},
    {"epoch": 2, "step": 18, "lr": 0.1, "c_nmr": 9.0, "c_nmr_inner_at_1": 0.2, "c_nmr_set_error": 3.0},
    {"epoch": 2, "step": 18, "lr": 0.1, "c_nmr": 1.0, "c_nmr_inner_at_1": 0.3, "inner_pool": 500},
]  # fmt: skip


@pytest.fixture(scope="module")
def curves():
    spec = importlib.util.spec_from_file_location("curves", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def log(tmp_path) -> Path:
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in LOG))
    return path


def test_an_epoch_that_was_run_again_counts_once(curves, log) -> None:
    assert [line["c_nmr"] for line in curves.read_log(log)] == [2.0, 1.0]


def test_losses_shares_and_errors_are_told_apart(curves) -> None:
    assert curves.columns_of(LOG) == (["c_nmr"], ["c_nmr_inner_at_1"], ["c_nmr_set_error"])


def test_a_picture_is_drawn(curves, log, monkeypatch, capsys) -> None:
    picture = log.parent / "card" / "curves.png"
    monkeypatch.setattr(sys, "argv", ["curves.py", str(picture), f"alignment={log}", f"again={log}"])
    curves.main()
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out.endswith("2 logs\n")


def test_a_log_that_is_not_there_is_a_sentence(curves, log, monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["curves.py", str(log.parent / "x.png"), "alignment=nowhere.jsonl"])
    with pytest.raises(SystemExit, match="give NAME=FILE, and a file that exists"):
        curves.main()
