"""Plots of a report: accuracy by size of isomer group; indexes.

Colours are those of Okabe and Ito, which colour-blind readers can tell apart (Wong 2011, doi
10.1038/nmeth.1618).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from cycler import cycler
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from acml_search.core.io import atomic
from benchmarks.report import Entry, by

WIDTH = 8.6  # inches: about 900 pixels in a README
COLUMNS = 3
GREY = "#8c8c8c"
MIN_MOLECULES = 5
"""of a size of isomer group that is drawn"""
COLOURS = ("#0072b2", "#d55e00", "#000000", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442")
STYLE: dict[str, Any] = {
    "font.size": 8.5, "axes.titlesize": 9, "axes.titlelocation": "left", "axes.spines.top": False,
    "axes.spines.right": False, "axes.grid": True, "axes.axisbelow": True, "grid.color": "#e4e4e4",
    "lines.markersize": 4.5, "legend.frameon": False, "figure.constrained_layout.use": True,
    "axes.prop_cycle": cycler(color=COLOURS, marker=list("osv^PDX*")),
    "svg.hashsalt": "acml-search",  # else every SVG has other identifiers
}  # fmt: skip


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


def _legend(figure: Figure, axes: Iterable[Axes]) -> Figure:
    handles = {name: one for ax in axes for one, name in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=min(4, len(handles)))
    return figure


def by_size(questions: Mapping[str, Sequence[Entry]]) -> Figure:
    """Accuracy by the number of isomers, and how many molecules of the queries have so many."""
    columns = min(len(questions), COLUMNS)
    rows = -(-len(questions) // columns)
    figure = Figure(figsize=(WIDTH if columns > 1 else 0.62 * WIDTH, 3.4 * rows + 0.6))
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for ax in axes[len(questions) :]:
        ax.set_axis_off()
    for ax, (question, entries) in zip(axes, questions.items(), strict=False):
        sizes = {tuple(x["size"]): x["n_molecules"] for one in entries for x in one.by_group_size}
        shown = sorted((size for size, n in sizes.items() if n >= MIN_MOLECULES), key=lambda size: size[0])
        for number, one in enumerate(entries):
            known = {tuple(x["size"]): x for x in one.by_group_size}
            points = [(place, known[size]) for place, size in enumerate(shown) if size in known]
            shift = (number - (len(entries) - 1) / 2) * 0.1  # so that intervals do not hide each other
            y = [x["accuracy"] for _, x in points]
            error = _error(y, [x["ci95"] for _, x in points])
            ax.errorbar([place + shift for place, _ in points], y, yerr=error, label=one.system)
            if number == 0:
                chance = [x["chance"] for _, x in points]
                ax.plot([place for place, _ in points], chance, "--", color=GREY, marker="", label="chance")
        names = [f"{_size(*size)} ({sizes[size]})" for size in shown]
        ax.set(ylim=(-0.03, 1.03), title=question, xlabel="molecules of the formula (queries')")
        ax.set_xticks(range(len(shown)), names, rotation=40, ha="right", fontsize=7)
    axes[0].set_ylabel("accuracy")
    return _legend(figure, axes)


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
    """Recall against latency and memory, with the Pareto front; 1 - recall on a logarithmic axis."""
    costs = {"p50_ms": "median latency of one query, ms", "bytes_in_memory": "bytes per vector in memory"}
    figure = Figure(figsize=(WIDTH, 3.8))
    axes = figure.subplots(1, len(costs), sharey=True).tolist()
    for ax, (cost, title) in zip(axes, costs.items(), strict=True):
        for name, mine in by("name", engines).items():
            known = sorted((one for one in mine if one.get(cost)), key=lambda one: one[cost])
            x, y = ([one[key] for one in known] for key in (cost, "recall_at_k"))
            high, low = _error(y, [one.get("ci95") or (one["recall_at_k"],) * 2 for one in known])
            missed = np.maximum(1 - np.array(y), 1e-3)
            ax.errorbar(x, missed, yerr=(np.minimum(low, missed - 1e-3), high), linewidth=0.8, label=name)
        line = front((one[cost], one["recall_at_k"]) for one in engines if one.get(cost))
        x, y = ([point[i] for point in line] for i in (0, 1))
        missed = np.maximum(1 - np.array(y), 1e-3)
        ax.step(x, missed, where="post", color=GREY, marker="", linewidth=1, label="Pareto front")
        ax.set(xscale="log", yscale="log", xlabel=title)
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_formatter(NullFormatter())
    axes[0].invert_yaxis()
    axes[0].yaxis.set_major_formatter(lambda y, _: f"{1 - y:.3g}")
    axes[0].set_ylabel(f"recall@{k} of exact search")
    return _legend(figure, axes)
