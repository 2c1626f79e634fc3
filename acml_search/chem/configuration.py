"""Configuration as a short vector: what tells stereoisomers of one constitution apart. Nothing is learned.

Each atom and double bond whose configuration is stated, with its CIP label (Prelog and Helmchen, Angew. Chem.
Int. Ed. 1982, 21, 567, as RDKit's `rdCIPLabeler` gives it), adds two pseudo-random vectors of signs: one for
its place in the constitution, turned round by the opposite label, and one for its place among other labels.
So a mirror image points away, one inverted centre of many is felt, and what is stated in part is near to
what agrees with it. Places are named by hashes of their surroundings (refined as by Weisfeiler and Leman),
whatever the order of the atoms. NumPy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt
from rdkit import Chem
from rdkit.Chem import rdCIPLabeler, rdqueries

from acml_search.chem.graph import DOUBLE, RING, MolGraph, featurise
from acml_search.chem.molecule import parse
from acml_search.core.errors import InvalidMolecule
from acml_search.core.typing import Float32s

LENGTH = 32
_INVARIANTS = 5
"""columns of a graph's atoms that name them: all but rings and configuration"""
_ROUNDS = 6
"""bonds that surroundings reach, and those of labels again"""
_ITERATIONS = 50_000
"""comparisons that labels may take, a tenth of a second: cages take billions, and stay without"""
_POSITIVE = "REre"
_CHIRAL = rdqueries.HasChiralTagQueryAtom()
_SHIFT, _FACTOR = np.uint64(31), np.uint64(0xBF58476D1CE4E5B9)
Hashes = npt.NDArray[np.uint64]


def configuration(mol: Chem.Mol, graph: MolGraph) -> Float32s | None:
    """(LENGTH,) float32 of unit length; None where no configuration is stated.

    graph: the molecule's by `graph.featurise`, not `stereo`.
    """
    chiral = list(mol.GetAtomsMatchingQuery(_CHIRAL))
    double = [
        bond
        for a, b in graph.edge_index[:, graph.edge_attr % RING == DOUBLE].T.tolist()
        if a < b and graph.x[a, 1] > 1 < graph.x[b, 1]
        if (bond := mol.GetBondBetweenAtoms(a, b)).GetStereo() > Chem.BondStereo.STEREOANY
    ]
    if not chiral and not double:
        return None
    for atom in chiral:
        atom.ClearProp("_CIPCode")  # of RDKit's older rules
    try:
        both = [one.GetIdx() for one in chiral], [one.GetIdx() for one in double]
        rdCIPLabeler.AssignCIPLabels(mol, *both, _ITERATIONS)
    except RuntimeError:
        return None
    labelled = [one for one in (*chiral, *double) if one.HasProp("_CIPCode")]
    if not labelled:
        return None
    at = [
        (one.GetIdx(),) * 2 if isinstance(one, Chem.Atom) else (one.GetBeginAtomIdx(), one.GetEndAtomIdx())
        for one in labelled
    ]
    ends, labels = np.array(at), [str(one.GetProp("_CIPCode")) for one in labelled]
    codes = _mixed(np.array([ord(label) for label in labels], np.uint64))
    linked = np.zeros((len(graph.x), len(graph.x)), np.uint64)
    linked[graph.edge_index[1], graph.edge_index[0]] = _random(32)[graph.edge_attr]
    places = _refined(graph.x[:, :_INVARIANTS] @ _random(_INVARIANTS), linked)
    among = places.copy()
    np.add.at(among, ends, codes[:, None])
    among = _refined(among, linked)
    turned = np.array([1 if label in _POSITIVE else -1 for label in labels])
    total = turned @ _signs(places[ends].sum(axis=1)) + _signs(among[ends].sum(axis=1) + codes).sum(axis=0)
    length = float(np.linalg.norm(total))  # of whole numbers: the order of the atoms cannot matter
    return (total / length).astype(np.float32) if length else None


def of_smiles(text: str) -> Float32s | None:
    """`configuration` of the molecule as a library stores it; None too where it cannot be read."""
    if not any(mark in text for mark in "@/\\"):
        return None
    try:
        mol = parse(text)[0]
    except InvalidMolecule:
        return None
    return configuration(mol, featurise(mol, stereo=False))


def _refined(hashes: Hashes, linked: Hashes) -> Hashes:
    """(n,) of each atom and what lies around it; linked: (n, n), what a neighbour's hash is multiplied by."""
    for _ in range(_ROUNDS):
        hashes = hashes + linked @ hashes
        hashes ^= hashes >> _SHIFT
        hashes *= _FACTOR
    return hashes


def _mixed(x: Hashes) -> Hashes:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    x = (x ^ (x >> np.uint64(30))) * _FACTOR
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> _SHIFT)


@cache
def _random(n: int) -> Hashes:
    """(n,) odd numbers."""
    return _mixed(np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)) | np.uint64(1)


def _signs(hashes: Hashes) -> npt.NDArray[np.int64]:
    """(k, LENGTH) of 1 and -1."""
    bits = np.unpackbits(_mixed(hashes)[:, None].astype("<u8").view(np.uint8), axis=1)
    return 2 * bits[:, :LENGTH].astype(np.int64) - 1


def joined(learned: Float32s, stated: Sequence[Float32s | None], weight: float) -> Float32s:
    """(n, D + LENGTH) float32: learned unit vectors (n, D), and configurations, whose share of the best score
    is `weight`. Where none is stated that part is 0: a flat query ties with all stereoisomers.
    """
    rest = np.zeros((len(stated), LENGTH), np.float32)
    for row, one in zip(rest, stated, strict=True):
        row += 0 if one is None else one
    return np.hstack([learned, np.sqrt(weight / (1 - weight)) * rest], dtype=np.float32)


def as_query(vectors: Float32s, weight: float) -> Float32s:
    """Vectors of `joined` (n, D + LENGTH) so scaled that the best score is 1; of the mean of several, the
    learned part has been brought to unit length."""
    rest = np.linalg.norm(vectors[:, -LENGTH:], axis=1, keepdims=True)
    return np.asarray(vectors / (1 + np.sqrt(weight / (1 - weight)) * rest), np.float32)
