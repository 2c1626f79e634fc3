"""Molecule -> graph arrays: whole-molecule RDKit calls, no Python loop over atoms or bonds.

Every number depends on the molecule alone, not on the order of its atoms or on how its SMILES was
written; rows and edges follow the atom order, and everything downstream sums over them.

An atom's properties come through one C++ call, `GetConnectivityInvariants`, whose 32-bit codes stand for
(element, degree, charge, hydrogens, isotope, ring membership). RDKit's hash is used as a memo key only: the
first time a code is met, the atom itself is asked for its properties, so nothing learned depends on the hash.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdCIPLabeler, rdMolDescriptors, rdqueries

FEATURISER_VERSION = 1

# Columns of `MolGraph.x` and the number of values each can take.
ATOM_COLUMNS: dict[str, int] = {
    "element": 120,  # atomic number; 0 never occurs (dummy atoms are refused earlier)
    "degree": 9,  # heavy neighbours, 8 = 8 or more
    "charge": 9,  # formal charge + 4, clipped to -4..4
    "hydrogens": 6,  # attached hydrogens, 5 = 5 or more
    "isotope": 2,  # 1 = of a mass more than 1 Da off the mean: 2H and 14C, not 13C
    "ring": 10,  # size of the smallest ring through the atom, 0 = none, 9 = 9 or more
    "chirality": 5,  # none, R, S, r, s (CIP)
}
# Bond codes: 0 single, 1 aromatic, 2 double, 3 triple, 4 other, 5 double Z, 6 double E; + 7 when in a ring.
DOUBLE, RING = 2, 7
N_BOND_CODES = 2 * RING

_CIP_CODES = {"R": 1, "S": 2, "r": 3, "s": 4}
_CHIRAL = rdqueries.HasChiralTagQueryAtom()
_N_BASE = 5  # columns the connectivity invariant stands for; ring size and chirality are filled per molecule
_BASE_ROWS: list[tuple[int, ...]] = []  # row -> the first _N_BASE columns
_BASE_ROW_OF: dict[int, int] = {}  # RDKit's invariant -> row
_base_table = np.zeros((0, _N_BASE), np.uint8)
_GEOMETRY = {
    Chem.BondStereo.STEREOZ: 3,
    Chem.BondStereo.STEREOCIS: 3,
    Chem.BondStereo.STEREOE: 4,
    Chem.BondStereo.STEREOTRANS: 4,
}
_ORDER_CODE = np.full(32, 4, np.uint8)  # 2 x bond order -> bond code
_ORDER_CODE[[2, 3, 4, 6]] = [0, 1, 2, 3]


class MolGraph(NamedTuple):
    """One molecule with n heavy atoms and m directed edges (each bond twice), in torch_geometric's words."""

    x: np.ndarray
    """(n, 7) uint8, the columns of `ATOM_COLUMNS`"""
    edge_index: np.ndarray
    """(2, m) int32, source and target atom, ordered by target"""
    edge_attr: np.ndarray
    """(m,) uint8, bond code of each edge"""
    configuration: np.ndarray | None = None
    """what `chem.configuration` gives, where a model compares it; no network reads it"""


class GraphBatch(NamedTuple):
    """Several molecules as one disconnected graph: b molecules, N atoms, M edges."""

    x: np.ndarray
    """(N, 7) uint8"""
    edge_index: np.ndarray
    """(2, M) int64, source and target atom, ordered by target"""
    edge_attr: np.ndarray
    """(M,) int64"""
    ptr: np.ndarray
    """(b + 1,) int64, first atom of each molecule, then N"""


def featurise(mol: Chem.Mol, *, stereo: bool = True) -> MolGraph:
    """Graph arrays of a sanitised molecule without explicit hydrogens; not `stereo`: as if drawn flat."""
    codes = rdMolDescriptors.GetConnectivityInvariants(mol)
    n = len(codes)
    atoms = np.zeros((n, len(ATOM_COLUMNS)), np.uint8)
    try:
        rows = [_BASE_ROW_OF[c] for c in codes]
    except KeyError:
        _learn(mol, codes)
        rows = [_BASE_ROW_OF[c] for c in codes]
    atoms[:, :_N_BASE] = _base_table[rows]

    order = Chem.GetAdjacencyMatrix(mol, useBO=True)
    # The matrix is symmetric, so row-major order is the order by target when rows are read as targets.
    target, source = order.nonzero()
    bonds = _ORDER_CODE[(order[target, source] * 2).astype(np.intp)]
    rings = mol.GetRingInfo().AtomRings()
    if rings:
        smallest = [0] * n
        pairs: list[int] = []  # ring bonds as flat positions of the n x n matrix
        for ring in rings:
            size = min(len(ring), 9)
            before = ring[-1]
            for atom in ring:
                if not 0 < smallest[atom] <= size:
                    smallest[atom] = size
                pairs += (before * n + atom, atom * n + before)
                before = atom
        atoms[:, 5] = smallest
        in_ring = np.zeros(n * n, np.uint8)
        in_ring[pairs] = RING
        bonds += in_ring[target * n + source]
    if not stereo:
        return MolGraph(atoms, np.array([source, target], np.int32), bonds)
    chiral = mol.GetAtomsMatchingQuery(_CHIRAL)
    if len(chiral):
        rdCIPLabeler.AssignCIPLabels(mol)
        for atom in chiral:
            if atom.HasProp("_CIPCode"):
                atoms[atom.GetIdx(), 6] = _CIP_CODES.get(atom.GetProp("_CIPCode"), 0)
    _add_geometry(mol, atoms[:, 1], target, source, bonds)
    return MolGraph(atoms, np.array([source, target], np.int32), bonds)


def flatten(graph: MolGraph) -> MolGraph:
    """The graph without configuration: what `featurise(mol, stereo=False)` gives."""
    x = graph.x.copy()
    x[:, 6] = 0
    return MolGraph(x, graph.edge_index, flat_bonds(graph.edge_attr))


def flat_bonds(bonds: np.ndarray) -> np.ndarray:
    """Bond codes (m,) without the configuration of double bonds."""
    code = bonds % RING
    return np.where(code > 4, bonds - code + DOUBLE, bonds)


def _add_geometry(
    mol: Chem.Mol, degree: np.ndarray, target: np.ndarray, source: np.ndarray, bonds: np.ndarray
) -> None:
    """Write E and Z into the codes of the double bonds that have them, in place."""
    # Both ends need a substituent: this leaves out the C=O that fill most molecules before RDKit is asked.
    double = (bonds % RING == DOUBLE) & (degree[source] > 1) & (degree[target] > 1)
    for edge in double.nonzero()[0]:
        stereo = mol.GetBondBetweenAtoms(int(source[edge]), int(target[edge])).GetStereo()
        bonds[edge] += _GEOMETRY.get(stereo, 0)


def _learn(mol: Chem.Mol, codes: Sequence[int]) -> None:
    """Enter the atoms whose invariants are new into the memo."""
    global _base_table
    table = Chem.GetPeriodicTable()
    for atom, code in zip(mol.GetAtoms(), codes, strict=True):
        if code in _BASE_ROW_OF:
            continue
        row = (
            atom.GetAtomicNum(),
            min(atom.GetDegree(), 8),
            min(max(atom.GetFormalCharge(), -4), 4) + 4,
            min(atom.GetTotalNumHs(), 5),
            # as the invariant has it, or the first atom met would decide for 12C and 13C alike
            int(int(atom.GetMass() - table.GetAtomicWeight(atom.GetAtomicNum())) != 0),
        )
        _BASE_ROW_OF[code] = len(_BASE_ROWS)
        _BASE_ROWS.append(row)
    _base_table = np.array(_BASE_ROWS, np.uint8)


def collate(graphs: Sequence[MolGraph]) -> GraphBatch:
    """Join graphs into one batch; atoms and edges keep their order, molecule by molecule."""
    ptr = np.zeros(len(graphs) + 1, np.int64)
    np.cumsum([len(g.x) for g in graphs], out=ptr[1:])
    n_edges = np.array([len(g.edge_attr) for g in graphs], np.int64)
    edge_index = np.concatenate([g.edge_index for g in graphs], axis=1).astype(np.int64)
    edge_index += np.repeat(ptr[:-1], n_edges)
    return GraphBatch(
        x=np.concatenate([g.x for g in graphs]),
        edge_index=edge_index,
        edge_attr=np.concatenate([g.edge_attr for g in graphs]).astype(np.int64),
        ptr=ptr,
    )
