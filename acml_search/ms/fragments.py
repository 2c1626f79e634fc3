"""How likely each piece of a molecule is to be seen in a mass spectrum: what is read off the cuts.

Every feature is a short text ("B C-N", "X H2O"), so that a table of weights can be read and kept as JSON. The
weights belong to a way of ionisation: positive, negative or by electrons.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from rdkit import Chem

from acml_search.chem.masses import HYDROGEN, atom_masses
from acml_search.ms.cuts import Pieces, cut
from acml_search.ms.peaks import nominal

SHIFTS = np.arange(-4, 5)
"""hydrogens a piece may carry more than it did in the molecule"""
SIZES = 6  # groups of pieces by their share of the atoms
N_CODES = SIZES * 3 * 3 * 2
SMALL = 6  # heavy atoms of a lost side that is told by its formula
KEPT = 12  # the same of a kept side

Ints = npt.NDArray[np.int64]
_ORDERS = {1.0: "-", 1.5: ":", 2.0: "=", 3.0: "#"}


@dataclass(frozen=True)
class Described:
    """A molecule's pieces with what tells how likely they are."""

    pieces: Pieces
    features: list[list[str]]
    """of each of the s sides"""
    codes: Ints
    """(f,) size, heteroatoms, rings and order of a piece as one number below `N_CODES`"""
    kinds: Ints
    """(f,) which table of hydrogen shifts holds: by bonds broken, 0 to 3"""
    mass: float
    """Da, of the molecule"""


def describe(mol: Chem.Mol) -> Described:
    """Cut a molecule (as `chem.molecule.parse` gives it) and describe what falls off."""
    pieces = cut(mol)
    atoms = list(mol.GetAtoms())
    classes = [_class(atom) for atom in atoms]
    symbols = [atom.GetSymbol() for atom in atoms]
    links = [_link(bond) for bond in mol.GetBonds()]
    elements = sorted(set(symbols) - {"C"})
    table = np.zeros((len(atoms), 2 + len(elements)))
    for i, atom in enumerate(atoms):
        table[i, 1] = atom.GetTotalNumHs()
        table[i, 0 if symbols[i] == "C" else 2 + elements.index(symbols[i])] = 1
    sides = pieces.sides
    counts = (sides.astype(np.float64) @ table).astype(np.int64)
    names = ["C", "H", *elements]
    features = []
    heavy = sides.sum(axis=1).tolist()
    texts: list[str] = []
    for count, size in zip(counts.tolist(), heavy, strict=True):
        texts.append(
            "".join(f"{n}{c}" for n, c in zip(names, count, strict=True) if c) if size <= KEPT else ""
        )
    for side in range(len(sides)):
        own = []
        for k, x, b in zip(
            pieces.kept[side].tolist(), pieces.lost[side].tolist(), pieces.bonds[side].tolist(), strict=True
        ):
            if b < 0:
                continue
            link = links[b]
            own += [
                f"B {symbols[k]}{link}{symbols[x]}",
                f"K {classes[k]}{link}",
                f"L {link}{classes[x]}",
                f"P {classes[k]}{link}{classes[x]}",
            ]
        if len(own) > 4:
            own.append(f"R {min(int(pieces.alike[side]), 8)}")
        other = side ^ 1
        own.append(f"X {texts[other]}" if heavy[other] <= SMALL else f"X {min(heavy[other] // 4, 6)}")
        own.append(f"M {texts[side]}" if texts[side] else "M")
        features.append(own)
    hetero = np.array([symbol not in ("C", "H") for symbol in symbols], np.float64)
    nitrogen = np.array([symbol == "N" for symbol in symbols], np.float64)
    ring = np.array([atom.GetIsAromatic() for atom in atoms], np.float64)
    found = pieces.count(np.stack([np.ones(len(atoms)), hetero - nitrogen, nitrogen, ring], axis=1))
    share = np.minimum((found[:, 0] / len(atoms) * SIZES).astype(np.int64), SIZES - 1)
    others = np.minimum(found[:, 1], 2).astype(np.int64)
    nitrogens = np.minimum(found[:, 2], 2).astype(np.int64)
    rings = (found[:, 3] > 0).astype(np.int64)
    codes = ((share * 3 + others) * 3 + nitrogens) * 2 + rings
    mass = atom_masses(
        np.array([atom.GetAtomicNum() for atom in atoms]), np.array([atom.GetTotalNumHs() for atom in atoms])
    ).sum()
    return Described(pieces, features, codes, pieces.broken - 1, float(mass))


def _class(atom: Chem.Atom) -> str:
    """Element, aromatic or not, hydrogens, in a ring or not, double bond to a heteroatom, charge."""
    double = any(
        bond.GetBondTypeAsDouble() == 2.0 and bond.GetOtherAtom(atom).GetAtomicNum() != 6
        for bond in atom.GetBonds()
    )
    charge = atom.GetFormalCharge()
    return (
        (atom.GetSymbol().lower() if atom.GetIsAromatic() else atom.GetSymbol())
        + str(min(atom.GetTotalNumHs(), 3))
        + ("r" if atom.IsInRing() else "")
        + ("o" if double else "")
        + ("+" if charge > 0 else "~" if charge < 0 else "")
    )


def _link(bond: Chem.Bond) -> str:
    order = _ORDERS.get(bond.GetBondTypeAsDouble(), "?")
    return order + ("@" if bond.IsInRing() and order != ":" else "")


class Masses:
    """Neutral masses of pieces, sorted for look-up; nominal ones where `whole`."""

    def __init__(self, described: Described, whole: bool = False) -> None:
        masses = described.pieces.masses
        masses = nominal(masses).astype(np.float64) if whole else masses
        self.order = np.argsort(masses, kind="stable")
        self.sorted = masses[self.order]
        self.hydrogen = 1.0 if whole else HYDROGEN

    def near(self, masses: npt.NDArray[Any], width: npt.NDArray[Any]) -> tuple[Ints, Ints, Ints]:
        """Every (mass, piece, place in SHIFTS) that agree within `width` (Da), as three arrays."""
        targets = masses[:, None] - self.hydrogen * SHIFTS
        low = np.searchsorted(self.sorted, (targets - width[:, None]).ravel())
        high = np.searchsorted(self.sorted, (targets + width[:, None]).ravel())
        n = high - low
        where = np.repeat(np.arange(len(n)), n)
        within = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)
        pieces = self.order[low[where] + within]
        return where // len(SHIFTS), pieces, where % len(SHIFTS)


def index_of(features: Sequence[Sequence[str]], vocabulary: dict[str, int]) -> tuple[Ints, Ints]:
    """Known features of the sides, end to end, and where each side's begin (s,)."""
    flat: list[int] = []
    starts = []
    for own in features:
        starts.append(len(flat))
        flat += [vocabulary[name] for name in own if name in vocabulary]
    return np.array(flat, np.int64), np.array(starts, np.int64)
