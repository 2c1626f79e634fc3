"""A mass spectrum with the peaks that a molecule explains, and those that matter most."""

from __future__ import annotations

from markupsafe import Markup

from acml_search.search.reason import axis, words
from acml_search.search.reason.facts import Match, Peak, Peaks, Reason

MOST = 400  # sticks: the highest, and all that are explained
MATTER = 5  # peaks marked as mattering most
_LABELS = 26  # explained peaks, the highest, that are labelled
_GAP = 14.0
_LEAST = 40.0  # width of the plot, m/z
_NAMES, _TOP, _BASE, _HEIGHT = 92.0, 124.0, 250.0, 286.0  # heights: labels' feet, highest stick, axis, all


def sticks(reason: Reason, peaks: Peaks, precursor: float | None = None) -> Markup:
    """The plot as inline SVG. peaks: the observed ones; precursor: m/z, marked where it lies in the plot."""
    known = peaks or Peaks(
        Peak(position, position, position, None, None, "")
        for position in (*(match.observed for match in reason.matched), *reason.unmatched_observed)
    )
    most = max((peak.intensity or 0.0 for peak in known), default=0.0) or 1.0
    heights = {
        peak.position: 1.0 if peak.intensity is None else max(0.0, peak.intensity) / most for peak in known
    }
    explained: dict[float, Match] = {}
    for match in reason.matched:
        peak = known.at(match.observed)
        explained[match.observed if peak is None else peak.position] = match
    shown = sorted({peak.position for peak in known} | set(explained), key=lambda x: -heights.get(x, 1.0))
    shown = [x for i, x in enumerate(shown) if i < MOST or x in explained]
    to = axis.scale([*shown, *([precursor] if precursor else [])], _LEAST, flipped=False)

    def top(position: float) -> float:
        return _BASE - (_BASE - _TOP) * heights.get(position, 1.0)

    missed = Peaks(Peak(mz, mz, mz, None, None, "") for mz in reason.unmatched_observed)

    def to_explain(position: float) -> bool:
        return missed.at(position) is not None

    parts = []
    if precursor:
        parts.append(
            Markup(
                '<path class="precursor" d="M{0:.1f} {1:.0f}V{2:.0f}"><title>precursor</title></path>'
            ).format(to(precursor), _TOP - 14, _BASE)
        )
    for position in sorted(shown, key=lambda x: x in explained):
        of = explained.get(position)
        parts.append(
            Markup(
                '<g class="{}"><title>{}</title><path class="stick" d="M{:.1f} {:.1f}V{:.0f}"/></g>'
            ).format(
                of.grade if of else "lost" if to_explain(position) else "aside",
                _about(position, heights.get(position, 1.0), of, reason.modality, to_explain(position)),
                to(position),
                top(position),
                _BASE,
            )
        )
    named = [x for x in shown if x in explained and explained[x].label][:_LABELS]
    for x, position in zip(axis.spread([to(x) for x in named], _GAP), named, strict=True):
        match = explained[position]
        parts.append(
            Markup(
                '<path class="lead" d="M{0:.1f} {1:.1f}V{2:.0f}L{3:.1f} {4:.0f}"/>'
                '<text class="at {5}" transform="translate({6:.1f} {7:.0f}) rotate(-90)">{8}</text>'
            ).format(
                to(position),
                top(position),
                _NAMES + 14,
                x,
                _NAMES + 3,
                match.grade,
                x + 4,
                _NAMES,
                words.subscripts(match.label[:18]),
            )
        )
    for position, change in reason.occlusion[:MATTER]:
        peak = known.at(position)
        if peak is not None:
            parts.append(_mark(to(position), top(peak.position), change))
    parts.append(axis.drawn(to, _BASE, "m/z"))
    head = '<svg class="plot" viewBox="0 0 {:.0f} {:.0f}" role="img" aria-label="{}">'
    label = f"{words.name(reason.modality)}: peaks that the molecule explains are coloured"
    return Markup(head).format(axis.WIDTH, _HEIGHT, label) + Markup("").join(parts) + Markup("</svg>")


def _about(position: float, height: float, match: Match | None, modality: str, missed: bool) -> str:
    text = f"m/z {words.position(position, modality)}, {100 * height:.3g} %"
    if match is None:
        return text + (", not explained" if missed else ", not compared")
    off = f", {words.error(match.error, modality)} ppm" if match.error is not None else ""
    return f"{text}: {match.label}{off}"


def _mark(x: float, y: float, change: float) -> Markup:
    """A triangle over a peak that matters."""
    return Markup('<path class="matters" d="M{:.1f} {:.1f}l-5 -8h10z"><title>{}</title></path>').format(
        x, y - 3, f"this peak raises the logit by {words.signed(change, 2)}"
    )
