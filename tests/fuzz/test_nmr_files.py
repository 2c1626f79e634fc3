"""Whatever stands in files, folders and archives of NMR: shifts that can be, or one sentence."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nmr_files import (
    affn,
    bruker,
    decay,
    ethyl_acetate_h,
    jcamp_curve,
    jcamp_ntuples,
    nmrml,
    spectrum,
    varian,
)

from acml_search.core.errors import InvalidRecord
from acml_search.modalities import get
from acml_search.nmr.sources import nmr_peaks

CASES = Path(__file__).parent.parent / "cases" / "nmr"
CURVE = spectrum(ethyl_acetate_h(), 16.0, -4.0, 400.0, 1024, width=8.0)
FID = decay(ethyl_acetate_h(), 6.0, 8000.0, 400.0, 512)
PROTON = {".OBSERVE_NUCLEUS": "^1H"}
FILES = {
    "curve.jdx": jcamp_curve(CURVE, 16.0, -4.0, 400.0, **PROTON).encode(),
    "affn.jdx": jcamp_curve(CURVE, 16.0, -4.0, 400.0, affn, **PROTON).encode(),
    "fid.jdx": jcamp_ntuples(
        FID,
        "SECONDS",
        0.0,
        511 / 8000,
        1 / 8000,
        kind="NMR FID",
        mhz=400.0,
        **{"$OFFSET": 16.0, "$SF": 400.0},
    ).encode(),
    "fid.nmrML": nmrml(np.conj(FID), mhz=400.0, sweep=8000.0, centre=6.0).encode(),
    "spectrum.nmrML": nmrml(
        CURVE, mhz=400.0, sweep=8000.0, centre=6.0, axis=(16.0, -4.0), packed=False
    ).encode(),
    **{path.name: path.read_bytes() for path in sorted(CASES.iterdir())},
}
PIECES = [
    b"", b"\n", b"\r", b"\0", b"-", b"nan", b"1e999", b"=", b";", b",", b"(", b")", b"<", b">", b'"', b"#",
    b"##", b"$$", b"\xff", "δ".encode(), b"##END=\n", b"##TITLE=b\n", b"9" * 30, b"\t", b"|", b"e308", b"@",
    b"%", b"J", b"S9", b"##PAGE=N=3\n", b"M  END\n", b"$$$$\n", b"../", b" .. ",
]  # fmt: skip
STEPS = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 40), st.sampled_from(PIECES)), min_size=1, max_size=4
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("nmr")
    bruker(root / "processed" / "10", processed=CURVE)
    bruker(root / "fid" / "10", fid=FID)
    varian(root / "varian" / "x.fid", np.conj(FID), mhz=400.0, sweep=8000.0, centre=6.0)
    return root


def damaged(content: bytes, steps: list[tuple[float, int, bytes]]) -> bytes:
    for place, cut, piece in steps:
        at = int(place**2 * len(content))  # the head more than the rest
        content = content[:at] + piece + content[at + cut :]
    return content


def check(given: Path, modality: str) -> None:
    refusal, peaks = "", None
    try:
        peaks = nmr_peaks(str(given), modality)
        get(modality).read(peaks.record())
    except InvalidRecord as error:
        refusal = str(error)
    assert "\n" not in refusal
    assert len(refusal) < 1_500
    if refusal or peaks is None:
        return
    low, high = (-50, 350) if modality == "c_nmr" else (-40, 40)
    assert len(peaks)
    assert all(low <= peak.position <= high for peak in peaks)


@pytest.mark.parametrize("name", FILES)
@given(steps=STEPS, modality=st.sampled_from(["c_nmr", "h_nmr"]))
@settings(max_examples=30)
def test_damaged_files(folder: Path, name: str, steps: list[tuple[float, int, bytes]], modality: str) -> None:
    path = folder / name
    path.write_bytes(damaged(FILES[name], steps))
    check(path, modality)


@pytest.mark.parametrize(
    "name",
    [
        "processed/10/acqus", "processed/10/pdata/1/procs", "processed/10/pdata/1/1r", "fid/10/acqus",
        "fid/10/fid", "varian/x.fid/procpar", "varian/x.fid/fid",
    ],
)  # fmt: skip
@given(steps=STEPS)
@settings(max_examples=20)
def test_damaged_experiments(folder: Path, name: str, steps: list[tuple[float, int, bytes]]) -> None:
    path, top = folder / name, folder / name.split("/")[0]
    content = path.read_bytes()
    try:
        path.write_bytes(damaged(content, steps))
        check(top, "h_nmr")
    finally:
        path.write_bytes(content)


@given(steps=STEPS, inside=st.booleans())
@settings(max_examples=30)
def test_damaged_archives(folder: Path, steps: list[tuple[float, int, bytes]], inside: bool) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted((folder / "processed").rglob("*")):
            if path.is_file():
                content = path.read_bytes()
                archive.writestr(
                    str(path.relative_to(folder)), damaged(content, steps) if inside else content
                )
    (folder / "x.zip").write_bytes(packed.getvalue() if inside else damaged(packed.getvalue(), steps))
    check(folder / "x.zip", "h_nmr")
