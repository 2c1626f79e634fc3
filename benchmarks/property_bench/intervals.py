"""Intervals of the differences in a benchmark's duels; kept, since they take as long as a small cell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from acml_search.evaluation.results import write_json
from benchmarks.property_bench.cells import cell_path, key_of, predictions_of, read_cell
from benchmarks.property_bench.paired import RESAMPLES, difference
from benchmarks.property_bench.plan import HIGHER_IS_BETTER, Duel, Plan

KEPT = "intervals.json"


def add_intervals(result: dict[str, Any], plan: Plan, out: Path) -> None:
    """Into every duel: `gain_ci95` by set (positive: a is better), and which are `clearly_ahead` or
    `clearly_behind`, their interval without zero. Sets that are too large have none.
    """
    kept = _kept(out)
    for one in plan.duels:
        won = result["wins"][one.name]
        intervals: dict[str, list[float]] = {}
        for about in result["sets"]:
            found = _interval(one, about, out, kept)
            if found is not None:
                low, high = found if HIGHER_IS_BETTER[about["metric"]] else (-found[1], -found[0])
                intervals[about["set"]] = [low, high]
        won["gain_ci95"] = intervals
        won["clearly_ahead"] = [name for name, (low, _) in intervals.items() if low > 0]
        won["clearly_behind"] = [name for name, (_, high) in intervals.items() if high < 0]
    write_json(kept, out / KEPT)


def _kept(out: Path) -> dict[str, Any]:
    return read_cell(out / KEPT) or {}


def _interval(one: Duel, about: dict[str, Any], out: Path, kept: dict[str, Any]) -> list[float] | None:
    """From what is kept, or worked out now from the chosen heads of the runs that both systems have."""
    pairs, keys = [], [one.a, one.b, about["set"], str(RESAMPLES)]
    for i, run in enumerate(about["runs"]):
        heads = [
            (about["systems"].get(name, {}).get("chosen") or [None] * (i + 1))[i] for name in (one.a, one.b)
        ]
        if None in heads:
            continue
        paths = [
            cell_path(out, about["set"], run["split"], run["seed"], name, head)
            for name, head in zip((one.a, one.b), heads, strict=True)
        ]
        cells = [read_cell(path) for path in paths]
        if any(cell is None for cell in cells):
            continue
        keys += [str(cell["key"]) for cell in cells if cell is not None]
        pairs.append((predictions_of(paths[0]), predictions_of(paths[1])))
    if not pairs:
        return None
    key = key_of(*keys)
    if key not in kept:
        found = difference(list(dict.fromkeys(pairs)), about["metric"])
        kept[key] = None if found is None else list(found)
    known: list[float] | None = kept[key]
    return known
