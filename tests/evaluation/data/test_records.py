"""The records that a benchmark makes."""

from __future__ import annotations

import pytest
from rdkit import Chem

from acml_search.evaluation.data.records import record_of

PARACETAMOL = "CC(=O)Nc1ccc(O)cc1"


def record(smiles, seed=0, molecule="RZVAJINKPMORJF"):
    return record_of("smiles", smiles, molecule, None, seed)


@pytest.mark.parametrize("smiles", [PARACETAMOL, "C[C@H](N)C(=O)O", "F/C=C/F", "CCN", "CC=O"])
@pytest.mark.parametrize("seed", range(5))
def test_another_spelling_of_the_same_molecule(smiles, seed) -> None:
    canonical = Chem.CanonSmiles(smiles)
    found = record(canonical, seed)
    assert found != canonical
    assert Chem.CanonSmiles(found) == canonical


def test_a_molecule_with_one_spelling_keeps_it() -> None:
    assert record("C") == "C"


def test_the_record_depends_on_seed_and_molecule_alone() -> None:
    assert record(PARACETAMOL) == record(PARACETAMOL)
    assert len({record(PARACETAMOL, seed) for seed in range(8)}) > 1
    assert len({record(PARACETAMOL, molecule=f"MOLECULE{i}") for i in range(8)}) > 1
