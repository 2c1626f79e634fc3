"""Predicted peaks of molecules in few bytes: what an index keeps, so that re-ranking needs no network.

One entry per set of symmetry-equivalent atoms, in the order of the first atom of each. The numbers of the
atoms need not be kept: the molecule's symmetry classes, listed in the same order, are they. 13C takes 3 bytes
a set, 1H takes 5.

Of 1H, an entry also says what multiplicity depends on (`Coupling`): how many protons the set has, on what
kind of atom, and how many protons sit on each neighbouring carbon. All of it comes from the graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from rdkit import Chem

from acml_search.chem.graph import GraphBatch, MolGraph, collate
from acml_search.core.typing import Bools, Floats, Ints
from acml_search.nmr.assign import AtomPeaks, GroupLists, Groups

if TYPE_CHECKING:
    from collections.abc import Mapping

Records = npt.NDArray[Any]

DTYPES: Mapping[str, np.dtype[Any]] = {
    # 40 steps a ppm from -60 ppm on, and the number of hydrogens in the two lowest bits
    "C": np.dtype([("shift", "<u2"), ("certainty", "u1")]),
    # thousandths of a ppm, and the bits of `Coupling`
    "H": np.dtype([("shift", "<i2"), ("certainty", "u1"), ("coupling", "<u2")]),
}
_STEPS, _LOWEST = 40, -60.0  # of 13C
_SPREAD: Mapping[str, float] = {"C": 0.25, "H": 0.015}  # ppm, the smallest of 16, each 4/3 of the one before
_RATIO = np.log(4 / 3)
_LOGIT_STEP, _LOGIT_LOWEST = 0.5, -3.5  # of the probability that a spectrum lists the peak, in 16 steps
_BYTES = np.arange(256)  # every certainty that is kept, as numbers
_SPREADS = {nucleus: smallest * np.exp(_RATIO * (_BYTES >> 4)) for nucleus, smallest in _SPREAD.items()}
_PRESENT = 1 / (1 + np.exp(-(_LOGIT_LOWEST + _LOGIT_STEP * (_BYTES & 15))))

CARBON = 6
AROMATIC, VINYL, ALIPHATIC, HETERO = range(4)
"""kinds of atoms that carry protons: in an aromatic ring, other sp2 and sp, sp3; any but carbon"""
_PROTONS = (6, 4, 3, 2, 1, 0)
PARTNERS = list(combinations_with_replacement(_PROTONS, 3))
"""protons on the neighbouring carbons, class by class, the most first; three classes at most. 6 is 6 or more,
and 4 is 4 or 5.
"""
_LEVEL = np.array([5, 4, 3, 2, 1, 1, 0])  # place in `_PROTONS` of 0, 1, ... 6 protons
_PLACE = np.zeros((len(_PROTONS),) * 3, np.int64)
for _i, _triple in enumerate(combinations_with_replacement(range(len(_PROTONS)), 3)):
    _PLACE[_triple] = _i
_ELEMENT, _DEGREE, _HYDROGENS, _RING = 0, 1, 3, 5  # columns of a graph's atoms


class Coupling(NamedTuple):
    """What the graph says of sets of equivalent protons, one array (n,) each."""

    atoms: Ints
    """1 to 8 (or more)"""
    hydrogens: Ints
    """on each atom, 1 to 3 (or more)"""
    kind: Ints
    """AROMATIC, VINYL, ALIPHATIC or HETERO"""
    partners: Ints
    """place in `PARTNERS`"""
    special: Bools
    """of CH2: its two protons may differ (a stereocentre in the molecule, a ring, =CH2); of an aromatic CH:
    there is another aromatic CH in meta position"""
    beside_nh: Bools
    """a neighbouring N, O or S carries hydrogen"""

    @property
    def protons(self) -> Ints:
        """(n,) of each set."""
        return self.atoms * self.hydrogens

    def bits(self) -> npt.NDArray[np.uint16]:
        """(n,) as they are kept: partners 6 bits, kind 2, special 1, beside_nh 1, hydrogens 2, atoms 3."""
        code = self.partners | self.kind << 6 | self.special.astype(np.int64) << 8
        code |= self.beside_nh.astype(np.int64) << 9
        code |= np.clip(self.hydrogens, 0, 3) << 10 | (np.clip(self.atoms, 1, 8) - 1) << 12
        return code.astype(np.uint16)

    @classmethod
    def of(cls, bits: npt.ArrayLike) -> Coupling:
        """The inverse of `bits`."""
        code = np.asarray(bits, np.int64)
        return cls(
            (code >> 12 & 7) + 1,
            code >> 10 & 3,
            code >> 6 & 3,
            code & 63,
            (code >> 8 & 1).astype(bool),
            (code >> 9 & 1).astype(bool),
        )


class PeakLists(NamedTuple):
    """The predicted peaks of n molecules end to end."""

    peaks: Records
    """(P,) of a dtype of `DTYPES`"""
    ends: Ints
    """(n,) where each molecule's peaks end"""

    @classmethod
    def join(cls, parts: Sequence[PeakLists]) -> PeakLists:
        """The lists of all parts, one part after the other."""
        starts = np.cumsum([0, *(len(one.peaks) for one in parts)])
        ends = [one.ends + start for one, start in zip(parts, starts.tolist(), strict=False)]
        return cls(np.concatenate([one.peaks for one in parts]), np.concatenate(ends))

    @property
    def sizes(self) -> Ints:
        """(n,) peaks of each molecule."""
        return np.diff(self.ends, prepend=0)

    def take(self, rows: Ints) -> PeakLists:
        """The lists of the molecules at `rows` (m,), in that order."""
        stops = self.ends[rows].astype(np.int64)
        sizes = stops - np.where(rows > 0, self.ends[rows - 1], 0)
        ends = np.cumsum(sizes)
        inside = np.arange(int(sizes.sum())) - np.repeat(ends - sizes, sizes)
        return PeakLists(self.peaks[np.repeat(stops - sizes, sizes) + inside], ends)

    def placed(self, rows: Sequence[int], n: int) -> PeakLists:
        """As the molecules at `rows`, ascending, of n, the others of which have no peaks."""
        sizes = np.zeros(n, np.int64)
        sizes[rows] = self.sizes
        return PeakLists(self.peaks, np.cumsum(sizes))


def pack(
    nucleus: str, classes: Sequence[Ints], graphs: Sequence[MolGraph], predicted: Sequence[AtomPeaks]
) -> PeakLists:
    """The peaks `predicted` of the atoms of n molecules, as they are kept.

    nucleus: "C" or "H"; classes: the molecules' `symmetry_classes`; graphs: theirs. A molecule without such
    atoms has an empty list.
    """
    if not graphs:
        return PeakLists(np.empty(0, DTYPES[nucleus]), np.zeros(0, np.int64))
    batch = collate(graphs)
    offsets = np.asarray(batch.ptr[:-1])
    ranks = np.concatenate(classes) + np.repeat(offsets, np.diff(batch.ptr))
    atoms = np.concatenate([one.atoms for one in predicted]).astype(np.int64)
    atoms += np.repeat(offsets, [len(one.atoms) for one in predicted])
    _, first, of, sizes = np.unique(ranks[atoms], return_index=True, return_inverse=True, return_counts=True)
    order = np.argsort(first)  # atoms ascend, molecule by molecule
    position, spread, present = (
        (np.bincount(of, np.concatenate([getattr(one, name) for one in predicted]), len(sizes)) / sizes)[
            order
        ]
        for name in ("position", "spread", "present")
    )
    leading, sizes = atoms[first[order]], sizes[order]
    peaks = np.empty(len(order), DTYPES[nucleus])
    peaks["certainty"] = _certainty(nucleus, spread, present)
    if nucleus == "C":
        steps = np.clip(np.rint((position - _LOWEST) * _STEPS), 0, 2**14 - 1).astype(np.uint16)
        peaks["shift"] = steps << 2 | np.minimum(batch.x[leading, _HYDROGENS], 3)
    else:
        peaks["shift"] = np.clip(np.rint(position * 1000), -(2**15), 2**15 - 1)
        peaks["coupling"] = _couplings(batch, ranks, leading, sizes).bits()
    return PeakLists(peaks, np.searchsorted(leading, batch.ptr[1:]).astype(np.int64))


def unpack(
    nucleus: str, lists: PeakLists, alike: float = 0.0, mols: Sequence[Chem.Mol] | None = None
) -> GroupLists:
    """What `pack` kept, by position, as a comparison takes it; with the numbers of atoms if `mols` are given.

    alike: predicted positions within so many ppm of the one before are one peak; 0: none are.
    """
    n = len(lists.ends)
    molecule = np.repeat(np.arange(n), lists.sizes)
    every = decode(nucleus, lists.peaks)
    shift = lists.peaks["shift"].astype(np.int64) >> (2 if nucleus == "C" else 0)
    order = np.argsort((molecule << 17) + shift, kind="stable")
    molecule = molecule[order]
    position, spread, present = every.position[order], every.spread[order], every.present[order]
    attached, coupling = every.attached[order], every.coupling[order]
    starts = np.ones(len(order), bool)
    if alike:
        starts[1:] = (np.diff(position) > alike) | (np.diff(molecule) > 0)
        at = np.flatnonzero(starts)
        sizes = np.diff(np.append(at, len(order)))
        if len(at):
            position, spread, present = (np.add.reduceat(x, at) / sizes for x in (position, spread, present))
            attached, coupling = np.bitwise_or.reduceat(attached, at), coupling[at]
    group = np.cumsum(starts) - 1
    ends = np.searchsorted(molecule[starts], np.arange(n), side="right")
    atoms: list[list[int]] = []
    for i, mol in enumerate(mols or ()):
        low, high = int(lists.ends[i] - lists.sizes[i]), int(lists.ends[i])
        classes = atom_classes(mol, nucleus)
        joined: dict[int, list[int]] = {}
        for number, kept in zip(group[low:high].tolist(), order[low:high].tolist(), strict=True):
            joined.setdefault(number, []).extend(classes[kept - low])
        atoms += joined.values()
    return GroupLists(Groups(position, spread, present, atoms, attached, coupling), ends)


class Decoded(NamedTuple):
    """Kept peaks as numbers, one array (P,) each: ppm, ppm, probability that a spectrum lists it, the bits of
    `Groups.attached` (13C), and those of `Coupling` (1H)."""

    position: Floats
    spread: Floats
    present: Floats
    attached: npt.NDArray[np.uint8]
    coupling: npt.NDArray[np.uint16]


def decode(nucleus: str, peaks: Records) -> Decoded:
    """Records of `DTYPES` as numbers."""
    spread, present = _SPREADS[nucleus][peaks["certainty"]], _PRESENT[peaks["certainty"]]
    if nucleus == "H":
        return Decoded(
            peaks["shift"] / 1000, spread, present, np.zeros(len(peaks), np.uint8), peaks["coupling"]
        )
    attached = (1 << (peaks["shift"] & 3)).astype(np.uint8)
    position = (peaks["shift"] >> 2) / _STEPS + _LOWEST
    return Decoded(position, spread, present, attached, np.zeros(len(peaks), np.uint16))


def symmetry_classes(mol: Chem.Mol) -> Ints:
    """(n,) a number per atom, the same for atoms that the molecule's symmetry exchanges; flat."""
    return np.array(Chem.CanonicalRankAtoms(mol, breakTies=False, includeChirality=False), np.int64)


def atom_classes(mol: Chem.Mol, nucleus: str) -> list[list[int]]:
    """The atoms of each entry of `pack`, in its order."""
    classes: dict[int, list[int]] = {}
    for atom, rank in zip(mol.GetAtoms(), symmetry_classes(mol).tolist(), strict=True):
        hydrogens = atom.GetTotalNumHs(includeNeighbors=True)  # deuterium too, as in the graph
        if atom.GetAtomicNum() == CARBON if nucleus == "C" else hydrogens > 0:
            classes.setdefault(rank, []).append(atom.GetIdx())
    return list(classes.values())


def _certainty(nucleus: str, spread: Floats, present: Floats) -> npt.NDArray[np.uint8]:
    wide = np.rint(np.log(np.maximum(spread, 1e-9) / _SPREAD[nucleus]) / _RATIO)
    present = np.clip(present, 1e-6, 1 - 1e-6)
    sure = np.rint((np.log(present) - np.log1p(-present) - _LOGIT_LOWEST) / _LOGIT_STEP)
    return (np.clip(wide, 0, 15).astype(np.uint8) << 4) | np.clip(sure, 0, 15).astype(np.uint8)


def _couplings(batch: GraphBatch, ranks: Ints, leading: Ints, sizes: Ints) -> Coupling:
    """What the graph says of sets of `sizes` (m,) atoms that begin with the atoms `leading` (m,)."""
    x = batch.x.astype(np.int64)
    source, target = batch.edge_index
    order = batch.edge_attr % 7
    n = len(x)
    aromatic = np.zeros(n, bool)
    aromatic[target[order == 1]] = True
    unsaturated = np.zeros(n, bool)
    unsaturated[target[(order > 1)]] = True
    carbon, hydrogens = x[:, _ELEMENT] == CARBON, x[:, _HYDROGENS]
    kind = np.select([~carbon, aromatic, unsaturated], [HETERO, AROMATIC, VINYL], ALIPHATIC)

    beside = np.zeros(n, bool)
    beside[target[~carbon[source] & (hydrogens[source] > 0)]] = True
    seen = carbon[source] & (hydrogens[source] > 0) & (ranks[source] != ranks[target])
    pair, of = np.unique(target[seen] * n + ranks[source[seen]], return_inverse=True)
    level = _LEVEL[np.minimum(np.bincount(of, hydrogens[source[seen]], len(pair)), 6).astype(np.int64)]
    by_atom = np.lexsort((level, pair // n))
    atom, level = (pair // n)[by_atom], level[by_atom]
    place = np.arange(len(atom)) - np.searchsorted(atom, atom)
    three = np.full((n, 3), _LEVEL[0])
    three[atom[place < 3], place[place < 3]] = level[place < 3]
    partners = _PLACE[tuple(three.T)]

    neighbours = np.full((n, 4), -1, np.int64)  # of carbon and its like; a fifth neighbour has no proton near
    slot = np.arange(len(target)) - np.searchsorted(target, target)
    neighbours[target[slot < 4], slot[slot < 4]] = source[slot < 4]
    around = np.where(neighbours >= 0, ranks[neighbours], -1 - np.arange(4))
    different = np.diff(np.sort(around, axis=1), axis=1).all(axis=1)
    centre = carbon & ~aromatic & ~unsaturated & different
    centre &= (x[:, _DEGREE] + hydrogens == 4) & (hydrogens < 2)
    molecule = np.repeat(np.arange(len(batch.ptr) - 1), np.diff(batch.ptr))
    chiral = np.bincount(molecule[centre], minlength=len(batch.ptr) - 1) > 0
    uneven = (hydrogens == 2) & (
        (kind == VINYL) | ((kind == ALIPHATIC) & (chiral[molecule] | (x[:, _RING] > 0)))
    )
    ring_bond = order == 1
    beyond = neighbours[source[ring_bond]]  # two bonds from the target
    here = target[ring_bond][:, None]
    meta = (beyond >= 0) & aromatic[beyond] & carbon[beyond] & (hydrogens[beyond] > 0)
    meta &= ranks[beyond] != ranks[here]
    special = uneven
    special[np.unique(target[ring_bond][meta.any(axis=1)])] = True
    return Coupling(
        sizes, hydrogens[leading], kind[leading], partners[leading], special[leading], beside[leading]
    )
