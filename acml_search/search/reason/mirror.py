"""An NMR spectrum against what is predicted of a molecule: observed up, predicted down, pairs joined."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from acml_search.search.reason import axis, words
from acml_search.search.reason.facts import Match, Peak, Peaks, Reason

_LEAST = {"c_nmr": 40.0, "h_nmr": 2.0}  # width of the plot in ppm, at least
_GAP = 13.5  # pixels between labels
_TOP, _UP, _JOIN, _DOWN, _LOW = (
    46.0,
    62.0,
    128.0,
    158.0,
    224.0,
)  # heights: labels, sticks, join, sticks, labels
_HEIGHT = 314.0
_AXIS = 280.0
MOST = 250  # sticks of one side


def mirror(reason: Reason, peaks: Peaks) -> Markup:
    """The plot as inline SVG. peaks: the observed ones as they were read, for ranges and heights."""
    pairs = [match for match in reason.matched if match.predicted is not None][:MOST]
    alone = [match for match in reason.matched if match.predicted is None][:MOST]
    lost, missing = reason.unmatched_observed[:MOST], reason.unmatched_predicted[:MOST]
    shown = [
        *(match.observed for match in reason.matched[:MOST]),
        *(match.predicted for match in pairs if match.predicted is not None),
        *lost,
        *(peak.position for peak in missing),
    ]
    to = axis.scale(shown, _LEAST.get(reason.modality, 2.0), flipped=True)
    heights = _heights(peaks)

    def top(position: float) -> float:
        peak = peaks.at(position)
        return _JOIN - (_JOIN - _UP) * (heights[peak.position] if peak else 1.0)

    parts = [_range(peak, to) for peak in peaks if peak.high > peak.low and _within(peak, to)]
    # of the matches, the bad ones last, so that nothing hides them
    for match in sorted(pairs, key=lambda match: ("good", "fair", "known", "poor").index(match.grade)):
        parts.append(_pair(match, to, top(match.observed), reason.modality))
    for match in alone:
        parts.append(
            _stick(match.observed, to, top(match.observed), match.grade, reason.modality, "observed")
        )
    for position in lost:
        parts.append(_stick(position, to, top(position), "lost", reason.modality, "observed, not predicted"))
        parts.append(_cross(to(position), top(position)))
    for peak in missing:
        about = f"predicted, not observed; atoms {words.atoms(peak.atoms)}"
        parts.append(_stick(peak.position, to, _LOW, "missing", reason.modality, about, base=_DOWN))
        parts.append(_cross(to(peak.position), _LOW, "missing"))
    up = {match.observed: match.grade for match in reason.matched[:MOST]} | dict.fromkeys(lost, "lost")
    parts.append(_labels([(x, top(x), grade) for x, grade in up.items()], to, reason.modality, above=True))
    # atoms that are alike may stand in several pairs: one label is enough
    below = {match.predicted: match.grade for match in pairs if match.predicted is not None}
    down = [(x, _LOW, str(grade)) for x, grade in below.items()]
    down += [(peak.position, _LOW, "missing") for peak in missing]
    parts.append(_labels(down, to, reason.modality, above=False))
    parts += [
        Markup('<path class="base" d="M{0:.0f} {1:.0f}H{2:.0f}M{0:.0f} {3:.0f}H{2:.0f}"/>').format(
            axis.MARGIN, _JOIN, axis.WIDTH - axis.MARGIN, _DOWN
        ),
        Markup('<text class="side" x="2" y="{:.0f}">observed</text>').format(_JOIN - 4),
        Markup('<text class="side" x="2" y="{:.0f}">predicted</text>').format(_DOWN + 12),
        axis.drawn(to, _AXIS, "ppm"),
    ]
    head = '<svg class="plot" viewBox="0 0 {:.0f} {:.0f}" role="img" aria-label="{}">'
    label = f"{words.name(reason.modality)}: observed peaks above, predicted peaks below"
    return Markup(head).format(axis.WIDTH, _HEIGHT, label) + Markup("").join(parts) + Markup("</svg>")


def _heights(peaks: Peaks) -> dict[float, float]:
    """Relative heights, 0.45 to 1, by position: of intensities where all are known, else of the nuclei."""
    values = [peak.intensity for peak in peaks]
    if any(value is None for value in values):
        values = [float(peak.nuclei or 1) for peak in peaks]
    numbers = [max(0.0, value or 0.0) for value in values]
    most = max(numbers, default=1.0) or 1.0
    # the root keeps a CH beside a tert-butyl visible
    return {peak.position: 0.45 + 0.55 * (x / most) ** 0.5 for peak, x in zip(peaks, numbers, strict=True)}


def _within(peak: Peak, to: axis.Scale) -> bool:
    return to.low <= peak.low and peak.high <= to.high


def _range(peak: Peak, to: axis.Scale) -> Markup:
    left, right = sorted((to(peak.low), to(peak.high)))
    return Markup('<rect class="range" x="{:.1f}" y="{:.0f}" width="{:.1f}" height="{:.0f}"/>').format(
        left, _JOIN - 22, right - left, 22
    )


def _pair(match: Match, to: axis.Scale, top: float, modality: str) -> Markup:
    assert match.predicted is not None
    up, down = to(match.observed), to(match.predicted)
    about = (
        f"observed {words.position(match.observed, modality)}, "
        f"predicted {words.position(match.predicted, modality)}, "
        f"error {words.error(match.error, modality)} ppm; atoms {words.atoms(match.atoms)}"
    )
    return Markup(
        '<g class="{}"><title>{}</title><path class="stick" d="M{:.1f} {:.1f}V{:.0f}M{:.1f} {:.0f}V{:.0f}"/>'
        '<path class="join" d="M{:.1f} {:.0f}L{:.1f} {:.0f}"/></g>'
    ).format(match.grade, about, up, top, _JOIN, down, _DOWN, _LOW, up, _JOIN, down, _DOWN)


def _stick(
    position: float, to: axis.Scale, end: float, grade: str, modality: str, about: str, base: float = _JOIN
) -> Markup:
    text = f"{words.position(position, modality)} {about}"
    return Markup(
        '<g class="{}"><title>{}</title><path class="stick" d="M{:.1f} {:.1f}V{:.0f}"/></g>'
    ).format(grade, text, to(position), end, base)


def _cross(x: float, y: float, grade: str = "lost") -> Markup:
    """The mark of a peak that has no partner."""
    return Markup('<path class="cross {}" d="M{:.1f} {:.1f}l8 8m0 -8l-8 8"/>').format(grade, x - 4, y - 4)


def _labels(
    items: Sequence[tuple[float, float, str]], to: axis.Scale, modality: str, *, above: bool
) -> Markup:
    """Positions as upright numbers, pushed apart, each joined to its stick; items: position, the stick's
    end, grade."""
    places = axis.spread([to(position) for position, _, _ in items], _GAP)
    parts = []
    for (position, end, grade), x in zip(items, places, strict=True):
        knee, foot = (_TOP + 10, _TOP + 2) if above else (_LOW + 8, _LOW + 15)
        parts.append(
            Markup('<path class="lead" d="M{0:.1f} {1:.1f}V{2:.0f}L{3:.1f} {4:.0f}"/>').format(
                to(position), end, knee, x, foot
            )
        )
        text = Markup(
            '<text class="at {}" transform="translate({:.1f} {:.0f}) rotate(-90)" text-anchor="{}">{}</text>'
        )
        y, anchor = (_TOP, "start") if above else (_LOW + 18, "end")
        parts.append(text.format(grade, x + 4, y, anchor, words.position(position, modality)))
    return Markup("").join(parts)
