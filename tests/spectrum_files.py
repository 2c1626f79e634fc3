"""Spectrum files for the tests of their readers: those of `spectra`, and mzML that is written here."""

from __future__ import annotations

import base64
import tracemalloc
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

SPECTRA = Path(__file__).with_name("spectra")
MONA, NIST, MSDIAL, MGF = (
    (SPECTRA / name).read_text() for name in ("mona.msp", "nist.msp", "msdial.msp", "two.mgf")
)
EI, C13, H1, CURVE = (
    (SPECTRA / f"{name}.jdx").read_text()
    for name in ("ethanol-ei", "ethyl-acetate-c", "ethyl-acetate-h", "curve")
)


def _param(accession: str, name: str, value: object = "", unit: str = "") -> str:
    units = f' unitCvRef="UO" unitAccession="UO:0000266" unitName="{unit}"' if unit else ""
    return f'<cvParam cvRef="MS" accession="{accession}" name="{name}" value="{value}"{units}/>'


def array(values: Sequence[float], name: str, packed: bool = True, raw: bytes | None = None) -> str:
    """A binary array; `raw`: its bytes, in place of `values`."""
    data = np.asarray(values, "<f8").tobytes() if raw is None else raw
    text = base64.b64encode(zlib.compress(data) if packed else data).decode()
    packing = _param("MS:1000574", "zlib compression") if packed else _param("MS:1000576", "no compression")
    kind = _param("MS:1000523", "64-bit float")
    named = _param("MS:1000514", name)
    return (
        f'<binaryDataArray encodedLength="{len(text)}">{kind}{packing}{named}<binary>{text}</binary>'
        "</binaryDataArray>"
    )


def scan(
    mzs: Sequence[float],
    intensities: Sequence[float],
    *,
    level: int = 2,
    precursor: float | None = 195.0877,
    profile: bool = False,
    packed: bool = True,
    arrays: str | None = None,
    number: int = 1,
) -> str:
    """One `<spectrum>` of an mzML file."""
    params = [
        _param("MS:1000511", "ms level", level),
        _param("MS:1000128", "profile spectrum") if profile else _param("MS:1000127", "centroid spectrum"),
        _param("MS:1000130", "positive scan"),
    ]
    ion = ""
    if precursor is not None and level > 1:
        ion = (
            '<precursorList count="1"><precursor><selectedIonList count="1"><selectedIon>'
            f"{_param('MS:1000744', 'selected ion m/z', precursor, 'm/z')}"
            f"{_param('MS:1000041', 'charge state', 1)}"
            f"</selectedIon></selectedIonList><activation>{_param('MS:1000422', 'beam-type CID')}"
            f"{_param('MS:1000045', 'collision energy', 30.0, 'electronvolt')}</activation></precursor>"
            "</precursorList>"
        )
    arrays = arrays or array(mzs, "m/z array", packed) + array(intensities, "intensity array", packed)
    return (
        f'<spectrum index="{number - 1}" id="scan={number}" defaultArrayLength="{len(mzs)}">{"".join(params)}'
        f'{ion}<binaryDataArrayList count="2">{arrays}</binaryDataArrayList></spectrum>\n'
    )


def mzml(*scans: str, before: str = "", **more: Any) -> str:
    """An mzML file of these spectra; `before`: what stands between the XML declaration and the root."""
    return (
        f'<?xml version="1.0" encoding="{more.get("encoding", "utf-8")}"?>\n{before}'
        '<mzML xmlns="http://psi.hupo.org/ms/mzml" version="1.1.0"><run id="r">'
        f'<spectrumList count="{len(scans)}">\n{"".join(scans)}</spectrumList></run></mzML>\n'
    )


@contextmanager
def most_memory() -> Iterator[Callable[[], int]]:
    """Most bytes that Python held at once inside the block, asked for after it."""
    most = 0
    tracemalloc.start()
    try:
        yield lambda: most
    finally:
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
