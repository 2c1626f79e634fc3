"""NMR spaces in NumPy give what the torch modules give, and say the same of weights that are damaged."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from acml_search.chem.molecule import parse
from acml_search.core.errors import CheckpointError
from acml_search.encoders import shifts
from acml_search.encoders.card import read_card
from acml_search.encoders.checkpoint import load_model

NMR = ("c_nmr", "h_nmr")
SMILES = [
    "C", "O", "[Na+]", "CC", "CC(=O)Nc1ccc(O)cc1", "c1ccncc1", "CC(C)(C)O", "C[C@H](N)C(=O)O", "FC(F)(F)C#N",
    "CN1C=NC2=C1C(=O)N(C(=O)N2C)C", "C[N+](C)(C)CCOP(=O)([O-])OC", "c1ccc2c(c1)ccc1ccccc12",
]  # fmt: skip


@pytest.fixture(scope="module")
def both():
    return shifts.ShiftModel(read_card("acml-base"), NMR), load_model("acml-base", spaces=NMR)


@pytest.mark.parametrize("modality", NMR)
def test_spectra_have_the_same_vectors(both, modality: str) -> None:
    ours, model = both
    low, high = (-60, 260) if modality == "c_nmr" else (-5, 20)  # beyond both ends of the table
    rng = np.random.default_rng(1)
    items = [np.sort(rng.uniform(low, high, n)).astype(np.float32) for n in (1, 2, 9, 60)]
    assert np.abs(ours.encode_items(modality, items) - model.encode_items(modality, items)).max() < 1e-5
    assert ours.spaces[modality] == model.spaces[modality]


@pytest.mark.parametrize("modality", NMR)
def test_molecules_have_the_same_predicted_peaks(both, modality: str) -> None:
    ours, model = both
    graphs = [model.featurise(parse(smiles)[0]) for smiles in SMILES * 4]  # more than a batch
    assert ours.predicts_peaks(modality)
    found, wanted = (one.predicted_peaks(modality, graphs) for one in both)
    assert len(found) == len(graphs)
    for one, other in zip(found, wanted, strict=True):
        assert one.atoms.tolist() == other.atoms.tolist()
        for name, most in (("position", 2e-4), ("spread", 1e-4), ("present", 1e-5)):
            assert np.abs(getattr(one, name) - getattr(other, name)).max(initial=0) < most
    assert ours.predicted_peaks(modality, []) == []


def test_only_nmr_is_answered(both) -> None:
    card = both[0].card
    assert shifts.answers(card, ["c_nmr", "h_nmr"])
    for spaces in ([], ["lc_ms"], ["c_nmr", "smiles"], ["gc_ms"]):
        assert not shifts.answers(card, spaces)


def test_damaged_weights_are_refused(tmp_path) -> None:
    copy = shutil.copytree(read_card("acml-base").directory, tmp_path / "model")
    content = bytearray((copy / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (copy / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        shifts.ShiftModel(read_card(copy), NMR)
    (copy / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="missing"):
        shifts.ShiftModel(read_card(copy), NMR)
