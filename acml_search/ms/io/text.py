"""MSP, the text format of NIST, and MGF, the Mascot generic format, one spectrum at a time.

Files are split here into blocks of numbered lines, so that one bad spectrum is named by its line and the
others are still read. pyteomics reads the blocks of MGF. It has no MSP; matchms has, but brings eighteen more
packages (numba, scikit-learn, networkx, SQLAlchemy, ...) for a few rules about lines.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from acml_search.chem.peaks import Peak, PeakList
from acml_search.ms.io.base import (
    Block,
    Entry,
    Format,
    Unreadable,
    damage,
    header_fields,
    mass_peaks,
    protonated,
    text_lines,
)

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
            fields = header_fields(about)
            peaks = _msp_peaks(block.lines[at + 1 :], _num_peaks(count[1].strip()))
            return PeakList(modality, peaks, about=about, **fields)
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
    mzs, intensities = [], []
    for number, tokens in peaks:
        try:
            mz, intensity = float(tokens[0]), float(tokens[1])
        except (ValueError, IndexError):
            shown = " ".join(tokens)[:60]
            raise Unreadable(f"{shown!r} is not a peak; write m/z and intensity", number) from None
        mzs.append(mz)
        intensities.append(intensity)
    return mass_peaks(mzs, intensities)


# ---- MGF: parameters and peaks between BEGIN IONS and END IONS, parameters of all at the head of the file

_CHARGE = re.compile(r"(\d+)([+-])$")


def _mgf_entries(path: Path, modality: str) -> Iterator[Entry]:
    header: list[str] = []
    block: Block | None = None
    begun = False
    for number, line in text_lines(path):
        word = " ".join(line.split()).upper()
        if word == "BEGIN IONS":
            if block is not None:
                yield Entry(block.line, _unfinished)
            block, begun = Block(number), True
        elif block is None:
            if not begun and "=" in line and len(header) < MAX_HEADER:
                header.append(line)
        elif word == "END IONS":
            yield Entry(block.line, partial(_read_mgf, block, header, modality))
            block = None
        else:
            block.add(number, line)
    if block is not None:
        yield Entry(block.line, _unfinished)


def _unfinished() -> PeakList:
    raise Unreadable("it has no END IONS, so it is cut off; copy the file again, or add the line")


def _read_mgf(block: Block, header: list[str], modality: str) -> PeakList:
    from pyteomics.auxiliary import PyteomicsError
    from pyteomics.mgf import MGF

    block.check()
    text = "\n".join([*header, "BEGIN IONS", *(line for _, line in block.lines), "END IONS", ""])
    try:
        (spectrum,) = MGF(io.StringIO(text), convert_arrays=0, read_charges=False)
        peaks = mass_peaks(spectrum["m/z array"], spectrum["intensity array"])
    except (PyteomicsError, ValueError, TypeError) as error:
        reason = damage(error).removeprefix("PyteomicsError: ")
        raise Unreadable(f"pyteomics cannot read it ({reason[:120]}); correct it") from error
    about = {str(name): _parameter(value) for name, value in spectrum["params"].items() if value is not None}
    fields = header_fields(about)
    charge = _CHARGE.match(about.get("charge", ""))
    if charge and not fields.get("ion_mode"):
        fields["ion_mode"] = charge[2]
    if charge and not fields.get("adduct") and fields.get("precursor_mz"):
        fields.update(protonated(int(charge[1]), charge[2], about, "CHARGE"))
    return PeakList(modality, peaks, about=about, **fields)


def _parameter(value: Any) -> str:
    """As text; pyteomics makes a list of charges, a pair of the precursor's m/z and intensity."""
    if isinstance(value, tuple):
        return " ".join(f"{part:.10g}" for part in value if part is not None)
    if isinstance(value, list):
        return ", ".join(str(part) for part in value)
    return str(value)


MSP = Format("MSP", ("lc_ms", "gc_ms"), _msp_entries)
MGF = Format("MGF", ("lc_ms", "gc_ms"), _mgf_entries)
