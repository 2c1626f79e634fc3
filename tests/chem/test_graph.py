"""Graph arrays: what they say, and that they depend on the molecule alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from molecules import MOLECULES
from rdkit import Chem

from acml_search.chem.graph import ATOM_COLUMNS, N_BOND_CODES, MolGraph, collate, featurise, flatten
from acml_search.chem.molecule import parse


def graph_of(smiles: str) -> MolGraph:
    return featurise(parse(smiles)[0])


def sorted_rows(graph: MolGraph) -> tuple[list[list[int]], list[list[int]]]:
    """An order-free view: atoms as a multiset, edges as (atom, atom, bond) triples of atom rows."""
    atoms = graph.x.tolist()
    edges = [
        [*atoms[s], *atoms[t], int(b)]
        for s, t, b in zip(*graph.edge_index.tolist(), graph.edge_attr.tolist(), strict=True)
    ]
    return sorted(atoms), sorted(edges)


def test_ethanol_by_hand() -> None:
    graph = graph_of("CCO")
    #                             element, degree, charge + 4, hydrogens, isotope, ring, chirality
    assert graph.x.tolist() == [[6, 1, 4, 3, 0, 0, 0], [6, 2, 4, 2, 0, 0, 0], [8, 1, 4, 1, 0, 0, 0]]
    assert graph.edge_index.tolist() == [[1, 0, 2, 1], [0, 1, 1, 2]]
    assert graph.edge_attr.tolist() == [0, 0, 0, 0]
    assert graph.x.dtype == np.uint8


@pytest.mark.parametrize(
    ("smiles", "code"), [("CC", 0), ("C=C", 2), ("C#C", 3), ("F/C=C\\F", 5), ("F/C=C/F", 6), ("c1ccccc1", 8)]
)
def test_bond_codes(smiles: str, code: int) -> None:
    assert code in graph_of(smiles).edge_attr


def test_smallest_ring_wins_in_fused_rings() -> None:
    bicycle = graph_of("C1CC2CC12")  # a cyclopropane fused to a cyclobutane
    assert sorted(bicycle.x[:, 5].tolist()) == [3, 3, 3, 4, 4]


def test_single_atom_has_no_edges() -> None:
    graph = graph_of("C")
    assert graph.edge_index.shape == (2, 0)
    assert graph.edge_attr.shape == (0,)


def test_enantiomers_differ_and_so_do_ring_cis_trans() -> None:
    for a, b in (("C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O"), ("C[C@H]1CC[C@@H](C)CC1", "C[C@H]1CC[C@H](C)CC1")):
        assert sorted_rows(graph_of(a)) != sorted_rows(graph_of(b))


@pytest.mark.parametrize("smiles", MOLECULES)
def test_without_stereo_a_molecule_is_as_if_drawn_flat(smiles: str) -> None:
    mol = parse(smiles)[0]
    flat = Chem.Mol(mol)
    Chem.RemoveStereochemistry(flat)
    ours = featurise(mol, stereo=False)
    for other in (featurise(flat), flatten(featurise(mol))):
        for a, b in zip(ours[:3], other[:3], strict=True):
            assert a.dtype == b.dtype
            assert np.array_equal(a, b)


@pytest.mark.parametrize("smiles", MOLECULES)
def test_codes_stay_in_their_columns(smiles: str) -> None:
    graph = graph_of(smiles)
    assert (graph.x < np.array(list(ATOM_COLUMNS.values()))).all()
    assert (graph.edge_attr < N_BOND_CODES).all()
    assert (np.diff(graph.edge_index[1]) >= 0).all()


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(MOLECULES), st.integers(1, 10_000))
def test_any_way_to_write_a_molecule_gives_the_same_graph(smiles: str, seed: int) -> None:
    other = Chem.MolToRandomSmilesVect(Chem.MolFromSmiles(smiles), 1, randomSeed=seed)[0]
    assert sorted_rows(graph_of(other)) == sorted_rows(graph_of(smiles))


def test_collate_shifts_edges_and_keeps_graphs() -> None:
    parts = [graph_of(s) for s in ("CCO", "C", "c1ccccc1")]
    batch = collate(parts)
    assert batch.ptr.tolist() == [0, 3, 4, 10]
    assert len(batch.x) == 10
    for i, part in enumerate(parts):
        inside = (batch.edge_index[1] >= batch.ptr[i]) & (batch.edge_index[1] < batch.ptr[i + 1])
        assert (batch.edge_index[:, inside] - batch.ptr[i] == part.edge_index).all()
        assert (batch.edge_attr[inside] == part.edge_attr).all()


def test_what_was_met_before_does_not_show() -> None:
    """RDKit's invariants, by which atoms are remembered, do not tell 13C from 12C."""
    featurise(Chem.MolFromSmiles("[13CH3]Oc1cc[15nH]c1"))
    for smiles in ("COc1cc[nH]c1", "[13CH3]Oc1cc[15nH]c1"):
        assert not featurise(Chem.MolFromSmiles(smiles)).x[:, 4].any()
    assert featurise(Chem.MolFromSmiles("[2H]C")).x[:, 4].tolist() == [1, 0]
