"""NMR in JCAMP-DX: peak tables, assignments, and curves and FIDs, whose peaks are picked.

Standard: Davies and Lampen, Appl. Spectrosc. 1993, 47, 1093. nmrglue decodes the ordinates (AFFN, PAC,
SQZ, DIF, DUP).
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acml_search.chem.peaks import Peak, PeakList
from acml_search.ms.io.base import Block, Entry, Format, OtherKind, Unreadable, damage
from acml_search.ms.io.jcamp import (
    TABLES,
    Labels,
    about_of,
    blocks,
    check_kind,
    labels_of,
    number_of,
    peak_table,
    plain_label,
)

if TYPE_CHECKING:
    from acml_search.core.typing import Floats
    from acml_search.nmr.curves import Fid

MAX_PEAKS = 1_000
NUCLEI = {"c_nmr": "13C", "h_nmr": "1H"}
SPANS = {"c_nmr": (45.0, 1000.0), "h_nmr": (0.5, 45.0)}
"""ppm that the axis of a spectrum of the nucleus covers; used only where a file names no nucleus"""

MAX_POINTS = 4 << 20
_CURVE = re.compile(r"\s*##\s*(?:XY[ _]?DATA|DATA[ _]?TABLE)\s*=\s*\([^)]*\+\+", re.IGNORECASE)
_DUP = re.compile(r"[S-Zs]\d{0,15}")
_DUP_DIGITS = dict(zip("STUVWXYZs", "123456789", strict=True))


def check_nucleus(stated: str, modality: str) -> None:
    """Raises OtherKind where a file states another nucleus than the modality's ("^1H", "C13")."""
    letters = re.sub(r"[^0-9A-Za-z]", "", stated).upper()
    names = {"HYDROGENATOM": "1H", "PROTON": "1H", "CARBONATOM": "13C", "CARBON13ATOM": "13C"}
    nucleus = names.get(letters) or re.sub(r"^([A-Z]+)(\d+)$", r"\2\1", letters)
    if nucleus and nucleus != NUCLEI[modality]:
        raise OtherKind(
            f"its nucleus is {stated[:20]!r}, and {modality} takes {NUCLEI[modality]}; name another"
        )


def _entries(path: Path, modality: str) -> Iterator[Entry]:
    for block in blocks(path):
        curve = any(_CURVE.match(line) for _, line in block.lines)
        yield Entry(block.line, partial(_read, block, modality), curve)


def _read(block: Block, modality: str) -> PeakList:
    labels = labels_of(block)
    check_kind(labels, "NMR", modality)
    kind = plain_label(labels.get("DATATYPE", [""])[0])
    dimensions = labels.get("NUMDIM", labels.get("NUMDIMS", ["1"]))[0]
    if kind.startswith(("NDNMR", "2DNMR")) or (number_of(dimensions) or 1) > 1:
        raise OtherKind("it has two dimensions; give a spectrum of one")
    if "INTEGRAL" in kind:
        raise OtherKind("it lists integrals, not peaks; name another")
    about = about_of(labels)
    check_nucleus(about.get(".OBSERVENUCLEUS", "") or about.get("$NUC1", ""), modality)
    rows = peak_table(labels)
    if rows is None:
        if not any(name in labels for name in TABLES):
            raise Unreadable("it has no peak table and no curve; save the spectrum or its peaks again")
        return _picked(labels, kind, about, modality)
    field = _positive(about.get(".OBSERVEFREQUENCY"))
    unit = about.get("XUNITS", "PPM").strip().upper()
    if unit not in ("PPM", "HZ"):
        raise Unreadable(f"its positions are in {unit[:20]!r}; save them in ppm")
    if unit == "HZ" and field is None:
        raise Unreadable("its positions are in Hz and the frequency is not stated; save them in ppm")
    if not rows:
        raise Unreadable("it has no peaks; pick the peaks and save it again")
    if len(rows) > MAX_PEAKS:
        raise Unreadable(f"it has {len(rows):,} peaks, more than {MAX_PEAKS:,}; pick its peaks")
    scale = field if unit == "HZ" and field else 1.0
    if not all(math.isfinite(row.x) and (row.y is None or math.isfinite(row.y)) for row in rows):
        raise Unreadable("it has a peak whose position or height is not a finite number; correct it")
    peaks = dict.fromkeys(
        Peak(row.x / scale, intensity=row.y, multiplicity=row.multiplicity) for row in rows
    )  # an assignment names a peak once for each of its atoms
    bare = all(row.multiplicity is None and row.text is None for row in rows)
    if modality == "h_nmr" and field is not None and bare:
        from acml_search.nmr.curves import SPLITTING, multiplets

        grouped = multiplets(list(peaks), field)
        if 0 < len(grouped) < len(peaks):
            about["notes"] = [
                f"its {len(peaks)} lines are taken as {len(grouped)} multiplets: lines up to {SPLITTING:g} "
                "Hz apart are one, and so are the halves of a doublet"
            ]
            peaks = dict.fromkeys(grouped)
    return PeakList(modality, tuple(peaks), solvent=_solvent(about), field_mhz=field, about=about)


def _solvent(about: dict[str, Any]) -> str | None:
    stated = (about.get(name) for name in (".SOLVENTNAME", "$SOLVENT", "SOLVENT", "$SLVNT"))
    return next((text.strip("<> ") for text in stated if text and text.strip("<> ")), None)


def _positive(text: str | None) -> float | None:
    value = number_of(text or "")
    return value if value is not None and value > 0 else None


# ---- curves: spectra and FIDs


def _picked(labels: Labels, kind: str, about: dict[str, Any], modality: str) -> PeakList:
    from acml_search.nmr import curves

    real, imaginary = _ordinates(labels)
    common: dict[str, Any] = {
        "solvent": _solvent(about),
        "field_mhz": _positive(about.get("$SF")) or _positive(about.get(".OBSERVEFREQUENCY")),
        "pulse_sequence": about.get(".PULSESEQUENCE", ""),
    }
    if "FID" in kind:
        fid = _fid(labels, real, imaginary, common)
        return curves.picked(curves.transformed(fid, modality), modality, about)
    low, high = _axis(labels, len(real), common["field_mhz"])
    if not about.get(".OBSERVENUCLEUS") and not about.get("$NUC1"):
        least, most = SPANS[modality]
        if not least <= abs(high - low) <= most:
            raise OtherKind(
                f"it names no nucleus, and its axis of {abs(high - low):.0f} ppm is not one of "
                f"{NUCLEI[modality]}; give it as the other nucleus"
            )
    return curves.picked(curves.Curve(low, high, real, **common), modality, about)


def _ordinates(labels: Labels) -> tuple[Floats, Floats | None]:
    """(n,) real and, where there are, imaginary values, with their factors.

    Raises Unreadable for data that nmrglue cannot decode, or of another number of points than is stated.
    """
    import numpy as np

    pages = labels.get("DATATABLE") or labels.get("XYDATA") or []
    found: dict[str, Floats] = {}
    for page in pages:
        head = page.split("\n", 1)[0].upper()
        name = "I" if "I..I" in head else "R"
        if name not in found and "++" in head:
            found[name] = _decoded(page, labels)
    if "R" not in found:
        shown = pages[0].split("\n", 1)[0][:40] if pages else ""
        raise Unreadable(f"its data are of the form {shown!r}; save them as (X++(Y..Y)) or as a peak table")
    factors = {"R": _factor_of(labels, "R"), "I": _factor_of(labels, "I")}
    values = {name: np.asarray(one, np.float64) * factors[name] for name, one in found.items()}
    if not all(np.isfinite(one).all() for one in values.values()):
        raise Unreadable("its curve has values that are not finite numbers; save it again")
    imaginary = values.get("I")
    if imaginary is not None and len(imaginary) != len(values["R"]):
        raise Unreadable("its real and imaginary parts differ in length; save it again")
    return values["R"], imaginary


def _decoded(page: str, labels: Labels) -> Floats:
    from nmrglue.fileio import jcampdx

    points = number_of(_column(labels, "VARDIM", "R") or labels.get("NPOINTS", [""])[0])
    repeats = sum(int(_DUP_DIGITS[dup[0]] + dup[1:]) for dup in _DUP.findall(page))
    if repeats > MAX_POINTS:
        raise Unreadable(f"it repeats ordinates {repeats:,} times, too many for a spectrum; save it again")
    texts = [page]
    if "." not in page.split("\n", 1)[-1]:  # perhaps decimal commas
        texts.append(re.sub(r"(?<=\d),(?=\d)", ".", page))
    lengths = []
    for text in texts:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of factors, which are applied here
                data: Any = jcampdx.getdataarray({"XYDATA": [text]})
        except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise Unreadable(
                f"nmrglue cannot decode its curve ({damage(error)[:80]}); save it again"
            ) from error
        if data is None or not len(data):
            raise Unreadable("nmrglue cannot decode its curve; save it again")
        if points is None or abs(len(data) - points) <= 1:
            return data
        lengths.append(len(data))
    raise Unreadable(
        f"it states {int(points or 0):,} points, and {lengths[0]:,} can be decoded; save or copy it again"
    )


def _column(labels: Labels, name: str, symbol: str) -> str:
    """What a label of NTUPLES says of a variable; empty where it says nothing."""
    symbols = [text.strip().upper() for text in labels.get("SYMBOL", [""])[0].split(",")]
    values = labels.get(name, [""])[0].split(",")
    if symbol in symbols and symbols.index(symbol) < len(values):
        return values[symbols.index(symbol)].strip()
    return ""


def _factor_of(labels: Labels, symbol: str) -> float:
    text = _column(labels, "FACTOR", symbol) if "SYMBOL" in labels else labels.get("YFACTOR", ["1"])[0]
    value = number_of(text or "1")
    if value is None or value == 0:
        raise Unreadable(f"its factor {text[:40]!r} is not a number; correct it")
    return value


def _axis(labels: Labels, n: int, field: float | None) -> tuple[float, float]:
    """Shifts in ppm of the first and of the last point."""
    in_tuples = bool(_column(labels, "FIRST", "X"))
    unit = (_column(labels, "UNITS", "X") if in_tuples else labels.get("XUNITS", ["PPM"])[0]).upper()
    names = [("FIRST", "FIRSTX"), ("LAST", "LASTX")]
    texts = [_column(labels, a, "X") if in_tuples else labels.get(b, [""])[0] for a, b in names]
    first, last = (number_of(text) for text in texts)
    if first is None or last is None or first == last:
        raise Unreadable("its axis lacks FIRSTX and LASTX; save it again")
    if unit not in ("PPM", "HZ"):
        raise Unreadable(f"its axis is in {unit[:20]!r}; save it in ppm")
    if unit == "PPM":
        return first, last
    if field is None:
        raise Unreadable("its axis is in Hz and the frequency is not stated; save it in ppm")
    first, last = first / field, last / field
    if 0.0 not in (first, last):
        return first, last
    reference = _reference(labels)  # the axis begins or ends at 0 Hz: it was counted from the end
    if reference is None:
        raise Unreadable("its axis counts Hz from its end and no reference is stated; save it in ppm")
    index, shift = reference
    at = first + (last - first) * index / max(n - 1, 1)
    return first - at + shift, last - at + shift


def _reference(labels: Labels) -> tuple[float, float] | None:
    """A point of the axis, from 0, and its shift in ppm, as Bruker's OFFSET or .SHIFT REFERENCE state it."""
    offset = number_of(labels.get("$OFFSET", [""])[0])
    if offset is not None:
        return 0.0, offset
    parts = [part.strip("() ") for part in labels.get(".SHIFTREFERENCE", [""])[0].split(",")]
    if len(parts) != 4:
        return None
    index, shift = number_of(parts[2]), number_of(parts[3])
    return None if index is None or shift is None else (max(index - 1, 0.0), shift)


def _fid(labels: Labels, real: Floats, imaginary: Floats | None, common: dict[str, Any]) -> Fid:
    from acml_search.nmr.curves import Fid

    if imaginary is None:
        raise Unreadable("its FID has no imaginary part; process it and save the spectrum")
    field = common["field_mhz"]
    span = [number_of(_column(labels, name, "X")) for name in ("FIRST", "LAST")]
    unit = _column(labels, "UNITS", "X").upper()
    if field is None or None in span or unit not in ("S", "SEC", "SECONDS", "SECOND"):
        raise Unreadable("its FID lacks its times or the frequency; process it and save the spectrum")
    width = (len(real) - 1) / abs(span[1] - span[0]) if span[1] != span[0] else 0.0  # type: ignore[operator]
    reference = _reference(labels)
    if reference is None:
        raise Unreadable("its FID states no reference; process it and save the spectrum")
    index, shift = reference
    left = shift + width / field / 2 if index > 0 else shift
    values = {name: number_of(labels.get(f"${name}", [""])[0]) for name in ("DECIM", "DSPFVS", "GRPDLY")}
    decim, version = values["DECIM"], values["DSPFVS"]
    digital = None if decim is None or version is None else (decim, version, values["GRPDLY"] or 0.0)
    return Fid(
        real + 1j * imaginary,
        width_hz=width,
        left_ppm=left,
        filter=digital,
        **common,
    )


JCAMP_NMR = Format("JCAMP-DX", ("c_nmr", "h_nmr"), _entries)
