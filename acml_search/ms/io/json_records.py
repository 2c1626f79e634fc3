"""Spectra as JSON: libraries of GNPS, MoNA and matchms, a file of one object or a list of them.

Objects are cut out of the text one at a time, so that a list of any length takes constant memory.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from acml_search.chem.peaks import PeakList
from acml_search.ms.io.base import MAX_TEXT, Entry, Format, Unreadable, damage, mass_peaks, text_chunks
from acml_search.ms.io.fields import measured

_MARK = re.compile(r'[{}"\\]')
_PEAKS = ("peaks_json", "peaks", "spectrum")
_COLUMNS = (("mzs", "intensities"), ("mz", "intensities"), ("mz", "intensity"))
_PAIR = re.compile(r"([^\s:,;]+)\s*:\s*([^\s:,;]+)")


def _entries(path: Path, modality: str) -> Iterator[Entry]:
    depth = line = begun = size = 0
    quoted, escaped = False, -1  # inside a string; the place of a character behind a backslash
    parts: list[str] = []
    for text in text_chunks(path):
        start = 0
        for mark in _MARK.finditer(text):
            at, sign = mark.start(), mark.group()
            if at == escaped:
                continue
            if quoted:
                escaped = at + 1 if sign == "\\" else escaped
                quoted = sign != '"'
            elif sign == '"':
                quoted = depth > 0
            elif sign == "{":
                if depth == 0:
                    start, begun, size = at, line + text.count("\n", 0, at) + 1, 0
                depth += 1
            elif sign == "}" and depth:
                depth -= 1
                if depth == 0:
                    yield Entry(begun, partial(_read, "".join([*parts, text[start : at + 1]]), modality))
                    parts = []
        if depth:
            parts.append(text[start:])
            size += len(text) - start
            if size > MAX_TEXT:
                raise Unreadable(f"an object has more than {MAX_TEXT:,} characters; split it", begun)
        line += text.count("\n")
        escaped -= len(text)
    if depth:
        raise Unreadable("the file is cut off in this object; copy it again", begun)


def _read(text: str, modality: str) -> PeakList:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"it is no JSON ({damage(error)[:120]}); correct it") from error
    if "spectruminfo" in found:  # one spectrum of GNPS, and the annotations of it
        notes = found.get("annotations")
        first = notes[0] if isinstance(notes, list) and notes else {}
        found = {**_mapping(first), **_mapping(found["spectruminfo"])}
    mzs, intensities = _peaks(found)
    return measured(modality, mass_peaks(mzs, intensities), _about(found))


def _about(found: Mapping[str, Any]) -> dict[str, Any]:
    """The scalars of an object; of MoNA's, its lists of `name` and `value`, and its compound."""
    about: dict[str, Any] = {}
    compounds = found.get("compound")
    compound = _mapping(compounds[0]) if isinstance(compounds, list) and compounds else {}
    for source in (found, compound):
        about |= {
            str(name): value
            for name, value in source.items()
            if isinstance(value, str | int | float) and name not in _PEAKS
        }
        for key in ("metaData", "attributes", "names"):
            listed = source.get(key)
            for one in listed if isinstance(listed, list) else ():
                name, value = _mapping(one).get("name"), _mapping(one).get("value")
                if name is not None and value is not None:
                    about.setdefault(str(name), value)
                elif key == "names" and name is not None:
                    about.setdefault("name", name)
    return about


def _peaks(found: Mapping[str, Any]) -> tuple[list[float], list[float]]:
    """m/z and intensities, wherever they stand. Raises Unreadable where they do not."""
    for mz, intensity in _COLUMNS:
        if isinstance(found.get(mz), list) and isinstance(found.get(intensity), list):
            return _numbers(found[mz]), _numbers(found[intensity])
    value = next((found[name] for name in _PEAKS if found.get(name)), None)
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise Unreadable(f"its peaks are no JSON ({damage(error)[:120]}); correct them") from error
    elif isinstance(value, str):
        value = _PAIR.findall(value)
    if not isinstance(value, list) or not value:
        raise Unreadable(f"it has no peaks under {', '.join(_PEAKS)} or mzs and intensities; add them")
    rows = [[one.get("mz"), one.get("intensity")] if isinstance(one, dict) else one for one in value]
    if not all(isinstance(row, list | tuple) and len(row) >= 2 for row in rows):
        raise Unreadable("its peaks are not pairs of m/z and intensity; correct them")
    return _numbers([row[0] for row in rows]), _numbers([row[1] for row in rows])


def _numbers(values: Sequence[Any]) -> list[float]:
    try:
        return [float(value) for value in values]
    except (TypeError, ValueError, OverflowError):
        raise Unreadable("its peaks hold what is no number; correct them") from None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


JSON = Format("JSON", ("lc_ms", "gc_ms"), _entries)
