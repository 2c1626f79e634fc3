"""Structures as a reader of pictures gets them wrong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from molecules import MOLECULES
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator
from rdkit.DataStructs import TanimotoSimilarity

from acml_search.training import ocsr_noise as module
from acml_search.training.ocsr_noise import misread

PARACETAMOL = "CC(=O)Nc1ccc(O)cc1"


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([*MOLECULES, "C", "[Na+]", "O"]), st.integers(0, 10_000))
def test_a_misread_structure_is_one_that_rdkit_accepts(smiles: str, seed: int) -> None:
    wrong = misread(smiles, np.random.default_rng(seed))
    mol = Chem.MolFromSmiles(wrong)
    assert mol is not None
    assert mol.GetNumAtoms() > 0
    assert "@" not in wrong
    assert wrong == misread(smiles, np.random.default_rng(seed))


def test_misread_structures_differ_and_stay_alike() -> None:
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=1)
    own = generator.GetCountFingerprint(Chem.MolFromSmiles(PARACETAMOL))
    wrong = [misread(PARACETAMOL, np.random.default_rng(seed)) for seed in range(200)]
    assert wrong.count(PARACETAMOL) == 0
    assert len(set(wrong)) > 100
    likeness = [TanimotoSimilarity(own, generator.GetCountFingerprint(Chem.MolFromSmiles(x))) for x in wrong]
    assert np.median(likeness) > 0.35  # of two molecules of the library 0.1


@pytest.mark.parametrize("kind", module._KINDS)
def test_every_kind_of_error_can_happen(kind) -> None:
    mol = Chem.MolFromSmiles("CC(=O)Nc1ccc(O)cc1.[NH3+]CC")
    found = set()
    for seed in range(30):
        wrong = Chem.RWMol(mol)
        Chem.Kekulize(wrong, clearAromaticFlags=True)
        kind(wrong, np.random.default_rng(seed))
        found.add(module._written(wrong))
    assert len(found - {None, Chem.MolToSmiles(mol)}) >= 1


def test_what_is_no_smiles_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot read"):
        misread("C(", np.random.default_rng(0))
