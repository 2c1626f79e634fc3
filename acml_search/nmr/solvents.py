"""Solvents of NMR: their names as people write them, and the peaks that they and TMS leave in a spectrum."""

from __future__ import annotations

import re
from dataclasses import replace
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
