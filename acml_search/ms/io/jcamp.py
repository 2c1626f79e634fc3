"""JCAMP-DX peak tables through nmrglue: EI and MS/MS mass spectra, and picked peaks of 13C and 1H NMR.

nmrglue takes whole files, so each block (`##TITLE=` to `##END=`) is handed to it as a file of its own: memory
stays constant and one bad block is named by its line. A curve of points (`XYDATA=(X++(Y..Y))`) is refused.
"""

from __future__ import annotations

import math
import re
import tempfile
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from acml_search.chem.peaks import Peak, PeakList
from acml_search.ms.io.base import (
    Block,
    Entry,
    Format,
    OtherKind,
    Unreadable,
    damage,
    header_fields,
    ion_mode,
    mass_peaks,
    text_lines,
)
from acml_search.ms.peaks import MAX_PEAKS

_LABEL = re.compile(r"\s*##([^=]*)=(.*)")
# nmrglue takes XYDATA for a curve and drops the first column; of pairs, both count.
_PAIRS = re.compile(r"^(\s*##)\s*XY[ _]?DATA\s*=(\s*\(\s*XY\s*\.\.)", re.I)
_TABLES = ("PEAKTABLE", "PEAKASSIGNMENTS", "XYPOINTS")
_CURVES = ("XYDATA", "DATATABLE")
_MAX_LABEL = 10_000  # characters kept of what a label says
_NUCLEI = {"c_nmr": "13C", "h_nmr": "1H"}


def _entries(path: Path, modality: str) -> Iterator[Entry]:
    """Every block of a file but those that only hold others."""
    block: Block | None = None
    link = False
    for number, line in text_lines(path):
        found = _LABEL.match(line)
        label = _plain_label(found[1]) if found else ""
        if label == "TITLE":
            if block is not None and not link:
                yield Entry(block.line, partial(_read, block, modality))
            block, link = Block(number), False
        if block is None:
            continue
        if label == "END":
            if not link:
                yield Entry(block.line, partial(_read, block, modality))
            block = None
            continue
        if found is not None and label == "DATATYPE" and found[2].strip().upper().startswith("LINK"):
            link = True
        block.add(number, _PAIRS.sub(r"\1XYPOINTS=\2", line))
    if block is not None and not link:
        yield Entry(block.line, partial(_read, block, modality))


def _plain_label(label: str) -> str:
    """A label in the form in which the standard compares labels."""
    return re.sub(r"[\s/_-]", "", label).upper()


def _read(block: Block, modality: str) -> PeakList:
    block.check()
    labels, curve = _labels("\n".join(line for _, line in block.lines))
    _check_kind(labels.get("DATATYPE", ""), modality)
    value = next((labels[name] for name in _TABLES if variables_of(labels.get(name, ""))), None)
    if value is None:  # perhaps one of a form that is not read, which is then said
        value = next((labels[name] for name in _TABLES if labels.get(name)), None)
    if value is None:
        if any(name in labels for name in _CURVES) or curve:
            raise Unreadable("it holds a curve of points, not peaks; pick the peaks and save a peak table")
        raise Unreadable("it has no peak table; pick the peaks and save one (##PEAK TABLE=)")
    about = {name: text[:_MAX_LABEL] for name, text in labels.items() if name not in (*_TABLES, *_CURVES)}
    across, up = _factor(about, "XFACTOR"), _factor(about, "YFACTOR")
    rows = [
        row._replace(x=row.x * across, y=None if row.y is None else row.y * up) for row in table_of(value)
    ]
    return _nmr(rows, about, modality) if modality in _NUCLEI else _masses(rows, about, modality)


def _labels(text: str) -> tuple[dict[str, str], bool]:
    """Label -> value of one block, the first where a label stands twice; and did nmrglue find a curve?"""
    from nmrglue.fileio import jcampdx

    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".jdx") as file:
        file.write(f"{text}\n##END=\n")
        file.flush()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that there is no curve
                found, points = jcampdx.read(file.name)
        except (ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
            # nmrglue meets a curve that is not one; its own messages name no cause
            reason = f"nmrglue cannot read it ({damage(error)[:120]}); save it again, as a peak table"
            raise Unreadable(reason) from error
    nested = [one for name, blocks in found.items() if name.startswith("_datatype_") for one in blocks]
    labels = {
        name: values[0]
        for one in [found, *nested]
        for name, values in one.items()
        if not name.startswith("_") and values and isinstance(values[0], str)
    }
    return labels, points is not None


def _check_kind(data_type: str, modality: str) -> None:
    """Raises OtherKind for a block of another data type; one that states none passes."""
    kind = _plain_label(data_type)
    wanted = "NMR" if modality in _NUCLEI else "MASS"
    if kind and wanted not in kind:
        raise OtherKind(
            f"its data type is {data_type[:40].lower()!r}, which is not {modality}; name another file"
        )


def _factor(about: dict[str, str], name: str) -> float:
    try:
        return float(about.get(name, "1"))
    except ValueError:
        raise Unreadable(f"its {name} is {about[name][:40]!r}, not a number; correct it") from None


def _masses(rows: list[Row], about: dict[str, Any], modality: str) -> PeakList:
    peaks = mass_peaks([row.x for row in rows], [1.0 if row.y is None else row.y for row in rows])
    fields = header_fields(about)
    fields["ion_mode"] = fields.get("ion_mode") or ion_mode(about.get(".IONIZATIONMODE"))
    return PeakList(modality, peaks, about=about, **fields)


def _nmr(rows: list[Row], about: dict[str, Any], modality: str) -> PeakList:
    """Peaks in ppm. Raises Unreadable for another nucleus, or Hz without the field."""
    stated = about.get(".OBSERVENUCLEUS", "") or about.get("$NUC1", "")
    nucleus = re.sub(r"[^0-9A-Za-z]", "", stated)
    if nucleus and nucleus.upper() != _NUCLEI[modality]:
        raise OtherKind(
            f"its nucleus is {stated[:20]!r}, and {modality} takes {_NUCLEI[modality]}; name another"
        )
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
    peaks = tuple(Peak(row.x / scale, intensity=row.y, multiplicity=row.multiplicity) for row in rows)
    solvent = next((about[name] for name in (".SOLVENTNAME", "$SOLVENT", "SOLVENT") if about.get(name)), None)
    if solvent is not None:
        solvent = solvent.strip("<> ") or None
    return PeakList(modality, peaks, solvent=solvent, field_mhz=field, about=about)


def _positive(text: str | None) -> float | None:
    try:
        value = float((text or "").strip("<> "))
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None


# ---- peak tables: (XY..XY), (XYM), (XYW), and assignments, (XYA), (XYMA), (XYWA)

_VARIABLES = re.compile(r"\s*\(\s*([A-Z][A-Z ,]*?)\s*(?:\.\.[^)]*)?\)[^\n\d<(+.-]*", re.I)
_GROUP = re.compile(r"\(((?:<[^<>]*>|[^()<>])*)\)")
_CELL = re.compile(r"<[^<>]*>|[^\s,<>]+")
_BETWEEN = re.compile(r"[\s,;]+")
_PEAK_TABLES = ("XY", "XYM", "XYW", "XYMW", "XYA", "XYMA", "XYWA", "XYMWA", "XYUA", "XYU")


class Row(NamedTuple):
    """One peak as the table has it, without the factors."""

    x: float
    y: float | None
    multiplicity: str | None
    text: str | None
    """the assignment"""


def variables_of(value: str) -> str | None:
    """The variables that a table states, as "XY" or "XYMA"; None where it is no peak table."""
    match = _VARIABLES.match(value)
    if match is None:
        return None
    names = re.sub(r"[\s,]", "", match[1]).upper()
    half = len(names) // 2
    names = names[:half] if names[:half] == names[half:] else names  # (XYXY) says the same as (XY..XY)
    return names if names in _PEAK_TABLES else None


def table_of(value: str) -> list[Row]:
    """The rows of a table. Raises Unreadable for a value that is not a number, or an odd number of them."""
    head, names = _VARIABLES.match(value), variables_of(value)
    if head is None or names is None:
        shown = value.strip().split("\n", 1)[0][:40]
        raise Unreadable(f"its table is of the form {shown!r}; save one of the form (XY..XY)")
    data = value[head.end() :]
    if names == "XY" and "(" not in data:
        tokens = [token for token in _BETWEEN.split(data) if token]
        if len(tokens) % 2:
            raise Unreadable(
                f"its peak table has {len(tokens):,} numbers, so one lacks its partner; correct it"
            )
        pairs = zip(tokens[::2], tokens[1::2], strict=True)
        return [Row(_number(x), _number(y), None, None) for x, y in pairs]
    groups = _GROUP.findall(data) if "(" in data else re.split(r"[;\n]", data)
    rows = [_row(cells, names) for group in groups if (cells := _CELL.findall(group))]
    if not rows and data.strip():
        raise Unreadable(f"{data.strip()[:40]!r} in its peak table is not a peak; correct it")
    return rows


def _row(cells: list[str], names: str) -> Row:
    """A row whose middle values may be left out: what stands in <> last is the assignment."""
    text = None
    if "A" in names and len(cells) > 1 and cells[-1].startswith("<"):
        text = cells.pop().strip("<> ")
    y = multiplicity = None
    for variable, cell in zip(names[1:].replace("A", ""), cells[1:], strict=False):
        if variable == "Y":
            y = _number(cell)
        elif variable == "M":
            multiplicity = cell.strip("<>'\" ").lower() or None
    return Row(_number(cells[0]), y, multiplicity, text)


def _number(token: str) -> float:
    try:
        return float(token)
    except ValueError:
        raise Unreadable(f"{token[:40]!r} in its peak table is not a number; correct it") from None


JCAMP = Format("JCAMP-DX", ("gc_ms", "lc_ms", "c_nmr", "h_nmr"), _entries)
