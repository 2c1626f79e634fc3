"""The SMILES reader: the grammar by hand cases, and RDKit as the oracle for who is bonded to whom."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from molecules import MOLECULES
from rdkit import Chem

from acml_search import modalities
from acml_search.core.errors import InvalidRecord

SMILES = modalities.get("smiles")


def test_branches_and_closures_by_hand() -> None:
    graph = SMILES.read("C(=O)(N)C1CC1")
    linked = sorted(
        (int(s), int(t), int(b)) for s, t, b in zip(*graph.edge_index, graph.edge_attr, strict=True) if s < t
    )
    assert linked == [(0, 1, 2), (0, 2, 0), (0, 3, 0), (3, 4, 0), (3, 5, 7), (4, 5, 0)]


def test_bracket_atoms_are_read_as_written() -> None:
    #                          element, aromatic, bracket, hydrogens, charge + 4, isotope, chirality
    assert SMILES.read("[NH4+]").x.tolist() == [[7, 0, 1, 4, 5, 0, 0]]
    assert SMILES.read("[13C@@H](F)(Cl)Br").x[0].tolist() == [6, 0, 1, 1, 4, 1, 0]
    assert SMILES.read("[C@@H](F)(Cl)Br").x[0].tolist() == [6, 0, 0, 0, 4, 0, 0]
    assert SMILES.read("c1cc[nH]c1").x[3].tolist() == [7, 1, 1, 1, 4, 0, 0]
    assert SMILES.read("[O-2:3]").x[0].tolist() == [8, 0, 1, 0, 2, 0, 0]


@pytest.mark.parametrize("smiles", MOLECULES)
def test_configuration_is_no_part_of_the_symbols(smiles: str) -> None:
    mol = Chem.MolFromSmiles(smiles)
    text = Chem.MolToSmiles(mol, canonical=False)
    Chem.RemoveStereochemistry(mol)
    flat = Chem.MolToSmiles(mol, canonical=False)
    for a, b in zip(SMILES.read(text)[:3], SMILES.read(flat)[:3], strict=True):
        assert np.array_equal(a, b)


def test_dative_bonds_as_rdkit_writes_them() -> None:
    graph = SMILES.read("C[N]1(C)->[Fe]<-N1")
    linked = {(int(s), int(t)): int(b) for s, t, b in zip(*graph.edge_index, graph.edge_attr, strict=True)}
    assert (linked[1, 3], linked[3, 4], linked[1, 4]) == (6, 6, 7)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("C1CC", "left open"),
        ("C(C", "left open"),
        ("C)C", "not opened"),
        ("1CC", "before any atom"),
        ("C€C", "position 2"),
        ("[Xx]", "not an element"),
        ("[C", "position 1"),
        ("()", "no atom"),
        ("C" * 2000, "more than 1000"),
    ],
)
def test_broken_grammar_is_named(text: str, words: str) -> None:
    with pytest.raises(InvalidRecord, match=words):
        SMILES.read(text)


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(MOLECULES), st.integers(1, 10_000))
def test_links_are_the_bonds_rdkit_reads(smiles: str, seed: int) -> None:
    text = Chem.MolToRandomSmilesVect(Chem.MolFromSmiles(smiles), 1, randomSeed=seed)[0]
    graph = SMILES.read(text)
    # Unsanitised, RDKit keeps the atoms in the order they are written, as the reader does.
    mol = Chem.MolFromSmiles(text, sanitize=False)
    bonds = {frozenset((b.GetBeginAtomIdx(), b.GetEndAtomIdx())) for b in mol.GetBonds()}
    assert {frozenset(pair) for pair in graph.edge_index.T.tolist()} == bonds
    assert graph.x[:, 0].tolist() == [atom.GetAtomicNum() for atom in mol.GetAtoms()]


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        graph = SMILES.read(text)
    except InvalidRecord:
        return
    assert len(graph.x) >= 1


def test_candidates_are_compared_with_the_structure_itself() -> None:
    chosen = SMILES.reranker()
    mols = [Chem.MolFromSmiles(one) for one in ("CCCCCO", "CCCCCCO", "CCCCCN")]
    observed = chosen.observed(None, "Cl.OCCCCC")
    same, longer, amine = chosen.evidence(None, observed, mols)
    assert same.score == 1.0
    assert 0 < amine.score < longer.score < 1
    assert longer.to_dict()["said"].endswith(f"{longer.score:.2f}")
    assert not chosen.scores(None, "C(C)(C)(C)(C)C", chosen.prepare(None, mols)).any()


def test_stereoisomers_are_told_apart_in_re_ranking() -> None:
    chosen = SMILES.reranker()
    mols = [Chem.MolFromSmiles(one) for one in ("C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O", "CC(N)C(=O)O")]
    same, mirror, flat = chosen.scores(None, "N[C@@H](C)C(=O)O", chosen.prepare(None, mols))
    assert same > flat > mirror
    assert len(set(chosen.scores(None, "CC(N)C(=O)O", chosen.prepare(None, mols)))) == 1
