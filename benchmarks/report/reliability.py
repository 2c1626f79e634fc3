"""Is a probability worth what it says? Reliability diagrams and their table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from benchmarks.report.drawing import GREY, OURS, legend, panels
from benchmarks.report.found import Found

SMALL = 0.6


def part_of(one: Found) -> str | None:
    """The part of the data that is shown: `valid` where it was asked, else the cross-fitted inner part."""
    return next((part for part in ("valid", "inner") if part in one.data), None)


def diagram(found: Sequence[Found]) -> Figure:
    """How often the first hit is right against its probability, in bins of equal weight, before and after
    calibration; a panel per question.
    """
    figure, axes = panels(len(found), height=2.9)
    columns = figure.axes[0].get_gridspec().ncols
    for i, (ax, one) in enumerate(zip(axes, found, strict=True)):
        told: Mapping[str, Any] = one.data[part_of(one) or "inner"]
        ax.plot([0, 1], [0, 1], "--", color=GREY, linewidth=1, label="as it should be")
        top = 0.0
        for when, colour, marker in (("before", GREY, "x"), ("after", OURS.colour, OURS.marker)):
            bins = told[when]["bins"]
            x, y = [each["probability"] for each in bins], [each["accuracy"] for each in bins]
            top = max([top, *x, *y])
            ax.plot(x, y, color=colour, marker=marker, label=f"{when} calibration")
        ax.set_title(f"{one.question}: error {told['before']['ece']:.3f}, then {told['after']['ece']:.3f}")
        top = 1.0 if top > SMALL else 1.1 * top  # else all would sit in a corner
        ax.set_xlim(-0.03 * top, 1.03 * top)
        ax.set_ylim(-0.03 * top, 1.03 * top)
        ax.xaxis.set_major_locator(MaxNLocator(5))
        ax.yaxis.set_major_locator(MaxNLocator(5))
        ax.set_aspect("equal")
        if i % columns == 0:
            ax.set_ylabel("share of first hits that are right")
        if i + columns >= len(found):
            ax.set_xlabel("probability of the first hit")
    legend(figure, axes)
    return figure
