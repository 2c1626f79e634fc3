"""Recall against the size of the pool, of the isomer group and of the molecule: a panel per question."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, LogLocator, NullFormatter

from benchmarks.report.drawing import GREY, WIDTH, Looks, legend, panels
from benchmarks.report.found import Found
from benchmarks.report.points import Point

Asked = Mapping[str, Sequence[Found]]
"""question -> the results of every system, the model first"""

SMALL = 0.4
"""panels in which nothing is higher are drawn larger"""

FEWEST = 5
"""molecules that a size of isomer group must have to be drawn"""


def against_pool(asked: Asked, k: str, looks: Looks) -> Figure:
    """Recall@k against the number of molecules in the pool; intervals shaded, chance dashed."""
    figure, axes = panels(len(asked))
    for ax, (question, found) in zip(axes, asked.items(), strict=True):
        sizes: list[int] = []
        for one in found:
            if one.baseline == "random":  # the dashed line is what it comes to
                continue
            points = _by_size(one)
            x = [point["n_pool"] for point in points]
            sizes += x
            y = [point["recall"][k] for point in points]
            low, high = zip(*(point["ci95"][k] for point in points), strict=True)
            look = looks.of_system(one)
            ax.fill_between(x, low, high, color=look.colour, alpha=0.18, linewidth=0)
            ax.plot(x, y, color=look.colour, marker=look.marker, label=one.system)
        points = _by_size(found[0])
        chance = [point["chance"][k] for point in points]
        ax.plot([p["n_pool"] for p in points], chance, "--", color=GREY, linewidth=1, label="chance")
        ax.set_xscale("log")
        _powers(ax, sizes)
        _share_axis(ax, question)
    _outer(figure, axes, "molecules in the pool", f"recall@{k}")
    legend(figure, axes)
    return figure


def against_class(asked: Asked, points: Callable[[Found], list[Point]], x: str, looks: Looks) -> Figure:
    """Recall@1 of classes of molecules that have an order, with 95 % intervals."""
    figure, axes = panels(len(asked))
    for ax, (question, found) in zip(axes, asked.items(), strict=True):
        shown = [one for one in found if one.baseline != "random"]
        _categories(ax, {one: points(one) for one in shown}, looks)
        _share_axis(ax, question)
    _outer(figure, axes, x, "recall@1")
    legend(figure, axes)
    return figure


def against_group(asked: Asked, points: Callable[[Found], list[Point]], looks: Looks) -> Figure:
    """Accuracy among isomers against the number of molecules of the formula, and below each panel how many
    molecules asked have so many.
    """
    columns = min(len(asked), 3)
    rows = -(-len(asked) // columns)
    figure = Figure(figsize=(WIDTH if columns > 1 else 0.62 * WIDTH, 3.5 * rows + 0.6))
    grid = figure.subplots(2 * rows, columns, squeeze=False, gridspec_kw={"height_ratios": [3, 1.1] * rows})
    above, below = grid[0::2].ravel().tolist(), grid[1::2].ravel().tolist()
    for ax in (*above[len(asked) :], *below[len(asked) :]):
        ax.set_axis_off()
    for ax, bars, (question, found) in zip(above, below, asked.items(), strict=False):
        of = {one: points(one) for one in found}
        names = _categories(ax, of, looks, chance=True, fewest=FEWEST)
        _share_axis(ax, question)
        ax.tick_params(axis="x", labelbottom=False)
        sizes = {point.name: point.n for point in of[found[0]]}
        bars.bar(range(len(names)), [sizes.get(name, 0) for name in names], color="#c4c4c4", width=0.75)
        bars.set_xlim(ax.get_xlim())
        _names(bars, names)
        bars.grid(visible=False, axis="x")
    shown = len(asked)
    for i in range(shown):
        if i % columns == 0:
            above[i].set_ylabel("accuracy")
            below[i].set_ylabel("molecules")
        if i + columns >= shown:
            below[i].set_xlabel("molecules of the formula")
    legend(figure, above)
    return figure


def _categories(
    ax: Axes, of: Mapping[Found, list[Point]], looks: Looks, *, chance: bool = False, fewest: int = 0
) -> list[str]:
    """Points with intervals over named places of equal distance; the names, in order. Points of fewer than
    `fewest` molecules have a place and are not drawn.
    """
    order = {point.name: point.order for points in of.values() for point in points}
    names = sorted(order, key=lambda name: order[name])
    place = {name: i for i, name in enumerate(names)}
    shown = [one for one in of if not (chance and one.baseline == "random")]
    step = min(0.1, 0.5 / max(len(shown), 1))
    for number, one in enumerate(shown):
        look = looks.of_system(one)
        shift = (number - (len(shown) - 1) / 2) * step  # so that intervals do not hide each other
        drawn = [point for point in of[one] if point.n >= fewest]
        x = [place[point.name] + shift for point in drawn]
        y = [point.value for point in drawn]
        low = [max(0.0, point.value - point.low) for point in drawn]
        high = [max(0.0, point.high - point.value) for point in drawn]
        ax.errorbar(
            x, y, yerr=[low, high], color=look.colour, marker=look.marker, elinewidth=0.8, linewidth=1.1,
            label=one.system,
        )  # fmt: skip
    first = next(iter(of.values()), [])
    if chance and first:
        at = [place[point.name] for point in first]
        values = [point.chance if point.chance is not None else float("nan") for point in first]
        ax.plot(at, values, "--", color=GREY, linewidth=1, label="chance")
    _names(ax, names)
    ax.set_xlim(-0.6, len(names) - 0.4)
    return names


def _names(ax: Axes, names: Sequence[str]) -> None:
    ax.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor", fontsize=7.5)


def _powers(ax: Axes, sizes: Sequence[int]) -> None:
    """Ticks at powers of ten, named 1k, 10k, ... 1M."""
    ax.set_xlim(min(sizes) / 1.3, max(sizes) * 1.3)
    ax.xaxis.set_major_locator(LogLocator(base=10))
    ax.xaxis.set_major_formatter(_short)
    ax.xaxis.set_minor_locator(FixedLocator([]))
    ax.xaxis.set_minor_formatter(NullFormatter())


def _by_size(one: Found) -> list[Mapping[str, Any]]:
    return sorted(one.data["by_pool"], key=lambda point: float(point["n_pool"]))


def _short(n: float, _: Any = None) -> str:
    if n >= 1e6:
        return f"{n / 1e6:g}M"
    return f"{n / 1e3:g}k" if n >= 1e3 else f"{n:g}"


def _share_axis(ax: Axes, title: str) -> None:
    """From 0 to 1; where all is far below, to somewhat above the highest, else nothing could be seen."""
    highest = ax.dataLim.y1
    top = 1.0 if highest > SMALL else 1.15 * highest
    ax.set_ylim(-0.03 * top, 1.03 * top)
    ax.set_title(title)


def _outer(figure: Figure, axes: Sequence[Axes], x: str, y: str) -> None:
    """Names of the axes at the left and at the lowest panels alone."""
    columns = figure.axes[0].get_gridspec().ncols
    for i, ax in enumerate(axes):
        if i % columns == 0:
            ax.set_ylabel(y)
        if i + columns >= len(axes):
            ax.set_xlabel(x)
