"""What an index gives for what it takes: recall against latency and against bytes, with the Pareto front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from benchmarks.report.drawing import ENGINES, GREY, Look, Looks, legend, panels

SPARE = 0.003
TICKS = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0)
COSTS = {"p50_ms": "median latency of one query, ms", "bytes_per_vector": "bytes per vector"}


def front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Of (cost, recall) those that no other beats in one without losing in the other, by rising cost."""
    best, kept = float("-inf"), []
    for cost, recall in sorted(points, key=lambda point: (point[0], -point[1])):
        if recall > best:
            best = recall
            kept.append((cost, recall))
    return kept


def engine_looks(engines: Sequence[Mapping[str, Any]]) -> dict[str, Look]:
    """The same look for one engine in both panels; ours (`auto`) in the model's colour."""
    looks = Looks({"": ENGINES[0]}, ENGINES[1:])
    return {
        str(one["name"]): looks.of("" if "auto" in str(one["name"]) else str(one["name"])) for one in engines
    }


def pareto(result: Mapping[str, Any]) -> Figure:
    """Recall against latency, and against bytes per vector (both logarithmic)."""
    figure, axes = panels(len(COSTS), height=3.2)
    engines: Sequence[Mapping[str, Any]] = [
        one for one in result["engines"] if one.get("recall_at_k") is not None
    ]
    looks = engine_looks(engines)
    for ax, (cost, name) in zip(axes, COSTS.items(), strict=True):
        known = [one for one in engines if one.get(cost)]
        if not known:
            ax.set_axis_off()
            continue
        line = front([(one[cost], one["recall_at_k"]) for one in known])
        ax.step(*zip(*line, strict=True), where="post", color=GREY, linewidth=1, label="Pareto front")
        for engine, look in looks.items():
            mine = sorted(
                ((one[cost], one["recall_at_k"], one) for one in known if one["name"] == engine),
                key=lambda point: point[:2],
            )
            if not mine:
                continue
            below = [max(0.0, x - (told.get("ci95") or (x, x))[0]) for _, x, told in mine]
            above = [max(0.0, (told.get("ci95") or (x, x))[1] - x) for _, x, told in mine]
            ax.errorbar(
                [x for x, _, _ in mine],
                [y for _, y, _ in mine],
                yerr=[below, above],
                color=look.colour,
                marker=look.marker,
                linewidth=0.8,
                elinewidth=0.8,
                label=engine,
            )
        ax.set_xscale("log")
        _near_one(ax, [one["recall_at_k"] for one in known])
        ax.set_xlabel(name)
        _few_ticks(ax, [one[cost] for one in known])
    axes[0].set_ylabel(f"recall@{result.get('k', 10)} of exact search")
    legend(figure, axes)
    return figure


def _near_one(ax: Any, recalls: Sequence[float]) -> None:
    """Recall on an axis that gives room to what is near 1, where engines differ."""
    ax.set_yscale("function", functions=(_stretched, _shrunk))
    low = max(0.0, min(recalls) - 0.08)
    ax.set_ylim(low, 1.0 + SPARE / 4)
    ax.set_yticks([tick for tick in TICKS if tick >= low], [f"{tick:g}" for tick in TICKS if tick >= low])
    ax.yaxis.set_minor_locator(NullLocator())


def _stretched(recall: Any) -> Any:
    return -np.log10(np.maximum(1 + SPARE - np.asarray(recall, np.float64), SPARE / 10))


def _shrunk(y: Any) -> Any:
    return 1 + SPARE - 10 ** -np.asarray(y, np.float64)


def _few_ticks(ax: Any, values: Sequence[float]) -> None:
    """Plain numbers at 1, 2 and 5 of each decade where there are few decades, else at powers of ten."""
    low, high = min(values), max(values)
    ax.set_xlim(low / 1.5, high * 1.5)
    ax.xaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5) if high / low < 200 else (1,)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    ax.xaxis.set_minor_locator(NullLocator())
