"""NMR data as instruments store them, synthesised for the tests of their readers."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

Signal = tuple[float, float]
"""shift in ppm, area"""

ETHYL_ACETATE_C: list[Signal] = [(171.1, 0.5), (60.4, 1.0), (21.0, 0.9), (14.2, 1.0)]
CDCL3: list[Signal] = [(77.16 + k * 32.0 / 100.6, 1.5) for k in (-1, 0, 1)]


def multiplet(shift: float, area: float, lines: Sequence[float], j: float, mhz: float) -> list[Signal]:
    """Lines of relative heights, j Hz apart."""
    middle = (len(lines) - 1) / 2
    return [(shift + (middle - i) * j / mhz, area * height / sum(lines)) for i, height in enumerate(lines)]


def ethyl_acetate_h(mhz: float = 400.0) -> list[Signal]:
    """4.12 q, 2.04 s, 1.26 t (J 7.1 Hz), TMS and CHCl3."""
    return [
        *multiplet(4.12, 2, (1, 3, 3, 1), 7.1, mhz),
        (2.04, 3.0),
        *multiplet(1.26, 3, (1, 2, 1), 7.1, mhz),
        (0.0, 0.4),
        (7.26, 0.3),
    ]


def spectrum(
    signals: Sequence[Signal],
    first: float,
    last: float,
    mhz: float,
    n: int = 16384,
    width: float = 1.0,
    noise: float = 0.002,
) -> Any:
    """(n,) Lorentzian lines of a width in Hz from the first shift to the last, and noise."""
    ppm = np.linspace(first, last, n)
    y = sum(area / (1 + ((ppm - shift) * mhz / (width / 2)) ** 2) for shift, area in signals)
    return y + noise * np.random.default_rng(0).normal(size=n)


def decay(
    signals: Sequence[Signal],
    centre: float,
    sweep: float,
    mhz: float,
    n: int = 8192,
    phase: float = 40.0,
    noise: float = 0.002,
) -> Any:
    """(n,) complex FID; frequencies count from the centre in ppm."""
    t = np.arange(n) / sweep
    rng = np.random.default_rng(0)
    values = sum(
        area * np.exp(2j * np.pi * (shift - centre) * mhz * t - t * np.pi) for shift, area in signals
    )
    return values * np.exp(1j * np.radians(phase)) + noise * (rng.normal(size=n) + 1j * rng.normal(size=n))


# ---- JCAMP-DX


def affn(values: Sequence[int], per_line: int = 8) -> str:
    rows = [values[i : i + per_line] for i in range(0, len(values), per_line)]
    return "\n".join(" ".join(map(str, [i * per_line, *row])) for i, row in enumerate(rows))


def pac(values: Sequence[int], per_line: int = 8) -> str:
    rows = [values[i : i + per_line] for i in range(0, len(values), per_line)]
    return "\n".join(
        f"{i * per_line}" + "".join(f"{value:+d}" for value in row) for i, row in enumerate(rows)
    )


def integers(y: Any, top: int = 1_000_000) -> list[int]:
    return [int(value) for value in np.rint(np.real(y) / np.abs(y).max() * top)]


def jcamp_curve(y: Any, first: float, last: float, mhz: float, encode: Any = affn, **labels: object) -> str:
    """A block of XYDATA, its axis in Hz; labels: further ones, or others."""
    stated = {
        "TITLE": "synthetic",
        "JCAMP-DX": "5.01",
        "DATA TYPE": "NMR SPECTRUM",
        "DATA CLASS": "XYDATA",
        ".OBSERVE NUCLEUS": "^13C",
        ".OBSERVE FREQUENCY": mhz,
        ".SOLVENT NAME": "CDCl3",
        "XUNITS": "HZ",
        "FIRSTX": first * mhz,
        "LASTX": last * mhz,
        "NPOINTS": len(y),
        "XFACTOR": 1,
        "YFACTOR": 0.5,
        **{name.replace("_", " "): value for name, value in labels.items()},
    }
    head = "\n".join(f"##{name}={value}" for name, value in stated.items() if value is not None)
    return f"{head}\n##XYDATA=(X++(Y..Y))\n{encode(integers(y))}\n##END=\n"


def jcamp_ntuples(
    y: Any, units: str, first: float, last: float, factor: float, *, kind: str, mhz: float, **more: object
) -> str:
    """A block of NTUPLES with a real and an imaginary page."""
    top = np.abs(y).max()
    pages = [
        (name, [int(v) for v in np.rint(part(y) / top * 1_000_000)])
        for name, part in (("R", np.real), ("I", np.imag))
    ]
    labels = "\n".join(f"##{name}={value}" for name, value in more.items())
    data = "".join(
        f"##PAGE=N={n}\n##DATA TABLE=(X++({name}..{name})), XYDATA\n{affn(values)}\n"
        for n, (name, values) in enumerate(pages, 1)
    )
    return (
        f"##TITLE=synthetic\n##JCAMP-DX=5.00\n##DATA TYPE={kind}\n##DATA CLASS=NTUPLES\n"
        "##.OBSERVE NUCLEUS=^1H\n"
        f"##.OBSERVE FREQUENCY={mhz}\n##.SOLVENT NAME=CDCl3\n{labels}\n##NTUPLES={kind}\n"
        f"##VAR_NAME=X,R,I,N\n##SYMBOL=X,R,I,N\n##VAR_DIM={len(y)},{len(y)},{len(y)},2\n"
        f"##UNITS={units},ARBITRARY UNITS,ARBITRARY UNITS,\n##FACTOR={factor},0.001,0.001,1\n"
        f"##FIRST={first},0,0,1\n##LAST={last},0,0,2\n{data}##END NTUPLES={kind}\n##END=\n"
    )


# ---- Bruker, Varian, nmrML


def parameters(**values: object) -> str:
    return (
        "##TITLE= synthetic\n"
        + "".join(f"##${name}= {value}\n" for name, value in values.items())
        + "##END=\n"
    )


def bruker(
    folder: Path,
    *,
    processed: Any = None,
    fid: Any = None,
    nucleus: str = "1H",
    mhz: float = 400.0,
    sweep: float = 8000.0,
    centre: float = 6.0,
    solvent: str = "CDCl3",
    pulse: str = "zg30",
    big_endian: bool = False,
) -> Path:
    """An experiment of Bruker: processed is a real spectrum over the whole sweep, fid is complex."""
    order = ">i4" if big_endian else "<i4"
    folder.mkdir(parents=True)
    acqus = parameters(
        NUC1=f"<{nucleus}>", BF1=mhz, O1=centre * mhz, SFO1=mhz * (1 + centre / 1e6), SW_h=sweep,
        SOLVENT=f"<{solvent}>",
        PULPROG=f"<{pulse}>", BYTORDA=int(big_endian), DTYPA=0, AQ_mod=3, DIGMOD=0, DECIM=1, DSPFVS=0,
    )  # fmt: skip
    (folder / "acqus").write_text(acqus)
    if fid is not None:
        pairs = np.column_stack([fid.real, fid.imag]) / np.abs(fid).max() * 1e8
        (folder / "fid").write_bytes(np.rint(pairs).astype(order).tobytes())
    if processed is not None:
        place = folder / "pdata" / "1"
        place.mkdir(parents=True)
        procs = parameters(
            SI=len(processed),
            OFFSET=centre + sweep / mhz / 2,
            SW_p=sweep,
            SF=mhz,
            BYTORDP=int(big_endian),
            DTYPP=0,
        )
        (place / "procs").write_text(procs)
        (place / "1r").write_bytes(np.asarray(integers(processed, 10**8)).astype(order).tobytes())
    return folder


def nmrml(
    values: Any,
    *,
    mhz: float,
    sweep: float,
    centre: float,
    axis: tuple[float, float] | None = None,
    packed: bool = True,
) -> str:
    """An nmrML document with an FID, or with a spectrum over an axis in ppm."""
    kind = "Complex128" if np.iscomplexobj(values) else "Float64"
    data = np.asarray(values, "<c16" if kind == "Complex128" else "<f8").tobytes()
    text = base64.b64encode(zlib.compress(data) if packed else data).decode()
    array = f'compressed="{str(packed).lower()}" encodedLength="{len(text)}" byteFormat="{kind}"'
    if axis is None:
        body = f"<fidData {array}>{text}</fidData></acquisition1D></acquisition>"
    else:
        body = (
            "</acquisition1D></acquisition><spectrumList><spectrum1D>"
            f"<spectrumDataArray {array}>{text}</spectrumDataArray>"
            f'<xAxis unitName="ppm" startValue="{axis[0]}" endValue="{axis[1]}"/></spectrum1D></spectrumList>'
        )
    return (
        '<?xml version="1.0"?><nmrML xmlns="http://nmrml.org/schema"><acquisition><acquisition1D><acquisitionParameterSet>'
        '<DirectDimensionParameterSet><acquisitionNucleus name="hydrogen atom"/>'
        f'<effectiveExcitationField value="{mhz}"/><sweepWidth value="{sweep}" unitName="hertz"/>'
        f'<irradiationFrequency value="{mhz * (1 + centre / 1e6)}"/></DirectDimensionParameterSet>'
        f"</acquisitionParameterSet>{body}</nmrML>"
    )


def varian(folder: Path, fid: Any, *, mhz: float, sweep: float, centre: float, nucleus: str = "H1") -> Path:
    """A folder of Varian: an FID of one block, and the parameters that are read."""
    folder.mkdir(parents=True)
    pairs = np.column_stack([fid.real, fid.imag]).astype(">f4").tobytes()
    head = np.array([1, 1, 2 * len(fid), 4, len(pairs), len(pairs) + 28], ">i4").tobytes()
    head += np.array([0, 0x1 | 0x8 | 0x10], ">i2").tobytes() + np.array([1], ">i4").tobytes()
    block = np.array([0, 0x1 | 0x8 | 0x10, 1, 0], ">i2").tobytes() + np.array([1], ">i4").tobytes()
    block += np.zeros(4, ">f4").tobytes()
    (folder / "fid").write_bytes(head + block + pairs)
    right = centre * mhz - sweep / 2
    reals = {"sw": sweep, "sfrq": mhz, "reffrq": mhz, "rfl": -right, "rfp": 0.0, "np": 2 * len(fid)}
    texts = {"tn": nucleus, "solvent": "cdcl3", "seqfil": "s2pul"}
    rows = [f"{name} 1 1 1e18 -1e18 0 2 1 0 1 64\n1 {value} \n0 \n" for name, value in reals.items()]
    rows += [f'{name} 2 2 8 0 0 2 1 0 1 64\n1 "{value}"\n0 \n' for name, value in texts.items()]
    (folder / "procpar").write_text("".join(rows))
    return folder
