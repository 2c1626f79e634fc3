"""`measure_throughput` at toy size: shape and consistency; speed itself is not a test."""

from __future__ import annotations

import json

import numpy as np
import pytest

from acml_search.core.errors import ConfigError
from acml_search.encoders.card import read_card
from acml_search.evaluation.throughput import PygPipeline, measure_throughput

SMILES = ["CCO", "CC(=O)Oc1ccccc1C(=O)O", "C[C@H](N)C(=O)O", "[Na+].CC(=O)[O-]", "F/C=C/F", "CCN"]


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
    assert result.document() == json.loads((tmp_path / "out.json").read_text())
    found = result.document()
    assert (found["n"], found["workers"], found["rounds"]) == (5, 1, 2)
    for name in ("parse_only", "end_to_end", "pyg", "pyg_in_workers"):
        low, high = found["spread"][name]
        assert 0 < low <= found[f"{name}_per_second"] <= high
    assert 0 < found["ratio_to_parse"] < 1  # embedding includes parsing
    assert list(found["stages"]) == [
        "parse", "standardise", "featurise", "collate", "network", "canonical SMILES", "InChIKey",
    ]  # fmt: skip
    shares = [stage["share"] for stage in found["stages"].values() if stage["share"] is not None]
    assert sum(shares) == pytest.approx(1, abs=0.05)
    # one space is no comparison
    assert found["one_space_per_second"] is found["ratio_to_one_space"] is None


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
