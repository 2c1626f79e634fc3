"""The pieces a molecule falls into: one bond cut, two bonds of one ring, or two such cuts.

A cut is a smallest set of one or two bonds whose removal leaves two pieces. Over a spanning tree, a bond
outside the tree closes one ring; a tree bond lies in the rings of the bonds outside that it bridges. A bond
in no ring is a cut alone, and two bonds that lie in just the same rings are one together. One side of a cut
is the exclusive or of the subtrees below its tree bonds. So all cuts come from one walk, and all pieces
between two cuts (the atoms on one side of each) from a matrix product: nothing is enumerated atom by atom.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
from rdkit import Chem

from acml_search.chem.masses import atom_masses

MAX_SIDES = 160  # of a molecule; those of small rings first, so that a macrocycle costs no more
WIDEST = 12  # bonds in the same rings of which every pair is a cut; of more, only neighbours along the chain

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Pieces:
    """Connected or not quite connected parts of a molecule of n heavy atoms.

    Pieces 0 to s - 1 are the sides of single cuts, sides 2 c and 2 c + 1 those of cut c; then come the pieces
    between two cuts. The whole molecule is none of them.
    """

    sides: npt.NDArray[np.bool_]
    """(s, n): the atoms kept"""
    kept: Ints
    """(s, 2) atom at the near end of each bond cut, -1 where there is no second bond"""
    lost: Ints
    """(s, 2) atom at its far end"""
    bonds: Ints
    """(s, 2) bond, -1 where there is none"""
    alike: Ints
    """(s,) how many bonds lie in just the same rings: 1 outside rings"""
    first: Ints
    """(f,) the side a piece lies on"""
    second: Ints
    """(f,) the other side it lies on, -1 for the sides themselves"""
    masses: Floats
    """(f,) Da, with the hydrogens on its atoms"""
    broken: Ints
    """(f,) bonds cut, 1 to 4"""

    def __len__(self) -> int:
        return len(self.first)

    def atoms(self, piece: int) -> npt.NDArray[np.bool_]:
        """(n,) which atoms a piece holds."""
        found = self.sides[self.first[piece]]
        return found & self.sides[self.second[piece]] if self.second[piece] >= 0 else found.copy()

    def count(self, of: Floats) -> Floats:
        """(f, k) sums over the atoms of each piece of values (n, k)."""
        sides = self.sides.astype(np.float64)
        out = np.empty((len(self.first), of.shape[1]))
        n = len(sides)
        out[:n] = sides @ of
        first, second = self.first[n:], self.second[n:]
        for column in range(of.shape[1]):
            out[n:, column] = ((sides * of[:, column]) @ sides.T)[first, second]
        return out


def cut(mol: Chem.Mol) -> Pieces:
    """The pieces of a molecule; none when it has a single atom."""
    kept, lost, bonds, alike, sides = _sides(mol)
    n_sides = len(sides)
    elements = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()])
    hydrogens = np.array([atom.GetTotalNumHs() for atom in mol.GetAtoms()])
    masses = atom_masses(elements, hydrogens)
    part = sides.astype(np.float64)
    common = (part @ part.T).round().astype(np.int64)
    sizes = np.diag(common)
    between = (common > 0) & (common < sizes[:, None]) & (common < sizes[None])
    first, second = np.nonzero(np.triu(between, 1))
    broken = np.where(bonds[:, 1] >= 0, 2, 1)
    weights = (part * masses) @ part.T
    return Pieces(
        sides,
        kept,
        lost,
        bonds,
        alike,
        np.concatenate([np.arange(n_sides), first]),
        np.concatenate([np.full(n_sides, -1), second]),
        np.concatenate([np.diag(weights), weights[first, second]]),
        np.concatenate([broken, broken[first] + broken[second]]),
    )


def _sides(mol: Chem.Mol) -> tuple[Ints, Ints, Ints, Ints, npt.NDArray[np.bool_]]:
    n = mol.GetNumAtoms()
    ends = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in mol.GetBonds()]
    below, rings = _walk(n, ends)
    classes: dict[int, list[int]] = {}
    for bond, key in enumerate(rings):
        classes.setdefault(key, []).append(bond)
    cuts: list[tuple[tuple[int, ...], int]] = [((bond,), 1) for bond in classes.pop(0, [])]
    for members in sorted(classes.values(), key=len):
        pairs = combinations(range(len(members)), 2)
        size = len(members)
        cuts += [((members[a], members[b]), size) for a, b in pairs if size <= WIDEST or b - a <= 2]
    del cuts[MAX_SIDES // 2 :]
    kept, lost, bonds = (np.full((2 * len(cuts), 2), -1) for _ in range(3))
    sides = np.zeros((2 * len(cuts), n), bool)
    for number, (members_of, _) in enumerate(cuts):
        inside = 0
        for bond in members_of:
            inside ^= below[bond]
        text = np.frombuffer(inside.to_bytes(n // 8 + 1, "little"), np.uint8)
        sides[2 * number] = np.unpackbits(text, bitorder="little")[:n]
        sides[2 * number + 1] = ~sides[2 * number]
        for place, bond in enumerate(members_of):
            here, there = ends[bond] if inside >> ends[bond][0] & 1 else ends[bond][::-1]
            kept[2 * number, place] = lost[2 * number + 1, place] = here
            lost[2 * number, place] = kept[2 * number + 1, place] = there
            bonds[2 * number : 2 * number + 2, place] = bond
    alike = np.repeat([size for _, size in cuts], 2).astype(np.int64)
    return kept, lost, bonds, alike, sides


def _walk(n: int, ends: list[tuple[int, int]]) -> tuple[list[int], list[int]]:
    """For every bond, as bits: the atoms below it in a spanning tree (0 outside it), and its rings.

    Rings are numbered by the bonds outside the tree, each of which closes one.
    """
    around: list[list[tuple[int, int]]] = [[] for _ in range(n)]
    for bond, (a, b) in enumerate(ends):
        around[a].append((b, bond))
        around[b].append((a, bond))
    above: list[int] = [-2] * n  # the bond that leads to an atom; -1 for the root
    order: list[tuple[int, int]] = []
    for root in range(n):
        if above[root] != -2:
            continue
        above[root] = -1
        stack = [root]
        while stack:
            atom = stack.pop()
            for other, bond in around[atom]:
                if above[other] == -2:
                    above[other] = bond
                    order.append((atom, other))
                    stack.append(other)
    in_tree = set(above)
    passing = [0] * n  # rings that pass from an atom to the one above it
    rings = [0] * len(ends)
    for number, bond in enumerate(bond for bond in range(len(ends)) if bond not in in_tree):
        rings[bond] = 1 << number
        for atom in ends[bond]:
            passing[atom] ^= 1 << number
    subtree = [1 << atom for atom in range(n)]
    below = [0] * len(ends)
    for atom, other in reversed(order):
        bond = above[other]
        below[bond], rings[bond] = subtree[other], passing[other]
        subtree[atom] |= subtree[other]
        passing[atom] ^= passing[other]
    return below, rings
