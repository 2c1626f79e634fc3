"""mzML through pyteomics, one spectrum at a time: nothing is indexed, cached, fetched or written.

For lc_ms only MS2 scans count; for gc_ms all do. Spectra are numbered as they stand in the file, whatever
their level. A profile spectrum is refused, because its points are no peaks.
"""

from __future__ import annotations

import base64
import re
import warnings
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from acml_search.chem.peaks import PeakList
from acml_search.ms.io.base import (
    DAMAGED,
    Entry,
    Fields,
    Format,
    OtherKind,
    Unreadable,
    damage,
    head_of,
    mass_peaks,
    open_bytes,
    protonated,
)
from acml_search.ms.peaks import MAX_PEAKS

# Declaration, comments and instructions, then the root: nothing else, above all no document type.
_PROLOG = re.compile(
    rb"(?:\xef\xbb\xbf)?(?:\s|<!--(?:[^-]|-(?!->))*-->|<\?(?:[^?]|\?(?!>))*\?>)*+<(?:indexed)?mzML\b"
)
_ENCODING = re.compile(rb"encoding\s*=\s*[\"']([^\"']*)[\"']")
_ENCODINGS = (b"utf-8", b"us-ascii", b"ascii", b"iso-8859-1", b"windows-1252")
_FILE_ATTRIBUTES = ("index", "count", "defaultArrayLength", "encodedLength")  # and not of the spectrum
_MAX_BYTES = 8 * (MAX_PEAKS + 1)  # of a decoded array


class _NoVocabulary:
    """In place of the PSI-MS vocabulary, which pyteomics would fetch from the network to learn which values
    are numbers. Without it, pyteomics takes for a number what reads as one.
    """

    relationship = ()
    name = None

    def __getitem__(self, accession: str) -> _NoVocabulary:
        return self


def _entries(path: Path, modality: str) -> Iterator[Entry]:
    _check_prolog(head_of(path))
    from lxml import etree
    from pyteomics import mzml
    from pyteomics.auxiliary import PyteomicsError

    number = 0
    try:
        with open_bytes(path) as stream:
            reader = mzml.MzML(
                stream,
                use_index=False,
                iterative=True,
                read_schema=False,
                huge_tree=False,
                decode_binary=False,
                cv=_NoVocabulary(),
            )
            while (spectrum := _next(reader)) is not None:
                number += 1
                yield Entry(None, partial(_read, spectrum, modality))
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
        reason = f"it breaks the rules of mzML after {number:,} spectra ({damage(error)[:120]})"
        raise Unreadable(f"{reason}; convert it again with a current msconvert") from error


def _next(reader: Iterator[dict[str, Any]]) -> dict[str, Any] | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of arrays without a name, which `_read` refuses
        return next(reader, None)


def _check_prolog(head: bytes) -> None:
    """Raises Unreadable for what could make an XML parser work without end: a document type with entities, or
    an encoding in which one could hide.
    """
    prolog = _PROLOG.match(head)
    if prolog is None and b"<!" in head.replace(b"<!--", b""):
        raise Unreadable("it declares a document type, which no mzML needs and which is not read; remove it")
    if prolog is None:
        raise Unreadable("it does not begin as mzML does; convert it again with a current msconvert")
    stated = _ENCODING.search(prolog.group())
    if stated and stated[1].lower() not in _ENCODINGS:
        shown = stated[1].decode("ascii", "replace")[:40]
        raise Unreadable(f"its encoding is {shown!r}; save it as UTF-8")


def _read(spectrum: dict[str, Any], modality: str) -> PeakList:
    level = spectrum.get("ms level")
    if modality == "lc_ms" and level is not None and level != 2:
        raise OtherKind(f"it is an MS{level} scan, and lc_ms takes MS2; name an MS2 spectrum of the file")
    if "profile spectrum" in spectrum:
        raise Unreadable(
            "it is a profile spectrum, whose points are no peaks; centroid the file (msconvert's peakPicking)"
        )
    packing = next((name for name in spectrum if str(name).endswith("compression")), None)
    if packing is not None:  # one that pyteomics does not know, and would take for none
        raise Unreadable(f"its arrays are packed with {packing}; convert the file with zlib compression")
    arrays = []
    for name in ("m/z array", "intensity array"):
        if name not in spectrum:
            raise Unreadable(f"it has no {name}; convert the file again")
        arrays.append(_decoded(spectrum[name], name))
    selected, energy = _precursor(spectrum)
    about = {
        str(name): str(value)
        for name, value in spectrum.items()
        if isinstance(value, str | int | float) and name not in _FILE_ATTRIBUTES
    }
    fields = Fields(
        precursor_mz=_positive(selected.get("selected ion m/z")),
        ion_mode="+" if "positive scan" in spectrum else "-" if "negative scan" in spectrum else None,
        collision_energy=None if energy is None else f"{energy:g} eV",
    )
    charge = selected.get("charge state")
    if charge is not None:
        about["charge state"] = str(charge)
    if isinstance(charge, int | float) and fields["precursor_mz"] and fields["ion_mode"]:
        fields.update(protonated(int(charge), fields["ion_mode"], about, "charge state"))
    return PeakList(modality, mass_peaks(*arrays), about=about, **fields)


def _precursor(spectrum: dict[str, Any]) -> tuple[dict[str, Any], float | None]:
    """The first selected ion, and the collision energy."""
    first = _first(_first(spectrum.get("precursorList")).get("precursor"))
    selected = _first(_first(first.get("selectedIonList")).get("selectedIon"))
    if "selected ion m/z" not in selected:  # some converters give the window alone
        target = _first(first.get("isolationWindow")).get("isolation window target m/z")
        selected = {**selected, "selected ion m/z": target}
    return selected, _positive(_first(first.get("activation")).get("collision energy"))


def _first(value: Any) -> dict[str, Any]:
    value = value[0] if isinstance(value, list) and value else value
    return value if isinstance(value, dict) else {}


def _positive(value: Any) -> float | None:
    usable = isinstance(value, int | float) and np.isfinite(value) and value > 0
    return float(value) if usable else None


def _decoded(array: Any, name: str) -> npt.NDArray[Any]:
    """(p,) values of a binary array, decompressed no further than the largest spectrum allowed."""
    if not hasattr(array, "compression"):
        raise Unreadable(f"its {name} stands there twice or holds no data; convert the file again")
    if array.compression not in ("zlib compression", "no compression", None):
        raise Unreadable(
            f"its {name} is packed with {array.compression}; convert the file with zlib compression"
        )
    if array.dtype is None or np.dtype(array.dtype).itemsize == 1:
        raise Unreadable(f"its {name} does not say what numbers it holds; convert the file again")
    if not isinstance(array.data, str | bytes):  # an empty <binary/>
        return np.empty(0)
    try:
        raw = base64.b64decode(array.data)
        if array.compression == "zlib compression":
            raw = zlib.decompressobj().decompress(raw, _MAX_BYTES)
        if len(raw) >= _MAX_BYTES:
            raise Unreadable(f"it has more than {MAX_PEAKS:,} peaks; pick its peaks (centroid it)")
        return np.frombuffer(raw, np.dtype(array.dtype).newbyteorder("<")).astype(np.float64)
    except (ValueError, zlib.error) as error:
        raise Unreadable(f"its {name} is damaged ({damage(error)}); convert or copy it again") from error


MZML = Format("mzML", ("lc_ms", "gc_ms"), _entries)
