"""Plots of spectra and logits: where their lines and texts go. `plots.svg` draws them.

A plot is a set of coordinates in pixels, computed here; the template holds all markup.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from acml_search.search.render.text import atoms, error, position, signed, subscripts, title

if TYPE_CHECKING:
    from acml_search.modalities import Modality
    from acml_search.modalities.base import Match
    from acml_search.search.results import ObservedPeaks, Reason

WIDTH = 760.0
MARGIN = 18.0  # left and right of the plot
ABOUT_TICKS = 8
# heights in a mirror plot: labels, sticks, join, sticks, labels, axis, all
M_TOP, M_UP, M_JOIN, M_DOWN, M_LOW, M_AXIS, M_HEIGHT = 46.0, 62.0, 128.0, 158.0, 224.0, 280.0, 314.0
# heights in a stick plot: labels' feet, highest stick, axis, all
S_NAMES, S_TOP, S_BASE, S_HEIGHT = 92.0, 124.0, 250.0, 286.0
# labels: where a line to the stick bends, where it ends, the text's foot, and its anchor
_LABELS = {
    "above": (M_TOP + 10, M_TOP + 2, M_TOP, "start"),
    "below": (M_LOW + 8, M_LOW + 15, M_LOW + 18, "end"),
    "names": (S_NAMES + 14, S_NAMES + 3, S_NAMES, "start"),
}
MAX_MIRROR = 250  # sticks of one side of a mirror plot
MAX_STICKS = 400  # of a stick plot: the highest, and all that are explained
MAX_MARKS = 5  # peaks marked as mattering most
MAX_LABELS = 26  # explained peaks, the highest, that are labelled
M_GAP, S_GAP = 13.5, 14.0  # pixels between labels
BAR_WIDTH, BAR_HEIGHT = 160.0, 14.0
_WORST_LAST = ("good", "fair", "known", "poor")


class Scale(NamedTuple):
    """Maps positions from `low` to `high` onto the plot's width; descending: high on the left."""

    low: float
    high: float
    descending: bool

    def __call__(self, at: float) -> float:
        part = (at - self.low) / (self.high - self.low)
        return MARGIN + (1.0 - part if self.descending else part) * (WIDTH - 2 * MARGIN)

    def ticks(self) -> list[float]:
        """Round numbers within the scale: 1, 2 or 5 times a power of ten apart."""
        rough = (self.high - self.low) / ABOUT_TICKS
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [i * step for i in range(first, last + 1)]


def scale(positions: Sequence[float], min_span: float, *, descending: bool) -> Scale:
    """A scale for `positions`, at least `min_span` wide, a twentieth of its width free at both ends."""
    low, high = min(positions), max(positions)
    if (short := min_span - (high - low)) > 0:
        low, high = low - short / 2, high + short / 2
    room = (high - low) / 20
    return Scale(low - room, high + room, descending)


def spread(places: Sequence[float], gap: float) -> list[float]:
    """`places`, moved as little as it takes (least squares, by isotonic regression) to be `gap` apart and
    inside the plot. Order is kept. Labels that cannot fit at all are set closer than `gap`.
    """
    from scipy.optimize import isotonic_regression

    n = len(places)
    if n == 0:
        return []
    gap = min(gap, (WIDTH - 2 * MARGIN) / max(1, n - 1))
    order, steps = np.argsort(places, kind="stable"), gap * np.arange(n)
    free = isotonic_regression(np.asarray(places)[order] - steps).x
    moved = np.empty(n)
    moved[order] = np.clip(free, MARGIN, WIDTH - MARGIN - gap * (n - 1)) + steps
    return [float(x) for x in moved]


class Stick(NamedTuple):
    """A peak: its class, what the pointer shows, and its lines (class, path)."""

    grade: str
    title: str
    lines: list[tuple[str, str]]


class Label(NamedTuple):
    """A position or a fragment as upright text, joined to its stick by a line."""

    grade: str
    text: str
    x: float
    y: float
    anchor: str
    lead: str


@dataclass
class Plot:
    """What the template draws: parts in the order of their drawing."""

    height: float
    about: str
    unit: str
    to: Scale
    axis: float
    """height of the axis"""
    kind: Literal["mirror", "sticks"]
    ranges: list[tuple[float, float]] = field(default_factory=list)
    """left end and width"""
    sticks: list[Stick] = field(default_factory=list)
    crosses: list[tuple[str, str]] = field(default_factory=list)
    """class and path: peaks without a partner"""
    labels: list[Label] = field(default_factory=list)
    marks: list[tuple[str, str]] = field(default_factory=list)
    """what the pointer shows and path: peaks that matter"""
    precursor: str | None = None

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Places and numbers of the axis."""
        ticks = self.to.ticks()
        step = ticks[1] - ticks[0] if len(ticks) > 1 else 1.0
        decimals = max(0, -math.floor(math.log10(step) + 1e-9))
        return [(self.to(tick), f"{tick:.{decimals}f}") for tick in ticks]

    def stick(self, at: float, base: float, end: float, grade: str, words: str) -> None:
        """Add a peak."""
        self.sticks.append(Stick(grade, words, [("stick", f"M{self.to(at):.1f} {base:.1f}V{end:.1f}")]))

    def label_all(self, items: Sequence[tuple[float, float, str, str]], where: str, gap: float) -> None:
        """Add labels, pushed apart; items: position, end of the stick, grade, text."""
        knee, foot, y, anchor = _LABELS[where]
        for (at, end, grade, text), x in zip(items, spread([self.to(i[0]) for i in items], gap), strict=True):
            lead = f"M{self.to(at):.1f} {end:.1f}V{knee:.0f}L{x:.1f} {foot:.0f}"
            self.labels.append(Label(grade, text, x + 4, y, anchor, lead))

    def cross(self, at: float, end: float, grade: str = "lost") -> None:
        """Add the mark of a peak that has no partner."""
        self.crosses.append((grade, f"M{self.to(at) - 4:.1f} {end - 4:.1f}l8 8m0 -8l-8 8"))


def mirror(reason: Reason) -> Plot:
    """A spectrum against what is predicted of a molecule: observed up, predicted down, pairs joined."""
    kind, peaks = reason.kind, reason.observed
    matched = reason.matched[:MAX_MIRROR]
    pairs = [(match, match.predicted) for match in reason.matched if match.predicted is not None][:MAX_MIRROR]
    lost, missing = reason.unmatched_observed[:MAX_MIRROR], reason.unmatched_predicted[:MAX_MIRROR]
    observed = {match.observed: str(reason.grade(match)) for match in matched}
    # equivalent atoms may stand in several pairs: one label is enough
    predicted = {down: str(reason.grade(match)) for match, down in pairs}
    shown = [*observed, *predicted, *lost, *(peak.position for peak in missing)]
    to = scale(shown, kind.min_span, descending=kind.descending)
    about = f"{title(kind.name)}: observed peaks above, predicted peaks below"
    plot = Plot(M_HEIGHT, about, kind.unit, to, M_AXIS, "mirror")
    heights = _heights(peaks)

    def top(at: float) -> float:
        peak = peaks.at(at)
        return M_JOIN - (M_JOIN - M_UP) * (heights[peak.position] if peak else 1.0)

    for peak in peaks:
        if peak.low is not None and peak.high is not None and to.low <= peak.low < peak.high <= to.high:
            left, right = sorted((to(peak.low), to(peak.high)))
            plot.ranges.append((left, right - left))
    # the bad ones last, so that nothing hides them
    for match, down in sorted(pairs, key=lambda pair: _WORST_LAST.index(reason.grade(pair[0]))):
        off = f"{error(reason.error(match), kind)} {'ppm' if kind.relative_errors else kind.unit}"
        words = (
            f"observed {position(match.observed, kind)}, predicted {position(down, kind)}, error {off}; "
            f"atoms {atoms(match.atoms)}"
        )
        up, low = to(match.observed), to(down)
        ends = f"M{up:.1f} {top(match.observed):.1f}V{M_JOIN:.0f}M{low:.1f} {M_DOWN:.0f}V{M_LOW:.0f}"
        join = f"M{up:.1f} {M_JOIN:.0f}L{low:.1f} {M_DOWN:.0f}"
        plot.sticks.append(Stick(reason.grade(match), words, [("stick", ends), ("join", join)]))
    for match in matched:
        if match.predicted is None:
            at = match.observed
            plot.stick(at, M_JOIN, top(at), reason.grade(match), f"{position(at, kind)} observed")
    for at in lost:
        plot.stick(at, M_JOIN, top(at), "lost", f"{position(at, kind)} observed, not predicted")
        plot.cross(at, top(at))
    for one in missing:
        words = f"{position(one.position, kind)} predicted, not observed; atoms {atoms(one.atoms)}"
        plot.stick(one.position, M_DOWN, M_LOW, "missing", words)
        plot.cross(one.position, M_LOW, "missing")
    up_labels = observed | dict.fromkeys(lost, "lost")
    plot.label_all([(x, top(x), grade, position(x, kind)) for x, grade in up_labels.items()], "above", M_GAP)
    down_labels = [*predicted.items(), *((one.position, "missing") for one in missing)]
    plot.label_all([(x, M_LOW, grade, position(x, kind)) for x, grade in down_labels], "below", M_GAP)
    return plot


def _heights(peaks: ObservedPeaks) -> dict[float, float]:
    """Relative heights, 0.45 to 1, by position: of intensities where all are known, else of the nuclei."""
    values = [peak.intensity for peak in peaks]
    if any(value is None for value in values):
        values = [float(peak.count or 1) for peak in peaks]
    numbers = [max(0.0, value or 0.0) for value in values]
    highest = max(numbers, default=1.0) or 1.0
    # the root keeps a CH beside a tert-butyl visible
    return {peak.position: 0.45 + 0.55 * (x / highest) ** 0.5 for peak, x in zip(peaks, numbers, strict=True)}


def sticks(reason: Reason, precursor: float | None = None) -> Plot:
    """A spectrum with the peaks that a molecule explains, and those that matter most. precursor: m/z, marked
    where it lies in the plot."""
    kind, peaks = reason.kind, reason.observed

    def listed(at: float) -> float:
        peak = peaks.at(at)
        return at if peak is None else peak.position

    heights = {
        peak.position: 1.0 if peak.intensity is None else max(0.0, peak.intensity) / peaks.highest
        for peak in peaks
    }
    explained: dict[float, Match] = {listed(match.observed): match for match in reason.matched}
    missed = {listed(at) for at in reason.unmatched_observed}
    shown = sorted((set(heights) or missed) | set(explained), key=lambda x: -heights.get(x, 1.0))
    shown = [x for i, x in enumerate(shown) if i < MAX_STICKS or x in explained]
    to = scale([*shown, *([precursor] if precursor else [])], kind.min_span, descending=kind.descending)
    about = f"{title(kind.name)}: peaks that the molecule explains are coloured"
    plot = Plot(S_HEIGHT, about, kind.unit, to, S_BASE, "sticks")

    def top(at: float) -> float:
        return S_BASE - (S_BASE - S_TOP) * heights.get(at, 1.0)

    if precursor:
        plot.precursor = f"M{to(precursor):.1f} {S_TOP - 14:.0f}V{S_BASE:.0f}"
    for at in sorted(shown, key=lambda x: x in explained):
        one = explained.get(at)
        grade = reason.grade(one) if one else "lost" if at in missed else "aside"
        words = f"{kind.unit} {position(at, kind)}, {100 * heights.get(at, 1.0):.3g} %"
        if one is None:
            words += ", not explained" if at in missed else ", not compared"
        else:
            off = reason.error(one)
            unit = "ppm" if kind.relative_errors else kind.unit
            words += f": {one.label or ''}" + ("" if off is None else f", {error(off, kind)} {unit}")
        plot.stick(at, S_BASE, top(at), grade, words)
    named = [(x, explained[x]) for x in shown if x in explained and explained[x].label][:MAX_LABELS]
    items = [(x, top(x), str(reason.grade(one)), subscripts((one.label or "")[:18])) for x, one in named]
    plot.label_all(items, "names", S_GAP)
    for at, change in reason.occlusion[:MAX_MARKS]:
        if (peak := peaks.at(at)) is not None:
            path = f"M{to(at):.1f} {top(peak.position) - 3:.1f}l-5 -8h10z"
            plot.marks.append((f"this peak raises the logit by {signed(change, 2)}", path))
    return plot


class Bar(NamedTuple):
    """What each observation adds to a hit's logit, stacked: positive parts to the right of zero."""

    parts: list[tuple[str, float, float, str]]
    """modality, left end, width, what the pointer shows"""
    zero: float
    about: str


def bar(logits: Mapping[str, float], ends: tuple[float, float]) -> Bar:
    """The bar of one hit; ends: of all bars of a list (`bar_ends`)."""
    low, high = ends
    per = BAR_WIDTH / (high - low)
    left = right = -low * per
    parts = []
    for modality, logit in logits.items():
        wide = abs(logit) * per
        left -= wide if logit < 0 else 0.0
        parts.append((modality, left if logit < 0 else right, wide, f"{title(modality)} {signed(logit, 1)}"))
        right += wide if logit >= 0 else 0.0
    return Bar(parts, -low * per, ", ".join(part[3] for part in parts))


def bar_ends(all_logits: Sequence[Mapping[str, float]]) -> tuple[float, float]:
    """The lowest sum of the negative logits of a hit and the highest of the positive ones."""
    low = min((sum(min(0.0, x) for x in logits.values()) for logits in all_logits), default=0.0)
    high = max((sum(max(0.0, x) for x in logits.values()) for logits in all_logits), default=0.0)
    return low, high if high > low else low + 1.0


def modality_class(kind: Modality | str) -> str:
    """The CSS classes that colour a modality: its own, if the style sheet has it, over the common one."""
    name = kind if isinstance(kind, str) else kind.name
    return f"m m-{name}" if name.isidentifier() else "m"
