"""MGF, the Mascot generic format, one spectrum at a time through pyteomics.

The file is split here, so that one bad spectrum is named by its line and the others are still read; pyteomics
reads what stands between BEGIN IONS and END IONS, with the parameters at the head of the file.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from acml_search.chem.peaks import PeakList
from acml_search.ms.io.base import Block, Entry, Unreadable, damage, mass_peaks, text_lines
from acml_search.ms.io.fields import fields, protonated

NAME = "MGF"
MODALITIES = ("lc_ms", "gc_ms")
_MAX_HEADER = 1_000  # lines
_CHARGE = re.compile(r"(\d+)([+-])$")


def entries(path: Path, modality: str) -> Iterator[Entry]:
    """Every spectrum of a file, in constant memory. Raises Unreadable where the file is damaged."""
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
            if not begun and "=" in line and len(header) < _MAX_HEADER:
                header.append(line)
        elif word == "END IONS":
            yield Entry(block.line, partial(_read, block, header, modality))
            block = None
        else:
            block.add(number, line)
    if block is not None:
        yield Entry(block.line, _unfinished)


def _unfinished() -> PeakList:
    raise Unreadable("it has no END IONS, so it is cut off; copy the file again, or add the line")


def _read(block: Block, header: list[str], modality: str) -> PeakList:
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
    about = {str(name): _plain(value) for name, value in spectrum["params"].items() if value is not None}
    known = fields(about)
    charge = _CHARGE.match(about.get("charge", ""))
    if charge and not known.get("ion_mode"):
        known["ion_mode"] = charge[2]
    if charge and not known.get("adduct") and known.get("precursor_mz"):
        known.update(protonated(int(charge[1]), charge[2], about, "CHARGE"))
    return PeakList(modality, peaks, about=about, **known)


def _plain(value: Any) -> str:
    """A parameter as text; pyteomics makes a list of charges, a pair of the precursor's m/z and intensity."""
    if isinstance(value, tuple):
        return " ".join(f"{part:.10g}" for part in value if part is not None)
    if isinstance(value, list):
        return ", ".join(str(part) for part in value)
    return str(value)
