"""JCAMP-DX: peak tables of mass spectra and NMR; other spectra are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from spectrum_files import C13, CURVE, EI, H1

from acml_search.core.errors import InvalidRecord
from acml_search.modalities import get
from acml_search.ms.io import read_spectra, read_spectrum
from acml_search.ms.io.base import Unreadable
from acml_search.ms.io.jcamp import table_of, variables_of
from acml_search.nmr.jcamp import JCAMP_NMR


def put(folder: Path, content: str, name: str = "x.jdx") -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


def test_an_ei_spectrum_is_read_with_its_factors(tmp_path: Path) -> None:
    path = put(tmp_path, EI, "x.JDX")
    one = read_spectrum(path, "gc_ms")
    assert [(peak.position, peak.intensity) for peak in one] == [(27, 220), (29, 301), (31, 999), (45, 514)]
    assert (one.file, one.number, one.line) == (path, 1, 1)
    assert one.about["TITLE"] == "ETHANOL"
    assert one.about["ORIGIN"] == "made by hand"
    assert "PEAKTABLE" not in one.about
    assert get("gc_ms").read(one.record()).precursor == 45


def test_carbon_shifts_are_read(tmp_path: Path) -> None:
    one = read_spectrum(put(tmp_path, C13, "x.dx"), "c_nmr", JCAMP_NMR)
    assert [peak.position for peak in one] == [171.1, 60.4, 21.0, 14.2]
    assert (one.solvent, one.field_mhz, one.unit) == ("CDCl3", 100.6, "ppm")
    assert get("c_nmr").read(one.record()).tolist() == pytest.approx([14.2, 21.0, 60.4, 171.1])


def test_proton_shifts_are_brought_from_hz_to_ppm(tmp_path: Path) -> None:
    one = read_spectrum(put(tmp_path, H1, "x.jcamp"), "h_nmr", JCAMP_NMR)
    assert [peak.position for peak in one] == pytest.approx([4.12, 2.04, 1.26])
    assert [peak.multiplicity for peak in one] == ["q", "s", "t"]
    assert [peak.intensity for peak in one] == [2, 3, 3]


def test_the_block_of_the_asked_kind_is_found(tmp_path: Path) -> None:
    link = f"##TITLE=all\n##DATA TYPE=LINK\n##BLOCKS=3\n{EI}{C13}{H1}##END=\n"
    path = put(tmp_path, link)
    nmr = {"c_nmr": JCAMP_NMR, "h_nmr": JCAMP_NMR}
    found = {name: read_spectrum(path, name, nmr.get(name)) for name in ("gc_ms", "c_nmr", "h_nmr")}
    assert [one.number for one in found.values()] == [1, 2, 3]
    assert [one.line for one in found.values()] == [4, 19, 34]
    assert [one.number for one in read_spectra(path, "gc_ms")] == [1]
    with pytest.raises(InvalidRecord, match=r"its m/z are whole numbers, as those of 70-eV EI spectra"):
        read_spectrum(f"{path}#1", "lc_ms")
    with pytest.raises(InvalidRecord, match=r"#3.*its nucleus is '\^1H', and c_nmr takes 13C"):
        read_spectrum(f"{path}#3", "c_nmr", JCAMP_NMR)


@pytest.mark.parametrize(
    ("content", "modality", "says"),
    [
        (CURVE, "c_nmr", "its axis is in Hz and the frequency is not stated"),
        (
            CURVE.replace("NMR", "MASS").replace("##.OBSERVE NUCLEUS=^13C\n", ""),
            "gc_ms",
            "a curve of points, not peaks",
        ),
        (
            C13.replace("NMR PEAK TABLE", "PEAKTABLE"),
            "gc_ms",
            "it states a nucleus, so it is an NMR spectrum",
        ),
        (
            C13.replace("171.1, 30", "(171.1, 30").replace("(XY..XY)", "(XYA)"),
            "c_nmr",
            "bracket that does not close",
        ),
        (
            C13.replace("(XY..XY)", "(XYA)").replace("171.1, 30", "(171.1, 30, 5, 6)"),
            "c_nmr",
            "too many values",
        ),
        (EI.replace("MASS SPECTRUM", "INFRARED SPECTRUM"), "gc_ms", "data type is 'infrared spectrum'"),
        (EI.replace("(XY..XY)", "(XY..XY) 5"), "gc_ms", "9 numbers, so one lacks its partner"),
        (EI.replace("27,2200", "27,many"), "gc_ms", "'many' in its peak table is not a number"),
        (EI.replace("27,2200", "27,-1"), "gc_ms", "peak 1 has the intensity -0.1"),
        (EI.replace("27,2200", "27,nan"), "gc_ms", "peak 1 has the intensity nan"),
        (EI.replace("YFACTOR=0.1", "YFACTOR=some"), "gc_ms", "YFACTOR is 'some', not a number"),
        (EI.replace("(XY..XY)", "(SOMETHING)"), "gc_ms", r"of the form '\(SOMETHING\)'"),
        (EI[: EI.index("##PEAK")], "gc_ms", "it has no peak table"),
        (EI[: EI.index("27,2200")], "gc_ms", "no peaks"),
        (C13.replace("171.1", "nan"), "c_nmr", "not a finite number"),
        (C13.replace("PPM", "M/Z"), "c_nmr", "positions are in 'M/Z'"),
        (H1.replace("##.OBSERVE FREQUENCY=400.0\n", ""), "h_nmr", "Hz and the frequency is not stated"),
        ("##JCAMP-DX=5\n", "c_nmr", "holds no spectrum"),
    ],
)
def test_what_cannot_be_used_is_said(tmp_path: Path, content: str, modality: str, says: str) -> None:
    with pytest.raises(InvalidRecord, match=says) as caught:
        read_spectrum(put(tmp_path, content), modality, JCAMP_NMR if modality.endswith("nmr") else None)
    assert "\n" not in str(caught.value)


def test_pairs_called_xydata_are_peaks(tmp_path: Path) -> None:
    one = read_spectrum(put(tmp_path, EI.replace("PEAK TABLE", "XYDATA")), "gc_ms")
    assert [peak.position for peak in one] == [27, 29, 31, 45]


@pytest.mark.parametrize(
    ("value", "variables"),
    [
        ("(XY..XY)\n1,2", "XY"),
        ("(X Y..X Y)", "XY"),
        ("(XYM..XYM)", "XYM"),
        ("(XYA)", "XYA"),
        ("(X++(Y..Y))", None),
        ("1 2 3", None),
    ],
)
def test_forms_of_tables(value: str, variables: str | None) -> None:
    assert variables_of(value) == variables


def test_rows_of_assignments() -> None:
    rows = table_of("(XYMA)\n(7.2, 5, M, <Ph, (ortho)>)\n(1.0, <CH3>)\n(2.0)")
    assert [row.x for row in rows] == [7.2, 1.0, 2.0]
    assert rows[0].multiplicity == "m"
    assert rows[0].text == "Ph, (ortho)"
    assert (rows[1].y, rows[1].text) == (None, "CH3")
    assert [(row.x, row.multiplicity) for row in table_of("(XYM)\n1,2,S\n3,4,D")] == [(1, "s"), (3, "d")]


def test_pages_of_ntuples_are_spectra(tmp_path: Path) -> None:
    pages = "".join(
        f"##PAGE=T={60 * n}\n##NPOINTS={n + 1}\n##DATA TABLE=(XY..XY), PEAKS\n"
        f"43, {n}; 58, 9{'; 71, 5' * (n - 1)}\n"
        for n in (1, 2)
    )
    text = (
        "##TITLE=run\n##JCAMP-DX=5.00\n##DATA TYPE=MASS SPECTRUM\n##DATA CLASS=NTUPLES\n"
        f"##NTUPLES=MASS SPECTRUM\n##SYMBOL=X,Y,T\n##UNITS=M/Z,RELATIVE ABUNDANCE,SECONDS\n{pages}"
        "##END NTUPLES=MASS SPECTRUM\n##END=\n"
    )
    path = put(tmp_path, text)
    assert [peak.position for peak in read_spectrum(path, "gc_ms")] == [43, 58]
    second = read_spectrum(f"{path}#2", "gc_ms")
    assert [(peak.position, peak.intensity) for peak in second] == [(43, 2), (58, 9), (71, 5)]
    assert second.about["PAGE"] == "T=120"
    assert len(list(read_spectra(path, "gc_ms"))) == 2


@pytest.mark.parametrize(
    ("data", "stated", "found"),
    [
        ("171,2 10,5\n60,4 20,1", 2, [171.2, 60.4]),
        ("171,2; 10,5\n60,4; 20,1", 2, [171.2, 60.4]),
        ("171,2 10,5\n60,4 20,1", 4, [171, 10, 60, 20]),
        ("27,2200 29,3010\n31,9990 45,5140", None, [27, 29, 31, 45]),
        ("171,2 10,5\n60,4 20,1", None, [171.2, 60.4]),
        ("171,2,10,5\n60,4,20,1", 2, [171.2, 60.4]),
        ("171,2,60,4", 2, [171, 60]),
    ],
)
def test_commas_that_separate_and_decimal_ones(data: str, stated: int | None, found: list[float]) -> None:
    assert [row.x for row in table_of(f"(XY..XY)\n{data}", stated)] == found


def test_commas_that_may_be_either_are_refused() -> None:
    for table in ("(XY..XY)\n50,2 90,5 20,4 70,1 60,3 10,1", "(XYA)\n(171,2, <1>)\n(60,4, <2>)"):
        with pytest.raises(Unreadable, match="its commas may separate numbers or be decimal"):
            table_of(table)
    for between in (", ", "; "):
        rows = table_of("(XYA)\n(171,2, 10,0, <1>)\n(60,4, 20,0, <2>)".replace(", ", between))
        assert [row.x for row in rows] == [171.2, 60.4]
