"""NMR as papers print it: what is read, what is named as left out, and what is refused."""

import contextlib
import time

import pytest

from acml_search.chem.peaks import Peak
from acml_search.core.errors import InvalidRecord
from acml_search.nmr.parser import peak_lists, read_nmr_text

PROTON = (
    "1H NMR (600 MHz, CDCl3): δ 9.21 (dd, J = 4.3, 1.7 Hz, 1H), 7.66 – 7.51 (m, 7H), 6.02 (br s, 1 H), "
    "3.93 (s, 3H)."
)
CARBON = (
    "13C NMR (151 MHz, CDCl3) δ 176.0, 85.8 (CH), 128.5 (d, J = 245.1 Hz), 126.4 (2C), 55.1 (2 × CH3), −5.4."
)


def positions(text: str, modality: str | None = None) -> list[float]:
    return [peak.position for peak in read_nmr_text(text, modality)]


def test_a_proton_line() -> None:
    peaks = read_nmr_text(PROTON)
    assert (peaks.modality, peaks.solvent, peaks.field_mhz, peaks.left_out) == ("h_nmr", "CDCl3", 600.0, ())
    assert list(peaks) == [
        Peak(9.21, count=1, multiplicity="dd", couplings=(4.3, 1.7)),
        Peak(7.585, 7.51, 7.66, count=7, multiplicity="m"),
        Peak(6.02, count=1, multiplicity="br s"),
        Peak(3.93, count=3, multiplicity="s"),
    ]


def test_a_carbon_line() -> None:
    peaks = read_nmr_text(CARBON)
    assert (peaks.modality, peaks.solvent, peaks.field_mhz) == ("c_nmr", "CDCl3", 151.0)
    assert list(peaks) == [
        Peak(176.0),
        Peak(85.8, multiplicity="CH"),
        Peak(128.5, multiplicity="d", couplings=(245.1,)),
        Peak(126.4, count=2),
        Peak(55.1, count=2, multiplicity="CH3"),
        Peak(-5.4),
    ]


def test_both_nuclei_in_one_text() -> None:
    text = f"Compound 3a: 85 %, mp 128.5-129.3 °C. {PROTON} {CARBON} HRMS calcd 155.1234, found 155.1230."
    proton, carbon = peak_lists(text)
    assert (len(proton), len(carbon)) == (4, 6)
    assert (proton.field_mhz, carbon.field_mhz) == (600.0, 151.0)
    assert read_nmr_text(text, "c_nmr") == carbon
    with pytest.raises(InvalidRecord, match="13C and 1H; say which"):
        read_nmr_text(text)


@pytest.mark.parametrize("dash", "-‐‑‒–—−﹣－")
@pytest.mark.parametrize("space", ["", " ", "\u2009", "\xa0"])
def test_every_dash_makes_a_range(dash: str, space: str) -> None:
    peaks = read_nmr_text(f"1H NMR δ 7.66{space}{dash}{space}7.51 (m, 7H), {dash}0.05 (s, 9H)")
    assert [(p.position, p.low, p.high) for p in peaks] == [(7.585, 7.51, 7.66), (-0.05, None, None)]


@pytest.mark.parametrize(
    "head",
    [
        "13C NMR (101 MHz, CDCl3) δ ",
        "13C-NMR (CDCl3, 101 MHz): δ = ",
        "13C NMR (101 MHz, CDCl3): d ",
        "¹³C{¹H} NMR (101 MHz, CDCl₃) δC ",
        "^13^C NMR (101 MHz, CDCl~3~) δ ",
        "13C NMR (CDCl3, 101 MHz, ppm): ",
        "<sup>13</sup>C NMR (101 MHz, CDCl<sub>3</sub>) &delta; ",
        "13CNMR(CDCl3,101 MHz)δ:",
        "C-13 NMR, CDCl3, 101 MHz, δ/ppm: ",
        "13C NMR (101 MHz, chloroform-d) delta ",
        "$^{13}$C NMR (101 MHz, CDCl$_3$) \\delta ",
        "13C NMR (101 MHz, CDCl3) Î´ ",
        "Carbon NMR (101 MHz, CDCl3): ",
        "13C (101 MHz, CDCl3) δ (ppm) ",
        "NMR-13C (101 MHz, CDCl3): ",
    ],
)
def test_every_header(head: str) -> None:
    peaks = read_nmr_text(f"{head}155.4, 151.7 (CH); 148.6 and 12.1 ppm")
    assert [peak.position for peak in peaks] == [155.4, 151.7, 148.6, 12.1]
    assert (peaks.modality, peaks.solvent, peaks.field_mhz) == ("c_nmr", "CDCl3", 101.0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("155.4, 151.7, 148.6", [155.4, 151.7, 148.6]),
        ("155.4 151.7 148.6", [155.4, 151.7, 148.6]),
        ("155,4; 151,7; 148,6", [155.4, 151.7, 148.6]),
        ("27,4, 106,1, 112,5", [27.4, 106.1, 112.5]),
        ("δ 174.2, 73,9, 55.1, 21.0", [174.2, 73.9, 55.1, 21.0]),
        ("135. 4, 133.1, 126.2", [135.4, 133.1, 126.2]),
        ("174, 155, 21", [174.0, 155.0, 21.0]),
        ("C-1: 105.2, C-2: 75.3; C-3 (70.2), OCH3 55.1", [105.2, 75.3, 70.2, 55.1]),
        ("Cq: δ = 168.6, 154.0; CH: 130.2; CH3: 20.8 ppm", [168.6, 154.0, 130.2, 20.8]),
        ("δ 155.4 / 154.2, 128.9 x 2, 127.1 (×3), 2 × 126.1", [155.4, 154.2, 128.9, 127.1, 126.1]),
        ("δ 14.3 (CH3), [23.0, 26.2 (CH2, overlapping)], 50.5 (CH)", [14.3, 23.0, 26.2, 50.5]),
        ("a ketone (δC 200.2), two methyls (δC 13.4 and 19.5; δH 1.2)", [200.2, 13.4, 19.5]),
        ("168.78. 161.96, 160.64", [168.78, 161.96, 160.64]),
    ],
)
def test_carbon_lists(text: str, expected: list[float]) -> None:
    assert positions(text, "c_nmr") == expected


@pytest.mark.parametrize(
    "text",
    [
        "1H NMR δ 7.65 (d, J = 8.2 Hz, 1H), 5.43 (s, 3H)",
        "1H NMR δ 7.65 (1 H, d, J 8.2), 5.43 (3 H, s)",
        "1H NMR δ 7.65 (d, 1H, 3J(H,H) = 8.2 Hz), 5.43 (s, 3H)",
        "1H NMR δ 7.65 (d, 8.2 Hz, 1H), 5.43 (s, 3H)",
        "1H NMR δ 7.65, d, J = 8.2 Hz, 1H; 5.43, s, 3H",
        "1H NMR δ 7.65 d (J3',4' = 8.2 Hz, 1H), 5.43 s (3H)",
        "1H NMR δ 7.65, (d, ³J_{HH} = 8.2 Hz, 1H, H-3'), 5.43 ppm (s, 3H, OCH3)",
        "1H NMR δ 7.65 (d, J = 8,2 Hz, 1H)5.43 (s, 3H)",
        "1H NMR δ 7.65 (d, J = 8.2 Hz, 1H, 5.43 (s, 3H)",
    ],
)
def test_no_coupling_becomes_a_shift(text: str) -> None:
    doublet, singlet = read_nmr_text(text)
    assert doublet == Peak(7.65, count=1, multiplicity="d", couplings=(8.2,))
    assert singlet == Peak(5.43, count=3, multiplicity="s")


def test_a_coupling_that_cannot_be_is_none() -> None:
    (peak,) = read_nmr_text("1H NMR δ 7.65 (d, 99999.5, 1H)")
    assert peak == Peak(7.65, count=1, multiplicity="d")


@pytest.mark.parametrize(
    ("text", "kept", "left", "why"),
    [
        ("13C NMR δ 1300, 128.5, 45.2", [128.5, 45.2], "1300", "13C has no shift at 1300 ppm"),
        ("1H NMR δ 45, 7.26 (s, 1H), 3.2 (d, 2H)", [7.26, 3.2], "45", "1H has no shift at 45 ppm"),
        ("13C NMR δ 155.4, NaN, 148.6", [155.4, 148.6], "NaN", "not a number"),
        ("13C NMR δ 155.4, 13.9–61.2 (CH2), 148.6", [155.4, 148.6], "13.9 - 61.2", "region"),
        ("13C NMR δ 155.4, 5.7.59, 148.6", [155.4, 148.6], "5.7.59", "not one number"),
        ("13C NMR δ 166.7, 128.5, 125.6, 123.3, 119, 21, 35.3, 21.2, 19.8", None, "21", "perhaps a comma"),
        ("1H NMR δ 7.36 (s, 5H), 7.8O (d, 2H)", [7.36], "7.8O", "not one number"),
        ("1H NMR δ 7.36 (s, 5H). Contains 5% EtOAc: 4.12, 2.05, 1.26.", [7.36], "4.12", "an impurity"),
    ],
)
def test_what_is_no_shift_is_named(text: str, kept: list[float] | None, left: str, why: str) -> None:
    peaks = read_nmr_text(text)
    assert any(one.text == left and why in one.why for one in peaks.left_out)
    if kept is not None:
        assert [peak.position for peak in peaks] == kept
    assert 21.0 not in [peak.position for peak in peaks]


@pytest.mark.parametrize(
    "text",
    [
        "13C NMR (101 MHz) δ 155.4, 151.7. 19F NMR (376 MHz) δ -112.3, -63.5 (s).",
        "13C NMR δ 155.4, 151.7; IR (KBr) 1720.5, 1650.1; MS (EI) m/z (%): 328.1 (100), 121.2 (25)",
        "mp 128.5 °C; Rf = 0.35; [α] = -15.4 (c 1.0). 13C NMR (101 MHz): 155.4, 151.7",
        "13C NMR (101 MHz, CDCl3, 25 °C, 9:1): 155.4, 151.7 (ratio 1:5.8 by mol) ppm",
        "13C NMR spectrum of 3,3'-diazide (Table 2, Figure 3): δ 155.4, 151.7, see compound 12",
        "13C NMR: aromatic carbons are found between 110 and 150 ppm, with peaks at δ 155.4 and 151.7",
    ],
)
def test_no_other_number_becomes_a_shift(text: str) -> None:
    assert positions(text, "c_nmr") == [155.4, 151.7]


@pytest.mark.parametrize(
    ("text", "modality", "sentence"),
    [
        ("", "c_nmr", "the text is empty"),
        (" \n\u2009", "h_nmr", "the text is empty"),
        ("x" * 1_000_000, "c_nmr", "1,000,000 characters"),
        ("NaN", "c_nmr", "it is not a number"),
        (PROTON, "c_nmr", "a 1H list and no 13C list"),
        (CARBON, "h_nmr", "a 13C list and no 1H list"),
        ("7.26 (s, 1H), 3.2 (d, J = 5, 2H)", "c_nmr", "a 1H list and no 13C list"),
        ("13C NMR δ 7.26 (s, 1H), 3.2 (d, 2H), 1.1 (t, 3H)", "c_nmr", "its peaks count protons"),
        ("1H NMR δ 155.4, 151.7, 1.5, 128.3", "h_nmr", "3 of 4 values are no shifts of 1H"),
        ("35.2, 21.0, 14.2", "h_nmr", "a 13C list and no 1H list"),
        ("19F NMR (376 MHz, CDCl3) δ -62.5", "c_nmr", "the text has 19F and no 13C list"),
        ("HSQC (400 MHz, CDCl3) δ 4.12/60.4, 2.04/21.0", "c_nmr", "the text has HSQC and no 13C list"),
        ("1H and 13C NMR data, see Table 1", "c_nmr", "no peak list"),
        ("155,4,151,7", "c_nmr", "its commas may be decimal points"),
        ("7.26, 3.2", None, "nothing in the text tells 13C from 1H"),
        ("155.4", "ir", "c_nmr or h_nmr"),
        (155.4, "c_nmr", "it is float, not text"),
        ("1H NMR (CCl4) τ 2.9 (5H, s), 6.4 (2H, s)", "h_nmr", "τ values"),
    ],
)
def test_what_cannot_be_read_gets_a_sentence(text: str, modality: str | None, sentence: str) -> None:
    with pytest.raises(InvalidRecord) as caught:
        read_nmr_text(text, modality)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("13C NMR (101 MHz, CDCl3) δ {} 13C NMR (101 MHz, CDCl3) δ {}", "a second list of 4 peaks"),
        ("3a: 13C NMR δ {} 3b: 13C NMR δ {}", "a second list of 4 peaks"),
        ("13C NMR (CDCl3) 3a: δ {} 3b: δ {}", "a second compound, 3b"),
        ("compound 3: {}\ncompound 4: {}", "a second compound, 4"),
        ("Compound A: {} Compound B: {}", "a second compound, B"),
        ("1: {}\n2: {}", "a second compound, 2"),
    ],
)
def test_a_second_compound_is_named(text: str, why: str) -> None:
    peaks = read_nmr_text(text.format("155.4, 151.7, 148.6;", "99.1, 88.2, 77.3, 66.4."), "c_nmr")
    assert [peak.position for peak in peaks] == [155.4, 151.7, 148.6]
    assert why in peaks.left_out[-1].why


def test_a_list_that_is_spoken_of_again_is_one() -> None:
    text = "13C NMR (CDCl3) δ 170.1 (4a), 60.2 (5a), 21.0. 13C NMR (CDCl3) δ 170.1 and 60.2 are the ester's."
    assert positions(text) == [170.1, 60.2, 21.0]


@pytest.mark.parametrize(
    ("text", "modality", "note"),
    [
        (
            "1H NMR δ 7.3 (d, 0H), 6.7 (d, 1.5H), 3.1 (s, 200H)",
            "h_nmr",
            "0H at 7.3 ppm, 1.5H at 6.7 ppm, 200H",
        ),
        ("13C NMR δ 155.6/155.2, 80.1", "c_nmr", "pairs of shifts"),
        ("13C NMR (CDCl3, rotamers) δ 155.6, 155.2, 80.1", "c_nmr", "names rotamers"),
        ("7.33, 6.67, 1.97", "c_nmr", "if the spectrum is of 1H, give it as 1H"),
        ("1H NMR δ 28.0, 6.67, 1.97", "h_nmr", "if the spectrum is of 13C, give it as 13C"),
    ],
)
def test_what_is_odd_is_used_and_said(text: str, modality: str, note: str) -> None:
    peaks = read_nmr_text(text, modality)
    assert [peak.count for peak in peaks] == [None] * 3
    (said,) = peaks.about["notes"]
    assert note in said


@pytest.mark.parametrize(
    ("lines", "middle"),
    [
        ("163.7, 161.3 (d, J = 245 Hz)", 162.5),
        ("163.73 and 161.30 (1C, d, 1J(C,F) = 245.0 Hz)", 162.515),
        ("163.7 (d, J = 245 Hz), 161.3 (d, J = 245 Hz)", 162.5),
        ("127.5, 124.8, 122.1, 119.4 (q, JCF = 272 Hz)", 123.45),
        ("115.78, 115.57 (d, J = 21.4 Hz)", 115.675),
        ("162.5 (d, J = 245 Hz)", 162.5),
    ],
)
@pytest.mark.parametrize("field", ["101", "400"])  # of 13C, or of 1H on the same magnet
def test_the_lines_of_a_multiplet_are_one_carbon(lines: str, middle: float, field: str) -> None:
    peaks = read_nmr_text(f"13C NMR ({field} MHz, CDCl3) δ {lines}, 60.2, 21.0 (CH3)")
    assert [peak.position for peak in peaks] == [middle, 60.2, 21.0]
    assert peaks.record().get("multiplicity") == [None, None, "CH3"]  # "d" is no CH


@pytest.mark.parametrize(
    "text",
    [
        "13C NMR (101 MHz) δ 163.7, 161.3 (d, J = 200 Hz)",  # not that far apart
        "13C NMR (101 MHz) δ 163.7 (C-4), 161.3 (d, J = 245 Hz)",  # another carbon
        "13C NMR δ 163.7, 161.3 (d, J = 245 Hz)",  # at an unknown field
        "13C NMR (101 MHz) δ 130.2, 130.1 (d, J = 8 Hz)",  # perhaps two
    ],
)
def test_other_carbons_stay_two(text: str) -> None:
    assert len(read_nmr_text(text)) == 2


def test_carbons_are_counted() -> None:
    peaks = read_nmr_text("13C NMR δ 128.5 (2C), 127.1 x2, 115.2 (2 × CH), 60.2, 21.0 (3 x CH3)")
    assert peaks.record() == {
        "shifts": [128.5, 127.1, 115.2, 60.2, 21.0],
        "counts": [2, 2, 2, None, 3],
        "multiplicity": [None, None, "CH", None, "CH3"],
    }


@pytest.mark.parametrize(
    "header", ["DEPT-135 (101 MHz, CDCl3): δ", "DEPT 135 δ", "13C DEPT135 NMR (CDCl3) δ"]
)
def test_a_list_of_dept_adds_no_carbons(header: str) -> None:
    text = f"13C NMR (101 MHz, CDCl3) δ 170.1, 60.2, 21.0, 14.2. {header} 60.25 (-), 21.05, 14.25."
    assert positions(text) == [170.1, 60.2, 21.0, 14.2]


def test_a_solvent_holds_for_the_other_nucleus() -> None:
    _, carbon = peak_lists("1H NMR (400 MHz, DMSO-d6) δ 7.2 (s, 1H). 13C NMR (101 MHz) δ 155.4, 151.7.")
    assert (carbon.solvent, carbon.field_mhz) == ("DMSO-d6", 101.0)


@pytest.mark.parametrize(
    "piece",
    ["(", "3J", "J1,", "1 ", "1.1 (", "(1H", "13C NMR (", "δ 7.2 (", "1,1 ", "<", "^{", "at 1.1 and "],
)
def test_time_grows_with_the_text_and_no_faster(piece: str) -> None:
    def seconds(length: int) -> float:
        text = ("13C NMR (100 MHz, CDCl3) δ 128.5, 55.2, " + piece * length)[:length]
        started = time.process_time()
        with contextlib.suppress(InvalidRecord):
            read_nmr_text(text, "c_nmr")
        return time.process_time() - started

    # The least of several: a busy machine makes single runs longer, never shorter.
    short, long = min(seconds(5_000) for _ in range(3)), min(seconds(40_000) for _ in range(3))
    assert long < 8 * 4 * max(short, 0.02)  # quadratic time would be 64 times as long


def test_a_unit_before_a_shift_in_brackets_is_no_shift() -> None:
    """Found by `python -m benchmarks.fuzz --reader nmr-tables --n 100000 --seed 7`."""
    peaks = read_nmr_text("13C NMR: 155.4, C-2 (ppm 131.5), 122.6, 55.4", "c_nmr")
    assert [peak.position for peak in peaks] == [155.4, 131.5, 122.6, 55.4]
