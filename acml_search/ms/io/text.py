"""Spectra as text, one at a time: MSP of NIST, MGF, records of MassBank, and two columns.

Files are split here into blocks of numbered lines, so that one bad spectrum is named by its line and the
others are still read, whatever its side fields hold. pyteomics gives up a whole spectrum for an odd charge
or retention time and has no MSP; matchms has, but brings eighteen more packages (numba, networkx, ...).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from acml_search.chem.peaks import Peak, PeakList
from acml_search.ms.io.base import Block, Entry, Format, Unreadable, mass_peaks, text_lines
from acml_search.ms.io.fields import measured

MAX_HEADER = 1_000
"""lines at the head of an MGF file that hold for all its spectra"""

# ---- MSP of NIST, MoNA, MassBank, MS-DIAL and GNPS: `Key: value` lines, `Num Peaks: n`, and n peaks: one or
# several to a line, separated by `;`, or all in a row, in brackets or not, with an annotation in quotes or
# not. A blank line or the next `Name:` ends a spectrum.

_NAME = re.compile(r"\s*name\s*:", re.I)
_NUM_PEAKS = re.compile(r"\s*num(?:ber)?[ _]*(?:of[ _]*)?peaks\s*:\s*(.*)", re.I)
_COMMENT_PAIR = re.compile(r'"([^"=]+)=([^"]*)"')
_QUOTED = re.compile(r'"[^"]*"')
_DECIMAL_COMMAS = re.compile(r"\d+,\d+\s+[\d.,]+$")
"""of one peak: two numbers with a decimal comma, which split at commas would be three"""
_BETWEEN = re.compile(r"[\s,():]+")


def _msp_entries(path: Path, modality: str) -> Iterator[Entry]:
    block: Block | None = None
    named = counted = listed = False  # of the block: has it a name, a number of peaks, a line after that?
    for number, line in text_lines(path):
        blank = not line.strip()
        name, count = _NAME.match(line), _NUM_PEAKS.match(line)
        ends = (blank and listed) or (name and (named or counted)) or (count and counted)
        if block is not None and ends:
            yield Entry(block.line, partial(_read_msp, block, modality))
            block, named, counted, listed = None, False, False, False
        if blank or (not counted and line.lstrip().startswith("#")):
            continue
        block = block or Block(number)
        block.add(number, line)
        named, listed = named or bool(name), listed or counted
        counted = counted or bool(count)
        listed = listed or (count is not None and count[1].strip() == "0")
    if block is not None:
        yield Entry(block.line, partial(_read_msp, block, modality))


def _read_msp(block: Block, modality: str) -> PeakList:
    block.check()
    about: dict[str, Any] = {}
    last = ""
    for at, (_, line) in enumerate(block.lines):
        if count := _NUM_PEAKS.match(line):
            peaks = _msp_peaks(block.lines[at + 1 :], _num_peaks(count[1].strip()))
            return measured(modality, peaks, about)
        key, colon, value = line.partition(":")
        if colon and key.strip():
            last, value = key.strip(), value.strip()
            # what stands several times (Synon) is kept one below the other
            about[last] = f"{about[last]}\n{value}" if last in about else value
            if last.casefold() in ("comment", "comments"):  # MoNA keeps SMILES and much more in there
                for name, text in _COMMENT_PAIR.findall(value):
                    about.setdefault(name.strip(), text.strip())
        elif last:  # a long comment that goes on
            about[last] = f"{about[last]} {line.strip()}"
    raise Unreadable("it has no 'Num Peaks:' line, so its peaks cannot be found; add one")


def _num_peaks(text: str) -> int:
    if not text.isdecimal() or len(text) > 12:
        raise Unreadable(f"its 'Num Peaks' is {text[:40]!r}, not a count; correct it")
    return int(text)


def _msp_peaks(lines: list[tuple[int, str]], announced: int) -> tuple[Peak, ...]:
    """Peaks of the lines below `Num Peaks`. Raises Unreadable when there are more or fewer than announced."""
    peaks: list[tuple[int, list[str]]] = []
    commas: tuple[int, str] | None = None
    for number, line in lines:
        for part in _QUOTED.sub(" ", line).split(";"):
            if tokens := [token for token in _BETWEEN.split(part) if token]:
                peaks.append((number, tokens))
                if _DECIMAL_COMMAS.match(part.strip()):
                    commas = commas or (number, part.strip())
    if len(peaks) == announced and commas is not None:
        raise Unreadable(f"the commas of {commas[1][:60]!r} may be decimal points; write points", commas[0])
    if len(peaks) != announced:  # several peaks may stand in a row without anything between them
        pairs = [(n, tokens[i : i + 2]) for n, tokens in peaks for i in range(0, len(tokens), 2)]
        if len(pairs) != announced:
            listed = f"{len(peaks):,}" if peaks else "none"
            raise Unreadable(
                f"it announces {announced:,} peaks and lists {listed}; the file may be cut off here, or "
                "correct 'Num Peaks'"
            )
        peaks = pairs
    return _peaks_of(peaks)


def _peaks_of(rows: Sequence[tuple[int, Sequence[str]]]) -> tuple[Peak, ...]:
    """Peaks of numbered rows of m/z, intensity and what may follow. Raises Unreadable."""
    mzs, intensities = [], []
    for number, tokens in rows:
        try:
            mz, intensity = float(tokens[0]), float(tokens[1])
        except (ValueError, IndexError):
            shown = " ".join(tokens)[:60]
            raise Unreadable(f"{shown!r} is not a peak; write m/z and intensity", number) from None
        mzs.append(mz)
        intensities.append(intensity)
    return mass_peaks(mzs, intensities)


# ---- MGF: parameters and peaks between BEGIN IONS and END IONS, parameters of all at the head of the file

_PARAMETER = re.compile(r"([A-Za-z_][^=]*)=(.*)")


def _mgf_entries(path: Path, modality: str) -> Iterator[Entry]:
    header: list[tuple[int, str]] = []
    block: Block | None = None
    begun = False
    unfinished = partial(
        _refuse, "it has no END IONS, so it is cut off; copy the file again, or add the line"
    )
    for number, line in text_lines(path):
        word = " ".join(line.split()).upper()
        if word == "BEGIN IONS":
            if block is not None:
                yield Entry(block.line, unfinished)
            block, begun = Block(number), True
        elif block is None:
            if not begun and "=" in line and len(header) < MAX_HEADER:
                header.append((number, line))
        elif word == "END IONS":
            yield Entry(block.line, partial(_read_mgf, block, header, modality))
            block = None
        else:
            block.add(number, line)
    if block is not None:
        yield Entry(block.line, unfinished)


def _refuse(reason: str) -> PeakList:
    raise Unreadable(reason)


def _read_mgf(block: Block, header: list[tuple[int, str]], modality: str) -> PeakList:
    block.check()
    about: dict[str, Any] = {}
    rows = []
    for number, line in [*header, *block.lines]:
        if parameter := _PARAMETER.match(line):
            if value := parameter[2].strip():
                about[parameter[1].strip().lower()] = value
        elif line.strip() and line.lstrip()[0] not in "#;!/":
            rows.append((number, line.split()))
    return measured(modality, _peaks_of(rows), about, str.upper)


# ---- records of MassBank: `KEY: value` and `KEY: SUBKEY value` lines, peaks indented below `PK$PEAK:`, `//`

_SECTIONS = ("AC$MASS_SPECTROMETRY", "AC$CHROMATOGRAPHY", "MS$FOCUSED_ION", "MS$DATA_PROCESSING", "CH$LINK")
_MASSBANK_NAMES = {"CH$NAME": "name", "CH$SMILES": "smiles", "CH$IUPAC": "inchi", "CH$FORMULA": "formula"}


def _massbank_entries(path: Path, modality: str) -> Iterator[Entry]:
    block: Block | None = None
    for number, line in text_lines(path):
        if line.strip() == "//":
            if block is not None:
                yield Entry(block.line, partial(_read_massbank, block, modality))
            block = None
        elif line.strip():
            block = block or Block(number)
            block.add(number, line)
    if block is not None:
        yield Entry(
            block.line, partial(_refuse, "it does not end in //, so it is cut off; copy the record again")
        )


def _read_massbank(block: Block, modality: str) -> PeakList:
    block.check()
    about: dict[str, Any] = {}
    rows: list[tuple[int, list[str]]] = []
    table = ""
    for number, line in block.lines:
        key, _, value = line.partition(": ")
        key, value = key.strip().removesuffix(":"), value.strip()
        if line[:1].isspace():
            if table == "PK$PEAK":
                rows.append((number, line.split()))
            continue
        table = key
        if key in _SECTIONS:
            key, _, value = value.partition(" ")
            key = key.lower()
        about.setdefault(_MASSBANK_NAMES.get(key, key), value.strip())
    announced = _num_peaks(about.pop("PK$NUM_PEAK", str(len(rows))))
    if announced != len(rows):
        raise Unreadable(f"it announces {announced:,} peaks and lists {len(rows):,}; copy the record again")
    return measured(modality, _peaks_of(rows), about)


# ---- two columns, m/z and intensity, below a few lines of names

_MAX_NAMES = 20


def _table_entries(path: Path, modality: str) -> Iterator[Entry]:
    """All lines are one spectrum."""
    block: Block | None = None
    for number, line in text_lines(path):
        if line.strip():
            block = block or Block(number)
            block.add(number, line)
    if block is not None:
        yield Entry(block.line, partial(_read_table, block, modality))


def _read_table(block: Block, modality: str) -> PeakList:
    block.check()
    rows: list[tuple[int, list[str]]] = []
    names: list[str] = []
    for number, line in block.lines:
        cells = cells_of(line)
        if not rows and not _is_row(cells):
            names.append(line.strip())
        elif len(cells) != 2:
            reason = f"{line.strip()[:60]!r} is not m/z and intensity; keep these two columns"
            raise Unreadable(reason, number)
        else:
            rows.append((number, cells))
        if len(names) > _MAX_NAMES:
            break
    if not rows:
        raise Unreadable("it has no line of two numbers; give m/z and intensity as two columns")
    return measured(modality, _peaks_of(rows), {"columns": " ".join(names)} if names else {})


def cells_of(line: str) -> list[str]:
    """The cells of a line, between semicolons, tabs, blanks or commas; beside others, a comma is a point."""
    separator = next((one for one in ";\t" if one in line), None)
    if separator is not None:
        cells = [cell.strip().replace(",", ".") for cell in line.split(separator)]
    elif re.fullmatch(r"\s*[^\s,]+(?:,\d+)?\s+\S+\s*", line):
        cells = [cell.replace(",", ".") for cell in line.split()]
    else:
        cells = [cell.strip() for cell in line.split(",")]
    while cells and not cells[-1]:
        del cells[-1]
    return [cell.strip("\"' ") for cell in cells]


def _is_row(cells: list[str]) -> bool:
    try:
        return len([float(cell) for cell in cells]) > 1
    except ValueError:
        return False


def is_table(head: str) -> bool:
    """Do these first lines hold a row of two numbers, below at most `_MAX_NAMES` others?"""
    lines = [line for line in head.splitlines() if line.strip()][: _MAX_NAMES + 1]
    return any(len(cells) == 2 and _is_row(cells) for cells in map(cells_of, lines))


_MASSES = ("lc_ms", "gc_ms")
MSP = Format("MSP", _MASSES, _msp_entries)
MGF = Format("MGF", _MASSES, _mgf_entries)
MASSBANK = Format("a MassBank record", _MASSES, _massbank_entries)
TABLE = Format("two columns", _MASSES, _table_entries)
