"""MSP, the text format of NIST, in the dialects of NIST, MoNA, MassBank, MS-DIAL and GNPS.

Read here and not by a library: pyteomics has no MSP; matchms has, but brings eighteen more packages (numba,
scikit-learn, networkx, SQLAlchemy, ...) for what is a few rules about lines.

A spectrum is `Key: value` lines, `Num Peaks: n`, and n peaks: one or several to a line, parted by `;`, or all
in a row, in brackets or not, with an annotation in quotes or not. A blank line or the next `Name:` ends it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from acml_search.chem.peaks import PeakList
from acml_search.ms.io.base import Block, Entry, Unreadable, mass_peaks, text_lines
from acml_search.ms.io.fields import fields

NAME = "MSP"
MODALITIES = ("lc_ms", "gc_ms")

_BEGIN = re.compile(r"\s*name\s*:", re.I)
_COUNT = re.compile(r"\s*num(?:ber)?[ _]*(?:of[ _]*)?peaks\s*:\s*(.*)", re.I)
_PAIR = re.compile(r'"([^"=]+)=([^"]*)"')
_QUOTED = re.compile(r'"[^"]*"')
_COMMAS = re.compile(r"\d+,\d+\s+[\d.,]+$")
"""of one peak: two numbers with a decimal comma, which split at commas would be three"""
_PARTS = re.compile(r"[\s,():]+")


def entries(path: Path, modality: str) -> Iterator[Entry]:
    """Every spectrum of a file, in constant memory. Raises Unreadable where the file is damaged."""
    block: Block | None = None
    named = counted = listed = False
    for number, line in text_lines(path):
        blank = not line.strip()
        begins, count = _BEGIN.match(line), _COUNT.match(line)
        ends = (blank and listed) or (begins and (named or counted)) or (count and counted)
        if block is not None and ends:
            yield Entry(block.line, partial(_read, block, modality))
            block, named, counted, listed = None, False, False, False
        if blank or (not counted and line.lstrip().startswith("#")):
            continue
        block = block or Block(number)
        block.add(number, line)
        named, listed = named or bool(begins), listed or counted
        counted = counted or bool(count)
        listed = listed or (count is not None and count[1].strip() == "0")
    if block is not None:
        yield Entry(block.line, partial(_read, block, modality))


def _read(block: Block, modality: str) -> PeakList:
    block.check()
    about: dict[str, Any] = {}
    last = ""
    for at, (_, line) in enumerate(block.lines):
        if count := _COUNT.match(line):
            known = fields(about)
            peaks = _peaks(block.lines[at + 1 :], _announced(count[1]))
            return PeakList(modality, peaks, about=about, **known)
        key, colon, value = line.partition(":")
        if colon and key.strip():
            last = key.strip()
            _say(about, last, value.strip())
        elif last:  # a long comment that goes on
            about[last] = f"{about[last]} {line.strip()}"
    raise Unreadable("it has no 'Num Peaks:' line, so its peaks cannot be told; add one")


def _say(about: dict[str, Any], key: str, value: str) -> None:
    """A line of the header. What stands several times (Synon) is kept one below the other."""
    about[key] = f"{about[key]}\n{value}" if key in about else value
    if key.casefold() in ("comment", "comments"):  # MoNA keeps SMILES and much more in there
        for name, text in _PAIR.findall(value):
            about.setdefault(name.strip(), text.strip())


def _announced(text: str) -> int:
    if not text.strip().isdecimal() or len(text) > 12:
        raise Unreadable(f"its 'Num Peaks' is {text.strip()[:40]!r}, not a count; correct it")
    return int(text)


def _peaks(lines: list[tuple[int, str]], announced: int) -> Any:
    """Peaks of the lines below `Num Peaks`. Raises Unreadable when there are more or fewer than announced."""
    groups: list[tuple[int, list[str]]] = []
    commas: tuple[int, str] | None = None
    for number, line in lines:
        for part in _QUOTED.sub(" ", line).split(";"):
            if tokens := [token for token in _PARTS.split(part) if token]:
                groups.append((number, tokens))
                if _COMMAS.match(part.strip()):
                    commas = commas or (number, part.strip())
    if len(groups) == announced and commas is not None:
        raise Unreadable(f"the commas of {commas[1][:60]!r} may be decimal points; write points", commas[0])
    if len(groups) != announced:  # several peaks may stand in a row without anything between them
        rows = [(n, row[i : i + 2]) for n, row in groups for i in range(0, len(row), 2)]
        if len(rows) != announced:
            n = f"{len(groups):,}" if groups else "none"
            raise Unreadable(
                f"it announces {announced:,} peaks and lists {n}; the file may be cut off here, or correct "
                "'Num Peaks'"
            )
        groups = rows
    mzs, intensities = [], []
    for number, tokens in groups:
        try:
            mz, intensity = float(tokens[0]), float(tokens[1])
        except (ValueError, IndexError):
            shown = " ".join(tokens)[:60]
            raise Unreadable(f"{shown!r} is not a peak; write m/z and intensity", number) from None
        mzs.append(mz)
        intensities.append(intensity)
    return mass_peaks(mzs, intensities)
