"""Classes of molecules, and likeness to those of training."""

from __future__ import annotations

import pytest

from acml_search.chem.splits import INNER_ONE_IN, is_inner
from acml_search.evaluation.measures.classes import by_class, failures, nearest_training
from acml_search.evaluation.workers import Workers


def test_likeness_is_tanimoto_to_the_nearest() -> None:
    with Workers(1) as workers:
        found = nearest_training(["CCO", None, "c1ccccc1", "CCO"], ["CCO", "CCCCCC"], workers)
        assert found[0] == found[3] == 1.0
        assert found[1] is None
        assert found[2] == 0.0
        assert nearest_training(["CCO"], [], workers) == [0.0]


def rows():
    """Forty alcohols found first, forty chlorides found tenth, one of them not found at all."""
    made = []
    for i in range(40):
        chain = "C" * (i + 1)
        made.append({"smiles": f"{chain}O", "molecule": f"O{i}", "rank": 1, "nearest_training": 0.9})
        rank = None if i == 7 else 10
        made.append({"smiles": f"{chain}Cl", "molecule": f"L{i}", "rank": rank, "nearest_training": 1.0})
    return [*made, {"smiles": None, "molecule": None, "rank": None, "nearest_training": None}]


def test_recall_by_element_size_and_likeness() -> None:
    found = {one["class"]: one for one in by_class(rows())}
    assert found["C, H, N, O only"]["recall"] == {"1": 1.0, "10": 1.0}
    assert found["with Cl"]["recall"] == {"1": 0.0, "10": pytest.approx(39 / 40)}
    assert found["21 to 30 heavy atoms"]["n_molecules"] == 20
    assert found["Tanimoto 0.8 to 1 to the nearest training molecule"]["n_molecules"] == 80
    assert "with Br" not in found  # none
    assert "51 or more heavy atoms" not in found


def test_classes_clearly_below_the_rest_are_sentences() -> None:
    told = failures(by_class(rows()), 0.5, "c_nmr")
    assert told == ["c_nmr: with Cl: R@1 0.000 over 40 molecules, against 0.500 of all"]


def test_the_inner_part_is_one_molecule_in_fifty() -> None:
    blocks = [f"BLOCK{i:09d}" for i in range(2_000)]
    assert sum(map(is_inner, blocks)) == pytest.approx(2_000 / INNER_ONE_IN, abs=20)
