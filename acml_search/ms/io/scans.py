"""mzML and mzXML through pyteomics, one spectrum at a time: nothing is indexed, cached, fetched or written.

For lc_ms only MS2 scans count, for gc_ms only MS1. Spectra are numbered as they stand in the file, whatever
their level. A profile spectrum is refused, because its points are no peaks.
"""

from __future__ import annotations

import base64
import heapq
import re
import warnings
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from acml_search.chem.peaks import PeakList
from acml_search.ms.io.base import (
    DAMAGED,
    Entry,
    Format,
    OtherKind,
    Unreadable,
    damage,
    head_of,
    mass_peaks,
    open_bytes,
)
from acml_search.ms.io.fields import ion
from acml_search.ms.peaks import MAX_PEAKS

# Declaration, comments and instructions, then the root: nothing else, above all no document type.
_PROLOG = rb"(?:\xef\xbb\xbf)?(?:\s|<!--(?:[^-]|-(?!->))*-->|<\?(?:[^?]|\?(?!>))*\?>)*+<(?:indexed)?%s\b"
_ENCODING = re.compile(rb"encoding\s*=\s*[\"']([^\"']*)[\"']")
_ENCODINGS = (b"utf-8", b"us-ascii", b"ascii", b"iso-8859-1", b"windows-1252")
_FILE_ATTRIBUTES = (
    "index",
    "count",
    "defaultArrayLength",
    "encodedLength",
    "peaksCount",
)  # not the spectrum's
_MAX_BYTES = 8 * (MAX_PEAKS + 1)  # of a decoded array
_SAME_ION = 0.01  # Th; a selected ion this near to the middle of the window is what was isolated
_WIDE = 4.0  # Th; a wider window lets through several ions, as in data-independent acquisition
_WAITING = 500  # scans of an mzXML file that may wait for the one that encloses them


class _NoVocabulary:
    """In place of the PSI-MS vocabulary, which pyteomics would fetch from the network to learn which values
    are numbers. Without it, pyteomics takes for a number what reads as one.
    """

    relationship = ()
    name = None

    def __getitem__(self, accession: str) -> _NoVocabulary:
        return self


Spectra = Iterator[dict[str, Any]]
"""as pyteomics gives them, their arrays not decoded"""


def _entries(
    name: str,
    opened: Callable[[BinaryIO], Spectra],
    read: Callable[[dict[str, Any], str], PeakList],
    path: Path,
    modality: str,
) -> Iterator[Entry]:
    _check_prolog(head_of(path), name)
    from lxml import etree
    from pyteomics.auxiliary import PyteomicsError

    number = 0
    try:
        with open_bytes(path) as stream:
            spectra = opened(stream)
            while (spectrum := _next(spectra)) is not None:
                number += 1
                yield Entry(None, partial(read, spectrum, modality))
    except etree.XMLSyntaxError as error:
        line = error.position[0] or None
        after = f"after {number:,} spectra " if number else ""
        reason = f"the XML is damaged or cut off {after}({damage(error)[:120]}); convert or copy it again"
        raise Unreadable(reason, line) from error
    except DAMAGED as error:
        reason = f"the file is damaged or cut off after {number:,} spectra ({damage(error)}); copy it again"
        raise Unreadable(reason) from error
    except (PyteomicsError, KeyError, ValueError, TypeError, AttributeError) as error:
        # what pyteomics meets in XML that is well-formed, but lacks what the format demands
        reason = f"it breaks the rules of {name} after {number:,} spectra ({damage(error)[:120]})"
        raise Unreadable(f"{reason}; convert it again with a current msconvert") from error


def _next(reader: Spectra) -> dict[str, Any] | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of arrays without a name, which `_read` refuses
        return next(reader, None)


def _check_prolog(head: bytes, name: str) -> None:
    """Raises Unreadable for entities, or an encoding that could hide them: an XML parser might not end."""
    prolog = re.match(_PROLOG % name.encode(), head)
    if prolog is None and b"<!" in head.replace(b"<!--", b""):
        raise Unreadable(
            f"it declares a document type, which no {name} needs and which is not read; remove it"
        )
    if prolog is None:
        raise Unreadable(f"it does not begin as {name} does; convert it again with a current msconvert")
    stated = _ENCODING.search(prolog.group())
    if stated and stated[1].lower() not in _ENCODINGS:
        shown = stated[1].decode("ascii", "replace")[:40]
        raise Unreadable(f"its encoding is {shown!r}; save it as UTF-8")


class _Ion(NamedTuple):
    """What a scan says of the ion that was fragmented."""

    selected: float | None
    """m/z, as is `target`"""
    target: float | None
    """the middle of the isolation window"""
    window: tuple[float, float] | None
    """its ends, where they are stated"""
    charge: Any


def _scan(
    modality: str,
    arrays: Callable[[], tuple[npt.NDArray[Any], npt.NDArray[Any]]],
    spectrum: dict[str, Any],
    level: Any,
    profile: bool,
    mode: str | None,
    energy: float | None,
    precursor: _Ion,
) -> PeakList:
    """What both formats have in common. Raises Unreadable."""
    if level is not None and modality == "lc_ms" and level != 2:
        raise OtherKind(f"it is an MS{level} scan, and lc_ms takes MS2; give MS/MS spectra")
    if level is not None and modality == "gc_ms" and level != 1:
        raise OtherKind(f"it is an MS{level} scan, and gc_ms takes EI spectra; give it to --lc-ms")
    if profile:
        raise Unreadable(
            "it is a profile spectrum, whose points are no peaks; centroid the file (msconvert's peakPicking)"
        )
    about = {
        str(name): str(value)
        for name, value in spectrum.items()
        if isinstance(value, str | int | float) and name not in _FILE_ATTRIBUTES
    }
    peaks = mass_peaks(*arrays())
    mz, window = _isolated(precursor, about)
    adduct = None
    if precursor.charge is not None:
        about["charge state"] = str(precursor.charge)
        if isinstance(precursor.charge, int | float) and mz and mode:
            charge = "charge state", f"{int(precursor.charge)}{mode}"
            adduct, _ = ion(about, None, ("polarity", mode), charge)
    return PeakList(
        modality,
        peaks,
        precursor_mz=mz,
        adduct=adduct,
        ion_mode=mode,
        collision_energy=None if energy is None else f"{energy:g} eV",
        isolation=window,
        about=about,
    )


def _isolated(precursor: _Ion, about: dict[str, Any]) -> tuple[float | None, tuple[float, float] | None]:
    """The m/z of the ion, and the window where it may be any ion in it.

    The selected ion is what a converter made of the isolated one, often a wrong isotope (mzmine issue 717):
    where they differ the isolated counts, or, as long as the selected is in the window, all of the window.
    """
    selected, target, window = precursor.selected, precursor.target, precursor.window
    wide = window is not None and window[1] - window[0] > _WIDE
    if selected is None or target is None or abs(selected - target) <= _SAME_ION:
        return selected or target, window if wide else None
    inside = window is not None and window[0] <= selected <= window[1]
    if not inside:
        about["precursor_note"] = (
            f"the ion of m/z {target:.4f} was isolated and counts; that of m/z {selected:.4f}, which the "
            "file says was selected, is another"
        )
    return target, window if wide or inside else None


def _positive(value: Any) -> float | None:
    usable = isinstance(value, int | float) and np.isfinite(value) and value > 0
    return float(value) if usable else None


def _first(value: Any) -> dict[str, Any]:
    value = value[0] if isinstance(value, list) and value else value
    return value if isinstance(value, dict) else {}


def _unpacked(data: Any, zipped: bool, name: str, dtype: np.dtype[Any], limit: int) -> npt.NDArray[Any]:
    """The numbers of a binary array, decompressed no further than the largest spectrum allowed."""
    if not isinstance(data, str | bytes):  # an empty <binary/>
        return np.empty(0)
    try:
        raw = base64.b64decode(data)
        if zipped:
            raw = zlib.decompressobj().decompress(raw, limit)
        if len(raw) >= limit:
            raise Unreadable(f"it has more than {MAX_PEAKS:,} peaks; pick its peaks (centroid it)")
        return np.frombuffer(raw, dtype).astype(np.float64)
    except (ValueError, zlib.error) as error:
        raise Unreadable(f"its {name} is damaged ({damage(error)}); convert or copy it again") from error


# ---- mzML


def _mzml_spectra(stream: BinaryIO) -> Spectra:
    from pyteomics import mzml

    return iter(
        mzml.MzML(
            stream,
            use_index=False,
            iterative=True,
            read_schema=False,
            huge_tree=False,
            decode_binary=False,
            cv=_NoVocabulary(),
        )
    )


def _read_mzml(spectrum: dict[str, Any], modality: str) -> PeakList:
    def arrays() -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        packing = next((name for name in spectrum if str(name).endswith("compression")), None)
        if packing is not None:  # one that pyteomics does not know, and would take for none
            raise Unreadable(f"its arrays are packed with {packing}; convert the file with zlib compression")
        mzs, intensities = (_array(spectrum, name) for name in ("m/z array", "intensity array"))
        return mzs, intensities

    first = _first(_first(spectrum.get("precursorList")).get("precursor"))
    selected = _first(_first(first.get("selectedIonList")).get("selectedIon"))
    isolation = _first(first.get("isolationWindow"))
    target = _positive(isolation.get("isolation window target m/z"))
    below, above = (
        _positive(isolation.get(f"isolation window {side} offset")) for side in ("lower", "upper")
    )
    known = target is not None and (below is not None or above is not None)
    window = (target - (below or 0.0), target + (above or 0.0)) if known and target else None
    return _scan(
        modality,
        arrays,
        spectrum,
        spectrum.get("ms level"),
        "profile spectrum" in spectrum,
        "+" if "positive scan" in spectrum else "-" if "negative scan" in spectrum else None,
        _positive(_first(first.get("activation")).get("collision energy")),
        _Ion(_positive(selected.get("selected ion m/z")), target, window, selected.get("charge state")),
    )


def _array(spectrum: dict[str, Any], name: str) -> npt.NDArray[Any]:
    """(p,) values of a binary array."""
    if name not in spectrum:
        raise Unreadable(f"it has no {name}; convert the file again")
    array = spectrum[name]
    if not hasattr(array, "compression"):
        raise Unreadable(f"its {name} stands there twice or holds no data; convert the file again")
    if array.compression not in ("zlib compression", "no compression", None):
        raise Unreadable(
            f"its {name} is packed with {array.compression}; convert the file with zlib compression"
        )
    if array.dtype is None or np.dtype(array.dtype).itemsize == 1:
        raise Unreadable(f"its {name} does not say what numbers it holds; convert the file again")
    dtype = np.dtype(array.dtype).newbyteorder("<")
    return _unpacked(array.data, array.compression == "zlib compression", name, dtype, _MAX_BYTES)


# ---- mzXML


def _mzxml_spectra(stream: BinaryIO) -> Spectra:
    """Scans by their numbers: one that encloses others is complete only after them."""
    from pyteomics import mzxml, xml

    class Reader(mzxml.MzXML):
        def _decode_peaks(self, info: dict[str, Any]) -> None:
            """Left to `_read_mzxml`, which limits how much is unpacked, and names the scan."""

    reader = Reader(stream, use_index=False, iterative=True, read_schema=False, huge_tree=False)
    waiting: list[tuple[int, int, dict[str, Any]]] = []
    damaged: Exception | None = None
    try:
        for place, scan in enumerate(xml.XML.iterfind(reader, "scan")):
            scan.pop("scan", None)
            heapq.heappush(waiting, (int(scan["num"]), place, scan))
            if len(waiting) > _WAITING:
                yield heapq.heappop(waiting)[2]
    except Exception as error:  # raised again below, after the scans before the damage
        damaged = error
    while waiting:
        yield heapq.heappop(waiting)[2]
    if damaged is not None:
        raise damaged


def _read_mzxml(scan: dict[str, Any], modality: str) -> PeakList:
    def arrays() -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        packed = _first(scan.get("peaks"))
        precision, packing = str(packed.get("precision", "32")), str(packed.get("compressionType", "none"))
        if precision not in ("32", "64"):
            raise Unreadable(f"its peaks have numbers of {precision[:20]!r} bits; convert the file again")
        if packing not in ("none", "zlib"):
            raise Unreadable(
                f"its peaks are packed with {packing[:40]}; convert the file with zlib compression"
            )
        values = _unpacked(
            packed.get("peaks"),
            packing == "zlib",
            "array of peaks",
            np.dtype(f">f{int(precision) // 8}"),
            2 * _MAX_BYTES,
        )
        if len(values) % 2:
            raise Unreadable("its last peak has no intensity; convert or copy the file again")
        return values[::2], values[1::2]

    first = _first(scan.get("precursorMz"))
    mz, width = _positive(first.get("precursorMz")), _positive(first.get("windowWideness"))
    window = (mz - width / 2, mz + width / 2) if mz and width else None
    polarity = scan.get("polarity")
    return _scan(
        modality,
        arrays,
        {name: value for name, value in scan.items() if name != "peaks"},
        scan.get("msLevel"),
        scan.get("centroided") is False,
        polarity if polarity in ("+", "-") else None,
        _positive(scan.get("collisionEnergy")),
        _Ion(mz, mz, window, first.get("precursorCharge")),
    )


MZML = Format("mzML", ("lc_ms", "gc_ms"), partial(_entries, "mzML", _mzml_spectra, _read_mzml))
MZXML = Format("mzXML", ("lc_ms", "gc_ms"), partial(_entries, "mzXML", _mzxml_spectra, _read_mzxml))
