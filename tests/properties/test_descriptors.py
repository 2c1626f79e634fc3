"""RDKit's descriptors beside the embedding: read, kept in range, saved, and refused where they cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import Descriptors

from acml_search.core.errors import CheckpointError, ConfigError
from acml_search.encoders.model import load_model
from acml_search.interpret.property_score import property_score
from acml_search.properties.descriptors import Bounded, descriptor_names, descriptors
from acml_search.properties.model import load
from acml_search.properties.run import fit

CHAINS = [f"{'C' * n}{end}" for n in range(1, 13) for end in ("O", "N", "C(=O)O", "c1ccccc1", "Cl")]


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """logP by Crippen's contributions: a descriptor says it outright."""
    path = tmp_path_factory.mktemp("labels") / "labels.csv"
    rows = [f"{smiles},{Descriptors.MolLogP(Chem.MolFromSmiles(smiles))}" for smiles in CHAINS]
    path.write_text("\n".join(["smiles,logp", *rows]) + "\n")
    return path


def test_descriptors_are_rdkits_own_and_numbers_all() -> None:
    mols = [Chem.MolFromSmiles(smiles) for smiles in ("CCO", "[Na+].[Cl-]", "c1ccccc1")]
    found = descriptors(mols)
    names = descriptor_names()
    assert found.shape == (3, len(names))
    assert np.isfinite(found).all()
    for row, mol in zip(found, mols, strict=True):
        assert row[names.index("TPSA")] == pytest.approx(Descriptors.TPSA(mol))
        assert row[names.index("MolLogP")] == pytest.approx(Descriptors.MolLogP(mol), abs=1e-5)


def test_a_value_beyond_the_training_molecules_is_brought_into_their_range() -> None:
    bounded = Bounded.of(np.array([[0.0, 1.0], [2.0, 5.0]], np.float32))
    assert bounded(np.array([[1e6, 3.0], [-7.0, 0.0]], np.float32)).tolist() == [[2.0, 3.0], [0.0, 1.0]]


def test_a_head_that_reads_descriptors_learns_what_they_say_and_comes_back(
    labels: Path, tiny_model: Path, tmp_path: Path
) -> None:
    without = fit(labels, ["logp"], tmp_path / "without", head="linear", model=str(tiny_model))
    card = fit(labels, ["logp"], tmp_path / "with", head="linear", described=True, model=str(tiny_model))
    assert card["descriptors"] == descriptor_names()
    assert without["descriptors"] is None
    assert card["inner"]["rmse"] < 0.5 * without["inner"]["rmse"]
    again = load(tmp_path / "with", load_model(tiny_model))
    long = "C" * 40 + "O"  # far beyond what it was fitted on: in their range it stays an answer
    mean, uncertainty = again.predict([Chem.MolFromSmiles(one) for one in ("CCCCO", long)])
    assert mean[0, 0] == pytest.approx(Descriptors.MolLogP(Chem.MolFromSmiles("CCCCO")), abs=0.3)
    assert np.isfinite(mean).all()
    assert np.isfinite(uncertainty).all()


def test_what_cannot_read_descriptors_says_so(labels: Path, tiny_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "m"
    with pytest.raises(ConfigError, match="--finetune"):
        fit(labels, ["logp"], out, tune=True, described=True, model=str(tiny_model))
    fit(labels, ["logp"], out, head="linear", described=True, model=str(tiny_model))
    with pytest.raises(ConfigError, match="without --descriptors"):
        property_score(out, None, str(tiny_model))
    card = json.loads((out / "card.json").read_text())
    (out / "card.json").write_text(json.dumps(card | {"descriptors": card["descriptors"][1:]}))
    with pytest.raises(CheckpointError, match="another version of RDKit"):
        load(out, load_model(tiny_model))
    (out / "card.json").write_text(json.dumps(card))
    (out / "descriptors.safetensors").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="fit the model again"):
        load(out, load_model(tiny_model))
