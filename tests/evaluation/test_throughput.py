"""`measure_throughput` at toy size: shape and consistency; speed itself is not a test."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from acml_search.core.errors import ConfigError
from acml_search.encoders.card import read_card
from acml_search.evaluation import pyg
from acml_search.evaluation.throughput import ThroughputOptions, measure_throughput

SMILES = ["CCO", "CC(=O)Oc1ccccc1C(=O)O", "C[C@H](N)C(=O)O", "[Na+].CC(=O)[O-]", "F/C=C/F", "CCN"]


@pytest.fixture
def library(tmp_path):
    path = tmp_path / "library.smi"
    path.write_text("\n".join([*SMILES, "not a molecule"]) + "\n")
    return path


@pytest.fixture
def options(tmp_path, library, tiny_model):
    return ThroughputOptions(
        tmp_path / "out.json", n=5, library=[library], model=str(tiny_model), workers=1, rounds=2
    )


def test_the_result_has_what_the_contract_says(options) -> None:
    result = measure_throughput(options)
    assert result == json.loads(options.out.read_text())
    assert (result["n"], result["workers"], result["rounds"]) == (5, 1, 2)
    for name in ("parse_only", "end_to_end", "pyg", "pyg_in_workers"):
        low, high = result["spread"][name]
        assert 0 < low <= result[f"{name}_per_second"] <= high
    assert 0 < result["ratio_to_parse"] < 1  # embedding includes parsing
    assert list(result["stages"]) == [
        "parse", "standardise", "featurise", "collate", "network", "canonical SMILES", "InChIKey",
    ]  # fmt: skip
    shares = [stage["share"] for stage in result["stages"].values() if stage["share"] is not None]
    assert sum(shares) == pytest.approx(1, abs=0.05)


def test_without_pyg_its_figures_are_null(options, monkeypatch) -> None:
    monkeypatch.setattr(pyg, "available", lambda: False)
    result = measure_throughput(options)
    assert result["pyg_per_second"] is result["ratio_to_pyg"] is result["ratio_to_pyg_in_workers"] is None
    assert result["end_to_end_per_second"] > 0


def test_the_plain_pipeline_embeds_every_molecule(tiny_model) -> None:
    vectors = pyg.PygPipeline(read_card(tiny_model).data["hyper"]).embed(SMILES)
    assert [v.shape for v in vectors] == [(6, 32)]
    assert np.linalg.norm(vectors[0], axis=1) == pytest.approx(np.ones(6), abs=1e-5)


def test_all_spaces_in_one_pass_against_one_alone(options, two_spaces) -> None:
    result = measure_throughput(replace(options, model=str(two_spaces), one_space="c_nmr"))
    assert (result["spaces"], result["one_space"]) == (["c_nmr", "smiles"], "c_nmr")
    low, high = result["spread"]["one_space"]
    assert 0 < low <= result["one_space_per_second"] <= high
    assert result["ratio_to_one_space"] > 0


def test_one_space_is_no_comparison(options) -> None:
    result = measure_throughput(options)
    assert result["one_space_per_second"] is result["ratio_to_one_space"] is None


def test_the_space_alone_must_exist(options) -> None:
    with pytest.raises(ConfigError, match="no space for taste; it has smiles"):
        measure_throughput(replace(options, one_space="taste"))
