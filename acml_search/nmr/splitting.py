"""13C lines that another nucleus splits: what a paper lists as the lines of a doublet is one carbon.

A decoupled spectrum is split by fluorine alone, or phosphorus: 1J(C,F) is 160-300 Hz, 2.4 ppm at 100 MHz.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from acml_search.chem.peaks import Peak, PeakList
from acml_search.nmr.solvents import FREQUENCY_RATIO

_LINES = {"d": 2, "t": 3, "q": 4}
_LEAST = 0.15
"""ppm: lines closer than this are not told from two carbons"""


def unsplit(peaks: PeakList, noted: Sequence[bool]) -> PeakList:
    """The 13C list with the lines of a stated multiplet as one carbon at their middle, and a note of each.

    "163.7, 161.3 (d, J = 245 Hz)": the lines follow one another in the list, evenly spaced by the coupling at
    the stated field (of 13C or, as papers print it as often, of 1H); the multiplicity stands at the last of
    them or at each. A single shift with a coupling stays as it is. noted: whether a note stands behind each
    shift, which a line of the same carbon would not have.
    """
    if peaks.field_mhz is None:
        return peaks
    kept: list[Peak] = []
    notes: list[str] = []
    bare: list[bool] = []
    for peak, has_note in zip(peaks, noted, strict=True):
        kept.append(peak)
        bare.append(not has_note)
        n = _LINES.get(peak.multiplicity or "", 0)
        lines = kept[-n:]
        if n and len(lines) == n and peak.couplings and _are_one(lines, bare[-n:], peaks.field_mhz):
            low, high = sorted((lines[0].position, lines[-1].position))
            one = peak._replace(position=round((low + high) / 2, 4), low=low, high=high)
            kept[-n:], bare[-n:] = [one], [False]
            listed = ", ".join(f"{line.position:g}" for line in lines)
            notes.append(f"{listed} are the lines of one carbon, which J = {peak.couplings[0]:g} Hz splits")
    if not notes:
        return peaks
    about = {**peaks.about, "notes": [*peaks.about.get("notes", ()), *notes]}
    return replace(peaks, peaks=tuple(kept), about=about)


def _are_one(lines: Sequence[Peak], bare: Sequence[bool], field_mhz: float) -> bool:
    """Whether lines are those of the multiplet that the last one states."""
    *others, last = lines
    stated = (last.multiplicity, last.couplings)
    if any(peak.low is not None for peak in lines):
        return False
    alike = [(peak.multiplicity, peak.couplings) == stated for peak in others]
    if not (all(alike) or (not any(alike) and all(bare[:-1]))):
        return False
    exact = any(round(peak.position, 1) != peak.position for peak in lines)  # printed with two decimals
    within = 0.02 if exact else 0.06
    steps = [b.position - a.position for a, b in pairwise(lines)]
    return (
        any(
            step >= (_LEAST if exact else 4 * _LEAST) and all(abs(abs(one) - step) <= within for one in steps)
            for step in (last.couplings[0] / field_mhz, last.couplings[0] * FREQUENCY_RATIO / field_mhz)
        )
        and len({one > 0 for one in steps}) == 1
    )
