"""Spectrum files written as text, for the tests of their readers."""

from __future__ import annotations

import base64
import tracemalloc
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

MONA = """Name: Caffeine
Synon: $:00in-source
Synon: 1,3,7-trimethylxanthine
DB#: FIO00001
InChIKey: RYYVLZVUVIJVGH-UHFFFAOYSA-N
Precursor_type: [M+H]+
Spectrum_type: MS2
PrecursorMZ: 195.0877
Ion_mode: P
Collision_energy: HCD 30
Formula: C8H10N4O2
Comments: "SMILES=CN1C=NC2=C1C(=O)N(C(=O)N2C)C" "cas number=58-08-2" "computed SMILES=Cn1cnc2c1c"
Num Peaks: 3
110.0713 12.5
138.0662 100
195.0877 40.25

"""

NIST = """NAME: Ethanol
FORMULA: C2H6O
MW: 46
CAS#: 64-17-5;  NIST#: 291264
Comments: NIST Mass Spectrometry Data Center
Num Peaks: 7
15   52; 27  220; 29  301; 30   62;
31  999; 45  514; 46  216;

"""

MSDIAL = """NAME: Unknown 17
PRECURSORMZ: 131.0502
PRECURSORTYPE: [M-H]-
SMILES: CC(CC(O)=O)C(O)=O
IONMODE: Negative
COLLISIONENERGY: 20
Num Peaks: 2
59.0139\t120\t"CH3COO-"
131.0502\t999\t"M-H; precursor"

"""

MGF = """COM=made by hand
CHARGE=1+
# a comment
BEGIN IONS
TITLE=first
PEPMASS=195.0877 1234.5
RTINSECONDS=61.5
138.0662 100
110.0713 12.5
END IONS

BEGIN IONS
TITLE=second = with a sign
PEPMASS=131.0502
CHARGE=1-
ADDUCT=[M-H]-
COLLISION_ENERGY=20 eV
SMILES=CC(CC(O)=O)C(O)=O
59.0139 7
END IONS
"""

EI = """##TITLE=ETHANOL
##JCAMP-DX=4.24
##DATA TYPE=MASS SPECTRUM
##ORIGIN=made by hand $$ with a comment
##CAS REGISTRY NO=64-17-5
##MOLFORM=C2 H6 O
##XUNITS=M/Z
##YUNITS=RELATIVE INTENSITY
##XFACTOR=1
##YFACTOR=0.1
##NPOINTS=4
##PEAK TABLE=(XY..XY)
27,2200 29,3010
31,9990 45,5140
##END=
"""

C13 = """##TITLE=ethyl acetate
##JCAMP-DX=5.00
##DATA TYPE=NMR PEAK TABLE
##DATA CLASS=PEAK TABLE
##.OBSERVE NUCLEUS=^13C
##.OBSERVE FREQUENCY=100.6
##.SOLVENT NAME=CDCl3
##XUNITS=PPM
##YUNITS=ARBITRARY
##NPOINTS=4
##PEAK TABLE=(XY..XY)
171.1, 30
60.4, 90; 21.0, 80
14.2, 100
##END=
"""

H1 = """##TITLE=ethyl acetate
##JCAMP-DX=5.00
##DATA TYPE=NMR PEAK ASSIGNMENTS
##.OBSERVE NUCLEUS=^1H
##.OBSERVE FREQUENCY=400.0
##XUNITS=HZ
##PEAK ASSIGNMENTS=(XYMA)
(1648.0, 2, Q, <OCH2 (ethyl)>)
(816.0, 3, S, <COCH3>)
(504.0, 3, T, <CH3>)
##END=
"""

CURVE = """##TITLE=a curve
##JCAMP-DX=5.00
##DATA TYPE=NMR SPECTRUM
##.OBSERVE NUCLEUS=^13C
##XUNITS=HZ
##FIRSTX=100
##LASTX=0
##NPOINTS=4
##XYDATA=(X++(Y..Y))
100 1 2 3 4
##END=
"""


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
