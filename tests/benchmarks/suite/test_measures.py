"""What only suites measure: classes of molecules, predicted shifts, batches."""

from __future__ import annotations

import json

import numpy as np
import pytest

from acml_search.encoders import card
from acml_search.encoders.checkpoint import load_model
from acml_search.evaluation.pool import Query, Structure
from acml_search.evaluation.workers import model_workers
from benchmarks.suite import measures
from benchmarks.suite.measures import (
    AtomShifts,
    Stereoisomers,
    by_class,
    failures,
    measure_shifts,
    nearest_training,
    predict,
    set_error,
    stereoisomer_ranks,
    within_batches,
)

UNIT = np.eye(8, dtype=np.float32)


def test_likeness_is_tanimoto_to_the_nearest() -> None:
    with model_workers(1) as workers:
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
    found = {one["value"]: one for one in by_class(rows())}
    usual, chlorides = found["C, H, N, O only"], found["with Cl"]
    assert (usual["recall_at_1"], usual["recall_at_10"]) == (1.0, 1.0)
    assert (chlorides["recall_at_1"], chlorides["recall_at_10"]) == (0.0, pytest.approx(39 / 40))
    assert found["21 to 30 heavy atoms"]["n_molecules"] == 20
    assert found["Tanimoto 0.8 to 1 to the nearest training molecule"]["n_molecules"] == 80
    assert "with Br" not in found  # none
    assert "51 or more heavy atoms" not in found


@pytest.mark.parametrize(("told", "ranks"), [(True, [(1, 2), (1, 3)]), (False, [(2, 2), (3, 3)])])
def test_a_molecule_among_its_stereoisomers_where_a_tie_is_a_miss(
    told: bool, ranks: list[tuple[float, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = card.read_card()
    spaces = {"smiles": dict(known.data["spaces"]["smiles"])}
    if not told:
        del spaces["smiles"]["configuration"]
    model = load_model(card._card({**known.data, "spaces": spaces}, known.directory), spaces={"smiles"})
    monkeypatch.setattr(measures.processes, "model", lambda: model)
    asked = ["C[C@H](N)C(=O)O", "O=C(O)[C@H](O)[C@@H](O)C(=O)O"]
    assert stereoisomer_ranks(Stereoisomers("smiles", asked)) == ranks


def test_classes_clearly_below_the_rest_are_sentences() -> None:
    told = failures(by_class(rows()), 0.5, "c_nmr")
    assert told == ["c_nmr: with Cl: R@1 0.000 over 40 molecules, against 0.500 of all"]


def atoms(ppm, classes=None):
    number = np.arange(len(ppm))
    return AtomShifts(number, np.array(classes or number), np.array(ppm, np.float64))


@pytest.mark.parametrize(
    ("predicted", "observed", "error"),
    [
        (atoms([30.0, 10.0]), [11.0, 28.0], 1.5),
        (atoms([20.0, 22.0, 50.0], [1, 1, 2]), [21.5, 50.0, 50.001], 0.25),  # equivalent atoms: their mean
        (atoms([20.0, 50.0]), [20.0], None),  # another number of peaks says nothing
        (atoms([]), [], None),
    ],
)
def test_set_error_by_hand(predicted, observed, error) -> None:
    assert set_error(predicted, observed) == (error and pytest.approx(error))


def test_predictions_are_of_the_atoms_of_the_nucleus(two_spaces) -> None:
    with model_workers(1, model=str(two_spaces)):
        found = predict(("c_nmr", ["CC(C)O", "not a molecule", "c1ccccc1"]))
    assert found[0].atoms.tolist() == [0, 1, 2]
    assert found[0].classes[0] == found[0].classes[2] != found[0].classes[1]
    assert found[0].ppm[0] == pytest.approx(found[0].ppm[2], abs=1e-3)
    assert found[1] is None
    assert (len(found[2].atoms), len(set(found[2].classes.tolist()))) == (6, 1)


def fake(monkeypatch, by_smiles):
    monkeypatch.setattr(measures, "predict", lambda task: [by_smiles.get(text) for text in task[1]])


def test_errors_are_averaged_by_molecule(monkeypatch) -> None:
    fake(monkeypatch, {"C": atoms([10.0]), "CC": atoms([20.0]), "CCC": None})
    asked = [
        Query(i, Structure(smiles, smiles, "", 1.0), {"shifts": peaks}, None)
        for i, (smiles, peaks) in enumerate(
            [("C", [11.0]), ("C", [13.0]), ("CC", [24.0]), ("CC", [1.0, 2.0]), ("CCC", [1.0])]
        )
    ]
    with model_workers(1) as workers:
        found = measure_shifts("c_nmr", [*asked, Query(9, None, {}, "unreadable")], workers)
    assert found["set_error"] == pytest.approx((2 + 4) / 2)  # 1 and 3 of methane, 4 of ethane
    assert (found["n_asked"], found["n_spectra"], found["n_molecules"]) == (6, 3, 2)


def test_a_suite_measures_them(done) -> None:
    folder, _, _ = done
    found = json.loads((folder / "results" / "carbon.peaks.json").read_text())
    assert found["set_error"] > 0
    page = (folder / "results" / "suite.md").read_text()
    assert "| carbon set error | at most 0.001 |" in page


def test_a_perfect_model_is_always_first() -> None:
    found = within_batches(UNIT, UNIT, range(8), batch=4, shuffles=3)
    assert found["to-molecule"] == {"top": {"1": 1.0, "5": 1.0}, "spread": {"1": 0.0, "5": 0.0}}
    assert found["to-record"] == found["to-molecule"]
    assert found["chance"] == {"1": 0.25, "5": 1.0}
    assert "not comparable" in found["note"]
    # records of one molecule never share a batch; the last, incomplete batch is left out
    twice = np.concatenate([UNIT, UNIT])
    found = within_batches(twice, twice, [*range(8), *range(8)], batch=8)
    assert (found["n_molecules"], found["to-molecule"]["top"]["1"]) == (8, 1.0)
    assert within_batches(UNIT, UNIT, range(8), batch=9) is None
    assert within_batches(UNIT, UNIT, range(8), batch=5, shuffles=1)["to-molecule"]["top"]["1"] == 1.0
    same = np.ones((8, 2), np.float32)
    found = within_batches(same, same, range(8), batch=4, ks=(1, 3, 4))
    assert found["to-molecule"]["top"] == {"1": 0.0, "3": 0.0, "4": 1.0}  # ties lose


def test_one_direction_may_be_easier() -> None:
    # every record is like molecule 0 most, and like its own second; every molecule likes its own record
    records = UNIT + 2 * UNIT[0]
    records[0] = UNIT[0]
    found = within_batches(records, UNIT, range(8), batch=8, ks=(1, 2))
    assert found["to-molecule"]["top"] == {"1": pytest.approx(1 / 8), "2": 1.0}
    # molecule 0 scores 1 with its record and 2 with all others; the others score 1 with theirs, 0 elsewhere
    assert found["to-record"]["top"]["1"] == pytest.approx(7 / 8)
