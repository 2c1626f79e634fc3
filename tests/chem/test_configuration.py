"""The vector that tells stereoisomers apart."""

from __future__ import annotations

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem.EnumerateStereoisomers import EnumerateStereoisomers

from acml_search.chem.configuration import LENGTH, as_query, joined, of_smiles

ALANINE, MIRROR = "C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O"
SEVERAL = (
    "OC(=O)C(O)C(O)C(=O)O",  # meso
    "OCC1OC(O)C(O)C(O)C1O",
    "CC1CCC(C)CC1",  # pseudo-asymmetric
    "CC=CC(C)C=CC",
    "OC1CC2CCC1C2",
    "CC(O)CCC(O)C",
)


def stated(smiles: str) -> np.ndarray:
    vector = of_smiles(smiles)
    assert vector is not None
    return vector


@pytest.mark.parametrize("flat", SEVERAL)
def test_stereoisomers_differ_and_spellings_do_not(flat: str) -> None:
    found = {}
    for mol in EnumerateStereoisomers(Chem.MolFromSmiles(flat)):
        smiles = Chem.MolToSmiles(mol)
        if (vector := of_smiles(smiles)) is None:
            continue
        found[smiles] = vector
        assert vector.shape == (LENGTH,)
        assert np.linalg.norm(vector) == pytest.approx(1)
        for text in Chem.MolToRandomSmilesVect(Chem.MolFromSmiles(smiles), 5, randomSeed=3):
            assert np.array_equal(of_smiles(text), vector), text
    vectors = np.array(list(found.values()))
    cosines = vectors @ vectors.T - 2 * np.eye(len(vectors))
    assert len(vectors) < 2 or cosines.max() < 0.95


def test_a_mirror_image_is_far_and_one_centre_of_several_is_felt() -> None:
    a = stated(ALANINE)
    assert a @ stated(MIRROR) < -0.2
    assert np.array_equal(of_smiles(f"{ALANINE}.Cl"), a)  # as a library stores it
    assert of_smiles("CC(N)C(=O)O") is None
    assert of_smiles("C[C@H](N)C(=O)O)") is None
    anomers = ("OC[C@H]1O[C@@H](O)[C@H](O)[C@@H](O)[C@@H]1O", "OC[C@H]1O[C@H](O)[C@H](O)[C@@H](O)[C@@H]1O")
    assert 0 < stated(anomers[0]) @ stated(anomers[1]) < 0.8


def test_what_is_asked_scores_one_at_best_and_what_is_not_stated_lies_between() -> None:
    learned = np.array([[0.6, 0.8]] * 3, np.float32)
    stored = joined(learned, [of_smiles(ALANINE), None, of_smiles(MIRROR)], 0.02)
    scores = as_query(stored, 0.02) @ stored.T
    assert np.diag(scores) == pytest.approx([1, 1, 1])
    assert scores[0, 0] > scores[0, 1] + 0.01 > scores[0, 2] + 0.02
    assert scores[1] == pytest.approx([1, 1, 1])  # a flat query ties with all
    assert joined(learned[:0], [], 0.02).shape == (0, 2 + LENGTH)
