"""From detected atoms and bonds to SMILES.

What is detected need not be chemistry: a stroke may be missed, a letter misread. The molecule is assembled as
it stands, charges that its valences need are added, and where RDKit still refuses it, it is written as it was
read: half a structure finds more than none.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from rdkit import Chem, rdBase

from acml_search.chem.molecule import parse
from acml_search.core.errors import InvalidMolecule
from acml_search.ocsr.abbreviations import GROUPS

ELEMENTS = ("C", "N", "O", "S", "F", "Cl", "Br", "I", "P", "H", "B", "Si", "Se", "As", "Sn", "Te", "Ge", "Li",
            "Na", "K", "Mg", "Al", "Fe", "Pt", "Hg", "Zn", "Cu", "Co")  # fmt: skip
SYMBOLS: tuple[str, ...] = ("", *ELEMENTS, *dict.fromkeys(GROUPS), "?")
"""what an atom can be drawn as: a bare corner, an element, a group, anything else"""
MAX_HYDROGENS = 4
MAX_CHARGE = 2

# Bonds that most atoms drawn with a symbol carry at most; groups carry one. Exceptions are rare.
_VALENCE = {"": 4, "C": 4, "N": 4, "O": 2, "F": 1, "Cl": 1, "Br": 1, "I": 1, "H": 1, "B": 4, "Si": 4, "P": 5,
         "S": 6, "Se": 6, "As": 5, "Te": 6, "Ge": 4, "Sn": 4, "Li": 1, "Na": 1, "K": 1}  # fmt: skip
MAX_BONDS_OF: tuple[int, ...] = tuple(1 if s in GROUPS else _VALENCE.get(s, 8) for s in SYMBOLS)

_BONDS = {
    1: Chem.BondType.SINGLE,
    2: Chem.BondType.DOUBLE,
    3: Chem.BondType.TRIPLE,
    4: Chem.BondType.AROMATIC,
    5: Chem.BondType.SINGLE,
}
# Valence of a neutral atom, and the charge that one more bond needs.
_CHARGED_VALENCE = {"N": (3, 1), "O": (2, 1), "B": (3, -1)}


class Structure(NamedTuple):
    """An assembled structure."""

    smiles: str
    """without configuration; "" where there is no atom"""
    mol: Chem.Mol | None
    """sanitised; None where RDKit refuses it"""

    def standardised(self) -> str:
        """SMILES as an index stores it: without counter-ions and specks, charges balanced. Of a structure
        that RDKit refuses, the longest piece.
        """
        if self.mol is not None:
            try:
                return str(Chem.MolToSmiles(parse(self.smiles)[0]))
            except InvalidMolecule:  # a lone hydrogen, for one
                return self.smiles
        return max(self.smiles.split("."), key=len)


def assemble(
    symbols: Sequence[str],
    hydrogens: Sequence[int],
    charges: Sequence[int],
    bonds: Sequence[tuple[int, int, int]],
) -> Structure:
    """The structure of n atoms (`SYMBOLS`) and bonds (first, second, order)."""
    bonded = {i for a, b, _ in bonds for i in (a, b)}
    # A corner without a bond is a speck, unless it is all there is.
    kept = [i for i, s in enumerate(symbols) if i in bonded or (s not in ("", "H", "?"))]
    place = {i: k for k, i in enumerate(kept)}
    mol = Chem.RWMol()
    for i in kept:
        mol.AddAtom(_atom(symbols[i], hydrogens[i], charges[i]))
    for a, b, order in bonds:
        if mol.GetBondBetweenAtoms(place[a], place[b]) is None:
            mol.AddBond(place[a], place[b], _BONDS[order])
            if order == 4:
                mol.GetAtomWithIdx(place[a]).SetIsAromatic(True)
                mol.GetAtomWithIdx(place[b]).SetIsAromatic(True)
    for i in kept:
        if symbols[i] in GROUPS:
            _expand(mol, place[i], GROUPS[symbols[i]])
    # What was expanded leaves its placeholder, without bonds.
    for atom in reversed(list(mol.GetAtoms())):
        if atom.GetAtomicNum() == 0 and atom.HasProp("expanded"):
            mol.RemoveAtom(atom.GetIdx())
    return _written(mol)


def _atom(symbol: str, hydrogens: int, charge: int) -> Chem.Atom:
    if symbol in GROUPS:
        atom = Chem.Atom(0)
        atom.SetProp("expanded", "yes")
        return atom
    atom = Chem.Atom({"": "C", "?": "C"}.get(symbol, symbol))
    atom.SetFormalCharge(charge)
    if hydrogens and symbol:
        atom.SetIntProp("written", hydrogens)
    return atom


@cache
def _group(smiles: str) -> Chem.Mol:
    parameters = Chem.SmilesParserParams()
    parameters.removeHs = False
    mol = Chem.MolFromSmiles(smiles, parameters)
    Chem.Kekulize(mol, clearAromaticFlags=True)
    return mol


def _expand(mol: Chem.RWMol, at: int, smiles: str) -> None:
    """Put a group in the place of atom `at`, whose bonds go to the group's first atom."""
    group = _group(smiles)
    start = next(a.GetIdx() for a in group.GetAtoms() if a.GetAtomicNum() == 0)
    first = group.GetAtomWithIdx(start).GetNeighbors()[0].GetIdx()
    place: dict[int, int] = {}
    for atom in group.GetAtoms():
        if atom.GetIdx() != start:
            place[atom.GetIdx()] = mol.AddAtom(atom)
    for bond in group.GetBonds():
        if start not in (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()):
            mol.AddBond(place[bond.GetBeginAtomIdx()], place[bond.GetEndAtomIdx()], bond.GetBondType())
    for bond in list(mol.GetAtomWithIdx(at).GetBonds()):
        other = bond.GetOtherAtomIdx(at)
        mol.RemoveBond(at, other)
        mol.AddBond(other, place[first], Chem.BondType.SINGLE)


def _written(mol: Chem.RWMol) -> Structure:
    """The first of several variants that RDKit accepts; else the molecule as it stands."""
    if mol.GetNumAtoms() == 0:
        return Structure("", None)
    _balance(mol)
    with rdBase.BlockLogs():  # RDKit reports every variant that it refuses
        for variant in _variants(mol):
            if Chem.SanitizeMol(variant, catchErrors=True) == Chem.SanitizeFlags.SANITIZE_NONE:
                variant = Chem.RemoveHs(variant, sanitize=False)
                return Structure(str(Chem.MolToSmiles(variant, isomericSmiles=False)), variant)
        raw = Chem.Mol(mol)
        raw.UpdatePropertyCache(strict=False)
        return Structure(str(Chem.MolToSmiles(raw, isomericSmiles=False)), None)


def _variants(mol: Chem.RWMol) -> list[Chem.Mol]:
    """The molecule, then with hydrogen on one aromatic nitrogen, then with dashed bonds as single ones."""
    variants = [Chem.Mol(mol)]
    aromatic = [a.GetIdx() for a in mol.GetAtoms() if a.GetIsAromatic()]
    if aromatic:
        nitrogens = [
            i
            for i in aromatic
            if mol.GetAtomWithIdx(i).GetSymbol() == "N"
            and mol.GetAtomWithIdx(i).GetDegree() == 2
            and not mol.GetAtomWithIdx(i).GetNumExplicitHs()
        ]
        for i in nitrogens[:6]:
            with_h = Chem.Mol(mol)
            with_h.GetAtomWithIdx(i).SetNumExplicitHs(1)
            variants.append(with_h)
        plain = Chem.RWMol(mol)
        for atom in plain.GetAtoms():
            atom.SetIsAromatic(False)
        for bond in plain.GetBonds():
            if bond.GetBondType() == Chem.BondType.AROMATIC:
                bond.SetBondType(Chem.BondType.SINGLE)
        variants.append(plain.GetMol())
    return variants


def _balance(mol: Chem.RWMol) -> None:
    """Add charges that were not read but that the bonds need, and hydrogens that only the letters show."""
    for atom in mol.GetAtoms():
        if any(bond.GetBondType() == Chem.BondType.AROMATIC for bond in atom.GetBonds()):
            atom.SetIsAromatic(True)
            if atom.HasProp("written") and atom.GetSymbol() in ("N", "P", "B", "As"):
                atom.SetNumExplicitHs(1)
            continue
        limit, charge = _CHARGED_VALENCE.get(atom.GetSymbol(), (99, 0))
        drawn = sum(int(bond.GetBondTypeAsDouble()) for bond in atom.GetBonds())
        if drawn == limit + 1 and atom.GetFormalCharge() == 0:
            atom.SetFormalCharge(charge)
    for atom in mol.GetAtoms():
        if atom.GetSymbol() == "N" and atom.GetFormalCharge() == 1:
            _oxide(atom)


def _oxide(nitrogen: Chem.Atom) -> None:
    """The oxygen of a nitro group or an N-oxide whose minus was not read: it has no hydrogen either."""
    around = nitrogen.GetNeighbors()
    if any(atom.GetFormalCharge() < 0 for atom in around):
        return
    for atom in around:
        bond = nitrogen.GetOwningMol().GetBondBetweenAtoms(nitrogen.GetIdx(), atom.GetIdx())
        single = bond.GetBondType() == Chem.BondType.SINGLE and atom.GetDegree() == 1
        if atom.GetSymbol() == "O" and single and not atom.GetFormalCharge() and not atom.HasProp("written"):
            atom.SetFormalCharge(-1)
            return
