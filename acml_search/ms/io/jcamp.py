"""JCAMP-DX: its blocks, labels and peak tables, and the mass spectra among them (EI and MS/MS).

Each block (`##TITLE=` to `##END=`) is read by itself, so memory stays constant and one bad block is named by
its line. A curve of points (`XYDATA=(X++(Y..Y))`) is no mass spectrum here; `nmr.jcamp` picks those of NMR.
Standard: McDonald and Wilks, Appl. Spectrosc. 1988, 42, 151; Lampen et al., Appl. Spectrosc. 1994, 48, 1545
(mass spectra).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from acml_search.chem.peaks import PeakList
from acml_search.ms.io.base import (
    Block,
    Entry,
    Format,
    OtherKind,
    Unreadable,
    mass_peaks,
    text_lines,
)
from acml_search.ms.io.fields import measured

Labels = dict[str, list[str]]
"""label without case, spaces and punctuation -> its values, in the order of the block"""

_LABEL = re.compile(r"\s*##([^=]*)=(.*)", re.DOTALL)
TABLES = ("PEAKTABLE", "PEAKASSIGNMENTS", "XYPOINTS", "XYDATA", "DATATABLE")
_MAX_LABEL = 10_000  # characters kept of what a label says
_SAYS_NOTHING = ("PEAKTABLE", "PEAKASSIGNMENTS")
"""data types that do not say of which method the peaks are"""


def blocks(path: Path) -> Iterator[Block]:
    """Every block of a file but those that only hold others (LINK) or a structure (JCAMP-CS)."""
    block: Block | None = None
    skipped = False
    for number, line in text_lines(path):
        found = _LABEL.match(line)
        label = plain_label(found[1]) if found else ""
        if label == "TITLE":
            if block is not None and not skipped:
                yield block
            block, skipped = Block(number), False
        if block is None:
            continue
        if label == "END":
            if not skipped:
                yield block
            block = None
            continue
        link = label == "DATATYPE" and found is not None and found[2].strip().upper().startswith("LINK")
        skipped = skipped or link or label == "JCAMPCS"
        block.add(number, line)
    if block is not None and not skipped:
        yield block


def plain_label(label: str) -> str:
    """A label in the form in which the standard compares labels."""
    return re.sub(r"[\s/_-]", "", label).upper()


def labels_of(block: Block) -> Labels:
    """The labels of a block, without comments (`$$`); those without a value are left away.

    Raises Unreadable for a block beyond the limits.
    """
    block.check()
    labels: dict[str, list[list[str]]] = {}
    lines: list[str] = []
    for _, text in block.lines:
        line = text.split("$$", 1)[0]
        found = _LABEL.match(line)
        if found is None:
            lines.append(line)
        else:
            lines = [found[2]]
            labels.setdefault(plain_label(found[1]), []).append(lines)
    joined = {name: ["\n".join(lines).strip() for lines in values] for name, values in labels.items()}
    return {name: kept for name, values in joined.items() if (kept := [value for value in values if value])}


def about_of(labels: Labels) -> dict[str, Any]:
    """The first value of every label but the data."""
    return {name: values[0][:_MAX_LABEL] for name, values in labels.items() if name not in TABLES}


def check_kind(labels: Labels, word: str, modality: str) -> None:
    """Raises OtherKind for a block whose data type names another method than the word ("NMR", "MASS")."""
    data_type = labels.get("DATATYPE", [""])[0]
    kind = plain_label(data_type)
    if kind and kind not in _SAYS_NOTHING and word not in kind:
        raise OtherKind(
            f"its data type is {data_type[:40].lower()!r}, which is not {modality}; name another file"
        )


def number_of(text: str) -> float | None:
    """A number as instruments write it, with a decimal point or a comma; None for anything else."""
    text = text.strip("<> \t\r\n")
    if "," in text and "." not in text:
        text = text.replace(",", ".", 1)
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None


def peak_table(labels: Labels) -> list[Row] | None:
    """The rows of a block's peak table, with XFACTOR and YFACTOR applied; None where it has none.

    Raises Unreadable for one that cannot be read.
    """
    tables = [value for name in TABLES for value in labels.get(name, [])]
    value = next((value for value in tables if variables_of(value)), None)
    if value is None:  # perhaps one of a form that is not read, which is then said
        value = next((value for name in TABLES[:3] for value in labels.get(name, [])), None)
    if value is None:
        return None
    stated = number_of(labels.get("NPOINTS", [""])[0])
    across, up = _factor(labels, "XFACTOR"), _factor(labels, "YFACTOR")
    rows = table_of(value, None if stated is None else int(stated))
    return [row._replace(x=row.x * across, y=None if row.y is None else row.y * up) for row in rows]


def _factor(labels: Labels, name: str) -> float:
    value = number_of(labels.get(name, ["1"])[0])
    if value is None:
        raise Unreadable(f"its {name} is {labels[name][0][:40]!r}, not a number; correct it")
    return value


# ---- mass spectra


def _entries(path: Path, modality: str) -> Iterator[Entry]:
    """Every block, and of NTUPLES every page: the spectra of a GC-MS run, one after another."""
    for block in blocks(path):
        for page in _pages(block):
            yield Entry(page.line, partial(_mass_spectrum, page, modality))


def _pages(block: Block) -> Iterator[Block]:
    starts = [i for i, (_, line) in enumerate(block.lines) if _is_page(line)]
    if not starts:
        yield block
        return
    for start, stop in zip(starts, [*starts[1:], len(block.lines)], strict=True):
        page = Block(block.lines[start][0])
        for number, line in [*block.lines[: starts[0]], *block.lines[start:stop]]:
            page.add(number, line)
        yield page


def _is_page(line: str) -> bool:
    found = _LABEL.match(line)
    return found is not None and plain_label(found[1]) == "PAGE"


def _mass_spectrum(block: Block, modality: str) -> PeakList:
    labels = labels_of(block)
    check_kind(labels, "MASS", modality)
    if ".OBSERVENUCLEUS" in labels:
        raise OtherKind(f"it states a nucleus, so it is an NMR spectrum, not {modality}; name another file")
    if "PAGE" in labels:  # its number of points is the page's, where one is stated
        labels = {name: values[-1:] if name == "NPOINTS" else values for name, values in labels.items()}
    rows = peak_table(labels)
    if rows is None:
        if any(name in labels for name in TABLES):
            raise Unreadable("it holds a curve of points, not peaks; pick the peaks and save a peak table")
        raise Unreadable("it has no peak table; pick the peaks and save one (##PEAK TABLE=)")
    about = about_of(labels)
    peaks = mass_peaks([row.x for row in rows], [1.0 if row.y is None else row.y for row in rows])
    return measured(modality, peaks, about)


# ---- peak tables: (XY..XY), (XYM), (XYW), and assignments, (XYA), (XYMA), (XYWA)

_VARIABLES = re.compile(r"\s*\(\s*([A-Z][A-Z ,]*?)\s*(?:\.\.[^)]*)?\)[^\n\d<(+.-]*", re.I)
_GROUP = re.compile(r"\(((?:<[^<>]*>|[^()<>])*)\)")
_CELL = re.compile(r"<[^<>]*>|[^\s,;<>]+")
_BETWEEN = re.compile(r"[\s,;]+")
_TIGHT_COMMA = re.compile(r"(?<=\d),(?=\d)")
_COMMA_PAIR = re.compile(r"(\d+),(\d+)")
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


def table_of(value: str, stated: int | None = None) -> list[Row]:
    """The rows of a table; stated: how many it should have (##NPOINTS).

    Raises Unreadable for a value that is not a number, an odd number of them, and commas that may separate
    numbers or be decimal.
    """
    head, names = _VARIABLES.match(value), variables_of(value)
    if head is None or names is None:
        shown = value.strip().split("\n", 1)[0][:40]
        raise Unreadable(f"its table is of the form {shown!r}; save one of the form (XY..XY)")
    data = _with_points(value[head.end() :], names, stated)
    rows = _rows(data, names)
    if not rows and data.strip():
        raise Unreadable(f"{data.strip()[:40]!r} in its peak table is not a peak; correct it")
    return rows


def _with_points(data: str, names: str, stated: int | None) -> str:
    """The data of a table with points for decimal commas.

    Commas may be decimal where no number has a point. Of two readings, the one with the stated number of
    peaks is right, else the one whose positions rise or fall from first to last.
    """
    if "." in data or not _TIGHT_COMMA.search(data):
        return data
    pointed = _TIGHT_COMMA.sub(".", data)
    paired = _COMMA_PAIR.sub(r"\1.\2", data)  # "171,2,10,5": every other comma separates
    readings = {text: xs for text in (data, pointed, paired) if (xs := _positions(text, names)) is not None}
    if len(readings) < 2:
        return next(iter(readings), data)
    if "(" in data:  # both have as many rows; a space after some commas alone says which of them separate
        if ", " not in data:
            return data
    else:
        for fits in (
            [text for text, xs in readings.items() if len(xs) == stated],
            [text for text, xs in readings.items() if xs in (sorted(xs), sorted(xs, reverse=True))],
        ):
            if fits:
                return fits[0]
    raise Unreadable("its commas may separate numbers or be decimal; write decimal points")


def _positions(data: str, names: str) -> list[float] | None:
    try:
        return [row.x for row in _rows(data, names)]
    except Unreadable:
        return None


def _rows(data: str, names: str) -> list[Row]:
    if names == "XY" and "(" not in data:
        tokens = [token for token in _BETWEEN.split(data) if token]
        if len(tokens) % 2:
            raise Unreadable(
                f"its peak table has {len(tokens):,} numbers, so one lacks its partner; correct it"
            )
        pairs = zip(tokens[::2], tokens[1::2], strict=True)
        return [Row(_number(x), _number(y), None, None) for x, y in pairs]
    groups = _GROUP.findall(data) if "(" in data else re.split(r"[;\n]", data)
    if "(" in data and re.sub(r"<[^<>]*>", "", data).count("(") > len(groups):
        rest = _GROUP.sub("", data).strip()
        raise Unreadable(f"its peak table has a bracket that does not close, {rest[:40]!r}; correct it")
    return [_row(cells, names) for group in groups if (cells := _CELL.findall(group))]


def _row(cells: list[str], names: str) -> Row:
    """A row whose middle values may be left out: what stands in <> last is the assignment."""
    text = None
    if "A" in names and len(cells) > 1 and cells[-1].startswith("<"):
        text = cells.pop().strip("<> ")
    y = multiplicity = None
    if len(cells) > len(names.replace("A", "")):
        raise Unreadable(f"{', '.join(cells)[:40]!r} in its peak table has too many values; correct it")
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


JCAMP = Format("JCAMP-DX", ("gc_ms", "lc_ms"), _entries)
