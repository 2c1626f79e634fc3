"""`measure_throughput` at toy size: shape and consistency; speed itself is not a test. And how chemprop's
process is talked to, with a script in its place.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from acml_search.core.errors import ConfigError
from acml_search.encoders.card import read_card
from acml_search.evaluation import peers
from acml_search.evaluation.peers import ChempropPeer, PygPipeline
from acml_search.evaluation.results import read_result
from acml_search.evaluation.throughput import measure_throughput

SMILES = ["CCO", "CC(=O)Oc1ccccc1C(=O)O", "C[C@H](N)C(=O)O", "[Na+].CC(=O)[O-]", "F/C=C/F", "CCN"]
PYTHON = Path(sys.executable)


@pytest.fixture
def measure(tmp_path, tiny_model):
    path = tmp_path / "library.smi"
    path.write_text("\n".join([*SMILES, "not a molecule"]) + "\n")

    def run(model=tiny_model, **more):
        options = {"n": 5, "library": [path], "workers": 1, "rounds": 2, **more}
        return measure_throughput(tmp_path / "out.json", model=str(model), **options)

    return run


def test_the_result_has_what_the_contract_says(measure, tmp_path) -> None:
    result = measure()
    assert result == read_result(tmp_path / "out.json")
    found = result.document()
    assert (result.n, result.workers, result.rounds) == (5, 1, 2)
    for name in ("parse_only", "end_to_end", "pyg", "pyg_in_workers"):
        low, high = result.spread[name]
        assert 0 < low <= found[f"{name}_per_second"] <= high
    assert 0 < result.ratio_to_parse < 1  # embedding includes parsing
    assert list(result.stages) == [
        "parse", "standardise", "featurise", "collate", "network", "canonical SMILES", "InChIKey",
    ]  # fmt: skip
    shares = [stage["share"] for stage in result.stages.values() if stage["share"] is not None]
    assert sum(shares) == pytest.approx(1, abs=0.05)
    # one space is no comparison, and chemprop is not here
    assert found["one_space_per_second"] is found["ratio_to_one_space"] is None
    assert found["chemprop_per_second"] is found["ratio_to_chemprop"] is found["chemprop"] is None
    assert "--chemprop-python" in found["why_not"]["chemprop"]
    assert "chemprop" not in result.spread


def test_the_plain_pipeline_embeds_every_molecule(tiny_model) -> None:
    vectors = PygPipeline(read_card(tiny_model).data["hyper"]).embed(SMILES)
    assert [v.shape for v in vectors] == [(6, 32)]
    assert np.linalg.norm(vectors[0], axis=1) == pytest.approx(np.ones(6), abs=1e-5)


def test_all_spaces_in_one_pass_against_one_alone(measure, two_spaces) -> None:
    found = measure(two_spaces, one_space="c_nmr").document()
    assert (found["spaces"], found["one_space"]) == (["c_nmr", "smiles"], "c_nmr")
    low, high = found["spread"]["one_space"]
    assert 0 < low <= found["one_space_per_second"] <= high
    assert found["ratio_to_one_space"] > 0


def test_the_space_alone_must_exist(measure) -> None:
    with pytest.raises(ConfigError, match="no space for taste; it has smiles"):
        measure(one_space="taste")


ANSWERS = """
import json, sys
texts = open(sys.argv[1]).read().split()
told = {"n": len(texts), "n_refused": texts.count("C"), "width": 300, "versions": {"chemprop": "2.x"}}
print("a library says hello", flush=True)
print(json.dumps(told), flush=True)
for line in sys.stdin:
    print(json.dumps({**told, "seconds": 1.0}), flush=True)
"""


@pytest.fixture
def script(tmp_path, monkeypatch):
    path = tmp_path / "script.py"
    path.write_text(ANSWERS)
    monkeypatch.setattr(peers, "SCRIPT", path)
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


def test_chemprop_runs_beside_the_others(script, measure) -> None:
    found = measure(n=3, rounds=1, chemprop_python=PYTHON).document()
    for name in ("chemprop", "chemprop_in_workers"):
        assert found[f"{name}_per_second"] > 0
        expected = found["end_to_end_per_second"] / found[f"{name}_per_second"]
        assert found[f"ratio_to_{name}"] == pytest.approx(expected)
        assert name in found["pipelines"]
    assert found["chemprop"]["width"] == 300
    assert "chemprop" not in found["why_not"]
