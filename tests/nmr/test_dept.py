"""DEPT as chemists write it: which list is read, and what it says of each carbon of a 13C list."""

import contextlib
import time
from pathlib import Path
from typing import Any

import pytest
from nmr_files import ETHYL_ACETATE_C, jcamp_curve, spectrum

from acml_search.core.errors import ConfigError, InvalidRecord
from acml_search.modalities.base import Observation
from acml_search.nmr.assign import dept_peaks
from acml_search.nmr.dept import dept_peaks_of
from acml_search.nmr.parser import read_nmr_text
from acml_search.search.request import read_observations

ACETATE = "13C NMR (101 MHz, CDCl3) δ 170.1, 77.16, 60.2, 21.0, 14.2"
PARACETAMOL = "169.1, 153.2, 131.0, 121.2, 115.1, 23.9"
EITHER = "CH or CH3"


def observed(carbon: Any, **told: Any) -> Observation:
    (one,) = read_observations({"c_nmr": carbon, **told})
    return one


def classes(carbon: Any, **told: Any) -> list[str | None]:
    return list(observed(carbon, **told).record["multiplicity"])


@pytest.mark.parametrize(
    "dept135",
    [
        "-60.2, 21.0, 14.2",
        "21.0; 14.2; −60.2",
        "60.2 (-), 21.0 (+), 14.2 (+)",
        "60.2 (neg.), 21.0 (pos), 14.2 (pos)",
        "60.2 negative, 21.0 positive, 14.2 positive",
        "14.2 ppm (up), 21.0 ppm (up), 60.2 ppm (down)",
        "60.2 (↓), 21.0 (↑), 14.2 (↑)",
        "(-) 60.2, (+) 21.0, (+) 14.2",
        "60.2-, 21.0+, 14.2+",
        "60,2 (-); 21,0 (+); 14,2 (+)",
        "60.2 (CH2), 21.0, 14.2",
        "Up: 14.2, 21.0. Down: 60.2",
        "positive (CH, CH3): 14.2, 21.0; negative (CH2): 60.2",
        "CH/CH3 (up): 14.2, 21.0\nCH2 (down): 60.2",
        "positive signals at 14.2 and 21.0, negative signal at 60.2",
        "DEPT-135 (101 MHz, CDCl3): δ 60.2 (-), 21.0 (+), 14.2 (+)",
        "13C DEPT 135 NMR δ 60.2 (-), 21.0, 14.2",
        "13C NMR δ 170.1, 60.2, 21.0, 14.2. DEPT-135 δ 60.2 (-), 21.0, 14.2",
        "ppm\tintensity\n60.2\t-20.1\n21.0\t30\n14.2\t40",
        "60.2 -20.1\n21.0 30.5\n14.2 40.1",
        "60.2\tneg\n21.0\tpos\n14.2\tpos",
        "60.2,-\n21.0,+\n14.2,+",
        "-60.2\n21.0\n14.2",
        "60.35 (-), 20.95, 14.4",  # a few tenths off
        [14.2, 21.0, -60.2],
    ],
)
def test_dept_135_with_signs(dept135: Any) -> None:
    assert classes(ACETATE, dept135=dept135) == ["C", "CH2", EITHER, EITHER]


@pytest.mark.parametrize("dept135", ["CH3: 14.2, 21.0; CH2: 60.2; CH: none", "CH2 60.2; CH3 21.0, 14.2"])
def test_dept_135_with_classes(dept135: str) -> None:
    assert classes(ACETATE, dept135=dept135) == ["C", "CH2", "CH3", "CH3"]


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"dept135": "121.2, 115.1, 23.9"}, ["C", "C", "C", EITHER, EITHER, EITHER]),
        ({"dept135": "121.2, 115.1, 23.9", "dept90": "121.2, 115.1"}, ["C", "C", "C", "CH", "CH", "CH3"]),
        ({"dept90": "121.2, 115.1"}, [*["C or CH2 or CH3"] * 3, "CH", "CH", "C or CH2 or CH3"]),
    ],
)
def test_which_experiments_were_made(told: dict[str, str], expected: list[str]) -> None:
    assert classes(PARACETAMOL, **told) == expected
    shifts = [float(shift) for shift in PARACETAMOL.split(", ")]
    listed = {name: [float(shift) for shift in given.split(", ")] for name, given in told.items()}
    assert classes({"shifts": shifts}, **listed) == expected[::-1]  # a record, in ascending order


@pytest.mark.parametrize(
    ("carbon", "told", "expected", "note"),
    [
        (ACETATE, {"dept135": "-60.2, 21.0, 14.2, 33.3"}, None, "33.3 of dept135 is not in the 13C list"),
        (PARACETAMOL, {"dept135": "121.2, 115.1, 23.9"}, None, "no peak of dept135 is negative"),
        ("60.2 (CH3), 21.0, 14.2", {"dept135": "-60.2, 21.0"}, ["CH3", EITHER, "C"], "CH3 is used"),
        (
            "121.2, 23.9",
            {"dept135": "121.2, -23.9", "dept90": "121.2, 23.9"},
            ["CH", "CH2"],
            "dept135 is used",
        ),
        ("121.2, 60.2", {"dept135": "-60.2", "dept90": "121.2"}, ["CH", "CH2"], "it is taken for CH"),
    ],
)
def test_what_does_not_agree_is_said(
    carbon: str, told: dict[str, str], expected: list[str] | None, note: str
) -> None:
    one = observed(carbon, **told)
    assert expected is None or one.record["multiplicity"] == expected
    assert sum(note in said for said in one.notes) == 1


def test_peaks_that_dept_does_not_resolve_and_shifts_below_zero() -> None:
    assert classes("128.52, 128.48, 60.2, -1.2", dept135="128.5, -60.2, -1.2") == [
        EITHER,
        "C or CH or CH3",
        "CH2",
        EITHER,
    ]


@pytest.mark.parametrize(
    ("given", "error", "sentence"),
    [
        (
            {"c_nmr": ACETATE, "dept135": "161.1, 121.0"},
            InvalidRecord,
            "2 of the 2 peaks of dept135 are not in",
        ),
        ({"c_nmr": ACETATE, "dept135": "none"}, InvalidRecord, "dept135: no peak list"),
        ({"c_nmr": ACETATE, "dept90": [None]}, InvalidRecord, "dept90 is no list of shifts"),
        ({"h_nmr": "7.2, 3.1", "dept135": "60.2"}, ConfigError, "dept135 goes with c_nmr"),
    ],
)
def test_lists_that_cannot_be_used(given: dict[str, Any], error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        read_observations(given)


def test_lists_of_dept_in_the_text_of_13c() -> None:
    text = f"{PARACETAMOL}; DEPT-135: 121.2, 115.1, 23.9; DEPT-90: 121.2, 115.1"
    assert classes(text) == ["C", "C", "C", "CH", "CH", "CH3"]
    one = observed("170.1, 60.2, 21.0. DEPT-135: 99.1, 88.2")
    assert one.record["shifts"] == [170.1, 60.2, 21.0]
    assert any("the list of DEPT is not used" in note for note in one.notes)
    assert len(read_nmr_text("DEPT-135 (101 MHz, CDCl3) δ 60.2, 21.0", "c_nmr")) == 2


def test_a_file_with_signed_intensities(tmp_path: Path) -> None:
    path = tmp_path / "dept.jdx"
    rows = "60.2, -20\n21.0, 30\n14.2, 40"
    path.write_text(
        "##TITLE=d\n##JCAMP-DX=5.00\n##DATA TYPE=NMR PEAK TABLE\n##.OBSERVE NUCLEUS=^13C\n##XUNITS=PPM\n"
        f"##NPOINTS=3\n##PEAK TABLE=(XY..XY)\n{rows}\n##END=\n"
    )
    assert classes(ACETATE, dept135=path) == ["C", "CH2", EITHER, EITHER]


@pytest.mark.parametrize("unit", ["CH, ", "up, ", "60.4 (-)\n", "-60.4 ", "DEPT-135 (", "12.1 neg "])
def test_long_texts_take_little_time(unit: str) -> None:
    start = time.perf_counter()
    with contextlib.suppress(InvalidRecord):
        dept_peaks_of(unit * (40_000 // len(unit)), "dept135")
    assert time.perf_counter() - start < 5.0


def test_both_possibilities_are_compared() -> None:
    record = {"shifts": [60.2, 21.0], "multiplicity": ["CH2", EITHER]}
    assert dept_peaks([21.0, 60.2], record).attached.tolist() == [0b1010, 0b0100]


def test_a_spectrum_with_lines_below_the_baseline(tmp_path: Path) -> None:
    lines = [
        (shift, -height if shift > 50 else height, *more) for shift, height, *more in ETHYL_ACETATE_C[1:]
    ]
    curve = jcamp_curve(
        spectrum(lines, 220.0, -20.0, 100.6, 8192, 3.0), 220.0, -20.0, 100.6, **{".PULSE_SEQUENCE": "dept135"}
    )
    (tmp_path / "dept.jdx").write_text(curve)
    assert classes(ACETATE, dept135=tmp_path / "dept.jdx") == ["C", "CH2", EITHER, EITHER]
