"""Whatever stands in a file of spectra: peaks that can be used, or one sentence; never another error."""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spectrum_files import C13, CURVE, EI, H1, MGF, MONA, MSDIAL, NIST, mzml, scan

from acml_search.core.errors import InvalidRecord
from acml_search.modalities import get
from acml_search.ms.io import BadSpectrum, read_spectra, read_spectrum
from acml_search.nmr.sources import nmr_peaks

SOUND = {
    "x.msp": (MONA + NIST + MSDIAL).encode(),
    "x.mgf": MGF.encode(),
    "x.mzML": mzml(
        scan([100], [1], level=1), scan([50, 60.5], [1, 2]), scan([70], [3], packed=False)
    ).encode(),
    "x.jdx": (EI + C13 + H1 + CURVE).encode(),
}
HEADS = {
    "x.msp": b"Name: a\nNum Peaks: 1\n",
    "x.mgf": b"BEGIN IONS\n",
    "x.mzML": b"<mzML>",
    "x.jdx": b"##TITLE=a\n##DATA TYPE=MASS SPECTRUM\n##PEAK TABLE=(XY..XY)\n",
}
MODALITIES = ("lc_ms", "gc_ms", "c_nmr", "h_nmr")
PIECES = [
    b"", b"\n", b"\r", b"\0", b"-", b"nan", b"1e999", b"=", b":", b";", b"(", b")", b"<", b">", b"&", b'"',
    b"#", b"##", b"$$", b"\xff", "δ".encode(), b"BEGIN IONS\n", b"END IONS\n", b"Num Peaks: 3\n",
    b"Name: b\n", b"##END=\n", b"##TITLE=b\n", b"##XYDATA=(X++(Y..Y))\n", b"##XYDATA=(X++(Y..Y))\n1 @A%J\n",
    b"CHARGE=9-9\n", b"PEPMASS=1 2 3 4\n", b"</spectrum>", b"<spectrum/>", b"<binary/>", b"<cvParam/>", b"0",
    b"9" * 30, b"RTINSECONDS=abc\n", b"##DATA TYPE=NMR SPECTRUM\n", b"##XFACTOR=nan\n",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


def check(path: Path, content: bytes, modality: str) -> None:
    path.write_bytes(content)
    if modality.endswith("nmr"):
        check_nmr(path, modality)
        return
    try:
        found = list(read_spectra(path, modality, on_error="yield"))
    except InvalidRecord as error:
        found = []
        sentence(error)
    for one in found:
        if isinstance(one, BadSpectrum):
            sentence(one)
            continue
        assert len(one)
        assert one.file == path
        assert all(math.isfinite(peak.position) for peak in one)
        if one.unit == "m/z":
            assert all(
                peak.position > 0 and peak.intensity is not None and peak.intensity >= 0 for peak in one
            )
        assert one.precursor_mz is None or 0 < one.precursor_mz < math.inf
    for asked in (str(path), f"{path}#2"):
        try:
            assert len(read_spectrum(asked, modality))
        except InvalidRecord as error:
            sentence(error)


def check_nmr(path: Path, modality: str) -> None:
    """What comes of a damaged file is shifts that can be, or a sentence."""
    low, high = (-50, 350) if modality == "c_nmr" else (-40, 40)
    for asked in (str(path), f"{path}#2"):
        try:
            peaks = nmr_peaks(asked, modality)
            get(modality).read(peaks.record())
        except InvalidRecord as error:
            sentence(error)
            continue
        assert all(low <= peak.position <= high for peak in peaks)


def sentence(error: InvalidRecord) -> None:
    text = str(error)
    assert "\n" not in text
    assert "Traceback" not in text
    assert len(text) < 1_000


STEPS = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 40), st.sampled_from(PIECES)), min_size=1, max_size=4
)
FUZZ = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("name", SOUND)
@given(steps=STEPS, modality=st.sampled_from(MODALITIES))
@FUZZ
def test_damaged_files(folder: Path, name: str, steps: list[tuple[float, int, bytes]], modality: str) -> None:
    content = SOUND[name]
    for place, cut, piece in steps:
        at = int(place * len(content))
        content = content[:at] + piece + content[at + cut :]
    check(folder / name, content, modality if name == "x.jdx" else MODALITIES[MODALITIES.index(modality) % 2])


@pytest.mark.parametrize("name", SOUND)
@given(tail=st.binary(max_size=300), packed=st.booleans(), cut=st.integers(0, 20))
@FUZZ
def test_random_bytes(folder: Path, name: str, tail: bytes, packed: bool, cut: int) -> None:
    content = HEADS[name] + tail
    if packed:
        content = gzip.compress(content)[: -cut or None]
    check(folder / (name + ".gz" * packed), content, "gc_ms")


@pytest.mark.parametrize("name", ["x.msp", "x.mgf", "x.jdx"])
@given(text=st.text(st.characters(codec="utf-8"), max_size=200))
@FUZZ
def test_random_text(folder: Path, name: str, text: str) -> None:
    check(folder / name, HEADS[name] + text.encode(), "lc_ms")
