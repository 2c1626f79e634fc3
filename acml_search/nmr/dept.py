"""DEPT: from lists of what DEPT-135 and DEPT-90 show to the hydrogens of each carbon of a 13C list.

DEPT-135 shows CH and CH3 above the baseline and CH2 below it, DEPT-90 shows CH alone, and neither shows a
carbon without hydrogen (Doddrell, Pegg and Bendall, J. Magn. Reson. 1982, 48, 323). With DEPT-135 alone, a
peak above the baseline stays "CH or CH3".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from acml_search.chem.peaks import Peak, PeakList, is_carbon_class
from acml_search.core.errors import InvalidRecord
from acml_search.nmr.assign import ANY, carbon_classes, class_bits
from acml_search.nmr.parser import read_nmr_text, split_dept
from acml_search.nmr.solvents import solvent_name
from acml_search.nmr.sources import nmr_peaks, peaks_of_text
from acml_search.nmr.tables import peaks_of_table
from acml_search.nmr.tokens import clean, plain_dashes

TOLERANCE = 0.3
"""ppm: how far a peak of DEPT and the same peak of 13C may lie apart"""
RESOLVED = 0.1
"""ppm: closer peaks of 13C may be one in a DEPT spectrum, which has fewer points"""
C, CH, CH2, CH3 = (1 << n for n in range(4))
SHOWN = {"dept135": CH | CH3, "dept90": CH}
"""what a peak above the baseline is"""


def dept_peaks_of(given: Any, experiment: str) -> PeakList:
    """The peaks of a DEPT experiment, each with the carbons that it may be of as multiplicity ("CH or CH3").

    given: a text, a file, or shifts, negative below the baseline. In text, peaks below it are marked as
    people do: "-60.4", "60.4 (-)", "60.4 neg", "60.4 (CH2)", "down: 60.4"; in tables and files by a negative
    intensity. Raises InvalidRecord for what holds no peaks.
    """
    if isinstance(given, str | Path):
        try:
            peaks = nmr_peaks(str(given), "c_nmr", partial(_read, experiment=experiment))
        except InvalidRecord as error:
            raise InvalidRecord(f"{experiment}: {error.reason}", modality="c_nmr") from error
    else:
        try:
            shifts = [float(shift) for shift in given]
        except (TypeError, ValueError) as error:
            raise InvalidRecord(f"{experiment} is no list of shifts ({error})", modality="c_nmr") from None
        peaks = PeakList("c_nmr", tuple(_signed(shift) for shift in shifts))
    return replace(peaks, peaks=tuple(_classed(peak, experiment) for peak in peaks))


def with_dept(peaks: PeakList, lists: Mapping[str, PeakList]) -> PeakList:
    """A 13C list with the classes that DEPT tells, "C" for carbons that DEPT-135 does not show, and notes on
    what does not agree. lists: of `dept_peaks_of`, by "dept135" and "dept90".

    A class that the 13C list states is kept. Raises InvalidRecord where less than half of the peaks of DEPT
    are in the 13C list: they are not of one compound.
    """
    notes: list[str] = []
    found = {name: _shown(peaks, one, name, notes) for name, one in lists.items()}
    made = []
    for i, peak in enumerate(peaks):
        stated = class_bits(peak.multiplicity) if is_carbon_class(peak.multiplicity) else ANY
        told = _combined({name: bits[i] for name, bits in found.items()}, peak, notes)
        if not stated & told:
            notes.append(
                f"{peak.position:g} ppm is {carbon_classes(stated)} as stated and {carbon_classes(told)} by "
                f"{' and '.join(lists)}; {carbon_classes(stated)} is used"
            )
        bits = stated & told or stated
        made.append(peak if bits == ANY else peak._replace(multiplicity=carbon_classes(bits)))
    about = {**peaks.about, "notes": [*peaks.about.get("notes", ()), *notes]} if notes else peaks.about
    return replace(peaks, peaks=tuple(made), about=about)


def with_dept_of_text(peaks: PeakList, text: str) -> PeakList:
    """A 13C list with what DEPT lists in the same text tell; a note where they cannot be used."""
    parts = split_dept(clean(text))[1]
    if not parts:
        return peaks
    try:
        return with_dept(peaks, {name: dept_peaks_of(part, name) for name, part in parts.items()})
    except InvalidRecord as error:
        notes = [*peaks.about.get("notes", ()), f"the list of DEPT is not used: {error.reason}"]
        return replace(peaks, about={**peaks.about, "notes": notes})


# ---- reading a list


def _signed(shift: float) -> Peak:
    return Peak(abs(shift), multiplicity="CH2" if shift < 0 else None)


def _classed(peak: Peak, experiment: str) -> Peak:
    if is_carbon_class(peak.multiplicity):
        return peak
    below = peak.intensity is not None and peak.intensity < 0
    return peak._replace(multiplicity=carbon_classes(CH2 if below else SHOWN[experiment]))


_UP = r"(?:\+|↑|(?:pos(?:itive)?|up(?:wards?)?)\b\.?)"
_DOWN = r"(?:-|↓|(?:neg(?:ative)?|down(?:wards?)?|inv(?:erted)?)\b\.?)"
_AFTER = (
    r"(?<=[\d.)])(\s?(?:ppm)?\s*[(\[]\s*|[ \t]*[,;|\t ][ \t]*){}"
    r"(?=[ \t]*(?:[,;|)\]\t\n]|\.?\s*$|and\b))"
)
_MARKED_DOWN = re.compile(_AFTER.format(_DOWN), re.IGNORECASE)
_MARKED_UP = re.compile(_AFTER.format(_UP), re.IGNORECASE)
_SHIFT = r"(\d{1,3}(?:\.\d+)?)"
_BEFORE = re.compile(rf"(?:(?<=^)|(?<=[\s,;:]))[(\[]-[)\]]\s?{_SHIFT}(?![\w.])")
_MINUS = re.compile(
    rf"(?<![\w.)\]-])(?<![\d.)] )-[ ]?{_SHIFT}(?![\w.])|(?<![\w.]){_SHIFT}-(?=\s*(?:[,;\n]|$))"
)
_GROUP_NAME = r"(?:CH[23]?|Cq|C|(?i:positive|pos|upwards?|up|negative|neg|downwards?|down))\b\.?"
_GROUP = re.compile(
    r"(?:(?P<first>^|[;.\n])\s*|(?<![\w.-]))"
    rf"(?P<names>\(?{_GROUP_NAME}(?:[\s,/&+()]{{1,3}}(?:and\s|or\s)?\(?{_GROUP_NAME}){{0,4}}\)?)"
    r"(?:\s(?:peaks?|signals?|carbons?|phase))?\s?(?:[:=]|at\b|(?(first)\s(?=\d)|[:=]))"
)
_NUMBER = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d+)?(?!\s?(?:M\s?Hz|Hz|[\w.]))")


def _read(text: str, modality: str, experiment: str) -> PeakList:
    """As `sources.peaks_of_text`, of a text that marks peaks below the baseline, which become CH2."""
    if "DEPT" in text:  # perhaps beside the 13C list
        text = split_dept(clean(text))[1].get(experiment, text)
    text = re.sub(r"(DEPT)[\s-]?(?:135|90)°?", r"\1", plain_dashes(text))
    text = _MARKED_UP.sub(r"\1up", _MARKED_DOWN.sub(r"\1CH2", text))
    if len(text.strip().splitlines()) > 1:
        try:
            table = peaks_of_table(text, modality)
        except InvalidRecord:
            rows = [line.split() for line in text.splitlines() if line.strip()]
            if _are_heights(rows):
                return peaks_of_text("\n".join(map("\t".join, [["ppm", "intensity"], *rows])), modality)
            if not _MINUS.search(text):
                raise
            table = None  # perhaps of shifts with signs
        if table is not None and (any(peak.intensity is not None for peak in table) or "-" not in text):
            return table
    text = _MINUS.sub(lambda found: f"{found[1] or found[2]} (CH2)", _BEFORE.sub(r"\1 (CH2)", text))
    return _grouped(text, modality) or peaks_of_text(text, modality)


def _are_heights(rows: Sequence[Sequence[str]]) -> bool:
    """Whether rows are a shift and a height each, some of which are negative."""
    return all(
        len(row) == 2 and all(re.fullmatch(r"-?\d+(?:\.\d+)?", cell) for cell in row) and row[0][0] != "-"
        for row in rows
    ) and any(row[1][0] == "-" for row in rows)


def _grouped(text: str, modality: str) -> PeakList | None:
    """The peaks below headings: "up: 14.2, 21.0; down: 60.4", "CH3: 14.2, CH2: 60.4"; None without such."""
    heads = list(_GROUP.finditer(text))
    ends = [head.start() for head in heads[1:]] + [len(text)]
    peaks: list[Peak] = []
    for head, end in zip(heads, ends, strict=False):
        part = text[head.end() : end].strip(" ;,.()δ\n")
        if _NUMBER.search(part):
            listed = read_nmr_text(f"13C NMR δ {part}", modality)
            own = _class_of_heading(head["names"])
            peaks += [
                peak if own is None or is_carbon_class(peak.multiplicity) else peak._replace(multiplicity=own)
                for peak in listed
            ]
    if not peaks:
        return None
    return PeakList(modality, tuple(peaks), solvent=solvent_name(clean(text[: heads[0].start()])))


def _class_of_heading(names: str) -> str | None:
    stated = [name for name in ("C", "CH", "CH2", "CH3") if re.search(rf"\b{name}\b", names)]
    if stated:
        return " or ".join(stated)
    return "CH2" if re.search(r"neg|down", names, re.IGNORECASE) else None


# ---- 13C and DEPT together


def _shown(peaks: PeakList, dept: PeakList, name: str, notes: list[str]) -> list[int]:
    """For each peak of 13C the bits of the DEPT peaks that are it, 0 where there is none."""
    notes += [f"{name}: left out {one.text.strip()!r}: {one.why}" for one in dept.left_out]
    at = [peak.position for peak in peaks]
    bits = [0] * len(at)
    shown = [_turned(peak, at) for peak in dept]
    pairs = sorted(
        (distance, i, j)
        for j, one in enumerate(shown)
        for i, position in enumerate(at)
        if (distance := round(abs(one.position - position), 4)) <= TOLERANCE
    )
    partner: dict[int, int] = {}
    for _, i, j in pairs:  # the closest first, each peak once
        if not bits[i] and j not in partner:
            bits[i], partner[j] = class_bits(shown[j].multiplicity), i
    for _, i, j in pairs:  # two of DEPT on one of 13C; two of 13C that DEPT does not resolve
        if j not in partner:
            partner[j] = i
            bits[i] |= class_bits(shown[j].multiplicity)
        elif not bits[i] and abs(at[i] - at[partner[j]]) <= RESOLVED:
            bits[i] = class_bits(shown[j].multiplicity) | C
    alone = [f"{one.position:g}" for j, one in enumerate(shown) if j not in partner]
    if 2 * len(alone) > len(shown):
        raise InvalidRecord(
            f"{len(alone)} of the {len(shown)} peaks of {name} are not in the 13C list, give or take "
            f"{TOLERANCE:g} ppm (the first: {alone[0]}); give lists of one compound",
            modality="c_nmr",
        )
    if alone:
        verb = "is" if len(alone) == 1 else "are"
        notes.append(f"{', '.join(alone)} of {name} {verb} not in the 13C list, and not compared")
    if name == "dept135" and len(shown) > 1 and all(CH2 & ~class_bits(one.multiplicity) for one in shown):
        notes.append(
            "no peak of dept135 is negative, so none is CH2; mark those that are: -60.4, or 60.4 (CH2)"
        )
    return bits


def _turned(peak: Peak, at: Sequence[float]) -> Peak:
    """A peak whose minus is part of its shift, as that of SiMe3, where the 13C list has it there."""

    def near(position: float) -> bool:
        return any(abs(position - one) <= TOLERANCE for one in at)

    if peak.multiplicity == "CH2" and not near(peak.position) and near(-peak.position):
        return peak._replace(position=-peak.position, multiplicity=carbon_classes(CH | CH3))
    return peak


def _combined(shown: Mapping[str, int], peak: Peak, notes: list[str]) -> int:
    """The bits that the experiments leave to a carbon."""
    left = {name: bits or (C if name == "dept135" else ANY & ~CH) for name, bits in shown.items()}
    both = ANY
    for bits in left.values():
        both &= bits
    if both:
        return both
    if shown["dept135"]:
        notes.append(
            f"{peak.position:g} ppm is {carbon_classes(left['dept135'])} by dept135 and stands in dept90; "
            "dept135 is used"
        )
        return left["dept135"]
    notes.append(f"{peak.position:g} ppm stands in dept90 and not in dept135; it is taken for CH")
    return CH
