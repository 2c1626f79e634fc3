"""The result of a property benchmark: means over runs, mean ranks, and who is ahead of whom.

- A run's value is that of the head which did better on the valid part; each head's values stand beside it.
- **Spread** of two systems on a set: their standard deviations over the runs, pooled,
  sqrt((sd_a^2 + sd_b^2) / 2). One is ahead where its mean is better by more than that.
- Two systems are compared on the runs that both have. Beside it stands a paired bootstrap over the test
  molecules (paired.py), since a system that draws nothing has no spread on a single split.
- A mean rank is over the sets that all ranked systems answered; equals share their ranks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any

from benchmarks.property_bench.cells import ANY, better
from benchmarks.property_bench.plan import HIGHER_IS_BETTER, Duel, Plan, PropertySet

Result = dict[str, Any]


def summarise_system(cells: Sequence[Result], runs: Sequence[tuple[str, int]]) -> Result:
    """One system on one set. `cells`: all its finished ones, of any head and run; none are made up.

    `values` has a value per finished run, None for the others.
    """
    chosen: list[Result | None] = []
    by_head: dict[str, list[float | None]] = {}
    for run in runs:
        mine = [cell for cell in cells if _is_of(cell, *run)]
        for cell in mine:
            by_head.setdefault(cell["head"], [])
        chosen.append(better(mine) if mine else None)
    for head, values in by_head.items():
        for run in runs:
            mine = [cell for cell in cells if cell["head"] == head and _is_of(cell, *run)]
            values.append(mine[0]["test"] if mine else None)
    values = [None if cell is None else cell["test"] for cell in chosen]
    done = [cell for cell in chosen if cell is not None]
    return {
        **_spread(values),
        "values": values,
        "unseen": _mean([cell["unseen"] for cell in done]),
        "heads": {head: {**_spread(them), "values": them} for head, them in by_head.items()},
        "chosen": [None if cell is None else cell["head"] for cell in chosen],
        "n_failed": max((cell.get("n_failed", 0) for cell in done), default=0),
        "seconds": round(sum(cell["seconds"] for cell in cells), 1),
    }


def _is_of(cell: Result, split: str, seed: int) -> bool:
    return bool(cell["split"] == split and cell["seed"] in (ANY, seed))


def _spread(values: Sequence[float | None]) -> Result:
    """`sd` is the sample's; 0 for one value."""
    known = [value for value in values if value is not None]
    return {"mean": _mean(known), "sd": stdev(known) if len(known) > 1 else (0.0 if known else None)}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known and len(known) == len(values) else None


def duel(one: Duel, sets: Sequence[Result]) -> Result:
    """Ahead, within and behind, set by set, seen from `a`. Sets that one of them did not answer are named."""
    places: dict[str, list[str]] = {"ahead": [], "within": [], "behind": [], "not_answered": []}
    differences: dict[str, float] = {}
    for about in sets:
        a, b = (about["systems"].get(name, {}).get("values", []) for name in (one.a, one.b))
        pairs = [(x, y) for x, y in zip(a, b, strict=False) if x is not None and y is not None]
        if not pairs:
            places["not_answered"].append(about["set"])
            continue
        sign = 1.0 if HIGHER_IS_BETTER[about["metric"]] else -1.0
        gain = sign * (fmean(x for x, _ in pairs) - fmean(y for _, y in pairs))
        sds = [stdev(side) if len(side) > 1 else 0.0 for side in zip(*pairs, strict=True)]
        spread = math.sqrt(sum(sd**2 for sd in sds) / 2)
        differences[about["set"]] = gain
        places["ahead" if gain > spread else "behind" if gain < -spread else "within"].append(about["set"])
    result: Result = {"a": one.a, "b": one.b, **{f"n_{name}": len(them) for name, them in places.items()}}
    result |= {**places, "gain": differences}
    if one.must_be_ahead is not None:
        result["must_be_ahead"] = one.must_be_ahead
    if one.must_not_be_behind is not None:
        result["must_not_be_behind"] = one.must_not_be_behind
    return result


def mean_ranks(systems: Sequence[str], sets: Sequence[Result]) -> Result:
    """Mean rank (1 is best) of each system over the sets that all of them answered: `ranks`, `sets`."""
    from scipy.stats import rankdata

    shared, totals = [], dict.fromkeys(systems, 0.0)
    for about in sets:
        means = [about["systems"].get(name, {}).get("mean") for name in systems]
        if any(mean is None for mean in means):
            continue
        sign = -1.0 if HIGHER_IS_BETTER[about["metric"]] else 1.0
        shared.append(about["set"])
        for name, rank in zip(systems, rankdata([sign * mean for mean in means]), strict=True):
            totals[name] += float(rank)
    ranks = {name: total / len(shared) for name, total in totals.items()} if shared else {}
    return {"ranks": dict(sorted(ranks.items(), key=lambda item: item[1])), "sets": shared}


def whole_result(plan: Plan, sets: Sequence[Result], command: str | None, seconds: float) -> Result:
    """The JSON document. `ranks`: of all systems that answered every set here; `groups`: of those named."""
    everywhere = [
        name
        for name in plan.systems
        if sets and all(about["systems"].get(name, {}).get("mean") is not None for about in sets)
    ]
    return {
        "kind": "properties",
        "benchmark": plan.name,
        "sets": list(sets),
        "ranks": mean_ranks(everywhere, sets)["ranks"] if everywhere else {},
        "groups": {name: mean_ranks(systems, sets) for name, systems in plan.groups},
        "wins": {one.name: duel(one, sets) for one in plan.duels},
        "spread": "pooled standard deviation over runs, sqrt((sd_a^2 + sd_b^2) / 2)",
        "command": command,
        "seconds": round(seconds, 1),
    }


def left_out(plan: Plan, asked: PropertySet, name: str, n: int) -> str | None:
    """Why a system is not asked of a set, by the plan; None where it is."""
    system = plan.systems[name]
    if name in asked.leave_out:
        return asked.why
    if system.max_rows is not None and n > system.max_rows:
        return f"{n:,} rows are more than the {system.max_rows:,} it is asked for here"
    return None
