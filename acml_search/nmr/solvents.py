"""Solvents of NMR: their names as people write them, and the peaks that they, TMS and common impurities leave
in a spectrum."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import NamedTuple

from acml_search.chem.peaks import LeftOut, Peak, PeakList


class Solvent(NamedTuple):
    """A deuterated solvent; shifts in ppm of its carbons, its residual protons, and water dissolved in it.

    Fulmer et al., Organometallics 2010, 29, 2176; for pyridine and DMF also Gottlieb, Kotlyar and Nudelman,
    J. Org. Chem. 1997, 62, 7512 and the tables of Cambridge Isotope Laboratories.
    """

    carbon: tuple[float, ...]
    proton: tuple[float, ...]
    water: float | None
    names: str
    """regular expression of its names, without regard to case"""
    multiplet: tuple[float, int] = (0.0, 0)
    """of the first carbon: coupling to deuterium in Hz, number of lines on either side of the centre"""


SOLVENTS = {
    "CDCl3": Solvent(
        (77.16,), (7.26,), 1.56, r"CDC[lI1]\s?3|DCC[lI]3|chloroform(?:-?d1?)?|d1?-chloroform|CHCl3", (32.0, 1)
    ),
    "DMSO-d6": Solvent(
        (39.52,),
        (2.50,),
        3.33,
        r"DMSO(?:-?d\s?6)?|dimethyl\s?sul(?:f|ph)oxide|\(CD3\)2SO",
        (21.0, 3),
    ),
    "CD3OD": Solvent(
        (49.00,), (3.31,), 4.87, r"CD3OD|CH3OH-?d4?|MeOD|MeOH-?d4|d4-?(?:MeOH|methanol)|meth?anol", (21.4, 3)
    ),
    "acetone-d6": Solvent((29.84, 206.26), (2.05,), 2.84, r"acetone|\(CD3\)2CO|CD3COCD3|Me2CO", (19.4, 3)),
    "C6D6": Solvent((128.06,), (7.16,), 0.40, r"C6D6|benzene", (24.3, 1)),
    "D2O": Solvent((), (4.79,), None, r"D2O|deuterium oxide|deuterated water"),
    "CD3CN": Solvent((1.32, 118.26), (1.94,), 2.13, r"CD3CN|MeCN|acetonitrile|ACN-?d3"),
    "CD2Cl2": Solvent(
        (53.84,), (5.32,), 1.52, r"CD2C[lI]2|CH2Cl2|DCM|dichloromethane|methylene chloride", (27.2, 2)
    ),
    "THF-d8": Solvent((25.31, 67.21), (1.72, 3.58), 2.46, r"THF|tetrahydrofuran"),
    "toluene-d8": Solvent(
        (20.43, 125.13, 127.96, 128.87, 137.48), (2.08, 6.97, 7.01, 7.09), 0.43, r"toluene|C7D8|C6D5CD3"
    ),
    "pyridine-d5": Solvent(
        (123.87, 135.91, 150.35), (7.22, 7.58, 8.74), 4.96, r"pyridine|C5D5N|C5H5N|py-?d5|d5-?py(?!\w)"
    ),
    "DMF-d7": Solvent((29.76, 34.89, 163.15), (2.75, 2.92, 8.03), 3.50, r"DMF|dimethylformamide"),
    "TFE-d3": Solvent((61.50, 126.28), (3.88, 5.02), 3.66, r"TFE|trifluoroethanol|CF3CD2OD"),
    "C2D2Cl4": Solvent((73.78,), (6.00,), None, r"C2D2C[lI]4|TCE-?d2|tetrachloroethane|CDCl2CDCl2"),
    "C6D5Cl": Solvent((125.96, 128.25, 129.26, 134.19), (6.96, 6.99, 7.14), 1.03, r"C6D5Cl|chlorobenzene"),
    "CD3COOD": Solvent((20.00, 178.99), (2.04, 11.65), None, r"CD3COOD|CD3CO2D|acetic acid|AcOD|AcOH"),
    "TFA-d": Solvent((116.60, 164.20), (11.50,), None, r"CF3COOD|CF3CO2D|TFA|trifluoroacetic acid"),
}
_NAMES = {
    name: re.compile(rf"(?<![A-Za-z0-9])(?:{solvent.names})(?![a-z])", re.IGNORECASE)
    for name, solvent in SOLVENTS.items()
}
TOLERANCE = {"c_nmr": 0.05, "h_nmr": 0.015}
"""ppm: how far a printed solvent peak lies from its tabulated place"""
_CENTRE_TOLERANCE = 0.19  # ppm: of the centre of a multiplet, which its pattern confirms
_LINE_TOLERANCE = 0.06  # ppm: of its other lines
FREQUENCY_RATIO = 3.9761  # of 1H over that of 13C
# older papers reference to these instead
_OLDER_REFERENCES = {
    ("CDCl3", "c_nmr"): (77.0, 77.23),
    ("CD3OD", "h_nmr"): (3.30,),
    ("CD3OD", "c_nmr"): (49.15,),
}


def find_solvents(text: str) -> list[str]:
    """The keys of `SOLVENTS` that a cleaned text names, in the order of the text."""
    matches = {name: match.start() for name, pattern in _NAMES.items() if (match := pattern.search(text))}
    return sorted(matches, key=matches.__getitem__)


def solvent_name(text: str) -> str | None:
    """The solvent that a text names, a key of `SOLVENTS`; of a mixture, the keys joined by a plus sign."""
    return " + ".join(find_solvents(text)) or None


def without_solvent(peaks: PeakList) -> PeakList:
    """The list without the peaks of its solvent and of TMS, which are named in `left_out`.

    A peak is the solvent's only if the list states the solvent (TMS: if it stands at exactly 0.00), it lies
    within TOLERANCE of the tabulated shift, and the text does not assign it to the compound by a count of
    nuclei or a multiplicity. Water is left out of 1H lists alone.
    """
    background = _background(peaks)
    own: list[Peak] = []
    left: list[LeftOut] = []
    for peak in peaks.peaks:
        near = [one for one in background if abs(peak.position - one[0]) <= one[1] + 1e-9]
        if near and not _is_claimed(peak, peaks.modality):
            _, _, why = min(near, key=lambda one: abs(peak.position - one[0]))
            left.append(LeftOut(f"{peak.position:g}", why, peak.position))
        else:
            own.append(peak)
    if not left:
        return peaks
    return replace(peaks, peaks=tuple(own), left_out=(*peaks.left_out, *left))


def _background(peaks: PeakList) -> list[tuple[float, float, str]]:
    """(ppm, tolerance, what it is) of peaks that would not be the compound's."""
    tolerance = TOLERANCE[peaks.modality]
    found = [(0.0, 0.0, "it is TMS, the reference")]
    bare = [peak.position for peak in peaks.peaks if not _is_claimed(peak, peaks.modality)]
    for name in find_solvents(peaks.solvent or ""):
        solvent = SOLVENTS[name]
        shifts = solvent.carbon if peaks.modality == "c_nmr" else solvent.proton
        older = _OLDER_REFERENCES.get((name, peaks.modality), ())
        for shift, within in [(shift, tolerance) for shift in shifts] + [(shift, 0.02) for shift in older]:
            found.append((shift, within, f"it is the solvent {name} ({shift:.2f} ppm)"))
        if peaks.modality == "c_nmr":
            lines = _multiplet_lines(bare, solvent, peaks.field_mhz)
            found += [(line, 0.0, f"it is a line of the solvent {name}") for line in lines]
        if peaks.modality == "h_nmr" and solvent.water is not None:
            found.append((solvent.water, tolerance, f"it is water in {name} ({solvent.water:.2f} ppm)"))
    return found


def _multiplet_lines(bare: list[float], solvent: Solvent, field_mhz: float | None) -> list[float]:
    """Shifts in ppm of the lines of a solvent's first carbon, where a list has the centre and lines on both
    sides of it.

    Their distance is the coupling over the field. As often, papers print the field of 1H, four times as high,
    and some print none. The three lines of CDCl3 are recognised by their even distance alone.
    """
    coupling, pairs = solvent.multiplet
    if not pairs:
        return []
    if pairs == 1:
        steps = [step / 100 for step in range(16, 60, 2)]
    else:
        steps = [coupling / field for field in (field_mhz, (field_mhz or 0.0) / FREQUENCY_RATIO) if field]
    centres = [shift for shift in bare if abs(shift - solvent.carbon[0]) <= _CENTRE_TOLERANCE][:8]
    lines: set[float] = set()
    for centre in centres:
        for step in steps:
            for k in range(1, pairs + 1):
                sides = [_nearest(bare, centre + sign * k * step) for sign in (-1, 1)]
                if None not in sides:
                    lines.update(side for side in (*sides, centre) if side is not None)
    return sorted(lines)


def _nearest(bare: list[float], shift: float) -> float | None:
    """The peak at a shift in ppm, as close as two decimals and rounding to one allow."""
    best = min(bare, key=lambda position: abs(position - shift), default=None)
    return best if best is not None and abs(best - shift) <= _LINE_TOLERANCE + 1e-9 else None


def _is_claimed(peak: Peak, modality: str) -> bool:
    """Whether the text says that a peak is the compound's: by a count, a coupling, a range or, of 13C, the
    class of the carbon.
    """
    if peak.count is not None or peak.couplings or peak.low is not None:
        return True
    return modality == "c_nmr" and peak.multiplicity in ("C", "CH", "CH2", "CH3", "s", "d", "q")


# ---- what peaks may be that a candidate does not explain

_NEAR = {"c_nmr": 0.2, "h_nmr": 0.03}
"""ppm: how far a peak that is explained by nothing else may lie from a tabulated one"""
_WATER = 0.1
"""ppm of 1H: water moves with its concentration"""
_MOST = 2
"""names for one peak"""
_COMMON = ("CDCl3", "DMSO-d6", "CD3OD", "acetone-d6", "C6D6", "D2O", "CD3CN", "CD2Cl2")
"""one of these may be the solvent of a list that states none"""
_IN = ("CDCl3", "DMSO-d6", "CD3OD")
# Fulmer et al., Organometallics 2010, 29, 2176 (doi 10.1021/om100106e): traces in ppm, of
# 1H in these three, then 13C in these three; "-" where none is known well
_TABLE = """
acetic acid         | 2.10 | 1.91 | 1.99 | 175.99 20.81 | 171.93 20.95 | 175.11 20.56
acetone             | 2.17 | 2.09 | 2.15 | 207.07 30.92 | 206.31 30.56 | 209.67 30.67
acetonitrile        | 2.10 | 2.07 | 2.03 | 116.43 1.89 | 117.91 1.03 | 118.06 0.85
benzene             | 7.36 | 7.37 | 7.33 | 128.37 | 128.30 | 129.34
tert-butanol        | 1.28 | 1.11 | 1.40 | 69.15 31.25 | 66.88 30.38 | 69.40 30.91
chloroform          | 7.26 | 8.32 | 7.90 | 77.36 | 79.16 | 79.44
cyclohexane         | 1.43 | 1.40 | 1.45 | 26.94 | 26.33 | 27.96
1,2-dichloroethane  | 3.73 | 3.90 | 3.78 | 43.50 | 45.02 | 45.11
dichloromethane     | 5.30 | 5.76 | 5.49 | 53.52 | 54.84 | 54.78
diethyl ether       | 3.48 1.21 | 3.38 1.09 | 3.49 1.18 | 65.91 15.20 | - | 66.88 15.46
dimethoxyethane     | 3.55 3.40 | 3.43 3.24 | 3.52 3.35 | 71.84 59.08 | - | 72.72 59.06
dimethylacetamide   | 3.02 2.94 2.09 | 2.94 2.78 1.96 | 3.31 2.92 2.07 | 171.07 38.13 35.28 21.53 \
| 169.54 37.38 34.42 21.29 | 173.32 38.50 35.50 21.33
DMF                 | 8.02 2.96 2.88 | 7.95 2.89 2.73 | 7.97 2.99 2.86 | 162.62 36.50 31.45 \
| 162.29 35.73 30.73 | 164.73 36.89 31.61
DMSO                | 2.62 | 2.54 | 2.65 | 40.76 | 40.45 | 40.45
1,4-dioxane         | 3.71 | 3.57 | 3.66 | 67.14 | 66.36 | 68.11
ethanol             | 3.72 1.25 | 3.44 1.06 | 3.60 1.19 | 58.28 18.41 | 56.07 18.51 | 58.26 18.40
ethyl acetate       | 4.12 2.05 1.26 | 4.03 1.99 1.17 | 4.09 2.01 1.24 | 171.36 60.49 21.04 14.19 \
| 170.31 59.74 20.68 14.40 | 172.89 61.50 20.88 14.49
grease              | 1.26 0.86 | 1.24 0.85 | 1.29 0.89 | 29.76 | 29.20 | -
n-hexane            | 1.26 0.88 | 1.25 0.86 | 1.28 0.90 | 31.64 22.70 14.14 | 30.95 22.05 13.88 \
| 32.73 23.68 14.45
methanol            | 3.49 | 3.16 | 3.34 | 50.41 | 48.59 | 49.86
nitromethane        | 4.33 | 4.42 | 4.34 | 62.50 | 63.28 | 63.08
n-pentane           | 1.27 0.88 | 1.27 0.86 | 1.29 0.90 | 34.16 22.38 14.08 | 33.48 21.70 13.28 \
| 35.30 23.38 14.39
2-propanol          | 4.04 1.22 | 3.78 1.04 | - | 64.50 25.14 | 64.92 25.43 | 64.71 25.27
pyridine            | 8.62 7.68 7.29 | 8.58 7.79 7.39 | 8.53 7.85 7.44 | 149.90 135.96 123.75 \
| 149.58 136.05 123.84 | 150.07 138.35 125.53
silicone grease     | 0.07 | -0.06 | 0.10 | 1.04 | - | 2.10
THF                 | 3.76 1.85 | 3.60 1.76 | 3.71 1.87 | 67.97 25.62 | 67.03 25.14 | 68.83 26.48
toluene             | 7.25 7.17 2.36 | 7.25 7.18 2.30 | 7.16 2.32 | 137.89 129.07 128.26 125.33 21.46 \
| 137.35 128.88 128.18 125.29 20.99 | 138.85 129.91 129.20 126.29 21.50
triethylamine       | 2.53 1.03 | 2.43 0.93 | 2.58 1.05 | 46.25 11.61 | 45.74 11.74 | 46.96 11.09
water               | 1.56 | 3.33 | 4.87 | - | - | -
TMS                 | 0.00 | 0.00 | 0.00 | 0.00 | 0.00 | 0.00
"""


def possible_impurities(peaks: PeakList, positions: Sequence[float]) -> dict[float, str]:
    """What each of `positions` (ppm, of peaks of the list) may be besides the compound's, where it may be
    anything: "ethyl acetate", or two names joined by "or".

    Of several, those of which the list has the most peaks, then the nearest. A list without a solvent is
    taken as one in CDCl3; the peaks of other deuterated solvents come last.
    """
    known = list(_known(peaks))
    observed = [peak.position for peak in peaks]
    found: dict[float, str] = {}
    for position in positions:
        ranked = []
        for name, shifts, within, last in known:
            off = min(abs(position - shift) for shift in shifts)
            if off <= within + 1e-9:
                seen = sum(any(abs(at - shift) <= within for at in observed) for shift in shifts)
                ranked.append((last, -seen, round(off, 2), len(shifts), name))
        names = list(dict.fromkeys(name for *_, name in sorted(ranked)))
        if names:
            found[position] = " or ".join(names[:_MOST])
    return found


def _known(peaks: PeakList) -> Iterator[tuple[str, tuple[float, ...], float, bool]]:
    """Name, shifts and tolerance in ppm of what may stand in a list beside its compound, and whether it is
    less likely than all else."""
    carbon = peaks.modality == "c_nmr"
    tolerance = _NEAR[peaks.modality]
    stated = find_solvents(peaks.solvent or "")
    for name in stated or _COMMON:
        solvent = SOLVENTS[name]
        if shifts := solvent.carbon if carbon else solvent.proton:
            yield name, shifts, tolerance, not stated and name != "CDCl3"
        if stated and not carbon and solvent.water is not None:
            yield "water", (solvent.water,), _WATER, False
    column = next((i for i, name in enumerate(_IN) if name in stated), 0)
    if stated and stated[0] not in _IN and not carbon:
        return  # shifts of 1H move too far from one solvent to another
    for name, columns in _rows():
        if shifts := columns[column + 3 * carbon]:
            yield name, shifts, _WATER if name == "water" else tolerance, False


@cache
def _rows() -> list[tuple[str, list[tuple[float, ...]]]]:
    """Names of the table, each with its six columns of shifts in ppm."""
    rows = []
    for line in _TABLE.strip().splitlines():
        name, *cells = (cell.strip() for cell in line.split("|"))
        rows.append((name, [tuple(map(float, cell.split())) if cell != "-" else () for cell in cells]))
    return rows
