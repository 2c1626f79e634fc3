"""Structures as a picture reader gets them wrong: a letter taken for another, a bond overlooked, the end of a
chain lost.

They are made from a structure, without any picture, so that the space of pictures can learn how far a reading
may be off. The kinds of error are those seen in some thirty wrong readings; their frequencies were set by
hand, not fitted.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from rdkit import Chem, rdBase

from acml_search.chem.molecule import parse
from acml_search.core.errors import InvalidMolecule

_N_ERRORS = np.array([0.5, 0.25, 0.12, 0.07, 0.06])
"""shares of readings with one error, two, ..."""
_MAX_TRIES = 6
_LETTERS = (6, 7, 8, 16, 9, 17, 35, 15, 5, 53, 14)
"""elements that letters are taken for"""
_LETTER_PROBABILITIES = np.array([0.28, 0.2, 0.2, 0.1, 0.06, 0.05, 0.03, 0.03, 0.02, 0.02, 0.01])
_ENDS = ("C", "O", "N", "F", "Cl", "S", "CC", "OC", "C=O", "C#N", "C(C)=O", "OC(C)=O", "c1ccccc1", "C(F)(F)F")
_MAX_LOST_ATOMS = 8
"""atoms of a branch that is lost"""
_ORDERS = {
    Chem.BondType.SINGLE: Chem.BondType.DOUBLE,
    Chem.BondType.DOUBLE: Chem.BondType.SINGLE,
    Chem.BondType.TRIPLE: Chem.BondType.DOUBLE,
}


def misread(smiles: str, rng: np.random.Generator) -> str:
    """A flat SMILES one to five errors off; the structure's own where no error is accepted by RDKit."""
    mol = Chem.MolFromSmiles(smiles)
    if mol is None:
        raise ValueError(f"RDKit cannot read {smiles!r}")
    Chem.RemoveStereochemistry(mol)
    own = Chem.MolToSmiles(mol)
    Chem.Kekulize(mol, clearAromaticFlags=True)
    with rdBase.BlockLogs():
        for _ in range(_MAX_TRIES):
            wrong = Chem.RWMol(mol)
            for _ in range(1 + int(rng.choice(len(_N_ERRORS), p=_N_ERRORS))):
                if wrong.GetNumAtoms():
                    ERRORS[int(rng.choice(len(ERRORS), p=_ERROR_PROBABILITIES))](wrong, rng)
            found = standard_smiles(wrong)
            if found is not None and found != own:
                return found
    return own


def standard_smiles(mol: Chem.RWMol) -> str | None:
    """The standardised SMILES of an edited molecule; None where RDKit refuses it."""
    if not mol.GetNumAtoms():
        return None
    try:
        Chem.SanitizeMol(mol)
    except Chem.MolSanitizeException:
        return None
    try:
        standardised, _ = parse(Chem.MolToSmiles(mol))
    except InvalidMolecule:
        return None
    return str(Chem.MolToSmiles(standardised))


def _letter(mol: Chem.RWMol, rng: np.random.Generator) -> None:
    """An atom is taken for one of another element."""
    atom = mol.GetAtomWithIdx(int(rng.integers(mol.GetNumAtoms())))
    atom.SetAtomicNum(int(rng.choice(_LETTERS, p=_LETTER_PROBABILITIES)))
    atom.SetFormalCharge(0)
    _refill(atom)


def _lost(mol: Chem.RWMol, rng: np.random.Generator) -> None:
    """A branch is overlooked: an atom as often as a group."""
    cuts = [bond.GetIdx() for bond in mol.GetBonds() if not bond.IsInRing()]
    ends = [atom.GetIdx() for atom in mol.GetAtoms() if atom.GetDegree() == 1]
    if ends and rng.random() < 0.5:
        mol.RemoveAtom(int(rng.choice(ends)))
    elif cuts:
        bond = mol.GetBondWithIdx(int(rng.choice(cuts)))
        mol.RemoveBond(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())
        parts = sorted(Chem.GetMolFrags(mol), key=len)
        if len(parts[0]) <= _MAX_LOST_ATOMS:
            for i in sorted(parts[0], reverse=True):
                mol.RemoveAtom(i)


def _added(mol: Chem.RWMol, rng: np.random.Generator) -> None:
    """Something is seen at an atom that has room for it."""
    free = [atom.GetIdx() for atom in mol.GetAtoms() if _hydrogens(atom)]
    if free:
        _attach(mol, int(rng.choice(free)), str(rng.choice(_ENDS)))


def _replaced(mol: Chem.RWMol, rng: np.random.Generator) -> None:
    """A group's letters are taken for those of another."""
    ends = [
        atom.GetIdx()
        for atom in mol.GetAtoms()
        if atom.GetDegree() == 1 and atom.GetBonds()[0].GetBondType() == Chem.BondType.SINGLE
    ]
    if ends:
        end = int(rng.choice(ends))
        at = mol.GetAtomWithIdx(end).GetNeighbors()[0].GetIdx()
        _attach(mol, at, str(rng.choice(_ENDS)))
        mol.RemoveAtom(end)


def _order(mol: Chem.RWMol, rng: np.random.Generator) -> None:
    """A line too few or too many."""
    if mol.GetNumBonds():
        bond = mol.GetBondWithIdx(int(rng.integers(mol.GetNumBonds())))
        bond.SetBondType(_ORDERS.get(bond.GetBondType(), Chem.BondType.SINGLE))
        for atom in (bond.GetBeginAtom(), bond.GetEndAtom()):
            _refill(atom)


def _broken(mol: Chem.RWMol, rng: np.random.Generator) -> None:
    """A bond is overlooked: a ring is open, or the structure falls into two."""
    if mol.GetNumBonds():
        bond = mol.GetBondWithIdx(int(rng.integers(mol.GetNumBonds())))
        mol.RemoveBond(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())


def _bridged(mol: Chem.RWMol, rng: np.random.Generator) -> None:
    """Two atoms that stand close are taken as bonded."""
    free = [atom.GetIdx() for atom in mol.GetAtoms() if _hydrogens(atom)]
    if len(free) > 1:
        distances = Chem.GetDistanceMatrix(mol, force=True)
        near = [(a, b) for a in free for b in free if a < b and 2 <= distances[a, b] <= 4]
        if near:
            mol.AddBond(*near[int(rng.integers(len(near)))], Chem.BondType.SINGLE)


def _charge(mol: Chem.RWMol, rng: np.random.Generator) -> None:
    """A charge is overlooked or seen."""
    charged = [atom.GetIdx() for atom in mol.GetAtoms() if atom.GetFormalCharge()]
    if charged:
        atom = mol.GetAtomWithIdx(int(rng.choice(charged)))
        atom.SetFormalCharge(0)
        _refill(atom)
    else:
        other = [atom.GetIdx() for atom in mol.GetAtoms() if atom.GetAtomicNum() in (7, 8)]
        if other:
            mol.GetAtomWithIdx(int(rng.choice(other))).SetFormalCharge(int(rng.choice([-1, 1])))


def _hydrogens(atom: Chem.Atom) -> int:
    """Hydrogens an atom had before other errors; what these make of it is not worked out in between."""
    return int(atom.GetTotalNumHs()) if not atom.NeedsUpdatePropertyCache() else 0


def _attach(mol: Chem.RWMol, at: int, group: str) -> None:
    part = Chem.MolFromSmiles(group)
    Chem.Kekulize(part, clearAromaticFlags=True)
    first = mol.GetNumAtoms()
    mol.InsertMol(part)
    mol.AddBond(at, first, Chem.BondType.SINGLE)
    mol.GetAtomWithIdx(at).SetNumExplicitHs(0)


def _refill(atom: Chem.Atom) -> None:
    """The valence is filled with hydrogens anew."""
    atom.SetNumExplicitHs(0)
    atom.SetNoImplicit(False)


ERRORS: tuple[Callable[[Chem.RWMol, np.random.Generator], None], ...] = (
    _letter,
    _lost,
    _added,
    _replaced,
    _order,
    _broken,
    _bridged,
    _charge,
)
_ERROR_PROBABILITIES = np.array([0.28, 0.21, 0.06, 0.11, 0.14, 0.12, 0.04, 0.04])
