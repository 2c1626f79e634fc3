"""Tensors go where the network is, in its precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from acml_search import modalities
from acml_search.chem.molecule import parse
from acml_search.core.errors import ConfigError
from acml_search.encoders.checkpoint import Model, device_of, load_model
from acml_search.modalities.base import reranker

SMILES = ["CC(=O)Nc1ccc(O)cc1", "CN1C=NC2=C1C(=O)N(C(=O)N2C)C", "O", "CCO"]
RECORDS: dict[str, Any] = {
    "smiles": SMILES[0],
    "c_nmr": {"shifts": [167.6, 153.1, 131.0, 120.8, 115.0, 23.7]},
    "h_nmr": {"shifts": [9.66, 9.14, 7.34, 6.67, 1.98]},
    "lc_ms": {"mzs": [65.04, 110.06, 152.07], "intensities": [5, 100, 40], "precursor_mz": 152.0706},
}
PICTURE = modalities.get("image").derive(SMILES[0])
TOLERANCE = 1e-4


def walk(model: Model) -> dict[str, np.ndarray]:
    """Embed molecules, encode a query of each kind, predict peaks and re-rank."""
    mols = [parse(smiles)[0] for smiles in SMILES]
    graphs = [model.featurise(mol) for mol in mols]
    found: dict[str, np.ndarray] = {f"graph {k}": v for k, v in model.encode_graphs(graphs).items()}
    encoded = model.encode_and_predict(graphs, ["c_nmr", "lc_ms"], ["c_nmr"])
    found["predicted"] = np.concatenate([one.position for one in encoded.peaks["c_nmr"]])
    found |= {f"{name} on the way": vectors for name, vectors in encoded.vectors.items()}
    for name, record in RECORDS.items():
        found[f"query {name}"] = model.encode_records(name, [record])
    for name in ("c_nmr", "h_nmr"):
        judge = reranker(name)
        item = judge.observed(modalities.get(name).read(RECORDS[name]), RECORDS[name])
        found[f"re-ranked by {name}"] = judge.scores(model, item, judge.prepare(model, mols))
    return found


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    return walk(load_model())


def agree(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, values in found.items():
        assert values.dtype == expected[name].dtype, name
        scale = max(1.0, float(np.abs(expected[name]).max()))
        assert np.abs(values - expected[name]).max() < TOLERANCE * scale, name


def test_a_network_in_double_precision_goes_all_the_way(expected: dict[str, np.ndarray]) -> None:
    model = load_model()
    walk(model)  # what was cached in single precision must not be met again
    model.network.double()
    agree(walk(model), expected)
    assert np.linalg.norm(model.encode_records("image", [PICTURE])) == pytest.approx(1, abs=1e-5)


def test_no_tensor_is_made_on_a_default_device(expected: dict[str, np.ndarray]) -> None:
    """A tensor made without naming a device would be on `meta` here, and meet those of the network."""
    model = load_model()
    with torch.device("meta"):
        agree(walk(model), expected)
        vectors = model.encode_records("image", [PICTURE])
    assert np.linalg.norm(vectors) == pytest.approx(1, abs=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
def test_cuda_gives_the_numbers_of_the_cpu(expected: dict[str, np.ndarray]) -> None:
    model = load_model(device="auto")
    assert model.device.type == "cuda"
    agree(walk(model), expected)
    vectors = model.encode_records("image", [PICTURE])
    assert (vectors @ load_model().encode_records("image", [PICTURE]).T).item() > 0.99


def test_a_device_that_is_not_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_of("auto") == torch.device("cpu")
    with pytest.raises(ConfigError, match="no CUDA device"):
        load_model(device="cuda")
    with pytest.raises(ConfigError, match="unknown device 'abacus'; known are auto, cpu, cuda, mps"):
        device_of("abacus")
