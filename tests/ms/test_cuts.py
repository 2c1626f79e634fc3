"""Pieces against RDKit, which breaks the bonds one set at a time."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from rdkit import Chem

from acml_search.ms.cuts import MAX_SIDES, cut

MOLECULES = [
    "CCO",
    "c1ccccc1C(=O)NCC",
    "C1CC2CCC1C2",
    "CN1C=NC2=C1C(=O)N(C(=O)N2C)C",
    "C1CC2(C1)CCC2",
    "CC12CCC3C(CCC4=CC(=O)CCC34C)C1CCC2O",
]


def _halves(mol: Chem.Mol, bonds: tuple[int, ...]) -> set[frozenset[int]]:
    broken = Chem.FragmentOnBonds(mol, bonds, addDummies=False)
    return {frozenset(part) for part in Chem.GetMolFrags(broken)}


@pytest.mark.parametrize("smiles", MOLECULES)
def test_cuts_are_all_smallest_sets_of_one_or_two_bonds(smiles: str) -> None:
    mol = Chem.MolFromSmiles(smiles)
    pieces = cut(mol)
    expected = set()
    single = [b for b in range(mol.GetNumBonds()) if len(_halves(mol, (b,))) == 2]
    for bond in single:
        expected |= {(frozenset([bond]), side) for side in _halves(mol, (bond,))}
    for pair in combinations([b for b in range(mol.GetNumBonds()) if b not in single], 2):
        if len(halves := _halves(mol, pair)) == 2:
            expected |= {(frozenset(pair), side) for side in halves}
    found = {
        (frozenset(b for b in bonds if b >= 0), frozenset(np.flatnonzero(side).tolist()))
        for bonds, side in zip(pieces.bonds.tolist(), pieces.sides, strict=True)
    }
    assert found == expected


@pytest.mark.parametrize("smiles", MOLECULES)
def test_pieces_know_their_mass_atoms_and_bonds(smiles: str) -> None:
    mol = Chem.MolFromSmiles(smiles)
    pieces = cut(mol)
    hydrogen = 1.00782503
    table = Chem.GetPeriodicTable()
    masses = np.array(
        [
            table.GetMostCommonIsotopeMass(atom.GetAtomicNum()) + hydrogen * atom.GetTotalNumHs()
            for atom in mol.GetAtoms()
        ]
    )
    for i in range(len(pieces)):
        assert pieces.masses[i] == pytest.approx((pieces.atoms(i) * masses).sum())
        assert 0 < pieces.atoms(i).sum() < mol.GetNumAtoms()
    ends = np.array([(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in mol.GetBonds()])
    for side in range(len(pieces.sides)):
        crossing = np.flatnonzero(pieces.sides[side][ends[:, 0]] != pieces.sides[side][ends[:, 1]])
        assert crossing.tolist() == sorted(b for b in pieces.bonds[side].tolist() if b >= 0)
        for kept, lost in zip(pieces.kept[side], pieces.lost[side], strict=True):
            assert kept < 0 or (pieces.sides[side][kept] and not pieces.sides[side][lost])


def test_two_cuts_leave_the_middle() -> None:
    pieces = cut(Chem.MolFromSmiles("CC(=O)OCC"))
    held = {tuple(np.flatnonzero(pieces.atoms(i)).tolist()) for i in range(len(pieces))}
    assert (3,) in held
    assert (1, 2) in held
    assert (3, 4) in held
    assert int(pieces.broken[next(i for i in range(len(pieces)) if pieces.second[i] >= 0)]) == 2


def test_counting_is_summing_over_the_atoms() -> None:
    mol = Chem.MolFromSmiles("c1ccccc1C(=O)NCC")
    pieces = cut(mol)
    values = np.random.default_rng(0).random((mol.GetNumAtoms(), 3))
    expected = [values[pieces.atoms(i)].sum(axis=0) for i in range(len(pieces))]
    np.testing.assert_allclose(pieces.count(values), expected)


def test_a_single_atom_has_no_piece() -> None:
    assert len(cut(Chem.MolFromSmiles("C"))) == 0


def test_a_macrocycle_stays_within_bounds() -> None:
    assert len(cut(Chem.MolFromSmiles("C1" + "C" * 60 + "CC1")).sides) <= MAX_SIDES
