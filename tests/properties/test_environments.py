"""The third pooling: which environments are in a molecule."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem

from acml_search.encoders.model import Model, load_model
from acml_search.properties import environments, features
from acml_search.properties.model import load
from acml_search.properties.run import fit

CHAINS = [f"{'C' * n}{end}" for n in range(1, 9) for end in ("O", "N", "C(=O)O", "c1ccccc1", "Cl")]


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Model:
    return load_model(tiny_model)


def test_environments_count_pairs_of_like_atoms(model: Model) -> None:
    """The inner product of two molecules is near the sum of their atoms' Gaussian likenesses."""
    import torch

    from acml_search.chem.graph import collate
    from acml_search.networks import TensorBatch

    mols = [Chem.MolFromSmiles(s) for s in CHAINS[:4]]
    found = features.embeddings(model, mols, [features.ENVIRONMENTS])
    assert found.shape == (4, 2 * environments.NUMBER)
    graphs = [model.featurise(Chem.MolFromSmiles(s)) for s in environments.REFERENCE]
    with torch.inference_mode():
        states = model.network.trunk.node_states(TensorBatch.of(collate(graphs)))[-1]
        own = [
            model.network.trunk.node_states(TensorBatch.of(collate([model.featurise(mol)])))[-1]
            / states.std(dim=0, correction=0)
            for mol in mols
        ]
    width = environments.NEAR * 2 * states.shape[1]
    for i in range(4):
        for j in range(4):
            like = torch.exp(-(torch.cdist(own[i], own[j]) ** 2) / width).mean().item()
            seen = found[i, environments.NUMBER :] @ found[j, environments.NUMBER :]
            seen /= environments.NUMBER / 2 * np.sqrt(len(own[i]) * len(own[j]))
            assert seen == pytest.approx(like, abs=0.15)


def test_environments_are_the_same_again_and_have_gradients(model: Model, tiny_model: Path) -> None:
    from acml_search.chem.graph import collate
    from acml_search.networks import TensorBatch

    mols = [Chem.MolFromSmiles(s) for s in CHAINS[:4]]
    first = features.embeddings(model, mols, [features.ENVIRONMENTS])
    other = load_model(tiny_model)
    np.testing.assert_array_equal(
        features.embeddings(other, mols[::-1], [features.ENVIRONMENTS])[::-1], first
    )
    batch = TensorBatch.of(collate([other.featurise(mol) for mol in mols]))
    states = [one.detach().requires_grad_() for one in other.network.trunk.node_states(batch)]
    environments.environments_of(other).pool(states, batch).sum().backward()
    assert [one.grad is not None for one in states] == [i in (1, len(states) - 1) for i in range(len(states))]
    assert environments.layers_read(1) == [0]


def test_a_model_of_before_the_environments_reads_what_it_was_fitted_on(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from acml_search.properties import model as models

    base = load_model(tiny_model)
    before = [features.TRUNK, features.MAXIMA, *base.spaces]
    monkeypatch.setattr(models, "names", lambda _: before)
    out = tmp_path / "old"
    labels = tmp_path / "labels.csv"
    rows = [f"{smiles},{Chem.MolFromSmiles(smiles).GetNumHeavyAtoms()}" for smiles in CHAINS]
    labels.write_text("\n".join(["smiles,size", *rows]) + "\n")
    fit(labels, ["size"], out, head="linear", model=str(tiny_model))
    card = json.loads((out / "card.json").read_text())
    assert card.pop("parts") == before
    mols = [Chem.MolFromSmiles(s) for s in CHAINS[:3]]
    wanted = load(out, base).predict(mols)
    (out / "card.json").write_text(json.dumps(card | {"format": 1}))
    np.testing.assert_array_equal(load(out, base).predict(mols), wanted)
