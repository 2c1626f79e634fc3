"""Files of spectra, the formats of text: what is read, how it is counted, what is said of a bad file."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from spectrum_files import C13, EI, MGF, MONA, MSDIAL, NIST, most_memory, mzml, scan

from acml_search.chem.peaks import PeakList
from acml_search.core.errors import InvalidRecord, UnknownModality
from acml_search.modalities import get
from acml_search.ms.io import BadSpectrum, base, endings, read_spectra, read_spectrum


def put(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def pairs(peaks: PeakList) -> list[tuple[float, float | None]]:
    return [(peak.position, peak.intensity) for peak in peaks]


def test_an_msp_of_mona_is_read_with_all_it_says(tmp_path: Path) -> None:
    path = put(tmp_path, "x.msp", "\n" + MONA)
    (one,) = read_spectra(path, "lc_ms")
    assert pairs(one) == [(110.0713, 12.5), (138.0662, 100.0), (195.0877, 40.25)]
    assert (one.precursor_mz, one.adduct, one.ion_mode) == (195.0877, "[M+H]+", "+")
    assert one.collision_energy == "HCD 30"
    assert (one.file, one.number, one.line, one.unit) == (path, 1, 2, "m/z")
    assert one.about["Name"] == "Caffeine"
    assert one.about["SMILES"] == "CN1C=NC2=C1C(=O)N(C(=O)N2C)C"
    assert one.about["computed SMILES"] == "Cn1cnc2c1c"
    assert one.about["cas number"] == "58-08-2"
    assert one.about["Synon"] == "$:00in-source\n1,3,7-trimethylxanthine"
    assert get("lc_ms").read(one.record()).precursor == 195.0877


def test_an_msp_of_nist_is_read(tmp_path: Path) -> None:
    (one,) = read_spectra(put(tmp_path, "x.MSP", NIST.replace("\n", "\r\n")), "gc_ms")
    assert [peak.position for peak in one] == [15, 27, 29, 30, 31, 45, 46]
    assert one.peaks[4].intensity == 999
    assert one.precursor_mz is None
    assert one.about["CAS#"] == "64-17-5;  NIST#: 291264"
    assert get("gc_ms").read(one.record()).precursor == 46


def test_the_dialects_may_stand_in_one_file(tmp_path: Path) -> None:
    path = put(tmp_path, "x.msp", (MSDIAL + NIST).replace("\n\n", "\n") + "\n\n\n" + MONA.rstrip())
    found = list(read_spectra(path, "lc_ms"))
    assert [(one.number, one.line, len(one)) for one in found] == [(1, 1, 2), (3, 21, 3)]
    (ethanol,) = read_spectra(path, "gc_ms")
    assert (ethanol.number, ethanol.line, len(ethanol)) == (2, 10, 7)
    assert (found[0].adduct, found[0].ion_mode, found[0].collision_energy) == ("[M-H]-", "-", "20")


@pytest.mark.parametrize(
    "peaks",
    ["41 5; 43 10", "41,5 43,10", "(41,5) (43,10)", "41:5 43:10", "41 5 43 10", '41 5 "a; b"\n43\t10'],
)
def test_peaks_however_they_are_listed(tmp_path: Path, peaks: str) -> None:
    one = read_spectrum(put(tmp_path, "x.msp", f"Name: a\nNum peaks: 2\n{peaks}\n"), "gc_ms")
    assert pairs(one) == [(41, 5), (43, 10)]


def test_an_mgf_is_read_with_its_header(tmp_path: Path) -> None:
    first, second = read_spectra(put(tmp_path, "x.mgf", MGF), "lc_ms")
    assert pairs(first) == [(138.0662, 100), (110.0713, 12.5)]
    assert (first.precursor_mz, first.ion_mode, first.number, first.line) == (195.0877, "+", 1, 4)
    assert first.about["title"] == "first"
    assert first.about["com"] == "made by hand"
    assert (second.adduct, second.ion_mode, second.collision_energy) == ("[M-H]-", "-", "20 eV")
    assert second.about["title"] == "second = with a sign"
    assert (second.number, second.line) == (2, 12)


def test_an_adduct_by_the_charge_is_said_to_be_one(tmp_path: Path) -> None:
    first, second = read_spectra(put(tmp_path, "x.mgf", MGF), "lc_ms")
    assert (first.adduct, first.about["adduct_from"]) == ("[M+H]+", "CHARGE=1+")
    assert "adduct_from" not in second.about
    two = MGF.replace("CHARGE=1+", "CHARGE=2+").replace("CHARGE=1-", "CHARGE=1")
    first, second = read_spectra(put(tmp_path, "y.mgf", two), "lc_ms")
    assert first.adduct == "[M+2H]2+"


@pytest.mark.parametrize(
    ("written", "read"),
    [("M+H", "[M+H]+"), ("M-H", "[M-H]-"), ("M+H]+", "[M+H]+"), ("[M+Na]1+", "[M+Na]+"), ("[M+2H]2+",) * 2],
)
def test_adducts_are_brought_to_one_notation(tmp_path: Path, written: str, read: str) -> None:
    text = MGF.replace("ADDUCT=[M-H]-", f"ADDUCT={written}").replace("CHARGE=1-", f"CHARGE=1{read[-1]}")
    path = put(tmp_path, "x.mgf", text)
    assert read_spectrum(f"{path}#2", "lc_ms").adduct == read


@pytest.mark.parametrize(
    ("written", "read"),
    [("P", "+"), ("n", "-"), ("Negative", "-"), ("-", "-"), ("ESI+", "+"), ("N/A", None), ("both", None)],
)
def test_modes_are_brought_to_a_sign(tmp_path: Path, written: str, read: str | None) -> None:
    text = MONA.replace("Ion_mode: P", f"Ion_mode: {written}").replace("Precursor_type: [M+H]+\n", "")
    path = put(tmp_path, "x.msp", text)
    assert read_spectrum(path, "lc_ms").ion_mode == read


def test_a_file_may_be_gzipped(tmp_path: Path) -> None:
    plain = list(read_spectra(put(tmp_path, "x.mgf", MGF), "lc_ms"))
    packed = list(read_spectra(put(tmp_path, "x.mgf.gz", gzip.compress(MGF.encode())), "lc_ms"))
    assert [pairs(one) for one in packed] == [pairs(one) for one in plain]


def test_a_number_after_a_hash_names_a_spectrum(tmp_path: Path) -> None:
    path = put(tmp_path, "x.msp", MONA + NIST + MSDIAL)
    assert read_spectrum(f"{path}#2", "gc_ms").about["NAME"] == "Ethanol"
    assert "of" not in read_spectrum(f"{path}#2", "gc_ms").about
    assert read_spectrum(path, "lc_ms").about["of"] == 3
    odd = put(tmp_path, "a#2.msp", MONA)
    assert read_spectrum(str(odd), "lc_ms").file == odd
    assert "of" not in read_spectrum(str(odd), "lc_ms").about
    assert read_spectrum(f"{odd}#1", "lc_ms").number == 1


def test_without_a_number_the_first_usable_is_read_and_the_others_are_named(tmp_path: Path) -> None:
    path = put(tmp_path, "x.msp", MONA.replace("138.0662 100", "138.0662 nan") + NIST)
    one = read_spectrum(path, "gc_ms")
    assert (one.number, one.about["of"]) == (2, 2)
    (passed,) = one.about["passed_over"]
    assert "x.msp#1" in passed
    assert "intensity nan" in passed


def test_a_bad_spectrum_is_yielded_in_its_place(tmp_path: Path) -> None:
    content = MONA + NIST.replace("Num Peaks: 7", "Num Peaks: 9") + MSDIAL
    path = put(tmp_path, "x.msp", content)
    found = list(read_spectra(path, "lc_ms", on_error="yield"))
    assert [isinstance(one, BadSpectrum) for one in found] == [False, True, False]
    bad = found[1]
    assert isinstance(bad, BadSpectrum)
    assert (bad.file, bad.number, bad.line) == (path, 2, 18)
    assert "announces 9 peaks and lists 7" in str(bad)
    with pytest.raises(InvalidRecord, match="announces 9"):
        list(read_spectra(path, "lc_ms"))


BAD_PEAKS = {
    "138.0662 -5": "peak 2 has the intensity -5, not a number of zero or more",
    "138.0662 nan": "peak 2 has the intensity nan",
    "138.0662 inf": "peak 2 has the intensity inf",
    "nan 5": "peak 2 has the m/z nan, not a number above zero",
    "0 5": "peak 2 has the m/z 0",
    "-138 5": "peak 2 has the m/z -138",
}


@pytest.mark.parametrize("ending", ["msp", "mgf"])
@pytest.mark.parametrize(("peak", "says"), BAD_PEAKS.items())
def test_a_bad_peak_is_named(tmp_path: Path, ending: str, peak: str, says: str) -> None:
    text = MONA if ending == "msp" else MGF.replace("110.0713 12.5", "1 1", 1)
    text = text.replace("138.0662 100\n", f"138.0662 100\n{peak}\n" if ending == "mgf" else f"{peak}\n", 1)
    with pytest.raises(InvalidRecord, match=says):
        read_spectrum(f"{put(tmp_path, f'x.{ending}', text)}#1", "lc_ms")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("x.msp", b"", "the file is empty"),
        ("x.msp", b"\n \n", "the file is empty"),
        ("x.msp.gz", gzip.compress(b"", mtime=0), "the file is empty"),
        ("x.msp.gz", MONA.encode(), "cannot be read"),
        ("x.msp", gzip.compress(MONA.encode(), mtime=0), "not MSP but gzip data"),
        ("x.mgf", b"\x89PNG\r\n\x1a\n" + bytes(100), "not MGF but a PNG picture"),
        ("x.msp", mzml(scan([50], [1])).encode(), "not MSP but mzML"),
        ("x.msp", MGF.encode(), "not MSP but MGF"),
        ("x.mgf", MONA.encode(), "not MGF but MSP"),
        ("x.mgf", EI.encode(), "not MGF but JCAMP-DX"),
        ("x.mzML", MGF.encode(), "not mzML but MGF"),
        ("x.jdx", MONA.encode(), "not JCAMP-DX but MSP"),
        ("x.mgf", MGF.encode("utf-16"), "UTF-16 text, whatever its name says; save the file as UTF-8"),
        ("x.mgf", bytes(range(256)) * 40, "not MGF but binary data"),
        ("x.msp", b"hello world\n" * 100, "not MSP but some other text"),
        (
            "x.txt",
            b"hello",
            "ending '.txt' is of no format of spectra, and it holds some other text",
        ),
        ("noending", b"%PDF-1.4", "ending '' is of no format of spectra, and it holds a PDF document"),
        ("x.mgf", b"BEGIN IONS\nEND IONS\n", "it has no peaks"),
        ("x.mgf", b"BEGIN IONS\nPEPMASS=abc\n5 5\nEND IONS\n", "precursor m/z is 'abc', not a number"),
        ("x.mgf", b"BEGIN IONS\nPEPMASS=-5\n5 5\nEND IONS\n", "precursor m/z is '-5'"),
        ("x.mgf", b"BEGIN IONS\n5 5\n6\nEND IONS\n", "line 3: '6' is not a peak"),
        ("x.mgf", b"BEGIN IONS\n5 5\nEND ION", "has no END IONS"),
        ("x.mgf", b"# BEGIN IONS\nBEGIN IONS OF\n", "no spectrum"),
        ("x.msp", b"Name: a\nNum Peaks: 0\n\n", "it has no peaks"),
        ("x.msp", b"Name: a\nNum Peaks: 2\n5 5\n", "announces 2 peaks and lists 1"),
        ("x.msp", b"Name: a\nNum Peaks: 2\n\n", "announces 2 peaks and lists none"),
        ("x.msp", b"Name: a\nNum Peaks: x\n5 5\n", "'Num Peaks' is 'x', not a count"),
        ("x.msp", b"Name: a\nNum Peaks: 1\n5 z\n", "line 3: '5 z' is not a peak"),
        ("x.msp", b"Name: a\nNum Peaks: 1\n5 0\n", "all its intensities are zero"),
        ("x.msp", b"Name: a\n\nName: b\nNum Peaks: 1\n5 1\n", "no 'Num Peaks:' line"),
        ("x.msp", b"Name: a\nPrecursorMZ: many\nNum Peaks: 1\n5 1\n", "precursor m/z is 'many'"),
    ],
)
def test_a_bad_file_is_one_sentence(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    path = put(tmp_path, name, content)
    with pytest.raises(InvalidRecord) as caught:
        read_spectrum(f"{path}#1", "lc_ms")
    assert says in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(InvalidRecord):
        list(read_spectra(path, "lc_ms"))


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("x.msp#0", "'#0' is no number of a spectrum; they are counted from 1"),
        ("x.msp#-1", "'#-1' is no number"),
        ("x.msp#two", "'#two' is no number"),
        ("x.msp#", "'#' is no number"),
        ("x.msp#99", "has 2 spectra, so there is no number 99"),
        ("y.msp", "there is no such file"),
        ("", "this is a directory"),
        ("\0.msp", "no such file|none of a file"),
        ("a" * 5000 + ".msp", "too long"),
    ],
)
def test_a_place_that_is_none(tmp_path: Path, asked: str, says: str) -> None:
    put(tmp_path, "x.msp", MONA + NIST)
    (tmp_path / "folder.msp").mkdir()
    with pytest.raises(InvalidRecord, match=says):
        read_spectrum(f"{tmp_path}/{asked or 'folder.msp'}", "lc_ms")


def test_the_modality_must_be_one_of_spectra_and_of_the_format(tmp_path: Path) -> None:
    path = put(tmp_path, "x.msp", MONA)
    with pytest.raises(UnknownModality):
        read_spectra(path, "image")
    with pytest.raises(InvalidRecord, match="MSP files hold mass spectra, not c_nmr"):
        read_spectrum(path, "c_nmr")


def test_an_old_encoding_is_understood_and_a_mark_dropped(tmp_path: Path) -> None:
    assert read_spectrum(put(tmp_path, "x.mgf", b"\xef\xbb\xbf" + MGF.encode()), "lc_ms").number == 1
    old = put(tmp_path, "y.mgf", MGF.replace("=first", "=β-Ionon ½".replace("β", "ß")).encode("cp1252"))
    assert read_spectrum(old, "lc_ms").about["title"] == "ß-Ionon ½"


def test_a_truncated_gzip_gives_what_came_before(tmp_path: Path) -> None:
    many = [MONA.replace("12.5", f"{n * 7919 % 1000}.{n * 104729 % 9973}") for n in range(200)]
    packed = gzip.compress("".join(many).encode())
    path = put(tmp_path, "x.msp.gz", packed[: len(packed) // 2])
    found = list(read_spectra(path, "lc_ms", on_error="yield"))
    assert len(found) > 50
    assert all(isinstance(one, PeakList) for one in found[:-1])
    last = found[-1]
    assert isinstance(last, BadSpectrum)
    assert last.number is None
    assert "damaged or cut off" in str(last)
    with pytest.raises(InvalidRecord, match="damaged or cut off"):
        read_spectrum(f"{path}#201", "lc_ms")


@pytest.mark.parametrize("ending", ["msp", "mgf"])
def test_far_too_many_peaks_are_refused_and_not_kept(
    tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = []
    check = base.Block.check
    monkeypatch.setattr(base, "MAX_LINES", 2_000)
    monkeypatch.setattr(base.Block, "check", lambda block: (kept.append(len(block.lines)), check(block)))
    head = b"Name: a\nNum Peaks: 10000\n" if ending == "msp" else b"BEGIN IONS\nPEPMASS=5\n"
    tail = b"\n" + MONA.encode() if ending == "msp" else b"END IONS\n" + MGF.encode()
    path = put(tmp_path, f"x.{ending}", head + b"100.12345 1\n" * 10_000 + tail)
    with pytest.raises(InvalidRecord, match=r"#1, line 1: it has more than 2,000 lines.*centroid"):
        read_spectrum(f"{path}#1", "lc_ms")
    assert kept == [2_000]
    assert read_spectrum(f"{path}#2", "lc_ms").line == (10_004 if ending == "msp" else 10_007)


def test_more_peaks_than_a_record_takes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "MAX_PEAKS", 1_000)
    path = put(tmp_path, "x.msp", "Name: a\nNum Peaks: 1001\n" + "100 1\n" * 1_001)
    with pytest.raises(InvalidRecord, match="1,001 peaks, more than 1,000"):
        read_spectrum(path, "lc_ms")


def test_a_line_without_end_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path, "x.msp", b"Name: a\nNum Peaks: 1\n" + b"1" * (5 << 20))
    with pytest.raises(InvalidRecord, match="line 3: the line has more than"):
        read_spectrum(path, "lc_ms")


def test_one_spectrum_of_a_large_file_costs_neither_time_nor_memory(tmp_path: Path) -> None:
    path = put(tmp_path, "x.mgf", MGF * 20_000)
    assert path.stat().st_size > 5e6
    read_spectrum(put(tmp_path, "small.mgf", MGF), "lc_ms")  # imports count as memory, too
    with most_memory() as most:
        one = read_spectrum(path, "lc_ms")
    assert (one.number, one.about["of"]) == (1, "more than one")
    assert most() < 2e6


def test_endings_are_listed() -> None:
    assert endings() == [".dx", ".jcamp", ".jdx", ".json", ".mgf", ".msp", ".mzml", ".mzxml"]


def test_a_wrong_kind_of_block_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidRecord, match="its only spectrum is not of gc_ms: its data type is 'nmr"):
        read_spectrum(put(tmp_path, "x.jdx", C13), "gc_ms")
