"""Embeddings of the trunk and the spaces, the pooling of environments, descriptors and their range."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from rdkit import Chem
from rdkit.Chem import Descriptors

from acml_search.core.errors import ConfigError
from acml_search.encoders.checkpoint import Model, load_model
from acml_search.properties.features import (
    ENVIRONMENT_WIDTH,
    ENVIRONMENTS,
    MAXIMA,
    N_ENVIRONMENTS,
    DescriptorRange,
    descriptor_names,
    descriptors,
    embeddings,
    environment_layers,
    environments_of,
    reference_smiles,
)


def atom_states(model: Model, mols: list[Chem.Mol]) -> list[torch.Tensor]:
    """Of every layer the states of all atoms."""
    with torch.inference_mode():
        batch = model.graph_batch([model.featurise(mol) for mol in mols])
        return list(model.network.trunk.node_states(batch))


def test_embeddings_are_the_parts_side_by_side(model: Model, mols: list[Chem.Mol]) -> None:
    whole = embeddings(model, mols[:5])
    column = 2 * model.network.trunk.width + 2 * N_ENVIRONMENTS
    for vectors in model.encode_molecules(mols[:5]).values():
        np.testing.assert_allclose(whole[:, column : column + vectors.shape[1]], vectors, atol=1e-6)
        column += vectors.shape[1]
    assert whole.shape == (5, column)
    with pytest.raises(ConfigError, match="no part 'nose'"):
        embeddings(model, mols, ["nose"])


def test_maxima_are_the_largest_of_the_atoms_states(model: Model, mols: list[Chem.Mol]) -> None:
    for mol, row in zip(mols[:4], embeddings(model, mols[:4], [MAXIMA]), strict=True):
        expected = torch.cat(atom_states(model, [mol]), dim=1).amax(dim=0).numpy()
        np.testing.assert_allclose(row, expected, atol=1e-4)


def test_environments_count_pairs_of_like_atoms(model: Model, mols: list[Chem.Mol]) -> None:
    """The inner product of two molecules is near the sum of the Gaussian kernels of their atoms."""
    found = embeddings(model, mols[:4], [ENVIRONMENTS])[:, N_ENVIRONMENTS:]
    reference = atom_states(model, [Chem.MolFromSmiles(smiles) for smiles in reference_smiles()])[-1]
    own = [atom_states(model, [mol])[-1] / reference.std(dim=0, correction=0) for mol in mols[:4]]
    width = ENVIRONMENT_WIDTH * 2 * reference.shape[1]
    for i in range(4):
        for j in range(4):
            kernel = torch.exp(-(torch.cdist(own[i], own[j]) ** 2) / width).mean().item()
            product = found[i] @ found[j] / (N_ENVIRONMENTS / 2 * np.sqrt(len(own[i]) * len(own[j])))
            assert product == pytest.approx(kernel, abs=0.15)


def test_environments_are_the_same_again_and_have_gradients(
    model: Model, tiny_model: Path, mols: list[Chem.Mol]
) -> None:
    first = embeddings(model, mols[:4], [ENVIRONMENTS])
    other = load_model(tiny_model)
    np.testing.assert_array_equal(embeddings(other, mols[3::-1], [ENVIRONMENTS])[::-1], first)
    batch = other.graph_batch([other.featurise(mol) for mol in mols[:4]])
    states = [layer.detach().requires_grad_() for layer in other.network.trunk.node_states(batch)]
    environments_of(other).pool(states, batch).sum().backward()
    n = len(states)
    assert [layer.grad is not None for layer in states] == [i in (1, n - 1) for i in range(n)]
    assert environment_layers(1) == [0]


def test_embeddings_follow_the_network_to_another_precision(
    model: Model, tiny_model: Path, mols: list[Chem.Mol]
) -> None:
    double = load_model(tiny_model)
    double.network.double()
    np.testing.assert_allclose(embeddings(double, mols[:5]), embeddings(model, mols[:5]), atol=1e-3)


def test_descriptors_are_rdkits_own_and_all_finite() -> None:
    mols = [Chem.MolFromSmiles(smiles) for smiles in ("CCO", "[Na+].[Cl-]", "c1ccccc1")]
    found, names = descriptors(mols), descriptor_names()
    assert found.shape == (3, len(names))
    assert np.isfinite(found).all()
    for row, mol in zip(found, mols, strict=True):
        assert row[names.index("TPSA")] == pytest.approx(Descriptors.TPSA(mol))
        assert row[names.index("MolLogP")] == pytest.approx(Descriptors.MolLogP(mol), abs=1e-5)


def test_descriptors_beyond_the_training_molecules_are_clipped() -> None:
    bounds = DescriptorRange.of(np.array([[0.0, 1.0], [2.0, 5.0]], np.float32))
    assert bounds.clip(np.array([[1e6, 3.0], [-7.0, 0.0]], np.float32)).tolist() == [[2.0, 3.0], [0.0, 1.0]]
