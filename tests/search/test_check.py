"""`check`: what it says of structures that fit, that do not, and of others beside them."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

import acml_search
from acml_search.core.errors import ConfigError, InvalidMolecule
from acml_search.search.check import FEATURES, among_others, fitted

VANILLIN, ISOVANILLIN = "COc1cc(C=O)ccc1O", "COc1ccc(C=O)cc1O"
CARBON = "13C NMR (101 MHz, CDCl3) δ 191.1, 151.9, 147.3, 129.9, 127.6, 114.5, 108.9, 56.2"
PROTON = (
    "1H NMR (400 MHz, CDCl3) δ 9.83 (s, 1H), 7.43 (m, 2H), 7.05 (d, J = 8.5 Hz, 1H), 6.20 (s, 1H), "
    "3.97 (s, 3H)"
)


def test_a_structure_that_fits() -> None:
    answer = acml_search.check(VANILLIN, c_nmr=CARBON, h_nmr=PROTON)
    fit = answer.structure
    assert fit.probability > 0.9
    assert fit.share == 1.0
    assert fit.among_others is None
    assert set(fit.by_modality) == {"c_nmr", "h_nmr"}
    assert {one.label for one in fit.evidence["h_nmr"].matched if one.observed == 6.2} == {"OH, NH or SH"}
    assert all(one.what == "shift" for one in fit.misfits())


@pytest.mark.parametrize(
    "spectra", [{"c_nmr": CARBON}, {"h_nmr": PROTON}, {"c_nmr": CARBON, "h_nmr": PROTON}]
)
def test_a_wrong_structure_is_less_probable_and_its_share_goes_to_the_right_one(spectra) -> None:
    answer = acml_search.check("COC(=O)c1ccccc1O", alternatives=[VANILLIN], **spectra)
    (right,) = answer.others
    assert answer.better == [right]
    assert right.probability > 0.8 > answer.structure.probability
    assert answer.structure.probability < (0.3 if "c_nmr" in spectra else 0.75)
    assert right.share + answer.structure.share == pytest.approx(1.0)
    assert right.share > 0.95
    assert {"shift", "unexplained", "missing"} & {one.what for one in answer.structure.misfits()}


def test_an_isomer_that_fits_as_well_takes_half() -> None:
    alone, far = np.array([5.0, 5.0]), np.array([-50.0, -1e4])
    assert among_others(alone, np.zeros(2)) == pytest.approx(1 / (2 + np.exp(-5.0)))
    assert among_others(alone, far) == pytest.approx([1 / (1 + np.exp(-5.0)), 0.0])
    answer = acml_search.check(VANILLIN, c_nmr=CARBON, isomers=True)
    assert answer.structure.among_others < answer.structure.probability


def test_isomers_are_compared_and_named() -> None:
    answer = acml_search.check("COc1cc(O)cc(C=O)c1", c_nmr=CARBON, isomers=True, alternatives=[VANILLIN])
    assert {one.source for one in answer.others} == {"alternative", "isomer"}
    assert [one.smiles for one in answer.others].count(VANILLIN) == 1
    assert {VANILLIN, ISOVANILLIN} <= {one.smiles for one in answer.better}
    assert sum(one.share for one in (answer.structure, *answer.others)) == pytest.approx(1.0)
    assert any("positional isomers" in note for note in answer.notes)
    few = acml_search.check("COc1cc(O)cc(C=O)c1", c_nmr=CARBON, isomers=2)
    assert len(few.others) == 2
    assert any("the first 2 are compared" in note for note in few.notes)


def test_hydrogens_that_do_not_agree_are_misfits() -> None:
    shifts, dept = [191.1, 151.9, 147.3, 129.9, 127.6, 114.5, 108.9, 56.2], [191.1, 127.6, 114.5, 108.9, 56.2]
    fits = acml_search.check(VANILLIN, c_nmr=shifts, dept135=dept)
    assert not [one for one in fits.structure.misfits() if one.what == "hydrogens"]
    wrong = acml_search.check(VANILLIN, c_nmr=shifts, dept135=[*dept[:-1], -56.2])
    (misfit,) = [one for one in wrong.structure.misfits() if one.what == "hydrogens"]
    assert (misfit.atoms, misfit.said) == ([0], "CH2 observed, CH3 here")
    assert wrong.structure.probability < fits.structure.probability


def test_two_protons_of_a_ch2_may_be_two_signals() -> None:
    line = (
        "1H NMR (400 MHz, D2O) δ 7.30 (m, 5H), 3.95 (dd, J = 8.0, 5.2 Hz, 1H), "
        "3.25 (dd, J = 14.5, 5.2 Hz, 1H), 3.08 (dd, J = 14.5, 8.0 Hz, 1H)"
    )
    fit = acml_search.check("N[C@@H](Cc1ccccc1)C(=O)O", h_nmr=line).structure
    assert [match.label for match in fit.evidence["h_nmr"].matched if match.observed < 3.5] == [None, None]


def test_a_count_of_hydrogens_that_cannot_be_is_said() -> None:
    notes = acml_search.check("COc1ccccc1", h_nmr=PROTON.replace("3.97 (s, 3H)", "3.97 (s, 9H)")).notes
    assert any("the signals count 14 hydrogens, the structure has 8" in note for note in notes)


@pytest.mark.parametrize(
    ("error", "message", "arguments"),
    [
        (ConfigError, "no observation", {}),
        (ConfigError, "two|2 spectra of c_nmr", {"c_nmr": [CARBON, CARBON]}),
        (ConfigError, "not lc_ms", {"lc_ms": {"mzs": [50.0], "intensities": [1.0]}}),
        (InvalidMolecule, "CCX", {"c_nmr": CARBON, "alternatives": ["CCX"]}),
    ],
)
def test_what_cannot_be_checked(error, message, arguments) -> None:
    with pytest.raises(error, match=message):
        acml_search.check(VANILLIN, **arguments)


def test_the_answer_in_text_and_json() -> None:
    answer = acml_search.check(VANILLIN, c_nmr=CARBON, h_nmr=PROTON, alternatives=[ISOVANILLIN])
    document = json.loads(json.dumps(answer.to_dict(), allow_nan=False))
    assert {"probability", "among_others", "share", "evidence", "misfits", "alternatives", "better"} <= set(
        document
    )
    assert document["alternatives"][0]["smiles"] == ISOVANILLIN
    assert all(match["expected_error"] > 0 for match in document["evidence"]["c_nmr"]["matched"])
    text = str(answer)
    assert f"probability {answer.structure.probability:.3f}" in text
    assert "0 of 1 other structures fit better" in text
    assert "/ expected" in text


def test_the_numbers_are_those_of_the_features() -> None:
    for numbers in fitted()["spectra"].values():
        assert tuple(numbers["weights"]) == FEATURES
        misfits = [numbers["weights"][name] for name in FEATURES if name != "peaks"]
        assert np.max(misfits) <= 0  # no misfit speaks for a structure


def test_no_torch_is_needed() -> None:
    code = (
        f"import sys, acml_search; acml_search.check({VANILLIN!r}, c_nmr={CARBON!r}, isomers=True)\n"
        "print(*sorted({'torch', 'faiss', 'duckdb', 'pyarrow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
