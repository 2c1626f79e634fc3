"""Masses of atoms, with RDKit as the oracle."""

from __future__ import annotations

import pytest
from molecules import MOLECULES
from rdkit import Chem
from rdkit.Chem.Descriptors import ExactMolWt

from acml_search.chem.graph import featurise
from acml_search.chem.masses import atom_masses


def test_atoms_add_up_to_the_molecule() -> None:
    tested = 0
    for smiles in MOLECULES:
        mol = Chem.MolFromSmiles(smiles)
        if any(atom.GetIsotope() for atom in mol.GetAtoms()):
            continue  # an isotope's mass is not in the graph
        atoms = featurise(mol).x
        assert atom_masses(atoms[:, 0], atoms[:, 3]).sum() == pytest.approx(ExactMolWt(mol), abs=0.003), (
            smiles
        )
        tested += 1
    assert tested > 5
