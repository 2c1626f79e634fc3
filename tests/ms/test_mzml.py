"""mzML: scans, levels, arrays, and files that mean harm."""

from __future__ import annotations

import gzip
import socket
from pathlib import Path
from typing import NoReturn

import pytest
from spectrum_files import array, most_memory, mzml, scan

from acml_search.core.errors import InvalidRecord
from acml_search.ms.io import BadSpectrum, read_spectra, read_spectrum


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise AssertionError("a reader went to the network")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


def put(folder: Path, content: str | bytes, name: str = "x.mzML") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


MS1 = scan([100, 200, 300], [1, 2, 3], level=1, number=1)
MS2 = scan([110.0713, 138.0662], [12.5, 100], number=2)
PLAIN = scan([50.5], [7], precursor=60.25, packed=False, number=3)


def test_ms2_scans_are_read_and_nothing_is_left_behind(tmp_path: Path) -> None:
    path = put(tmp_path, mzml(MS1, MS2, PLAIN))
    first, second = read_spectra(path, "lc_ms")
    assert [(peak.position, peak.intensity) for peak in first] == [(110.0713, 12.5), (138.0662, 100)]
    assert (first.precursor_mz, first.ion_mode, first.collision_energy) == (195.0877, "+", "30 eV")
    assert (first.number, first.file, first.about["id"]) == (2, path, "scan=2")
    assert (second.number, second.precursor_mz, len(second)) == (3, 60.25, 1)
    assert list(tmp_path.iterdir()) == [path]


def test_each_modality_takes_its_level(tmp_path: Path) -> None:
    path = put(tmp_path, mzml(MS1, MS2, scan([50], [1], level=3, number=3)))
    assert [one.number for one in read_spectra(path, "gc_ms")] == [1]
    assert [one.number for one in read_spectra(path, "lc_ms")] == [2]
    kinds = [getattr(one, "other_kind", None) for one in read_spectra(path, "lc_ms", on_error="yield")]
    assert kinds == [True, None, True]
    with pytest.raises(InvalidRecord, match="it is an MS2 scan, and gc_ms takes EI spectra"):
        read_spectrum(f"{path}#2", "gc_ms")


def test_the_first_ms2_scan_is_taken_and_its_place_told(tmp_path: Path) -> None:
    path = put(tmp_path, gzip.compress(mzml(MS1, MS2, PLAIN).encode()), "x.mzML.gz")
    one = read_spectrum(path, "lc_ms")
    assert (one.number, one.about["of"]) == (2, 3)
    assert "passed_over" not in one.about
    with pytest.raises(InvalidRecord, match="#1: it is an MS1 scan, and lc_ms takes MS2"):
        read_spectrum(f"{path}#1", "lc_ms")
    with pytest.raises(InvalidRecord, match="none of its 2 spectra is of lc_ms: it is an MS1"):
        read_spectrum(put(tmp_path, mzml(MS1, MS1)), "lc_ms")


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (scan([1, 2], [1, 2], profile=True), "profile spectrum, whose points are no peaks; centroid"),
        (scan([], []), "it has no peaks"),
        (scan([5, 6], [1, float("nan")]), "peak 2 has the intensity nan"),
        (scan([5, 6], [1, -3]), "peak 2 has the intensity -3"),
        (scan([5, 6], [1]), "2 m/z values but 1 intensities"),
        (scan([5], [1], arrays=array([5], "m/z array")), "no intensity array"),
        (scan([5], [1], arrays=array([5], "m/z array") * 2), "no intensity array"),
        (
            scan([5], [1]).replace("zlib compression", "MS-Numpress linear prediction compression"),
            "packed with MS-Nu",
        ),
        (scan([5], [1]).replace("64-bit float", "12-bit float"), "what numbers it holds"),
        (scan([5], [1]).replace("<binary>", "<binary>@@@@A"), "damaged"),
        (
            scan([5], [1], arrays=array([], "m/z array", raw=b"123") + array([1], "intensity array")),
            "damaged",
        ),
        (scan([1] * 200_000, [1] * 200_000), "more than 100,000 peaks"),
        (scan([5], [1], arrays=array([], "m/z array", raw=bytes(10_000_000)) * 2), "more than 100,000 peaks"),
    ],
)
def test_a_bad_scan_is_named_and_the_next_is_read(tmp_path: Path, bad: str, says: str) -> None:
    path = put(tmp_path, mzml(bad, MS2))
    with pytest.raises(InvalidRecord, match=says):
        read_spectrum(f"{path}#1", "lc_ms")
    first, second = read_spectra(path, "lc_ms", on_error="yield")
    assert isinstance(first, BadSpectrum)
    assert first.number == 1
    assert not isinstance(second, BadSpectrum)


def test_a_scan_that_unpacks_to_gigabytes_costs_little(tmp_path: Path) -> None:
    bomb = array([], "m/z array", raw=bytes(40_000_000))
    path = put(tmp_path, mzml(scan([5], [1], arrays=bomb * 2)))
    read_spectrum(put(tmp_path, mzml(MS2), "small.mzML"), "lc_ms")  # imports count as memory, too
    with most_memory() as most, pytest.raises(InvalidRecord, match="more than 100,000 peaks"):
        read_spectrum(path, "lc_ms")
    assert most() < 10e6


LAUGHS = '<!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]>\n'
OUTSIDE = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/hostname">]>\n'


HIDDEN = "<!-- <mzML> --><?x <mzML> ?>\n"


@pytest.mark.parametrize("before", [LAUGHS, OUTSIDE, LAUGHS.lower(), HIDDEN + LAUGHS])
def test_entities_are_refused_before_they_are_parsed(tmp_path: Path, before: str) -> None:
    path = put(tmp_path, mzml(MS2.replace("scan=2", "&c;&a;"), before=before))
    with pytest.raises(InvalidRecord, match="declares a document type"):
        read_spectrum(path, "lc_ms")


def test_comments_and_instructions_before_the_root_do_no_harm(tmp_path: Path) -> None:
    assert read_spectrum(put(tmp_path, mzml(MS2, before=HIDDEN)), "lc_ms").number == 1


def test_an_encoding_that_could_hide_them_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRecord, match="its encoding is 'utf-7'"):
        read_spectrum(put(tmp_path, mzml(MS2, encoding="utf-7")), "lc_ms")
    with pytest.raises(InvalidRecord, match="UTF-16"):
        read_spectrum(put(tmp_path, mzml(MS2, encoding="utf-16").encode("utf-16")), "lc_ms")


@pytest.mark.parametrize("share", [0.5, 0.8, 0.97])
def test_a_truncated_file_gives_what_came_before(tmp_path: Path, share: float) -> None:
    content = mzml(*[scan([110, 138], [1, 2], number=n) for n in range(1, 41)])
    path = put(tmp_path, content[: int(share * len(content))])
    found = list(read_spectra(path, "lc_ms", on_error="yield"))
    assert len(found) > 15
    assert not any(isinstance(one, BadSpectrum) for one in found[:-1])
    assert "damaged or cut off after" in str(found[-1])
    with pytest.raises(InvalidRecord, match="damaged or cut off"):
        list(read_spectra(path, "lc_ms"))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (mzml(), "holds no spectrum"),
        (mzml(MS2).replace("</spectrum>", "</spectrun>"), "the XML is damaged"),
        (mzml(MS2).replace('name="ms level"', ""), "breaks the rules of mzML"),
        ("<mzML>\0", "XML is damaged"),
        ("<a><mzML/></a>", "does not begin as mzML"),
    ],
)
def test_a_broken_file_is_one_sentence(tmp_path: Path, content: str, says: str) -> None:
    with pytest.raises(InvalidRecord, match=says) as caught:
        read_spectrum(put(tmp_path, content), "lc_ms")
    assert "\n" not in str(caught.value)
