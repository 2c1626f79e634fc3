"""Curves and FIDs: the peaks that a chemist would pick, whatever the file; and what is refused, in words."""

from __future__ import annotations

import gzip
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from nmr_files import (
    CDCL3,
    ETHYL_ACETATE_C,
    affn,
    bruker,
    decay,
    ethyl_acetate_h,
    jcamp_curve,
    jcamp_ntuples,
    nmrml,
    pac,
    spectrum,
    varian,
)

from acml_search.chem.peaks import PeakList
from acml_search.core.errors import InvalidRecord
from acml_search.modalities import get
from acml_search.nmr.parser import read_nmr_text
from acml_search.nmr.sources import nmr_peaks, nmr_spectra

CARBON = spectrum([*ETHYL_ACETATE_C, *CDCL3], 220.0, -20.0, 100.6, 8192, 3.0)
PROTON = spectrum(ethyl_acetate_h(), 16.0, -4.0, 400.0)
FID = decay(ethyl_acetate_h(), 6.0, 8000.0, 400.0)


def put(path: Path, content: str | bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def is_ethyl_acetate(peaks: PeakList, within: float = 0.003) -> None:
    assert [peak.position for peak in peaks] == pytest.approx([4.12, 2.04, 1.26], abs=within)
    assert [(peak.multiplicity, peak.count) for peak in peaks] == [("q", 2), ("s", 3), ("t", 3)]
    assert [peak.couplings for peak in peaks if peak.couplings] == [pytest.approx((7.1,), abs=0.3)] * 2
    assert sorted(round(one.position or 0, 1) for one in peaks.left_out) == [0.0, 7.3]


@pytest.mark.parametrize("encode", [affn, pac])
def test_lines_of_13c_are_picked_without_the_solvent(tmp_path: Path, encode) -> None:
    given = put(tmp_path / "x.JDX", jcamp_curve(CARBON, 220.0, -20.0, 100.6, encode))
    peaks = nmr_peaks(given, "c_nmr")
    assert [peak.position for peak in peaks] == pytest.approx([171.1, 60.4, 21.0, 14.2], abs=0.03)
    assert (peaks.solvent, peaks.field_mhz) == ("CDCl3", 100.6)
    assert len(peaks.left_out) == 3


def test_the_list_is_shown_as_text_that_can_be_given_back(tmp_path: Path) -> None:
    for y, modality, args in (
        (CARBON, "c_nmr", (220.0, -20.0, 100.6)),
        (PROTON, "h_nmr", (16.0, -4.0, 400.0)),
    ):
        nucleus = "^13C" if modality == "c_nmr" else "^1H"
        given = put(tmp_path / "x.jdx", jcamp_curve(y, *args, **{".OBSERVE_NUCLEUS": nucleus}))
        seen = get(modality).read_input(given)
        text = seen.peaks.about["picked"]
        again = read_nmr_text(text, modality)
        bare = [peak._replace(intensity=None) for peak in seen.peaks]
        assert list(again) == bare
        assert (again.solvent, again.field_mhz) == (seen.peaks.solvent, seen.peaks.field_mhz)
        assert any(
            "picked from the curve; to correct them, edit this" in note and text in note
            for note in seen.notes
        )


def test_multiplets_of_1h_have_one_shift_each(tmp_path: Path) -> None:
    is_ethyl_acetate(
        nmr_peaks(
            put(tmp_path / "x.dx", jcamp_curve(PROTON, 16.0, -4.0, 400.0, **{".OBSERVE_NUCLEUS": "1H"})),
            "h_nmr",
        )
    )


@pytest.mark.parametrize("seed", range(3))
def test_noise_alone_has_no_peaks(tmp_path: Path, seed: int) -> None:
    y = np.random.default_rng(seed).normal(size=32768)
    with pytest.raises(InvalidRecord, match="no peak stands out of its noise"):
        nmr_peaks(put(tmp_path / "x.dx", jcamp_curve(y, 220.0, -20.0, 100.6)), "c_nmr")


def test_weak_lines_are_found_and_noise_is_not(tmp_path: Path) -> None:
    y = spectrum([(170.0, 0.11), (128.4, 1.0), (21.3, 0.7)], 220.0, -20.0, 100.6, 32768, 2.0, noise=0.01)
    y += np.linspace(0, 0.3, len(y))  # a slope is no peak
    peaks = nmr_peaks(put(tmp_path / "x.dx", jcamp_curve(y, 220.0, -20.0, 100.6)), "c_nmr")
    assert [peak.position for peak in peaks] == pytest.approx([170.0, 128.4, 21.3], abs=0.03)


def test_a_reference_that_is_off_is_said(tmp_path: Path) -> None:
    moved = [(shift + 1.2, area) for shift, area in [*ETHYL_ACETATE_C, *CDCL3]]
    y = spectrum(moved, 220.0, -20.0, 100.6, 8192, 3.0)
    seen = nmr_peaks(put(tmp_path / "x.dx", jcamp_curve(y, 220.0, -20.0, 100.6)), "c_nmr")
    assert len(seen) == 4
    assert any(
        "CDCl3 stands 1.20 ppm above its place" in note and "doubtful" in note for note in seen.about["notes"]
    )


def test_real_and_imaginary_pages_and_an_axis_that_starts_at_zero(tmp_path: Path) -> None:
    y = PROTON + 1j * np.gradient(PROTON)
    text = jcamp_ntuples(
        y,
        "HZ",
        8000.0,
        0.0,
        0.5,
        kind="NMR SPECTRUM",
        mhz=400.0,
        **{".SHIFT REFERENCE": "INTERNAL, CDCl3, 1, 16.0"},
    )
    is_ethyl_acetate(nmr_peaks(put(tmp_path / "x.dx", text), "h_nmr"))
    lost = text.replace("##.SHIFT REFERENCE=INTERNAL, CDCl3, 1, 16.0\n", "")
    with pytest.raises(InvalidRecord, match="counts Hz from its end and no reference is stated"):
        nmr_peaks(put(tmp_path / "y.dx", lost), "h_nmr")


def test_an_fid_in_jcamp_is_transformed(tmp_path: Path) -> None:
    seconds = (len(FID) - 1) / 8000.0
    text = jcamp_ntuples(
        FID, "SECONDS", 0.0, seconds, 1 / 8000.0, kind="NMR FID", mhz=400.0, **{"$OFFSET": 16.0, "$SF": 400.0}
    )
    peaks = nmr_peaks(put(tmp_path / "x.dx", text), "h_nmr")
    is_ethyl_acetate(peaks, 0.005)
    assert any("made of the FID" in note for note in peaks.about["notes"])


def test_peaks_are_preferred_to_a_curve_and_a_block_can_be_named(tmp_path: Path) -> None:
    table = (
        "##TITLE=t\n##DATA TYPE=NMR PEAK TABLE\n##.OBSERVE NUCLEUS=^13C\n##NPOINTS=2\n##PEAK TABLE=(XY..XY)\n"
        "171.0, 1\n20.9, 2\n##END=\n"
    )
    curve = jcamp_curve(CARBON, 220.0, -20.0, 100.6)
    link = f"##TITLE=l\n##DATA TYPE=LINK\n##BLOCKS=2\n{curve}{table}##END=\n"
    given = put(tmp_path / "x.dx", link)
    assert [peak.position for peak in nmr_peaks(given, "c_nmr")] == [171.0, 20.9]
    assert len(nmr_peaks(f"{given}#1", "c_nmr")) == 4
    broken = link.replace("20.9, 2", "20.9")
    with pytest.raises(InvalidRecord, match="lacks its partner"):
        nmr_peaks(put(tmp_path / "y.dx", broken) + "#2", "c_nmr")


def test_decimal_commas_in_a_curve(tmp_path: Path) -> None:
    text = jcamp_curve(
        CARBON, 220.0, -20.0, 100.6, FIRSTX="220,0", LASTX="-20,0", XUNITS="PPM", YFACTOR="0,5"
    )
    assert len(nmr_peaks(put(tmp_path / "x.dx", text), "c_nmr")) == 4


@pytest.mark.parametrize(
    ("change", "modality", "says"),
    [
        (
            ("##.OBSERVE NUCLEUS=^13C", "##.OBSERVE NUCLEUS=^19F"),
            "c_nmr",
            r"nucleus is '\^19F', and c_nmr takes 13C",
        ),
        (("", ""), "h_nmr", r"nucleus is '\^13C', and h_nmr takes 1H"),
        (
            ("##.OBSERVE NUCLEUS=^13C\n", ""),
            "h_nmr",
            "names no nucleus, and its axis of 240 ppm is not one of 1H",
        ),
        (("##NPOINTS=8192", "##NPOINTS=9000"), "c_nmr", "states 9,000 points, and 8,192 can be decoded"),
        (("##FIRSTX=22132.0\n", ""), "c_nmr", "lacks FIRSTX and LASTX"),
        (("XUNITS=HZ", "XUNITS=SECONDS"), "c_nmr", "its axis is in 'SECONDS'"),
        (("NMR SPECTRUM", "INFRARED SPECTRUM"), "c_nmr", "data type is 'infrared spectrum'"),
        (("NMR SPECTRUM", "ND NMR SPECTRUM"), "c_nmr", "two dimensions"),
        (("(X++(Y..Y))", "(X++(Y..Y))\n1@S999999999"), "c_nmr", "repeats ordinates"),
    ],
)
def test_curves_that_are_refused(tmp_path: Path, change, modality: str, says: str) -> None:
    text = jcamp_curve(CARBON, 220.0, -20.0, 100.6)
    assert change[0] in text
    with pytest.raises(InvalidRecord, match=says) as caught:
        nmr_peaks(put(tmp_path / "x.dx", text.replace(*change)), modality)
    assert "\n" not in str(caught.value)


# ---- folders, archives, nmrML


def test_processed_data_of_bruker(tmp_path: Path) -> None:
    folder = bruker(tmp_path / "10", processed=PROTON, fid=FID)
    for given in (folder, folder / "pdata" / "1", folder / "pdata" / "1" / "1r", folder / "fid", tmp_path):
        is_ethyl_acetate(nmr_peaks(str(given), "h_nmr"))


@pytest.mark.parametrize("big_endian", [False, True])
def test_an_fid_of_bruker(tmp_path: Path, big_endian: bool) -> None:
    folder = bruker(tmp_path / "10", fid=FID, big_endian=big_endian)
    peaks = nmr_peaks(str(folder), "h_nmr")
    is_ethyl_acetate(peaks, 0.005)
    assert any("frequency of the carrier alone" in note for note in peaks.about["notes"])


def test_peaks_picked_in_topspin_where_nothing_else_is_left(tmp_path: Path) -> None:
    folder = bruker(tmp_path / "10", nucleus="13C", mhz=100.6)
    (folder / "pdata" / "1").mkdir(parents=True)
    row = '<Peak1D F1="{}" annotation="" intensity="{}" type="0"/>'
    rows = "\n".join(row.format(*peak) for peak in ((170.9, 4.5), (60.2, -9.0)))
    (folder / "pdata" / "1" / "peaklist.xml").write_text(f"<PeakList1D>\n{rows}\n</PeakList1D>")
    peaks = nmr_peaks(str(folder), "c_nmr")
    assert [(peak.position, peak.intensity) for peak in peaks] == [(170.9, 4.5), (60.2, -9.0)]
    assert "peaklist.xml" in peaks.about["notes"][0]


def test_an_archive_and_its_experiments(tmp_path: Path) -> None:
    bruker(tmp_path / "d" / "10", processed=PROTON)
    bruker(tmp_path / "d" / "9", processed=CARBON, nucleus="13C", mhz=100.6, sweep=240 * 100.6, centre=100.0)
    given = shutil.make_archive(str(tmp_path / "d"), "zip", tmp_path / "d")
    is_ethyl_acetate(nmr_peaks(given, "h_nmr"))
    carbon = get("c_nmr").read_input(given)
    assert len(carbon.peaks) == 4
    assert any("holds 2 spectra; this is number 1" in note for note in carbon.notes)
    assert any("read from 9" in note for note in carbon.notes)
    with pytest.raises(InvalidRecord, match="10: its nucleus is '1H', and c_nmr takes 13C"):
        nmr_peaks(f"{given}#2", "c_nmr")


def test_an_archive_is_opened_safely(tmp_path: Path) -> None:
    for name in ("../acqus", "/tmp/acqus", "a/../../acqus", "C:\\acqus"):
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
            archive.writestr(name, "##TITLE=\n")
        with pytest.raises(InvalidRecord, match="outside itself"):
            nmr_peaks(str(tmp_path / "x.zip"), "c_nmr")
    assert {path.name for path in tmp_path.parent.iterdir() if path.name == "acqus"} == set()


def test_an_archive_that_unpacks_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("acml_search.nmr.instruments.MAX_ARCHIVE", 1 << 20)
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("1/fid", b"\0" * (4 << 20))
    with pytest.raises(InvalidRecord, match="unpacks to more than spectra take"):
        nmr_peaks(str(tmp_path / "x.zip"), "c_nmr")


def test_varian(tmp_path: Path) -> None:
    folder = varian(tmp_path / "x.fid", np.conj(FID), mhz=400.0, sweep=8000.0, centre=6.0)
    is_ethyl_acetate(nmr_peaks(str(folder), "h_nmr"), 0.005)
    with pytest.raises(InvalidRecord, match="nucleus is 'H1', and c_nmr takes 13C"):
        nmr_peaks(str(folder), "c_nmr")


@pytest.mark.parametrize("packed", [True, False])
def test_nmrml(tmp_path: Path, packed: bool) -> None:
    with_fid = nmrml(np.conj(FID), mhz=400.0, sweep=8000.0, centre=6.0, packed=packed)
    peaks = nmr_peaks(put(tmp_path / "x.nmrML", with_fid), "h_nmr")
    assert [peak.position for peak in peaks if 0.5 < peak.position < 5] == pytest.approx(
        [4.12, 2.04, 1.26], abs=0.005
    )
    with_spectrum = nmrml(PROTON, mhz=400.0, sweep=8000.0, centre=6.0, axis=(16.0, -4.0), packed=packed)
    peaks = nmr_peaks(put(tmp_path / "x.xml", with_spectrum), "h_nmr")
    assert [peak.multiplicity for peak in peaks] == ["s", "q", "s", "t"]
    assert any("names no solvent" in note for note in peaks.about["notes"])


def test_a_file_that_says_it_is_something_else_is_read_as_what_it_is(tmp_path: Path) -> None:
    curve = jcamp_curve(CARBON, 220.0, -20.0, 100.6)
    assert len(nmr_peaks(put(tmp_path / "x.txt", curve), "c_nmr")) == 4
    assert len(nmr_peaks(put(tmp_path / "x.jdx.gz", gzip.compress(curve.encode())), "c_nmr")) == 4


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("x.zip", b"PK\x03\x04 and no more", "the archive is damaged"),
        ("x.jdx", b"171.1, 60.4, 21.0", "this is not JCAMP-DX but some other text"),
        ("x.nmrML", b"<nmrML><a>", "no sound XML"),
        ("x.nmrML", b'<!DOCTYPE a [<!ENTITY b "c">]><nmrML/>', "document type"),
        ("x.nmrML", b"<nmrML/>", "neither a spectrum nor an FID"),
        ("x.docx", b"PK\x05\x06" + b"\0" * 18, "archive without NMR data"),
        ("1/acqus", b"##$NUC1= <13C>\n", "neither a spectrum .* nor an FID"),
        ("x/y.jdf", b"JEOL", "a folder without NMR data .* data of JEOL are not read"),
    ],
)
def test_what_is_none(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    path = tmp_path / name
    put(path, content)
    with pytest.raises(InvalidRecord, match=says) as caught:
        nmr_peaks(str(path if path.parent == tmp_path else path.parent), "c_nmr")
    assert "\n" not in str(caught.value)


def test_a_text_query_does_not_load_the_code_for_curves() -> None:
    code = (
        "import sys; from acml_search.nmr.sources import nmr_peaks; nmr_peaks('20.1, 30.5', 'c_nmr');"
        "print([name for name in ('nmrglue', 'scipy', 'lxml') if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"


def test_lines_of_a_1h_table_are_multiplets(tmp_path: Path) -> None:
    rows = "4.147, 1\n4.129, 3\n4.111, 3\n4.094, 1\n2.04, 9\n1.278, 3\n1.26, 6\n1.242, 3"
    text = (
        "##TITLE=t\n##DATA TYPE=NMR PEAK TABLE\n##.OBSERVE NUCLEUS=^1H\n##.OBSERVE FREQUENCY=400\n"
        f"##NPOINTS=8\n##PEAK TABLE=(XY..XY)\n{rows}\n##END=\n"
    )
    seen = get("h_nmr").read_input(put(tmp_path / "x.jdx", text))
    assert [(peak.position, peak.multiplicity) for peak in seen.peaks] == [
        (4.12, "q"),
        (2.04, "s"),
        (1.26, "t"),
    ]
    assert any("its 8 lines are taken as 3 multiplets" in note for note in seen.notes)


def test_nmredata_in_an_archive_with_its_spectra(tmp_path: Path) -> None:
    bruker(tmp_path / "d" / "10", processed=PROTON)
    case = Path(__file__).parent.parent / "cases" / "nmr" / "nmredata.sdf"
    shutil.copy(case, tmp_path / "d" / "record.nmredata.sdf")
    given = shutil.make_archive(str(tmp_path / "d"), "zip", tmp_path / "d")
    assert [peak.position for peak in nmr_peaks(given, "h_nmr")] == [7.08, 6.80, 3.78, 2.28]
    assert len(nmr_peaks(given, "c_nmr")) == 5
    found = list(nmr_spectra(given, "h_nmr"))
    assert [len(one) for one in found if isinstance(one, PeakList)] == [4, 3]
