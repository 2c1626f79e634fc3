"""Plots of a report: accuracy by size of isomer group; indexes.

Colours are those of Okabe and Ito, which colour-blind readers can tell apart (Wong 2011, doi
10.1038/nmeth.1618); a system has one colour and one marker in every plot.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from acml_search.core.io import atomic
from benchmarks.report import Entry, by

WIDTH = 8.6  # inches: about 900 pixels in a README
COLUMNS = 3
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
BASELINES = {"formula": ("#000000", "v"), "nearest_spectrum": ("#009e73", "^"), "shifts": ("#cc79a7", "P")}
"""colour and marker"""
FURTHER = [RERANKED, *BASELINES.values(), ("#e69f00", "D"), ("#56b4e9", "X"), ("#f0e442", "*"), (GREY, "p")]


@dataclass
class Plots:
    """Writes plots into a folder; `written` are their paths."""

    folder: Path
    written: list[Path] = field(default_factory=list)

    def of_model(self, entries: Sequence[Entry], suffix: str) -> dict[str, str]:
        """The plot of one model's accuracy among isomers, as Markdown by name; none without such results."""
        some = [one for one in entries if one.by_group_size]
        if not some:
            return {}
        alt = f"Accuracy against the number of molecules of the formula, {some[0].maker[0]}"
        with rc_context(STYLE):
            return {"isomers": self._save(f"isomers{suffix}", alt, by_size(by("question", some)))}

    def of_index(self, one: Entry) -> str:
        """The plot of one comparison of indexes as Markdown; empty where no engine has a recall."""
        engines = [each for each in one.engines if each.get("recall_at_k") is not None]
        alt = "Recall of an index against its latency and its bytes in memory, the axis stretched near 1"
        with rc_context(STYLE):
            return self._save(one.path.stem, alt, pareto(engines, one.k or 10)) if engines else ""

    def _save(self, name: str, alt: str, figure: Figure) -> str:
        """Write `name`.png and `name`.svg; returns the Markdown that shows them."""
        for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
            path = self.folder / f"{name}.{kind}"
            with atomic(path) as temporary:
                figure.savefig(temporary, format=kind, dpi=160, metadata=metadata)
            self.written.append(path)
        at = f"{self.folder.name}/{name}"
        return f"![{alt}]({at}.png)\n\n[As SVG]({at}.svg)"


def look_of(one: Entry) -> dict[str, Any]:
    """How a system is drawn, everywhere."""
    name = one.baseline or ""
    own = FURTHER[sum(map(ord, name)) % len(FURTHER)] if name else RERANKED if one.reranked else OURS
    colour, marker = BASELINES.get(name, own)
    return {"color": colour, "marker": marker, "label": one.system}


def _legend(figure: Figure, axes: Sequence[Axes]) -> Figure:
    """One legend for all axes, below them; what is no system stands last."""
    handles: dict[str, Any] = {}
    for ax in axes:
        handles |= {name: one for one, name in zip(*ax.get_legend_handles_labels(), strict=True)}
    names = sorted(handles, key=lambda name: name in ("chance", "Pareto front"))
    columns = min(4, len(names))
    figure.legend([handles[name] for name in names], names, loc="outside lower center", ncols=columns)
    return figure


def by_size(questions: Mapping[str, Sequence[Entry]]) -> Figure:
    """Accuracy among isomers against the number of molecules of the formula, and below each panel how many
    molecules of the queries have so many. Sizes of fewer than `MIN_MOLECULES` have a place and no point.
    """
    columns = min(len(questions), COLUMNS)
    rows = -(-len(questions) // columns)
    figure = Figure(figsize=(WIDTH if columns > 1 else 0.62 * WIDTH, 3.5 * rows + 0.6))
    ratios = {"height_ratios": [1.0, 0.37] * rows}
    grid = figure.subplots(2 * rows, columns, squeeze=False, gridspec_kw=ratios)
    above, below = (grid[start::2].ravel().tolist() for start in (0, 1))
    for one in (*above[len(questions) :], *below[len(questions) :]):
        one.set_axis_off()
    for ax, bars, (question, entries) in zip(above, below, questions.items(), strict=False):
        points = {one: {_size(*x["size"]): x for x in one.by_group_size} for one in entries}
        sizes = sorted({tuple(x["size"]) for of in points.values() for x in of.values()}, key=lambda x: x[0])
        place = {_size(*size): i for i, size in enumerate(sizes)}
        step = min(0.1, 0.5 / len(points))
        for number, (one, of) in enumerate(points.items()):
            shift = (number - (len(points) - 1) / 2) * step  # so that intervals do not hide each other
            drawn = {name: x for name, x in of.items() if x["n_molecules"] >= MIN_MOLECULES}
            y = [x["accuracy"] for x in drawn.values()]
            error = _error(y, [x["ci95"] for x in drawn.values()])
            x = [place[name] + shift for name in drawn]
            ax.errorbar(x, y, yerr=error, elinewidth=0.8, linewidth=1.1, **look_of(one))
        first = points[entries[0]]
        chance = [(place[name], x["chance"]) for name, x in first.items() if x.get("chance") is not None]
        if chance:
            ax.plot(*zip(*chance, strict=True), "--", color=GREY, linewidth=1, label="chance")
        top = 1.0 if ax.dataLim.y1 > 0.4 else 1.15 * ax.dataLim.y1  # else nothing could be seen
        ax.set(ylim=(-0.03 * top, 1.03 * top), title=question, xticks=range(len(place)))
        ax.tick_params(axis="x", labelbottom=False)
        bars.bar(list(place.values()), [first[name]["n_molecules"] if name in first else 0 for name in place],
                 color="#c4c4c4", width=0.75)  # fmt: skip
        bars.set_xticks(range(len(place)), list(place), rotation=45, ha="right", fontsize=7.5)
        bars.grid(visible=False, axis="x")
        bars.set_xlabel("molecules of the formula")
    above[0].set_ylabel("accuracy")
    below[0].set_ylabel("molecules")
    return _legend(figure, above)


def _size(low: int, high: int | None) -> str:
    return str(low) if low == high else (f"{low:,}+" if high is None else f"{low:,}–{high:,}")


def _error(values: Sequence[float], intervals: Sequence[Sequence[float]]) -> Any:
    """(2, n) distances of the ends of intervals from the values, as `errorbar` takes them."""
    y, ci = np.array(values), np.array(intervals, float).reshape(-1, 2)
    return np.maximum(0, [y - ci[:, 0], ci[:, 1] - y])


def front(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Of (cost, recall) those that no other beats in one without losing in the other, by rising cost."""
    best, chosen = float("-inf"), []
    for cost, recall in sorted(points, key=lambda point: (point[0], -point[1])):
        if recall > best:
            best = recall
            chosen.append((cost, recall))
    return chosen


def pareto(engines: Sequence[dict[str, Any]], k: int) -> Figure:
    """Recall of indexes against latency and bytes in memory, with the Pareto front."""
    costs = {"p50_ms": "median latency of one query, ms", "bytes_in_memory": "bytes per vector in memory"}
    figure = Figure(figsize=(WIDTH, 3.8))
    axes = figure.subplots(1, len(costs), squeeze=False)[0].tolist()
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
        low, high = known[0][cost] / 1.5, known[-1][cost] * 1.5
        ax.set(xscale="log", xlim=(low, high), xlabel=title)
        ax.xaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5) if high / low < 200 else (1,)))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        ax.xaxis.set_minor_locator(NullLocator())
        _near_one(ax, min(one["recall_at_k"] for one in known))
    axes[0].set_ylabel(f"recall@{k} of exact search")
    return _legend(figure, axes)


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
