"""chemprop as a peer of `bench throughput`: how its process is talked to, with a script in its place."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from acml_search.core.errors import ConfigError
from acml_search.evaluation import chemprop_peer
from acml_search.evaluation.chemprop_peer import ChempropPeer
from acml_search.evaluation.throughput import ThroughputOptions, measure_throughput

ANSWERS = """
import json, sys
texts = open(sys.argv[1]).read().split()
told = {"n": len(texts), "n_refused": texts.count("C"), "width": 300, "versions": {"chemprop": "2.x"}}
print("a library says hello", flush=True)
print(json.dumps(told), flush=True)
for line in sys.stdin:
    print(json.dumps({**told, "seconds": 1.0}), flush=True)
"""
PYTHON = Path(sys.executable)


@pytest.fixture
def script(tmp_path, monkeypatch):
    path = tmp_path / "script.py"
    path.write_text(ANSWERS)
    monkeypatch.setattr(chemprop_peer, "SCRIPT", path)
    return path


def test_it_is_asked_in_turns_and_told_of(script) -> None:
    with ChempropPeer(PYTHON, ["C", "CC", "CCC"], n_processes=2, threads=1) as peer:
        processes = [process for process, _ in peer._running]
        peer.run()
        peer.run()
        assert peer.about == {"chemprop": "2.x", "width": 300, "n_refused": 1}
        assert len(processes) == 2
        assert all(process.poll() is None for process in processes)
    assert all(process.poll() is not None for process in processes)


def test_its_last_words_are_told(script) -> None:
    script.write_text("raise SystemExit('chemprop is not here')")
    with (
        pytest.raises(ConfigError, match=r"failed in .* chemprop is not here"),
        ChempropPeer(PYTHON, ["C"], n_processes=1, threads=1),
    ):
        pass


def test_a_process_that_ends_between_turns_is_no_fast_one(script) -> None:
    script.write_text(ANSWERS.replace("for line in sys.stdin:", "for line in []:"))
    peer = ChempropPeer(PYTHON, ["C"], n_processes=1, threads=1)
    with pytest.raises(ConfigError, match=r"script\.py failed"), peer:
        peer.run()
    assert not peer._running


def test_a_python_that_is_not_there(script, tmp_path) -> None:
    peer = ChempropPeer(tmp_path / "python", ["C"], n_processes=1, threads=1)
    with pytest.raises(ConfigError, match="the peer's Python cannot be run"), peer:
        pass


@pytest.fixture
def options(tmp_path, tiny_model):
    library = tmp_path / "library.smi"
    library.write_text("CCO\nCCN\nCC(=O)O\n")
    return ThroughputOptions(
        tmp_path / "out.json", n=3, library=[library], model=str(tiny_model), workers=1, rounds=1
    )


def test_it_runs_beside_the_others(script, options) -> None:
    result = measure_throughput(replace(options, peer_python=PYTHON))
    for name in ("chemprop", "chemprop_in_workers"):
        assert result[f"{name}_per_second"] > 0
        assert result[f"ratio_to_{name}"] == pytest.approx(
            result["end_to_end_per_second"] / result[f"{name}_per_second"]
        )
        assert name in result["pipelines"]
    assert result["chemprop"]["width"] == 300
    assert "chemprop" not in result["why_not"]


def test_without_it_the_result_says_why(options) -> None:
    result = measure_throughput(options)
    assert result["chemprop_per_second"] is result["ratio_to_chemprop"] is result["chemprop"] is None
    assert "--peer-python" in result["why_not"]["chemprop"]
    assert "chemprop" not in result["spread"]
