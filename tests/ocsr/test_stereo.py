"""Configuration from wedges and from the places of atoms at double bonds."""

from __future__ import annotations

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdDepictor

from acml_search.ocsr.assemble import Structure, assemble
from acml_search.ocsr.hypotheses import TURNED, Detections, best_hypothesis
from acml_search.ocsr.labels import _merged

DIRECTIONS = {Chem.BondDir.BEGINWEDGE: 1, Chem.BondDir.BEGINDASH: 3}


def read(smiles: str, turned: bool = False, wavy: int | None = None) -> Structure:
    """What a perfect detector sees in RDKit's drawing; turned: every bond from its other end."""
    mol = Chem.MolFromSmiles(smiles)
    Chem.Kekulize(mol, clearAromaticFlags=True)
    rdDepictor.Compute2DCoords(mol)
    Chem.WedgeMolBonds(mol, mol.GetConformer())
    bonds, wedges = [], []
    for bond in mol.GetBonds():
        wedge = 5 if bond.GetIdx() == wavy else DIRECTIONS.get(bond.GetBondDir(), 0)
        first, second = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        order = int(bond.GetBondTypeAsDouble())
        bonds.append((second, first, order) if turned else (first, second, order))
        wedges.append(TURNED[wedge] if turned else wedge)
    atoms = list(mol.GetAtoms())
    return assemble(
        ["" if atom.GetSymbol() == "C" else atom.GetSymbol() for atom in atoms],
        [0] * len(atoms),
        [atom.GetFormalCharge() for atom in atoms],
        bonds,
        mol.GetConformer().GetPositions()[:, :2] * [1, -1],
        wedges,
    )


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    "smiles",
    [
        "C[C@H](N)C(=O)O",
        "OC[C@H]1O[C@@H](O)[C@H](O)[C@@H](O)[C@@H]1O",
        "C[C@]12CC[C@H]3[C@@H](CCC4=CC(=O)CC[C@@]43C)[C@@H]1CC[C@@H]2O",
        "C/C=C/C=C\\C(=O)O",
        "C/C(=N\\O)c1ccccc1",
        "C[S@](=O)c1ccccc1",
        "C[C@H]1CC[C@@H](C)CC1",
        "[H][C@@](F)(Cl)Br",
        "C1CCC/C=C\\CCC1",
    ],
)
def test_what_is_drawn_is_read(smiles: str, turned: bool) -> None:
    found = read(smiles, turned)
    assert found.configured() == Chem.CanonSmiles(smiles)
    assert found.smiles == Chem.MolToSmiles(Chem.MolFromSmiles(smiles), isomericSmiles=False)


def test_a_wavy_bond_states_nothing_and_counter_ions_go() -> None:
    assert read("C/C=C/C", wavy=0).configured() == "CC=CC"
    assert read("C[C@H](N)C(=O)O.[Cl-].[Na+]").standardised(configured=True) == "C[C@H](N)C(=O)O"


def test_a_hydrogen_and_a_group_of_letters_have_places() -> None:
    xy = np.array([[0, 0], [0, 16], [-14, -8], [14, -8]], np.float32)
    bonds = [(0, 1, 1), (0, 2, 1), (0, 3, 1)]
    found = [
        assemble(["", "H", "OMe", "Cl"], [0] * 4, [0] * 4, bonds, xy, [wedge, 0, 0]).configured()
        for wedge in (0, 1, 3)
    ]
    assert found[0] == "COCCl"
    found = [
        assemble(["", "F", "OMe", "Cl"], [0] * 4, [0] * 4, bonds, xy, [wedge, 0, 0]).configured()
        for wedge in (0, 1, 3)
    ]
    assert found == ["COC(F)Cl", "CO[C@H](F)Cl", "CO[C@@H](F)Cl"]


def test_wedges_follow_their_bonds() -> None:
    """Bonds are put in order from left to right, and points of one label become one."""
    pairs = np.array([[1, 2], [0, 1], [0, 3]])
    wedges = np.log(np.full((3, 6), 0.01))
    wedges[[0, 1, 2], [3, 1, 0]] = 0
    orders = np.tile(np.log([0.02, 0.9, 0.02, 0.02, 0.02, 0.02]), (3, 1)).astype(np.float32)
    found = Detections(
        np.array([[16, 0], [0, 0], [-14, 8], [20, 0]], np.float32),
        np.array([0.9, 0.9, 0.9, 0.8], np.float32),
        np.zeros((4, 1), np.float32),
        np.zeros((4, 5), np.float32),
        np.zeros((4, 5), np.float32),
        pairs,
        orders,
        ("",),
        wedges=wedges,
    )
    read = best_hypothesis(found)
    assert [(a, b, wedge) for (a, b, _), wedge in zip(read.bonds, read.wedges, strict=True)] == [
        (1, 2, 3),
        (0, 1, 1),
        (0, 3, 0),
    ]
    assert not any(best_hypothesis(found._replace(wedges=None)).wedges)
    moved = found._replace(probability=np.array([0.8, 0.9, 0.9, 0.9], np.float32))
    merged, at = _merged(moved, np.array([True, False, False, True]))
    assert at == 2
    assert merged.wedges is not None
    ((row,),) = np.nonzero((merged.pairs == [0, 2]).all(axis=1))
    assert merged.wedges[row].argmax() == 2  # the pair was turned round
