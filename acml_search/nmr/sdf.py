"""Shifts in SD files: NMReDATA, and the spectra of nmrshiftdb2; a structure alone is no spectrum.

NMReDATA: Pupier et al., Magn. Reson. Chem. 2018, 56, 703. Tags that are read: NMREDATA_1D_13C and _1D_1H, a
signal a line, and NMREDATA_ASSIGNMENT, a label a line with its shift and atoms, with NMREDATA_J and
NMREDATA_SOLVENT.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from acml_search.chem.peaks import Peak, PeakList
from acml_search.ms.io.base import Block, Entry, Format, OtherKind, Unreadable, text_lines
from acml_search.ms.io.jcamp import number_of
from acml_search.nmr.parser import NAMES, NUCLEI, SHIFT_LIMITS

_TAG = re.compile(r"^>.*?<([^<>]+)>")
_SPECTRUM = re.compile(r"^>.*<\s*(?:NMREDATA_(?:1D_|ASSIGNMENT)|Spectrum \d+[A-Z][a-z]?\b)", re.I)
_SHIFT = re.compile(r"\s*(-?\d+(?:\.\d+)?)(?:\s*-\s*(-?\d+(?:\.\d+)?))?\s*$")
_CLASSES = {"S": "C", "D": "CH", "T": "CH2", "Q": "CH3"}
MAX_PEAKS = 1_000


def holds_spectra(path: Path) -> bool:
    """Has any record of an SD file shifts? One that cannot be read to its end counts by what comes before."""
    try:
        return any(_SPECTRUM.match(line) for _, line in text_lines(path))
    except Unreadable:
        return False


def _entries(path: Path, modality: str) -> Iterator[Entry]:
    """Every record, up to `$$$$`."""
    block: Block | None = None
    for number, line in text_lines(path):
        block = block or Block(number)
        if line.startswith("$$$$"):
            yield Entry(block.line, partial(_read, block, modality))
            block = None
        else:
            block.add(number, line)
    if block is not None and any(line.strip() for _, line in block.lines):
        yield Entry(block.line, partial(_read, block, modality))


def _read(block: Block, modality: str) -> PeakList:
    block.check()
    tags, atoms = _tags(block), _atoms([line for _, line in block.lines])
    nucleus = NUCLEI[modality]
    about = {name: value[:10_000] for name, value in tags.items()}
    solvent = tags.get("NMREDATA_SOLVENT", "").strip("\\ \n") or None
    nmredata = any(name.startswith("NMREDATA_") for name in tags)
    database = [name for name in tags if re.match(rf"Spectrum {NAMES[nucleus]}\b", name, re.I)]
    if not nmredata and not database:
        if any(name.lower().startswith("spectrum ") for name in tags):
            raise OtherKind(f"its spectra are not of {NAMES[nucleus]}; give it as the other nucleus")
        raise Unreadable(
            "this is a structure, not a list of peaks: a mol or SD file without NMReDATA tags; give its "
            "SMILES with --smiles, or the shifts"
        )
    if database:
        peaks, field = _nmrshiftdb(tags[database[0]]), None
        solvents = [value for name, value in tags.items() if name.lower() == "solvent"]
        number = database[0].rpartition(" ")[2]
        named = dict(re.findall(r"(\d+):([^\n]+?)(?=\s+\d+:|\s*$)", solvents[0])) if solvents else {}
        solvent = named.get(number)
    else:
        signals, field = _signals(tags, NAMES[nucleus])
        peaks = signals or _assigned(tags, atoms, nucleus)
    if not peaks:
        raise OtherKind(f"its NMReDATA has no shifts of {NAMES[nucleus]}; give it as the other nucleus")
    low, high = SHIFT_LIMITS[nucleus]
    wrong = next((peak for peak in peaks if not low <= peak.position <= high), None)
    if wrong is not None or len(peaks) > MAX_PEAKS:
        what = f"the shift {wrong.position:g}" if wrong is not None else f"{len(peaks):,} peaks"
        raise Unreadable(f"it has {what}, which no spectrum of {NAMES[nucleus]} has; correct it")
    return PeakList(modality, tuple(dict.fromkeys(peaks)), solvent=solvent, field_mhz=field, about=about)


def _tags(block: Block) -> dict[str, str]:
    tags: dict[str, list[str]] = {}
    lines: list[str] | None = None
    for _, line in block.lines:
        found = _TAG.match(line)
        if found:
            lines = tags.setdefault(found[1].strip(), [])
        elif lines is not None:
            lines.append(line.rstrip().removesuffix("\\").rstrip())
    return {name: "\n".join(lines).strip() for name, lines in tags.items()}


def _atoms(lines: list[str]) -> list[str]:
    """Elements of the atoms of a mol block, V2000 or V3000, in their order."""
    elements = [found[1] for line in lines if (found := re.match(r"M  V30 \d+ ([A-Z][a-z]?) ", line))]
    at = next((i for i, line in enumerate(lines[:10]) if "V2000" in line), None)
    if elements or at is None:
        return elements
    count = lines[at][:3].strip()
    rows = lines[at + 1 : at + 1 + (int(count) if count.isdecimal() else 0)]
    return [row[31:34].strip() for row in rows]


def _signals(tags: dict[str, str], nucleus: str) -> tuple[list[Peak], float | None]:
    """Signals and field in MHz of the first spectrum of a nucleus: "7.33, S=d, N=2, J=8.8, L=H3"."""
    tag = next((one for one in tags if re.fullmatch(rf"NMREDATA_1D_{nucleus}(?:#\d+)?", one, re.I)), None)
    peaks: list[Peak] = []
    field = None
    for line in tags[tag].splitlines() if tag else ():
        first, *rest = (part.strip() for part in re.split(r",(?![^()]*\))", line))
        if first.lower().startswith("larmor"):
            field = number_of(first.partition("=")[2])
        match = _SHIFT.match(first)
        if match is None:
            continue
        said: dict[str, str] = {}
        key = ""
        for part in rest:  # "J=7.1, 2.2": a part without a name goes on
            name, equals, value = part.partition("=")
            key = name.strip().upper() if equals else key
            said[key] = f"{said.get(key, '')} {value if equals else part}".strip()
        ends = sorted(float(end) for end in match.groups() if end is not None)
        hertz = re.sub(r"\([^)]*\)", "", said.get("J", ""))
        couplings = [float(one) for one in re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.])", hertz)]
        count = number_of(said.get("N", said.get("NH", "")))
        peaks.append(
            Peak(
                sum(ends) / len(ends),
                ends[0] if len(ends) == 2 else None,
                ends[1] if len(ends) == 2 else None,
                intensity=number_of(said.get("I", "")),
                count=int(count) if count and count == int(count) and nucleus == "1H" else None,
                multiplicity=said.get("S") or None,
                couplings=tuple(couplings) if nucleus == "1H" else (),
            )
        )
    return peaks, field


def _assigned(tags: dict[str, str], atoms: list[str], nucleus: str) -> list[Peak]:
    """Peaks of an assignment: "a, 7.33, 4, 6"; an "H4" is the hydrogens of atom 4. Couplings: "a, b, 8.8"."""
    couplings: dict[str, list[float]] = {}
    for line in tags.get("NMREDATA_J", "").splitlines():
        parts = [part.strip() for part in line.split(",")]
        value = number_of(parts[2]) if len(parts) >= 3 else None
        if value is not None:
            for label in parts[:2]:
                couplings.setdefault(label, []).append(abs(value))
    peaks = []
    for line in tags.get("NMREDATA_ASSIGNMENT", "").splitlines():
        label, *rest = (part.strip() for part in line.split(","))
        match = _SHIFT.match(rest[0]) if rest else None
        if match is None:
            continue
        elements = {_element(part, atoms) for part in rest[1:] if re.fullmatch(r"H?\d+", part)}
        if elements != {nucleus}:
            continue
        hydrogens = sum(re.fullmatch(r"H?\d+", part) is not None for part in rest[1:])
        explicit = nucleus == "H" and not any(part.startswith("H") for part in rest[1:])
        peaks.append(
            Peak(
                sum(float(end) for end in match.groups() if end)
                / sum(end is not None for end in match.groups()),
                count=hydrogens if explicit else None,
                couplings=tuple(couplings.get(label, ())) if nucleus == "H" else (),
            )
        )
    return peaks


def _element(part: str, atoms: list[str]) -> str:
    if part.startswith("H"):
        return "H"
    return atoms[int(part) - 1] if 0 < int(part) <= len(atoms) else "?"


def _nmrshiftdb(value: str) -> list[Peak]:
    """Peaks of nmrshiftdb2: "17.6;0.0Q;9|18.3;0.0Q;8|", shift, intensity with class, atom."""
    peaks = []
    for item in value.replace("\n", "").split("|"):
        shift, _, rest = item.partition(";")
        position = number_of(shift)
        if position is not None:
            letter = re.search(r"([SDTQ])\s*(?:;|$)", rest)
            peaks.append(Peak(position, multiplicity=_CLASSES[letter[1]] if letter else None))
    return peaks


SD = Format("a mol or SD file", ("c_nmr", "h_nmr"), _entries)
