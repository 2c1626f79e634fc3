"""Errors of a node head: by hand, and through a model."""

from __future__ import annotations

import json

import numpy as np
import pytest

from acml_search.evaluation.data.structures import Query, Structure
from acml_search.evaluation.measures import shifts
from acml_search.evaluation.measures.shifts import (
    AtomShifts,
    measure_assigned,
    measure_shifts,
    predict,
    set_error,
)
from acml_search.evaluation.workers import Workers


def atoms(ppm, classes=None):
    number = np.arange(len(ppm))
    return AtomShifts(number, np.full(len(ppm), 6), np.array(classes or number), np.array(ppm, np.float64))


def test_set_error_by_hand() -> None:
    assert set_error(atoms([30.0, 10.0]), [11.0, 28.0]) == pytest.approx(1.5)


def test_equivalent_atoms_are_one_peak_at_their_mean() -> None:
    assert set_error(atoms([20.0, 22.0, 50.0], [1, 1, 2]), [21.5, 50.0, 50.001]) == pytest.approx(0.25)


def test_spectra_with_another_number_of_peaks_say_nothing() -> None:
    assert set_error(atoms([20.0, 50.0]), [20.0]) is None
    assert set_error(atoms([]), []) is None


def test_predictions_are_of_the_atoms_of_the_nucleus(two_spaces) -> None:
    with Workers(1, model=str(two_spaces)):
        found = predict(("c_nmr", ["CC(C)O", "not a molecule", "c1ccccc1"]))
    assert found[0].atoms.tolist() == [0, 1, 2]
    assert found[0].classes[0] == found[0].classes[2] != found[0].classes[1]
    assert found[0].ppm[0] == pytest.approx(found[0].ppm[2], abs=1e-3)
    assert found[1] is None
    assert (len(found[2].atoms), len(found[2].by_class())) == (6, 1)


def fake(monkeypatch, by_smiles):
    monkeypatch.setattr(shifts, "predict", lambda task: [by_smiles.get(text) for text in task[1]])


def test_errors_are_averaged_by_molecule(monkeypatch) -> None:
    fake(monkeypatch, {"C": atoms([10.0]), "CC": atoms([20.0]), "CCC": None})
    asked = [
        Query(i, Structure(smiles, smiles, "", 1.0), {"shifts": peaks}, None)
        for i, (smiles, peaks) in enumerate(
            [("C", [11.0]), ("C", [13.0]), ("CC", [24.0]), ("CC", [1.0, 2.0]), ("CCC", [1.0])]
        )
    ]
    with Workers(1) as workers:
        found = measure_shifts("c_nmr", [*asked, Query(9, None, {}, "unreadable")], workers)
    assert found["set_error"] == pytest.approx((2 + 4) / 2)  # 1 and 3 of methane, 4 of ethane
    assert (found["n_asked"], found["n_spectra"], found["n_molecules"]) == (6, 3, 2)


def test_assigned_errors_are_averaged_by_atom(monkeypatch) -> None:
    two = AtomShifts(np.array([0, 1]), np.array([6, 6, 8]), np.array([1, 2]), np.array([20.0, 60.0]))
    one = AtomShifts(np.array([0]), np.array([6, 8]), np.array([1]), np.array([50.0]))
    other = AtomShifts(np.array([1]), np.array([8, 6]), np.array([1]), np.array([50.0]))
    fake(monkeypatch, {"CCO": two, "CO": one, "CS": other})
    rows = [("CCO", [18.0, 61.0, None]), ("CO", [47.0, None]), ("CS", [1.0, None])]
    with Workers(1) as workers:
        found = measure_assigned("c_nmr", rows, workers)
    assert found["mean_absolute_error"] == pytest.approx((2 + 1 + 3) / 3)
    assert (found["n_atoms"], found["n_molecules"], found["n_left_out"]) == (3, 2, 1)


def test_a_suite_measures_them(done) -> None:
    folder, _, _ = done
    found = json.loads((folder / "results" / "carbon.peaks.json").read_text())
    assert found["set_error"] > 0
    # methylammonium is made methylamine, the same atoms in the same order
    assert (found["assigned"]["n_molecules"], found["assigned"]["n_atoms"]) == (2, 3)
    page = (folder / "results" / "suite.md").read_text()
    assert "| carbon set error | at most 0.001 |" in page
