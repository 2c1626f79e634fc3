"""Plots of a report: recall by size of pool and of isomer group; calibration; indexes.

Colours are those of Okabe and Ito, which colour-blind readers can tell apart (Wong 2011, doi
10.1038/nmeth.1618); a system has one colour and one marker in every plot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, NullLocator

from acml_search.core.io import atomic
from benchmarks.report import Entry, by

WIDTH = 8.6  # inches: about 900 pixels in a README
GREY = "#8c8c8c"
MIN_MOLECULES = 5
"""of a size of isomer group that is drawn"""
STYLE: dict[str, Any] = {
    "font.size": 8.5, "font.family": "DejaVu Sans", "axes.titlesize": 9, "axes.titlelocation": "left",
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "axes.axisbelow": True,
    "grid.color": "#e4e4e4", "grid.linewidth": 0.6, "lines.linewidth": 1.4, "lines.markersize": 4.5,
    "legend.frameon": False, "figure.constrained_layout.use": True,
    "svg.hashsalt": "acml-search",  # else every SVG has other identifiers
}  # fmt: skip
OURS, RERANKED = ("#0072b2", "o"), ("#d55e00", "s")
LOOKS = {
    "random": (GREY, "x"), "formula": ("#000000", "v"), "nearest_spectrum": ("#009e73", "^"),
    "fingerprint": ("#e69f00", "D"), "shifts": ("#cc79a7", "P"), "acml": ("#56b4e9", "X"),
}  # fmt: skip
"""colour and marker"""
FURTHER = [RERANKED, *list(LOOKS.values())[1:], ("#f0e442", "*"), (GREY, "p")]

Questions = dict[str, list[Entry]]
"""question -> the results of every system, the model first"""
Point = tuple[str, float, Sequence[float], int, float | None]
"""name, value, interval, number of molecules, chance"""


@dataclass
class Plots:
    """Writes plots into a folder; `written` are their paths."""

    folder: Path
    written: list[Path] = field(default_factory=list)

    def save(self, name: str, alt: str, draw: Callable[[], Figure]) -> str:
        """Write `name`.png and `name`.svg; returns the Markdown that shows them."""
        with rc_context(STYLE):
            figure = draw()
            for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
                path = self.folder / f"{name}.{kind}"
                with atomic(path) as temporary:
                    figure.savefig(temporary, format=kind, dpi=160, metadata=metadata)
                self.written.append(path)
        at = f"{self.folder.name}/{name}"
        return f"![{alt}]({at}.png)\n\n[As SVG]({at}.svg)"

    def of_model(self, entries: Sequence[Entry], suffix: str) -> dict[str, str]:
        """All plots of one model's results, as Markdown by name."""
        in_pools = [one for one in entries if one.by_pool]
        isomers = [one for one in entries if one.by_group_size]
        wanted: dict[str, tuple[str, Callable[[Questions], Figure], list[Entry]]] = {
            f"pools-recall{k}": (f"Recall@{k} against pool size", partial(pools, k=k), in_pools)
            for k in ("1", "10")
        }
        wanted["isomers"] = ("Accuracy against the number of molecules of the formula", groups, isomers)
        fitted = [one for one in entries if one.kind == "calibration"]
        wanted["calibration"] = ("Probability against share of right first hits", reliability, fitted)
        return {
            name: self.save(name + suffix, f"{alt}, {some[0].maker[0]}", partial(draw, by("question", some)))
            for name, (alt, draw, some) in wanted.items()
            if some
        }

    def of_index(self, one: Entry) -> str:
        engines = [each for each in one.engines if each.get("recall_at_k") is not None]
        alt = "Recall of an index against its latency and its bytes per vector, the axis stretched near 1"
        return self.save(one.path.stem, alt, partial(pareto, engines, one.k or 10)) if engines else ""


def look_of(one: Entry) -> dict[str, Any]:
    """How a system is drawn, everywhere."""
    name = one.baseline
    other = FURTHER[sum(map(ord, name or "")) % len(FURTHER)]
    colour, marker = LOOKS.get(name, other) if name else RERANKED if one.reranked else OURS
    return {"color": colour, "marker": marker, "label": one.system}


def panels(n: int, height: float = 2.6, below: float = 0.0) -> tuple[Figure, list[Axes], list[Axes]]:
    """A figure of `n` panels, at most three beside each other; with `below`, a smaller panel of that share of
    the height below each.
    """
    columns = min(n, 3)
    rows, parts = -(-n // columns), 2 if below else 1
    figure = Figure(figsize=(WIDTH if columns > 1 else 0.62 * WIDTH, height * rows + 0.6))
    ratios = [1.0, below][:parts] * rows
    grid = figure.subplots(parts * rows, columns, squeeze=False, gridspec_kw={"height_ratios": ratios})
    axes, lower = grid[::parts].ravel().tolist(), grid[1::2].ravel().tolist() if below else []
    for one in (*axes[n:], *lower[n:]):
        one.set_axis_off()
    return figure, axes[:n], lower[:n]


def finish(figure: Figure, axes: Sequence[Axes], x: str = "", y: str = "") -> Figure:
    """Names of the axes at the outer panels alone, and one legend for all, below them."""
    columns = figure.axes[0].get_gridspec().ncols
    handles: dict[str, Any] = {}
    for i, ax in enumerate(axes):
        if y and i % columns == 0:
            ax.set_ylabel(y)
        if x and i + columns >= len(axes):
            ax.set_xlabel(x)
        for handle, name in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(name, handle)
    for name in ("chance", "ideal", "Pareto front"):  # what is no system stands last
        if name in handles:
            handles[name] = handles.pop(name)
    if handles:
        n_columns = min(4 if columns > 1 else 2, len(handles))
        figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=n_columns)
    return figure


def _share_axis(ax: Axes, title: str) -> None:
    """From 0 to 1; to somewhat above the highest where all is far below, else nothing could be seen."""
    highest = ax.dataLim.y1
    top = 1.0 if highest > 0.4 else 1.15 * highest
    ax.set_ylim(-0.03 * top, 1.03 * top)
    ax.set_title(title)


def _log_axis(ax: Axes, low: float, high: float, formatter: Any) -> None:
    ax.set_xscale("log")
    ax.set_xlim(low, high)
    ax.xaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5) if high / low < 200 else (1,)))
    ax.xaxis.set_major_formatter(formatter)
    ax.xaxis.set_minor_locator(NullLocator())


def pools(questions: Questions, k: str) -> Figure:
    """Recall@k against the number of molecules in the pool; intervals shaded, chance dashed."""
    figure, axes, _ = panels(len(questions))
    for ax, (question, entries) in zip(axes, questions.items(), strict=True):
        for one in entries:
            points = sorted(one.by_pool, key=lambda point: point["n_pool"])
            x = [point["n_pool"] for point in points]
            if one is entries[0]:
                chance = [point["chance"][k] for point in points]
                ax.plot(x, chance, "--", color=GREY, linewidth=1, label="chance")
                _log_axis(ax, x[0] / 1.3, x[-1] * 1.3, EngFormatter(sep=""))
            if one.baseline != "random":  # the dashed line is what it comes to
                look = look_of(one)
                low, high = zip(*(point["ci95"][k] for point in points), strict=True)
                ax.fill_between(x, low, high, color=look["color"], alpha=0.18, linewidth=0)
                ax.plot(x, [point["recall"][k] for point in points], **look)
        _share_axis(ax, question)
    return finish(figure, axes, "molecules in the pool", f"recall@{k}")


def groups(questions: Questions) -> Figure:
    """Accuracy among isomers against the number of molecules of the formula, and below each panel how many
    molecules of the queries have so many.
    """
    figure, above, below = panels(len(questions), 3.5, below=0.37)
    for ax, bars, (question, entries) in zip(above, below, questions.items(), strict=True):
        points: dict[Entry, list[Point]] = {
            one: [
                (_size(*x["size"]), x["accuracy"], x["ci95"], x["n_molecules"], x.get("chance"))
                for x in one.by_group_size
            ]
            for one in entries
        }
        sizes = sorted({tuple(x["size"]) for one in entries for x in one.by_group_size}, key=lambda x: x[0])
        names = [_size(*x) for x in sizes]
        _categories(ax, points, names)
        _share_axis(ax, question)
        ax.tick_params(axis="x", labelbottom=False)
        n_of = {name: n for name, _, _, n, _ in points[entries[0]]}
        bars.bar(range(len(names)), [n_of.get(name, 0) for name in names], color="#c4c4c4", width=0.75)
        _named_ticks(bars, names)
        bars.grid(visible=False, axis="x")
    finish(figure, below, "molecules of the formula", "molecules")
    return finish(figure, above, y="accuracy")


def _size(low: int, high: int | None) -> str:
    return str(low) if low == high else (f"{low:,}+" if high is None else f"{low:,}–{high:,}")


def _categories(ax: Axes, points: dict[Entry, list[Point]], names: Sequence[str]) -> None:
    """Points with intervals over named places of equal distance. Points of fewer than `MIN_MOLECULES`
    molecules have a place and are not drawn.
    """
    place = {name: i for i, name in enumerate(names)}
    systems = [one for one in points if one.baseline != "random"]
    step = min(0.1, 0.5 / max(len(systems), 1))
    for number, one in enumerate(systems):
        shift = (number - (len(systems) - 1) / 2) * step  # so that intervals do not hide each other
        drawn = [point for point in points[one] if point[3] >= MIN_MOLECULES]
        x, y = [place[name] + shift for name, *_ in drawn], [value for _, value, *_ in drawn]
        error = _error(y, [ci for _, _, ci, *_ in drawn])
        ax.errorbar(x, y, yerr=error, elinewidth=0.8, linewidth=1.1, **look_of(one))
    chance = [(place[name], x) for name, _, _, _, x in next(iter(points.values()), []) if x is not None]
    if chance:
        ax.plot(*zip(*chance, strict=True), "--", color=GREY, linewidth=1, label="chance")
    _named_ticks(ax, names)


def _error(values: Sequence[float], intervals: Sequence[Sequence[float]]) -> Any:
    """(2, n) distances of the ends of intervals from the values, as `errorbar` takes them."""
    y, ci = np.array(values), np.array(intervals, float).reshape(-1, 2)
    return np.maximum(0, [y - ci[:, 0], ci[:, 1] - y])


def _named_ticks(ax: Axes, names: Sequence[str]) -> None:
    ax.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor", fontsize=7.5)
    ax.set_xlim(-0.6, len(names) - 0.4)


def reliability(questions: Questions) -> Figure:
    """How often the first hit is right against its probability, in bins of equal weight, before and after
    calibration; on `valid`, or the cross-fitted dev split.
    """
    figure, axes, _ = panels(len(questions), height=2.9)
    for ax, (question, entries) in zip(axes, questions.items(), strict=True):
        part = entries[0].valid or entries[0].inner
        ax.plot([0, 1], [0, 1], "--", color=GREY, linewidth=1, label="ideal")
        for when, (colour, marker) in (("before", (GREY, "x")), ("after", OURS)):
            bins = part[when]["bins"]
            x, y = ([each[key] for each in bins] for key in ("probability", "accuracy"))
            ax.plot(x, y, color=colour, marker=marker, label=f"{when} calibration")
        ax.set_title(f"{question}: ECE {part['before']['ece']:.3f}, then {part['after']['ece']:.3f}")
        ax.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
    return finish(figure, axes, "probability of the first hit", "share of right first hits")


def front(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Of (cost, recall) those that no other beats in one without losing in the other, by rising cost."""
    best, chosen = float("-inf"), []
    for cost, recall in sorted(points, key=lambda point: (point[0], -point[1])):
        if recall > best:
            best = recall
            chosen.append((cost, recall))
    return chosen


def pareto(engines: Sequence[dict[str, Any]], k: int) -> Figure:
    """Recall of indexes against latency and bytes per vector, with the Pareto front."""
    costs = {"p50_ms": "median latency of one query, ms", "bytes_per_vector": "bytes per vector"}
    figure, axes, _ = panels(len(costs), height=3.2)
    names = list(dict.fromkeys(one["name"] for one in engines))
    others = [name for name in names if "auto" not in name]
    looks = {name: FURTHER[others.index(name) % len(FURTHER)] if name in others else OURS for name in names}
    for ax, (cost, title) in zip(axes, costs.items(), strict=True):
        known = sorted((one for one in engines if one.get(cost)), key=lambda one: one[cost])
        if not known:
            ax.set_axis_off()
            continue
        line = front((one[cost], one["recall_at_k"]) for one in known)
        ax.step(*zip(*line, strict=True), where="post", color=GREY, linewidth=1, label="Pareto front")
        for name, (colour, marker) in looks.items():
            mine = [one for one in known if one["name"] == name]
            x, y = ([one[key] for one in mine] for key in (cost, "recall_at_k"))
            error = _error(y, [one.get("ci95") or (one["recall_at_k"],) * 2 for one in mine])
            ax.errorbar(x, y, yerr=error, color=colour, marker=marker, linewidth=0.8, label=name)
        _log_axis(ax, known[0][cost] / 1.5, known[-1][cost] * 1.5, FuncFormatter(lambda x, _: f"{x:g}"))
        ax.set_xlabel(title)
        _near_one(ax, min(one["recall_at_k"] for one in known))
    axes[0].set_ylabel(f"recall@{k} of exact search")
    return finish(figure, axes)


def _near_one(ax: Axes, lowest: float) -> None:
    """Recall on an axis that gives room to what is near 1, where engines differ."""
    spare = 0.003
    ax.set_yscale(
        "function",
        functions=(
            lambda recall: -np.log10(np.maximum(1 + spare - np.asarray(recall, float), spare / 10)),
            lambda y: 1 + spare - 10 ** -np.asarray(y, float),
        ),
    )
    low = max(0.0, lowest - 0.08)
    ticks = [x for x in (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0) if x >= low]
    ax.set_ylim(low, 1.0 + spare / 4)
    ax.set_yticks(ticks, [f"{x:g}" for x in ticks])
    ax.yaxis.set_minor_locator(NullLocator())
