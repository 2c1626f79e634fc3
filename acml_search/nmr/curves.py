"""Curves of NMR: from an FID to a spectrum, and from a spectrum to a list of its peaks.

nmrglue removes the digital filter, weights, transforms and phases. Peaks are local maxima that stand out of
the noise, the median absolute deviation of the quieter half of the spectrum. A line of 13C is a peak,
lines of 1H that stand as close as coupled ones do are one multiplet. The list that comes out can be printed,
edited and given back as text.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import comb
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from acml_search.chem.peaks import LeftOut, Peak, PeakList
from acml_search.ms.io.base import Unreadable
from acml_search.nmr.solvents import SOLVENTS, find_solvents, without_solvent

if TYPE_CHECKING:
    from acml_search.core.typing import Floats

NAMES = {"c_nmr": "13C", "h_nmr": "1H"}
LINE_BROADENING = {"c_nmr": 1.5, "h_nmr": 0.3}
"""Hz, of the weighting of an FID"""
MIN_SNR = {"c_nmr": 6.0, "h_nmr": 10.0}
"""height of a peak over the standard deviation of the noise"""
MIN_HEIGHT = {"c_nmr": 0.025, "h_nmr": 0.004}
"""height of a peak over that of the highest peak of the compound"""
MIN_AREA = 0.025
"""area of a 1H multiplet over that of the largest; smaller ones are 13C satellites and impurities"""
MIN_POINTS = 64
MAX_POINTS = 4 << 20
MAX_LINES = 1_000
SOLVENT_TOLERANCE = 0.05
"""ppm, of the residual protons of a solvent in a measured 1H spectrum"""
WATER_TOLERANCE = 0.06
SPLITTING = 9.5
"""Hz: lines of 1H further apart than this are two multiplets"""
_WIDE_SPLITTING = 18.5  # Hz: of protons at a double bond
_PHASE_POINTS = 1 << 14


class Curve(NamedTuple):
    """A spectrum in one dimension, its points evenly spaced from the first shift to the last."""

    first: float
    last: float
    """ppm, of the first and the last point"""
    heights: Floats
    """(n,) real part, any scale"""
    field_mhz: float | None = None
    solvent: str | None = None
    pulse_sequence: str = ""
    notes: tuple[str, ...] = ()
    """sentences for the user, such as that the reference is doubtful"""
    referenced: bool = True
    """whether a reference compound, not the frequency of the carrier, sets the zero of the axis"""


class Fid(NamedTuple):
    """A free induction decay, as instruments store it."""

    values: Any
    """(n,) complex"""
    width_hz: float
    left_ppm: float
    """shift of the left end of the spectrum"""
    field_mhz: float
    solvent: str | None = None
    pulse_sequence: str = ""
    filter: tuple[float, float, float] | None = None
    """DECIM, DSPFVS and GRPDLY (0 where it is not stated) of Bruker's digital filter"""
    reversed: bool = True
    """whether frequencies rise from left to right after the transform, as on Bruker's instruments"""
    notes: tuple[str, ...] = ()
    referenced: bool = True


@np.errstate(all="ignore")  # what is not finite is refused
def transformed(fid: Fid, modality: str) -> Curve:
    """The spectrum of an FID: digital filter removed, weighted, zero-filled, transformed, phased.

    Raises Unreadable for an FID that is too short, without signal, or cannot be phased.
    """
    import nmrglue as ng

    values = np.asarray(fid.values, np.complex128)
    if not MIN_POINTS <= len(values) <= MAX_POINTS:
        raise Unreadable(f"its FID has {len(values):,} points, which no spectrum is made of; check the file")
    if not np.isfinite(values).all() or not np.abs(values).any():
        raise Unreadable("its FID is empty or holds values that are not finite; check the file")
    if not (fid.width_hz > 0 and fid.field_mhz > 0 and np.isfinite([fid.width_hz, fid.field_mhz]).all()):
        raise Unreadable("its FID states no spectral width or no frequency; process it and save the spectrum")
    if fid.filter is not None:
        decim, version, delay = fid.filter
        try:
            values = ng.bruker.rm_dig_filter(values, decim, version, delay)
        except (ValueError, KeyError, IndexError) as error:
            raise Unreadable(f"its digital filter is not known ({error}); process it in TopSpin") from error
    values = values - values[-len(values) // 8 :].mean()
    values = ng.proc_base.em(values, lb=LINE_BROADENING[modality] / fid.width_hz)
    values[0] /= 2
    half = len(values) // 2  # an FID that was cut off would leave ripples beside its lines
    values[-half:] *= np.cos(np.linspace(0, np.pi / 2, half)) ** 2
    spectrum = _spectrum(values, 2 * _power_of_two(len(values)), fid.reversed)
    p0, p1 = _phases(_spectrum(values, min(2 * _power_of_two(len(values)), _PHASE_POINTS), fid.reversed))
    real = ng.proc_base.ps(spectrum, p0=p0, p1=p1).real
    notes = [*fid.notes, "the spectrum was made of the FID: weighted, transformed and phased automatically"]
    if _negativity(real) > 0.1:
        real = np.abs(spectrum)
        notes.append("its phase could not be found, so the magnitude is used; check the peaks")
    right = fid.left_ppm - fid.width_hz / fid.field_mhz
    return Curve(
        fid.left_ppm,
        right,
        real,
        fid.field_mhz,
        fid.solvent,
        fid.pulse_sequence,
        tuple(notes),
        fid.referenced,
    )


def _power_of_two(n: int) -> int:
    return 1 << (n - 1).bit_length()


def _spectrum(values: Any, size: int, reverse: bool) -> Any:
    import nmrglue as ng

    filled = values[:size] if len(values) > size else ng.proc_base.zf_size(values, size)
    spectrum = ng.proc_base.fft(filled)
    return spectrum[::-1] if reverse else spectrum


def _phases(spectrum: Any) -> tuple[float, float]:
    """Phases of zeroth and first order in degrees, the best of nmrglue's automatic ones."""
    import nmrglue as ng

    best = (np.inf, 0.0, 0.0)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # of the optimiser, when it stops early
        for score in ("acme", "peak_minima"):
            for start in (0.0, 120.0, 240.0):
                try:
                    _, (p0, p1) = ng.proc_autophase.autops(
                        spectrum, score, p0=start, return_phases=True, disp=False, maxiter=200
                    )
                except ValueError:  # peak_minima cannot look beyond the ends
                    break
                negative = _negativity(ng.proc_base.ps(spectrum, p0=p0, p1=p1).real)
                best = min(best, (negative + abs(p1) * 1e-6, float(p0), float(p1)))
    return best[1], best[2]


def _negativity(heights: Floats) -> float:
    """The part of the signal that is negative, 0 to 1; noise is left out."""
    level = np.median(heights)
    signal = heights - level
    noise = 1.4826 * np.median(np.abs(signal))
    strong = signal[np.abs(signal) > 5 * noise]
    total = float(np.square(strong).sum())
    return float(np.square(strong[strong < 0]).sum()) / total if total else 1.0


# ---- picking


class Line(NamedTuple):
    """A local maximum of a curve."""

    ppm: float
    height: float
    """over the baseline"""
    prominence: float
    """height over the flanks of the lines beside it"""
    width: float
    """Hz, at half height"""
    sign: int
    """-1 for one below the baseline, as DEPT shows CH2"""


@dataclass
class _Picker:
    """A curve with ppm falling from left to right, its baseline and its noise."""

    modality: str
    curve: Curve
    ppm: Floats = field(init=False)
    y: Floats = field(init=False)
    noise: float = field(init=False)
    hertz: float = field(init=False)
    """Hz between two points"""

    def __post_init__(self) -> None:
        curve = self.curve
        y = np.asarray(curve.heights, np.float64)
        if len(y) < MIN_POINTS:
            raise Unreadable(f"its curve has {len(y):,} points, too few for a spectrum; check the file")
        if len(y) > MAX_POINTS:
            raise Unreadable(f"its curve has {len(y):,} points, more than {MAX_POINTS:,}; save it with fewer")
        if not np.isfinite(y).all() or not np.isfinite([curve.first, curve.last]).all():
            raise Unreadable("its curve has values that are not finite numbers; save it again")
        span = abs(curve.first - curve.last)
        if not 0.1 < span < 2_000:
            raise Unreadable(f"its axis covers {span:.3g} ppm, which is no spectrum; check the file")
        ppm = np.linspace(curve.first, curve.last, len(y))
        self.ppm, y = (ppm, y) if ppm[0] > ppm[-1] else (ppm[::-1], y[::-1])
        self.hertz = span * (curve.field_mhz or 100.0) / (len(y) - 1)
        self.y, self.noise = _levelled(y, max(16, round(len(y) * min(0.02, 0.4 / span * 4))))
        if not self.noise > 0:
            raise Unreadable("its curve is flat; check the file")

    def lines(self) -> list[Line]:
        """Every line that stands out of the noise, ppm falling."""
        edited = any(
            word in self.curve.pulse_sequence.lower() for word in ("dept", "apt", "jmod", "attached")
        )
        highest, lowest = float(self.y.max()), float(-self.y.min())
        signs = (1, -1) if edited else (-1,) if lowest > 3 * highest else (1,)
        found = [line for sign in signs for line in self._lines_of(sign)]
        if not found:
            raise Unreadable("no peak stands out of its noise; measure longer, or give the shifts as text")
        if len(found) > MAX_LINES:
            raise Unreadable(
                f"its curve has {len(found):,} peaks, more than {MAX_LINES:,}; give the shifts as text"
            )
        return sorted(found, key=lambda line: -line.ppm)

    def _lines_of(self, sign: int) -> list[Line]:
        from scipy.signal import find_peaks, peak_widths

        y = sign * self.y
        floor = MIN_SNR[self.modality] * self.noise
        at, about = find_peaks(y, height=floor, prominence=0.7 * floor)
        if len(at) > 20 * MAX_LINES:
            raise Unreadable(f"its curve has {len(at):,} peaks; it is noise, or the phase is wrong")
        share = 0.1 if self.modality == "c_nmr" else 0.03
        stands = about["prominences"] > share * about["peak_heights"]
        at, prominences = at[stands], about["prominences"][stands]
        widths = peak_widths(y, at, rel_height=0.5)[0] * self.hertz if len(at) else np.zeros(0)
        lines = []
        for i, width, prominence in zip(at.tolist(), widths.tolist(), prominences.tolist(), strict=True):
            a, b, c = y[i - 1 : i + 2]
            bend = a - 2 * b + c
            shift = 0.5 * (a - c) / bend if bend < 0 else 0.0
            ppm = self.ppm[i] + shift * (self.ppm[i + 1] - self.ppm[i])
            lines.append(Line(float(ppm), float(b), prominence, width, sign))
        return lines

    def area(self, low: float, high: float) -> float:
        """Of the curve between two shifts, over its baseline, in units of height x Hz."""
        inside = (self.ppm >= low) & (self.ppm <= high)
        return float(self.y[inside].sum()) * self.hertz


def _levelled(y: Floats, block: int) -> tuple[Floats, float]:
    """The curve without its baseline, and the standard deviation of its noise.

    Both are of blocks of points: the noise is that of the quieter half, the baseline a low quantile of each,
    smoothed by a median over neighbours.
    """
    from scipy.ndimage import median_filter

    n = len(y) // block
    blocks = y[: n * block].reshape(n, block)
    deviations = 1.4826 * np.median(np.abs(blocks - np.median(blocks, 1, keepdims=True)), 1)
    quiet = np.sort(deviations[deviations > 0])
    highest = float(np.abs(y - np.median(y)).max())
    noise = float(np.median(quiet[: max(1, len(quiet) // 2)])) if len(quiet) else 0.0
    noise = max(noise, 1e-5 * highest)
    levels = median_filter(np.quantile(blocks, 0.25, 1) + 0.6745 * noise, 9, mode="nearest")
    centres = (np.arange(n) + 0.5) * block
    return y - np.interp(np.arange(len(y)), centres, levels), noise


@np.errstate(all="ignore")
def picked(curve: Curve, modality: str, about: dict[str, Any] | None = None) -> PeakList:
    """The peaks of a spectrum, without those of the solvent, of TMS and, of 1H, of impurities.

    `about["picked"]` is the list as text, `about["notes"]` are sentences for the user. Raises Unreadable for
    a curve without peaks.
    """
    picker = _Picker(modality, curve)
    lines = picker.lines()
    notes = list(curve.notes)
    peaks = PeakList(
        modality,
        (),
        solvent=curve.solvent,
        field_mhz=None if curve.field_mhz is None else round(curve.field_mhz, 2),
        about=dict(about or {}),
    )
    peaks = (
        _carbons(peaks, lines, picker, notes)
        if modality == "c_nmr"
        else _protons(peaks, lines, picker, notes)
    )
    if not peaks.peaks:
        raise Unreadable(
            "only its solvent stands out of the noise; measure longer, or give the shifts as text"
        )
    if not curve.referenced and not any("reference" in note for note in notes):
        notes.append(
            "its zero is set by the frequency of the carrier alone; shifts may be off by 0.1 ppm or more"
        )
    text = printed(peaks)
    n = f"{len(peaks)} {'peaks' if len(peaks) > 1 else 'peak'}"
    notes.insert(0, f"{n} picked from the curve; to correct them, edit this and give it as text: {text}")
    return replace(peaks, about={**peaks.about, "picked": text, "notes": notes})


def printed(peaks: PeakList) -> str:
    """A list as papers print it, which `read_nmr_text` reads as the same list."""
    conditions = [f"{peaks.field_mhz:g} MHz"] if peaks.field_mhz else []
    conditions += [peaks.solvent] if peaks.solvent else []
    where = f" ({', '.join(conditions)})" if conditions else ""
    decimals = 2 if peaks.modality == "c_nmr" else 3
    items = []
    for peak in peaks:
        ends = [peak.high, peak.low] if peak.low is not None and peak.high is not None else [peak.position]
        shift = "–".join(f"{end:.{decimals}f}" for end in ends if end is not None)
        about = [peak.multiplicity] if peak.multiplicity else []
        if peak.couplings:
            about.append(f"J = {', '.join(f'{coupling:.1f}' for coupling in peak.couplings)} Hz")
        if peak.count is not None:
            about.append(f"{peak.count}{'H' if peaks.modality == 'h_nmr' else 'C'}")
        items.append(f"{shift} ({', '.join(about)})" if about else shift)
    return f"{NAMES[peaks.modality]} NMR{where} δ {', '.join(items)}"


# ---- 13C: every line is a peak


def _carbons(peaks: PeakList, lines: list[Line], picker: _Picker, notes: list[str]) -> PeakList:
    offset, pattern = _carbon_reference(lines, peaks)
    if abs(offset) > 0.3:
        solvent = find_solvents(peaks.solvent or "")[0]
        place = f"{solvent} stands {abs(offset):.2f} ppm {'above' if offset > 0 else 'below'} its place"
        if picker.curve.referenced:
            notes.append(f"{place}, so the reference of the spectrum is doubtful; shifts are as in the file")
        else:
            notes.append(f"{place}; all shifts were corrected by it, as the file states no other reference")
            lines = [line._replace(ppm=line.ppm - offset) for line in lines]
            pattern = {ppm - offset for ppm in pattern}
    edited = any(line.sign < 0 for line in lines) and any(line.sign > 0 for line in lines)
    if "dept" in picker.curve.pulse_sequence.lower():
        notes.append("the pulse sequence is DEPT: carbons without hydrogen are not in the list")
    own = [line for line in lines if line.ppm not in pattern]
    left = [
        LeftOut(f"{line.ppm:.2f}", "it is a line of the solvent", round(line.ppm, 2))
        for line in lines
        if line.ppm in pattern
    ]
    bare = replace(
        peaks,
        peaks=tuple(
            Peak(round(line.ppm, 2), intensity=line.height * (line.sign if edited else 1)) for line in own
        ),
        left_out=tuple(left),
    )
    kept = without_solvent(bare)
    highest = max((abs(peak.intensity or 0.0) for peak in kept), default=0.0)
    small = {peak for peak in kept if abs(peak.intensity or 0.0) < MIN_HEIGHT["c_nmr"] * highest}
    if small:
        notes.append(_small_ones([peak.position for peak in kept if peak in small], 2))
    if edited:
        notes.append("peaks above and below the baseline are both in the list")
    return replace(kept, peaks=tuple(peak for peak in kept if peak not in small))


def _carbon_reference(lines: Sequence[Line], peaks: PeakList) -> tuple[float, set[float]]:
    """How far in ppm the multiplet of the solvent stands from its place, and the shifts of its lines; 0 and
    none where it is not seen.
    """
    for name in find_solvents(peaks.solvent or ""):
        solvent = SOLVENTS[name]
        coupling, pairs = solvent.multiplet
        if not pairs or not peaks.field_mhz:
            continue
        step = coupling / peaks.field_mhz
        found = []
        for centre in lines:
            if abs(centre.ppm - solvent.carbon[0]) > 3.0:
                continue
            sides = [_near(lines, centre.ppm + k * step, 2.0 / peaks.field_mhz) for k in (-1, 1)]
            if all(side is not None and 0.4 < side.height / centre.height < 1.6 for side in sides):
                found.append(centre)
        if found:
            # of a multiplet of several lines, the tallest is its centre
            centre = max(found, key=lambda line: line.height)
            reach = (pairs + 0.3) * step
            pattern = {
                line.ppm
                for line in lines
                if abs(line.ppm - centre.ppm) <= reach and _on_grid(line, centre, step)
            }
            return centre.ppm - solvent.carbon[0], pattern
    return 0.0, set()


def _on_grid(line: Line, centre: Line, step: float) -> bool:
    steps = (line.ppm - centre.ppm) / step
    return abs(steps - round(steps)) < 0.25


def _near(lines: Sequence[Line], ppm: float, within: float) -> Line | None:
    best = min(lines, key=lambda line: abs(line.ppm - ppm))
    return best if abs(best.ppm - ppm) <= within else None


def _small_ones(shifts: Sequence[float], decimals: int) -> str:
    shown = ", ".join(f"{shift:.{decimals}f}" for shift in shifts[:8])
    more = f" and {len(shifts) - 8} more" if len(shifts) > 8 else ""
    return f"much smaller than the others, and left out: {shown}{more}"


# ---- 1H: lines that stand together are a multiplet


@dataclass
class _Multiplet:
    lines: list[Line]
    area: float = 0.0

    @property
    def own_area(self) -> float:
        """The area without the flank of a stronger line on which it may stand, as spinning sidebands do."""
        highest = max(self.lines, key=lambda line: line.height)
        return self.area * highest.prominence / highest.height

    @property
    def span(self) -> float:
        """ppm from the first line to the last"""
        return self.lines[0].ppm - self.lines[-1].ppm

    @property
    def middle(self) -> float:
        return (self.lines[0].ppm + self.lines[-1].ppm) / 2


def _protons(peaks: PeakList, lines: list[Line], picker: _Picker, notes: list[str]) -> PeakList:
    mhz = peaks.field_mhz or 400.0
    if peaks.field_mhz is None:
        notes.append("the file states no frequency, so multiplets were told apart as at 400 MHz")
    groups = _grouped(lines, mhz)
    for i, group in enumerate(groups):
        reach = max(6.0, 4 * max(line.width for line in group.lines)) / mhz
        high, low = group.lines[0].ppm + reach, group.lines[-1].ppm - reach
        if i:
            high = min(high, (group.lines[0].ppm + groups[i - 1].lines[-1].ppm) / 2)
        if i + 1 < len(groups):
            low = max(low, (group.lines[-1].ppm + groups[i + 1].lines[0].ppm) / 2)
        group.area = max(picker.area(low, high), 0.0)
    own, left = _without_background(groups, peaks, mhz, notes)
    largest = max((group.area for group in own), default=0.0)
    highest = max((line.height for group in own for line in group.lines), default=0.0)
    small = [
        group
        for group in own
        if group.own_area < MIN_AREA * largest
        or max(line.height for line in group.lines) < MIN_HEIGHT["h_nmr"] * highest
    ]
    own = [group for group in own if group not in small]
    found = [_described(group, mhz) for group in own]
    counts = None
    if find_solvents(peaks.solvent or ""):  # else areas of a solvent may be among them
        counts = _counts([group.area for group in own], [peak.multiplicity == "br s" for peak in found])
    traces = [group for group, count in zip(own, counts or (), strict=False) if count == 0]
    if small or traces:
        notes.append(_small_ones([group.middle for group in (*small, *traces)], 2))
    if counts is None and len(own) > 1 and find_solvents(peaks.solvent or ""):
        notes.append("its areas are no ratios of small whole numbers, so no numbers of protons are given")
    counted = zip(found, counts or [None] * len(own), strict=True)
    kept = tuple(peak._replace(count=count) for peak, count in counted if count != 0)
    return replace(peaks, peaks=kept, left_out=tuple(left))


def multiplets(lines: Sequence[Peak], mhz: float) -> tuple[Peak, ...]:
    """Peaks of 1H picked line by line, as multiplets: those that stand as close as coupled lines do.

    The intensity of a multiplet is the sum of its lines'.
    """
    known = [line for line in lines if line.intensity is None or line.intensity > 0]
    heights = [1.0 if line.intensity is None else line.intensity for line in known]
    found = [Line(peak.position, height, height, 1.0, 1) for peak, height in zip(known, heights, strict=True)]
    groups = _grouped(sorted(found, key=lambda line: -line.ppm), mhz) if found else []
    sums = [sum(line.height for line in group.lines) for group in groups]
    return tuple(
        _described(group, mhz)._replace(intensity=total) for group, total in zip(groups, sums, strict=True)
    )


def _grouped(lines: Sequence[Line], mhz: float) -> list[_Multiplet]:
    groups: list[list[Line]] = []
    for line in lines:
        if groups and (groups[-1][-1].ppm - line.ppm) * mhz <= SPLITTING:
            groups[-1].append(line)
        else:
            groups.append([line])
    highest = max(line.height for line in lines)
    merged: list[list[Line]] = []
    for group in groups:  # two halves of a doublet with a wide splitting
        if merged and _is_mirrored(merged[-1], group, mhz, highest):
            merged[-1] = [*merged[-1], *group]
        else:
            merged.append(group)
    kept = []
    for group in merged:
        highest = max(line.height for line in group)
        kept.append(_Multiplet([line for line in group if line.height >= 0.04 * highest]))
    return kept


def _is_mirrored(left: Sequence[Line], right: Sequence[Line], mhz: float, highest: float) -> bool:
    """Whether two groups are the halves of one doublet, geminal or at a double bond, and not two methyl
    groups, which are among the highest lines of a spectrum.
    """
    gap = (left[-1].ppm - right[0].ppm) * mhz
    if gap > _WIDE_SPLITTING or len(left) != len(right) or len(left) > 4:
        return False
    tops = max(line.height for line in left), max(line.height for line in right)
    spans = [(side[0].ppm - side[-1].ppm) * mhz for side in (left, right)]
    return min(tops) > 0.65 * max(tops) and max(tops) < 0.35 * highest and abs(spans[0] - spans[1]) < 1.5


def _without_background(
    groups: list[_Multiplet], peaks: PeakList, mhz: float, notes: list[str]
) -> tuple[list[_Multiplet], list[LeftOut]]:
    """Multiplets of the compound, and those of solvent, water and TMS."""
    background: list[tuple[float, float, float, str]] = []  # shift, tolerance and span in ppm, what it is
    solvents = find_solvents(peaks.solvent or "")
    for name in solvents:
        solvent = SOLVENTS[name]
        span = (
            12.0 if solvent.multiplet[1] == 3 or name == "CD3CN" else 4.0
        ) / mhz  # of CHD2, else of CHD or CH
        background += [
            (shift, SOLVENT_TOLERANCE, span, f"it is the solvent {name} ({shift:.2f} ppm)")
            for shift in solvent.proton
        ]
        if solvent.water is not None:
            what = f"it is water in {name} ({solvent.water:.2f} ppm)"
            background.append((solvent.water, WATER_TOLERANCE, 0.0, what))
    own, left = [], []
    reference: list[float] = []
    for group in groups:
        at = group.middle
        why = next(
            (
                what
                for shift, within, span, what in background
                if abs(at - shift) <= within and group.span <= span
            ),
            None,
        )
        if abs(at) <= 0.02 and len(group.lines) <= 3:
            why = "it is TMS, the reference"
        if why is not None and "water" not in why:
            reference.append(at)
        if why is None:
            own.append(group)
        else:
            left.append(LeftOut(f"{at:.3f}", why, round(at, 3)))
    stray = [group.middle for group in own if -0.5 < group.middle < 0.3 and len(group.lines) == 1]
    if stray and not reference:
        notes.append(f"a single line stands at {stray[0]:.2f} ppm; if it is TMS, the reference is doubtful")
    if not solvents:
        notes.append(
            "the file names no solvent, so its peaks may be in the list, and no numbers of protons are given"
        )
    return own, left


def _counts(areas: Sequence[float], broad: Sequence[bool]) -> list[int | None] | None:
    """Numbers of protons in the ratio of the areas, the smallest that fit; None where none do.

    A broad signal, of protons that exchange, may have any area, and so may one sharp signal in four: their
    number is None. 0 is less than a third of a proton, of an impurity or a sideband.
    """
    sharp = [area for area, any_area in zip(areas, broad, strict=True) if not any_area]
    if len(sharp) < 2 or min(sharp) <= 0:
        return None
    best: tuple[float, list[int | None]] | None = None
    for protons in (1, 2, 3):
        for unit in sorted(area / protons for area in sharp):
            found: list[int | None] = []
            for area in areas:
                n = 0 if area < 0.35 * unit else max(1, round(area / unit))
                fits = n <= 18 and (n == 0 or abs(area / unit - n) <= min(0.2 + 0.05 * n, 0.5))
                found.append(n if fits else None)
            found = [None if n == 0 and any_area else n for n, any_area in zip(found, broad, strict=True)]
            odd = sum(n is None and not any_area for n, any_area in zip(found, broad, strict=True))
            traces = found.count(0)
            cost = (
                odd + traces + 2 * (protons - 1) + sum(n or 0 for n in found) / 30
            )  # few protons are likelier
            if 4 * odd <= len(sharp) and 3 * traces <= len(sharp) and (best is None or cost < best[0]):
                best = cost, found
    return None if best is None else best[1]


def _described(group: _Multiplet, mhz: float) -> Peak:
    lines = group.lines
    pattern = _pattern([line.height for line in lines], [line.ppm * mhz for line in lines])
    if pattern is not None:
        name, couplings = pattern
        if name == "s" and lines[0].width > 6.0:
            name = "br s"
        return Peak(round(group.middle, 3), multiplicity=name, couplings=couplings)
    low, high = round(lines[-1].ppm, 3), round(lines[0].ppm, 3)
    return Peak(round((low + high) / 2, 4), low, high, multiplicity="m")


def _pattern(heights: Sequence[float], hertz: Sequence[float]) -> tuple[str, tuple[float, ...]] | None:
    """First-order multiplicity and couplings in Hz of lines from left to right; None for other patterns."""
    n = len(heights)
    if n == 1:
        return "s", ()
    steps = -np.diff(hertz)
    relative = np.asarray(heights) / max(heights)
    mean = float(steps.mean())
    if n <= 7 and np.abs(steps - mean).max() <= max(0.12 * mean, 0.5):
        ideal = np.array([comb(n - 1, k) for k in range(n)], float)
        ideal /= ideal.max()
        if np.abs(relative - ideal).max() <= 0.3 and (np.abs(np.log(relative / ideal)) < 0.55).all():
            return {2: "d", 3: "t", 4: "q", 5: "quint", 6: "sext", 7: "sept"}[n], (round(mean, 1),)
    if n == 4 and abs(steps[0] - steps[2]) <= max(0.15 * steps[0], 0.5) and relative.min() > 0.5:
        outer = float(steps[0] + steps[1] + steps[2])
        small = float(steps[0] + steps[2]) / 2
        return "dd", (round(outer - small, 1), round(small, 1))
    return None
