"""Predicted peaks: which atoms, whatever else is in the batch."""

from __future__ import annotations

import numpy as np
import pytest
from untrained import PART, SHIFTS, save_untrained

from acml_search.chem.molecule import parse
from acml_search.core.errors import ConfigError
from acml_search.encoders import checkpoint as module
from acml_search.encoders.checkpoint import load_model

SMILES = ["CC(=O)Nc1ccc(O)cc1", "O", "CCO", "c1ccncc1", "CC(C)(C)O"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A small, untrained checkpoint with the spaces smiles, c_nmr and h_nmr."""
    spaces = {"smiles": ({**PART, "layers": 3}, 10.0), "c_nmr": (SHIFTS, 10.0), "h_nmr": (SHIFTS, 10.0)}
    directory = tmp_path_factory.mktemp("models") / "nmr"
    return load_model(save_untrained(directory, spaces, seed=5, d=16, layers=3))


def graphs(model, smiles):
    return [model.featurise(parse(text)[0]) for text in smiles]


def test_a_peak_for_every_carbon_or_proton_bearer(model) -> None:
    for modality, wanted in (
        ("c_nmr", lambda atom: atom.GetSymbol() == "C"),
        ("h_nmr", lambda atom: atom.GetTotalNumHs() > 0),
    ):
        for text, found in zip(SMILES, model.predicted_peaks(modality, graphs(model, SMILES)), strict=True):
            mol = parse(text)[0]
            assert found.atoms.tolist() == [atom.GetIdx() for atom in mol.GetAtoms() if wanted(atom)]
            assert len(found.position) == len(found.spread) == len(found.present) == len(found.atoms)
            assert (found.spread > 0).all()
            assert ((found.present > 0) & (found.present < 1)).all()


def test_equivalent_atoms_are_predicted_alike(model) -> None:
    mol = parse("c1ccncc1")[0]
    (found,) = model.predicted_peaks("c_nmr", [model.featurise(mol)])
    assert len(np.unique(found.position.round(3))) == 3


def test_company_does_not_matter(model, monkeypatch) -> None:
    together = model.predicted_peaks("c_nmr", graphs(model, SMILES))
    monkeypatch.setattr(module, "PREDICTED_BATCH", 2)
    for one, other in zip(together, model.predicted_peaks("c_nmr", graphs(model, SMILES)), strict=True):
        for ours, theirs in zip(one, other, strict=True):
            assert ours == pytest.approx(theirs, abs=1e-4)
    assert model.predicted_peaks("c_nmr", []) == []


def test_a_space_without_peaks_says_so(model) -> None:
    assert model.predicts_peaks("c_nmr")
    assert not model.predicts_peaks("smiles")
    assert not model.predicts_peaks("lc_ms")
    with pytest.raises(ConfigError, match="the space smiles of the model nmr predicts no peaks"):
        model.predicted_peaks("smiles", [])
    with pytest.raises(ConfigError, match="no space for lc_ms"):
        model.predicted_peaks("lc_ms", [])
