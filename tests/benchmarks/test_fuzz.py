"""A short run of the fuzzer, `python -m benchmarks.fuzz`, on its own seeds and on files made here."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from nmr_files import (
    bruker,
    decay,
    ethyl_acetate_h,
    jcamp_curve,
    jcamp_ntuples,
    nmrml,
    spectrum,
    varian,
)
from spectrum_files import C13, CURVE, EI, H1, MGF, MONA, MSDIAL, NIST, mzml, scan

from acml_search.core.errors import ConfigError
from benchmarks import fuzz

PROTON = {".OBSERVE_NUCLEUS": "^1H"}
POINTS = spectrum(ethyl_acetate_h(), 16.0, -4.0, 400.0, 1024, width=8.0)
FID = decay(ethyl_acetate_h(), 6.0, 8000.0, 400.0, 512)
SCANS = scan([100], [1], level=1), scan([50, 60.5], [1, 2]), scan([70], [3], packed=False)
MASSES = {
    "x.msp": MONA + NIST + MSDIAL, "x.mgf": MGF, "x.mzML": mzml(*SCANS), "x.jdx": EI + C13 + H1 + CURVE,
    "head.msp": "Name: a\nNum Peaks: 1\n", "head.mgf": "BEGIN IONS\n", "head.mzML": "<mzML>",
    "head.jdx": "##TITLE=a\n##DATA TYPE=MASS SPECTRUM\n##PEAK TABLE=(XY..XY)\n",
}  # fmt: skip
SHIFTS = {
    "peaks.jdx": EI + C13 + H1 + CURVE,
    "curve.jdx": jcamp_curve(POINTS, 16.0, -4.0, 400.0, **PROTON),
    "dif.jdx": (fuzz.CASES / "nmr" / "curve.jdx").read_text(),
    "fid.jdx": jcamp_ntuples(
        FID, "SECONDS", 0.0, 511 / 8000, 1 / 8000, kind="NMR FID", mhz=400.0,
        **{"$OFFSET": 16.0, "$SF": 400.0},
    ),
    "fid.nmrML": nmrml(np.conj(FID), mhz=400.0, sweep=8000.0, centre=6.0),
    "spectrum.nmrML": nmrml(POINTS, mhz=400.0, sweep=8000.0, centre=6.0, axis=(16.0, -4.0), packed=False),
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, fuzz.Reader]:
    """Readers of files made here, of experiments one file of which is damaged, and of such as archives."""
    root = tmp_path_factory.mktemp("nmr")
    bruker(root / "processed" / "10", processed=POINTS)
    bruker(root / "fid" / "10", fid=FID)
    varian(root / "varian" / "x.fid", np.conj(FID), mhz=400.0, sweep=8000.0, centre=6.0)
    inside = [(str(one.relative_to(root)), one) for one in sorted(root.rglob("*")) if one.is_file()]

    def damaged(path: Path) -> Path:
        """The experiment with that file in the place of its own."""
        place = path.name.replace("!", "/")
        top = Path(shutil.copytree(root / place.split("/")[0], path.parent / "made" / place.split("/")[0]))
        shutil.move(path, top.parent / place)
        return top

    def experiment(path: Path) -> None:
        top = damaged(path)
        try:
            fuzz.nmr_spectrum(top)
        finally:
            shutil.rmtree(top.parent)

    def archive(path: Path) -> None:
        top, packed = damaged(path), path.with_name("x.zip")
        with zipfile.ZipFile(packed, "w") as out:
            for one in top.rglob("*"):
                out.write(one, one.relative_to(top.parent))
        shutil.rmtree(top.parent)
        fuzz.nmr_spectrum(packed)

    def seeds(texts: dict[str, str]) -> Callable[[], list[tuple[str, bytes]]]:
        return lambda: [(name, text.encode()) for name, text in texts.items()]

    files = [(name.replace("/", "!"), one.read_bytes()) for name, one in inside]
    return {
        "masses": fuzz.Reader(seeds(MASSES), fuzz.spectra, packed=True),
        "shifts": fuzz.Reader(seeds(SHIFTS), fuzz.nmr_spectrum),
        "experiments": fuzz.Reader(lambda: files, experiment),
        "archives": fuzz.Reader(lambda: files, archive),
    }


@pytest.mark.parametrize("name", [*fuzz.READERS, "masses", "shifts", "experiments", "archives"])
def test_damaged_files_give_sentences(
    name: str, made: dict[str, fuzz.Reader], monkeypatch: pytest.MonkeyPatch
) -> None:
    if name in made:
        monkeypatch.setitem(fuzz.READERS, name, made[name])
    assert list(fuzz.run(name, 600 if name in ("masses", "shifts") else 150, seed=1)) == []


def test_findings_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def check(path: Path) -> None:
        if len(path.read_bytes()) % 2:
            raise ConfigError("refused; try again")
        raise ValueError("a bug")

    monkeypatch.setitem(fuzz.READERS, "x", fuzz.Reader(lambda: [("x.txt", b"one\ntwo\n")], check))
    findings = list(fuzz.run("x", 50))
    assert 0 < len(findings) < 50
    assert all("ValueError: a bug" in finding for finding in findings)
