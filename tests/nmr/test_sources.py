"""Tables of peaks and files: the right shifts, or a refusal; lists of shifts stay lists."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from acml_search.core.errors import InvalidRecord
from acml_search.nmr.sources import nmr_peaks
from acml_search.nmr.tables import peaks_of_table

CASES = Path(__file__).parent.parent / "cases" / "nmr"
ANISATE_H = [(7.85, 2, "d", (8.42,)), (6.90, 2, "d", (8.42,)), (3.81, 3, "s", ()), (1.52, 2, "m", ())]
ANISATE_C = [166.9, 131.5, 122.6, 55.4]


def shifts(text: str) -> list[float]:
    peaks = peaks_of_table(text, "c_nmr")
    assert peaks is not None
    return [peak.position for peak in peaks]


@pytest.mark.parametrize(
    "name",
    [
        "mestrenova_multiplets.txt",
        "mestrenova_multiplets.csv",
        "acd_multiplets.txt",
        "topspin_multiplets.txt",
    ],
)
def test_tables_of_multiplets(name: str) -> None:
    peaks = nmr_peaks(str(CASES / name), "h_nmr")
    assert [(peak.position, peak.count, peak.multiplicity, peak.couplings) for peak in peaks] == ANISATE_H
    with pytest.raises(InvalidRecord, match=r"its table counts protons .*; give it as 1H"):
        nmr_peaks(str(CASES / name), "c_nmr")


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        ("topspin_peaks.txt", None),
        ("mestrenova_peaks.txt", None),
        ("natural_product.txt", ["C", "CH", "C", "CH3"]),
        ("natural_product.md", None),
        ("labelled.txt", None),
        ("typed.csv", ["C", "CH", "C", "CH3"]),
        ("decimal_commas.jdx", None),
        ("peaktable.jdx", None),
    ],
)
def test_tables_of_13c(name: str, classes: list[str] | None) -> None:
    peaks = nmr_peaks(str(CASES / name), "c_nmr")
    assert [peak.position for peak in peaks] == ANISATE_C
    assert [peak.multiplicity for peak in peaks] == (classes or [None] * 4)


def test_solvents_of_a_table_are_left_out_by_name() -> None:
    for name in ("mestrenova_peaks.txt", "labelled.txt"):
        peaks = nmr_peaks(str(CASES / name), "c_nmr")
        assert [one.text for one in peaks.left_out] == ["77.16"]
        assert peaks.solvent == "CDCl3"


def test_the_column_of_protons_of_a_table_with_both() -> None:
    peaks = nmr_peaks(str(CASES / "natural_product.txt"), "h_nmr")
    assert [(peak.position, peak.multiplicity, peak.couplings) for peak in peaks] == [
        (7.85, "d", (8.4,)),
        (3.81, "s", ()),
    ]
    assert peaks.solvent == "CDCl3"
    assert [peak.position for peak in nmr_peaks(str(CASES / "natural_product.md"), "h_nmr")] == [7.85, 3.81]
    with pytest.raises(InvalidRecord, match=r"shifts of 13C alone .*; give it as 13C"):
        nmr_peaks(str(CASES / "typed.csv"), "h_nmr")


@pytest.mark.parametrize(
    ("text", "modality", "found"),
    [
        ("no.\tδH (J in Hz)\n1\t2.31 m, 1.75 m\n2\t4.12 (dd, 7.1, 2.2)", "h_nmr", [2.31, 1.75, 4.12]),
        ("1\t171.2\tC\n2\t60.4\tCH2", "c_nmr", [171.2, 60.4]),
        ("171.2\tC\n60.4\tCH2\n21.0\tCH3", "c_nmr", [171.2, 60.4, 21.0]),
        ("C-1 171.2\nC-2 60.4", "c_nmr", [171.2, 60.4]),
        (
            "Position   13C (ppm)   Type\n1          171.2       C\n2          60.4        CH2",
            "c_nmr",
            [171.2, 60.4],
        ),
        ("Shift,Class\n7.35-7.31,m\n6.67,d", "h_nmr", [7.33, 6.67]),
    ],
)
def test_other_tables(text: str, modality: str, found: list[float]) -> None:
    assert [peak.position for peak in nmr_peaks(text, modality)] == found


@pytest.mark.parametrize(
    "text",
    [
        "ppm,intensity\n169.81,0.34\n151.20,0.22\n20.90,0.9\n",
        "intensity;shift\n0,34;169,81\n0,22;151,20\n0,9;20,90\n",
        "exported 2024-01-01\nNo.\tf1 (ppm)\tInt\n1\t169.81\t0.34\n2\t151.20\t0.22\n3\t20.90\t0.9",
        "shift height\r\n169.81 0.34\r\n151.20 0.22\r\n\r\n20.90 0.9",
        '"Intensity", "δ"\n"0.34", "169.81"\n"0.22", "151.20"\n"0.9", "20.90"',
    ],
)
def test_the_column_that_is_named_so_holds_the_shifts(text: str) -> None:
    assert shifts(text) == [169.81, 151.2, 20.9]


def test_many_lines_of_prose_take_no_time() -> None:
    started = time.process_time()
    assert peaks_of_table("a\n" * 500_000, "c_nmr") is None
    assert peaks_of_table("a b\n" * 5_000, "c_nmr") is None
    assert time.process_time() - started < 10


@pytest.mark.parametrize(
    "text",
    [
        "169.81 0.34\n151.20 0.22\n20.90 0.9",
        "169,81;0,34\n151,20;0,22",
        "ppm,δ\n169.81,0.34\n151.20,0.22",
        "1 169.81\n2 151.20\n3 20.90",
        "peak,height\n9.0,8.0\n7.0,6.0",
        "no.\t1 δC\t2 δC\n1\t171.2\t170.1\n2\t60.4\t61.1",
        "C1\t171.2\t170.1\nC2\t60.4\t61.1",
    ],
)
def test_a_table_that_does_not_say_which_is_refused(text: str) -> None:
    with pytest.raises(InvalidRecord, match=r"nothing says which of them is the shift; name the columns"):
        peaks_of_table(text, "c_nmr")


def test_a_cell_that_is_no_shift_is_named() -> None:
    with pytest.raises(InvalidRecord, match=r"row 2 of its table has '1203.2', which is no shift of 13C"):
        peaks_of_table("ppm,height\n171.2,5\n1203.2,4\n", "c_nmr")
    with pytest.raises(InvalidRecord, match=r"row 2 of its table has 'many' for a shift"):
        peaks_of_table("ppm,height\n171.2,5\nmany,4\n", "c_nmr")


@pytest.mark.parametrize(
    "text",
    [
        "169.81, 151.20, 20.90",
        "169.81 151.20\n130.1 20.90",
        "13C NMR (101 MHz, CDCl3)\n169.81, 151.20,\n130.1, 20.90",
        "20.9 130.1\n151.2 169.8",
        "169.81\n151.20\n20.90",
        "169,81\n151,20\n20,90",
        "1H NMR (400 MHz, CDCl3) δ 7.26 (m, 2H),\n3.81 (s, 3H).",
        "169.81 (C)\n151.2 (CH)",
        "",
    ],
)
def test_lists_and_lines_of_papers_stay_as_they_are(text: str) -> None:
    assert peaks_of_table(text, "c_nmr") is None


@pytest.mark.parametrize("name", ["curve.jdx", "fid.nmrML", "bruker.zip"])
def test_files_of_spectra(name: str) -> None:
    peaks = nmr_peaks(str(CASES / name), "h_nmr")
    shifts = [peak.position for peak in peaks if 0.5 < peak.position < 5]  # nmrML names no solvent
    assert shifts == pytest.approx([4.12, 2.04, 1.26], abs=0.01)


# ---- SD files


def test_nmredata(tmp_path: Path) -> None:
    peaks = nmr_peaks(str(CASES / "nmredata.sdf"), "h_nmr")
    assert [(peak.position, peak.count, peak.multiplicity, peak.couplings) for peak in peaks] == [
        (7.08, 2, "d", (8.5,)),
        (6.80, 2, "d", (8.5,)),
        (3.78, 3, "s", ()),
        (2.28, 3, "s", ()),
    ]
    assert (peaks.solvent, peaks.field_mhz) == ("CDCl3", 400.13)
    carbons = [157.5, 113.7, 129.9, 20.5, 55.3]
    assert [peak.position for peak in nmr_peaks(str(CASES / "nmredata.sdf"), "c_nmr")] == carbons
    renamed = tmp_path / "x.txt"
    renamed.write_bytes((CASES / "nmredata.sdf").read_bytes())
    assert [peak.position for peak in nmr_peaks(str(renamed), "c_nmr")] == carbons


def test_an_assignment_without_a_spectrum() -> None:
    peaks = nmr_peaks(str(CASES / "nmredata_assignment.sdf"), "h_nmr")
    assert [(peak.position, peak.couplings) for peak in peaks] == [
        (6.8, (8.5,)),
        (7.08, (8.5,)),
        (2.28, ()),
        (3.78, ()),
    ]


def test_spectra_of_nmrshiftdb2() -> None:
    peaks = nmr_peaks(str(CASES / "nmrshiftdb2.sdf"), "c_nmr")
    assert [(peak.position, peak.multiplicity) for peak in peaks] == [
        (157.5, "C"), (113.7, "CH"), (129.9, "C"), (129.9, "CH"), (20.5, "CH3"), (55.3, "CH3"),
    ]  # fmt: skip
    assert "CDCl3" in (peaks.solvent or "")
    with pytest.raises(InvalidRecord, match="not of 1H"):
        nmr_peaks(str(CASES / "nmrshiftdb2.sdf"), "h_nmr")


@pytest.mark.parametrize("name", ["x.sdf", "x.MOL", "x.txt", "x"])
def test_a_structure_is_no_peak_list(tmp_path: Path, name: str) -> None:
    text = (CASES / "structure.sdf").read_text()
    (tmp_path / name).write_text(text)
    for modality in ("c_nmr", "h_nmr"):
        with pytest.raises(InvalidRecord, match="this is a structure, not a list of peaks"):
            nmr_peaks(str(tmp_path / name), modality)
        with pytest.raises(InvalidRecord, match="mol block, a structure"):
            nmr_peaks(text, modality)


@pytest.mark.parametrize(
    "text",
    [
        "7,33; d; 8,8; 2H\n1,97; s; ; 3H",
        "7.33\t2H\td\t8.8\n1.97\t3H\ts\t-",
        "7.33\td\t2\t8.8\n1.97\ts\t3\t",
        "Verschiebung\tH\tMultiplizität\tJ\n7,33\t2\td\t8,8\n1,97\t3\ts\t",
        "Shift\tIntegration\tClass\tJ\n7.33\t2.04\td\t8.8\n1.97\t2.96\ts\t",
    ],
)
def test_columns_of_multiplets_are_told_by_what_they_hold(text: str) -> None:
    peaks = peaks_of_table(text, "h_nmr")
    assert peaks is not None
    assert [peak[4:7] for peak in peaks] == [(2, "d", (8.8,)), (3, "s", ())]
    assert [peak.position for peak in peaks] == [7.33, 1.97]


@pytest.mark.parametrize(
    "text",
    [
        "171,2\n60,4\n21,0",
        "171,2 60,4 21,0",
        "171,2;60,4;21,0",
        "ppm;intensity\n171,2;10,5\n60,4;20,1\n21,0;30,0",
        "ppm,intensity\n171,2,10,5\n60,4,20,1\n21,0,30,0",
        '"ppm","Int"\n"171,2","10,5"\n"60,4","20,1"\n"21,0","3"',
        "171.2 C=O\n60.4 OCH2\n21.0 CH3CO",
        "compound\tshift\n3a\t171.2\n3a\t60.4\n3a\t21.0\n3b\t172.2",
    ],
)
def test_decimal_commas_labels_and_compounds(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text(text)
    assert [peak.position for peak in nmr_peaks(str(tmp_path / "x.txt"), "c_nmr")] == [171.2, 60.4, 21.0]


def test_counts_of_a_table_that_cannot_be() -> None:
    peaks = peaks_of_table("Shift\tH's\n7.3\t0\n6.7\t1.5\n3.1\t200\n1.2\t3", "h_nmr")
    assert peaks is not None
    assert [peak.count for peak in peaks] == [None, None, None, 3]
    assert "0 at 7.3 ppm, 1.5 at 6.7 ppm, 200 at 3.1 ppm" in peaks.about["notes"][0]


def test_commas_that_may_be_either_are_refused_below_names() -> None:
    with pytest.raises(InvalidRecord, match="may separate numbers or be decimal"):
        peaks_of_table("ppm,intensity\n171,2,10\n60,4,20", "c_nmr")


def test_an_endless_count_in_a_table_is_none(tmp_path) -> None:
    """Found by `python -m benchmarks.fuzz --reader nmr-tables --n 100000 --seed 7`."""
    file = tmp_path / "peaks.txt"
    file.write_text("Name\tShift [ppm]\tH's\tType\nA\t7.85\t2\td\nB\t6.90\t1e999\td\n")
    assert [(one.position, one.count) for one in nmr_peaks(str(file), "h_nmr")] == [(7.85, 2), (6.9, None)]
