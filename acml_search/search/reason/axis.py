"""What both kinds of plot need: a scale with ticks, and labels pushed apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

WIDTH = 760.0
MARGIN = 18.0  # left and right of the plot
_ABOUT = 8  # ticks of an axis


class Scale(NamedTuple):
    """Maps positions from `low` to `high` onto the plot's width. flipped: high on the left, as NMR has it."""

    low: float
    high: float
    flipped: bool

    def __call__(self, position: float) -> float:
        share = (position - self.low) / (self.high - self.low)
        return MARGIN + (1.0 - share if self.flipped else share) * (WIDTH - 2 * MARGIN)

    def ticks(self) -> list[float]:
        """Round numbers within the scale: 1, 2 or 5 times a power of ten apart."""
        rough = (self.high - self.low) / _ABOUT
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [i * step for i in range(first, last + 1)]


def scale(positions: Sequence[float], least: float, *, flipped: bool) -> Scale:
    """A scale for `positions`, at least `least` wide, with a twentieth of its width free at both ends."""
    low, high = min(positions), max(positions)
    if (short := least - (high - low)) > 0:
        low, high = low - short / 2, high + short / 2
    room = (high - low) / 20
    return Scale(low - room, high + room, flipped)


def drawn(to: Scale, y: float, unit: str) -> Markup:
    """The axis at height `y`, its ticks, their numbers and the unit."""
    ticks = to.ticks()
    step = ticks[1] - ticks[0] if len(ticks) > 1 else 1.0
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    line = Markup('<line class="axis" x1="{:.0f}" y1="{y}" x2="{:.0f}" y2="{y}"/>')
    parts = [line.format(MARGIN, WIDTH - MARGIN, y=f"{y:.0f}")]
    for tick in ticks:
        parts.append(Markup('<path class="axis" d="M{:.1f} {:.0f}v5"/>').format(to(tick), y))
        parts.append(
            Markup('<text class="tick" x="{:.1f}" y="{:.0f}">{:.{d}f}</text>').format(
                to(tick), y + 17, tick, d=decimals
            )
        )
    end = Markup('<text class="unit" x="{:.0f}" y="{:.0f}">{}</text>')
    return Markup("").join([*parts, end.format(WIDTH - MARGIN, y + 31, unit)])


def spread(places: Sequence[float], gap: float) -> list[float]:
    """`places`, moved as little as it takes (least squares) to be `gap` apart and inside the plot.

    Isotonic regression by pooling neighbours that clash (Ayer and others, 1955). Order is kept. Labels that
    cannot fit at all are set closer than `gap`.
    """
    order = sorted(range(len(places)), key=lambda i: places[i])
    gap = min(gap, (WIDTH - 2 * MARGIN) / max(1, len(places) - 1))
    blocks: list[tuple[float, int]] = []  # mean of places[i] - i * gap, number of labels
    for i, index in enumerate(order):
        mean, count = places[index] - i * gap, 1
        while blocks and blocks[-1][0] > mean:
            before, n = blocks.pop()
            mean, count = (before * n + mean * count) / (n + count), n + count
        blocks.append((mean, count))
    wanted = [mean for mean, count in blocks for _ in range(count)]
    moved = [0.0] * len(places)
    most = WIDTH - MARGIN - gap * (len(places) - 1)
    for i, index in enumerate(order):
        moved[index] = min(max(wanted[i], MARGIN), most) + i * gap
    return moved
