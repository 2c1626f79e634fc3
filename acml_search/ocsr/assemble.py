"""From detected atoms and bonds to SMILES.

What is detected need not be chemistry: a stroke may be missed, a letter misread. The molecule is assembled as
it stands, charges that its valences need are added, and where RDKit still refuses it, it is written as it was
read: half a structure finds more than none.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
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
_SINGLE = {*GROUPS, "H", "F"}
"""symbols that bonds to are single, whatever is read: a wedge, say"""

_BONDS = {
    1: Chem.BondType.SINGLE,
    2: Chem.BondType.DOUBLE,
    3: Chem.BondType.TRIPLE,
    4: Chem.BondType.AROMATIC,
    5: Chem.BondType.SINGLE,
}
_TETRAHEDRAL = Chem.StereoType.Atom_Tetrahedral
_WEDGE, _WAVY, _NARROW_AT_SECOND = "wedge", 5, (2, 4)
_DIRECTIONS = {1: Chem.BondDir.BEGINWEDGE, 3: Chem.BondDir.BEGINDASH}
# Valence of a neutral atom, and the charge that one more bond needs.
_CHARGED_VALENCE = {"N": (3, 1), "O": (2, 1), "B": (3, -1)}


class Structure(NamedTuple):
    """An assembled structure."""

    smiles: str
    """without configuration; "" where there is no atom"""
    mol: Chem.Mol | None
    """sanitised; None where RDKit refuses it"""
    drawn: Chem.Mol | None = None
    """with hydrogens, places and wedges as they are drawn"""

    def standardised(self, configured: bool = False) -> str:
        """SMILES as an index stores it: without counter-ions and specks, charges balanced. Of a structure
        that RDKit refuses, the longest piece.
        """
        text = self.configured() if configured else self.smiles
        if self.mol is not None:
            try:
                return str(Chem.MolToSmiles(parse(text)[0]))
            except InvalidMolecule:  # a lone hydrogen, for one
                return text
        return max(text.split("."), key=len)

    def configured(self) -> str:
        """SMILES with the configuration that wedges and the places of atoms at double bonds show."""
        if self.drawn is None:
            return self.smiles
        mol = _narrow_at_centres(self.drawn)
        places = mol.GetConformer().GetPositions()
        wavy = set[int]()
        for bond in mol.GetBonds():
            wedge = bond.GetIntProp(_WEDGE) if bond.HasProp(_WEDGE) else 0
            ends = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
            bond.SetBondDir(_DIRECTIONS.get(wedge, Chem.BondDir.NONE))
            wavy.update(ends if wedge == _WAVY else ())
        for bond in mol.GetBonds():
            first, second = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
            within = (places[first] == places[second]).all()  # a group, which is drawn as letters
            if bond.GetBondType() == Chem.BondType.DOUBLE and (within or wavy & {first, second}):
                bond.SetStereo(Chem.BondStereo.STEREOANY)
        with rdBase.BlockLogs():
            Chem.AssignChiralTypesFromBondDirs(mol)
            for bond in mol.GetBonds():
                bond.SetBondDir(Chem.BondDir.NONE)
            Chem.SetDoubleBondNeighborDirections(mol, mol.GetConformer())
            Chem.AssignStereochemistry(mol, cleanIt=True, force=True)
            return str(Chem.MolToSmiles(Chem.RemoveHs(mol, sanitize=False)))


def _narrow_at_centres(drawn: Chem.Mol) -> Chem.Mol:
    """The molecule with wedges turned round that are narrow where nothing can have a configuration: dashes of
    one width have no narrow end.
    """
    mol = Chem.RWMol(drawn)
    centres = {one.centeredOn for one in Chem.FindPotentialStereo(mol) if one.type == _TETRAHEDRAL}
    for bond in list(drawn.GetBonds()):
        first, second = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        wedge = bond.GetIntProp(_WEDGE) if bond.HasProp(_WEDGE) else 0
        if wedge in _DIRECTIONS and first not in centres and second in centres:
            mol.RemoveBond(first, second)
            mol.AddBond(second, first, bond.GetBondType())
            mol.GetBondBetweenAtoms(first, second).SetIntProp(_WEDGE, wedge)
    return mol.GetMol()


@cache
def max_bonds(symbol: str) -> int:
    """Bonds, double ones twice, that an atom drawn with a symbol carries at most."""
    if (group := _group(symbol)) is not None:
        return max(group.valence, 1)
    return _VALENCE.get(symbol, 8)


def assemble(
    symbols: Sequence[str],
    hydrogens: Sequence[int],
    charges: Sequence[int],
    bonds: Sequence[tuple[int, int, int]],
    xy: np.ndarray | None = None,
    wedges: Sequence[int] = (),
) -> Structure:
    """The structure of n atoms and bonds (first, second, order).

    symbols: of `SYMBOLS`, or SMILES of a group as `ocsr.formula` writes it. Of a group's two bonds the first
    is the one at its left. xy: (n, 2), y down, without which no configuration is read. wedges: of each bond,
    a column of `hypotheses.Detections.wedges`.
    """
    bonded = {i for a, b, _ in bonds for i in (a, b)}
    # A corner without a bond is a speck, unless it is all there is.
    kept = [i for i, s in enumerate(symbols) if i in bonded or (s not in ("", "H", "?"))]
    mol = Chem.RWMol()
    ends: dict[int, list[int]] = {}
    drawn_as: list[int] = []
    for i in kept:
        group = _group(symbols[i])
        if group is None:
            ends[i] = [mol.AddAtom(_atom(symbols[i], hydrogens[i], charges[i]))]
        else:
            ends[i] = [mol.GetNumAtoms() + at for at in group.ends]
            mol.InsertMol(group.mol)
        drawn_as += [i] * (mol.GetNumAtoms() - len(drawn_as))
    known: set[frozenset[int]] = set()
    for (a, b, order), wedge in zip(bonds, wedges or [0] * len(bonds), strict=True):
        if frozenset((a, b)) in known:
            continue
        known.add(frozenset((a, b)))
        # The last end of a group has all further bonds.
        first, second = (ends[i].pop(0) if len(ends[i]) > 1 else ends[i][0] for i in (a, b))
        kind = _BONDS[order]
        if {symbols[a], symbols[b]} & _SINGLE:
            kind = Chem.BondType.SINGLE
        if wedge in _NARROW_AT_SECOND:
            first, second, wedge = second, first, wedge - 1
        mol.AddBond(first, second, kind)
        mol.GetBondBetweenAtoms(first, second).SetIntProp(_WEDGE, wedge)
        if kind == Chem.BondType.AROMATIC:
            for at in (first, second):
                mol.GetAtomWithIdx(at).SetIsAromatic(True)
    if xy is not None:
        conformer = Chem.Conformer(len(drawn_as))
        for at, (x, y) in enumerate(xy[drawn_as].tolist()):
            conformer.SetAtomPosition(at, (x, -y, 0.0))
        mol.AddConformer(conformer)
    return _written(mol)


def _atom(symbol: str, hydrogens: int, charge: int) -> Chem.Atom:
    atom = Chem.Atom({"": "C", "?": "C"}.get(symbol, symbol))
    atom.SetFormalCharge(charge)
    if hydrogens and symbol:
        atom.SetIntProp("written", hydrogens)
    return atom


class _Group(NamedTuple):
    mol: Chem.Mol
    """without attachments"""
    ends: list[int]
    """atoms that the attachments are on, the left one first"""
    valence: int
    """of all attachments together"""


@cache
def _group(symbol: str) -> _Group | None:
    """The group that a symbol stands for; None for an atom."""
    if symbol in SYMBOLS and symbol not in GROUPS:
        return None
    parameters = Chem.SmilesParserParams()
    parameters.removeHs = False
    mol = Chem.RWMol(Chem.MolFromSmiles(GROUPS.get(symbol, symbol), parameters))
    Chem.Kekulize(mol, clearAromaticFlags=True)
    dummies = sorted((a for a in mol.GetAtoms() if a.GetAtomicNum() == 0), key=Chem.Atom.GetAtomMapNum)
    inner = [dummy.GetNeighbors()[0].GetIdx() for dummy in dummies]
    valence = sum(int(dummy.GetBonds()[0].GetBondTypeAsDouble()) for dummy in dummies)
    gone = sorted((dummy.GetIdx() for dummy in dummies), reverse=True)
    for at in inner if symbol not in GROUPS else ():
        # Letters say how many hydrogens it has: with another number of bonds it is no structure.
        mol.GetAtomWithIdx(at).SetNumExplicitHs(mol.GetAtomWithIdx(at).GetTotalNumHs())
        mol.GetAtomWithIdx(at).SetNoImplicit(True)
    for at in gone:
        mol.RemoveAtom(at)
    ends = [at - sum(lost < at for lost in gone) for at in inner] or [0]
    return _Group(mol.GetMol(), ends, valence)


def _written(mol: Chem.RWMol) -> Structure:
    """The first of several variants that RDKit accepts; else the molecule as it stands."""
    if mol.GetNumAtoms() == 0:
        return Structure("", None)
    _balance(mol)
    with rdBase.BlockLogs():  # RDKit reports every variant that it refuses
        for variant in _variants(mol):
            if Chem.SanitizeMol(variant, catchErrors=True) == Chem.SanitizeFlags.SANITIZE_NONE:
                plain = Chem.RemoveHs(variant, sanitize=False)
                drawn = variant if variant.GetNumConformers() else None
                return Structure(str(Chem.MolToSmiles(plain)), plain, drawn)
        raw = Chem.Mol(mol)
        raw.UpdatePropertyCache(strict=False)
        return Structure(str(Chem.MolToSmiles(raw)), None)


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
