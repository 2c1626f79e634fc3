"""From what turns told to the rows of the result: one row an engine and setting, and one record a query."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.index_bench.judge import Judge
from benchmarks.index_bench.plan import Plan
from benchmarks.index_bench.turns import Contestant

REFERENCES = {"flat": "flat", "auto": "auto"}
"""engines that all others are compared with, by the names that a plan gives them; their first setting"""


def rows(
    contestants: Sequence[Contestant], judge: Judge, plan: Plan
) -> tuple[list[dict[str, Any]], list[pa.Table]]:
    """The rows of all engines, failed ones with `why_not`, and the tables of their records per query."""
    told = {one.build.name: one.turns() for one in contestants if one.runs}
    found: list[dict[str, Any]] = []
    records: list[pa.Table] = []
    for one in contestants:
        name = one.build.name
        about = {"name": name, "engine": one.build.kind, "arguments": dict(one.build.arguments)}
        if not one.runs:
            found.append({**about, "params": dict(one.build.arguments), "why_not": one.why_not})
            continue
        built, turns = one.built(), told[name]
        for number, setting in enumerate(turns[0]["settings"]):
            right = {k: judge.right(one.answers(number, k), k) for k in plan.ks}
            recalls = {k: judge.recall(hits, k, plan.seed) for k, hits in right.items()}
            timed = [turn["settings"][number] for turn in turns]
            records.append(_records(name, setting["set"], right, timed))
            found.append(
                {
                    **about,
                    "params": {**_shown(one, built), **setting["set"]},
                    "search": setting["search"],
                    "recall_at_k": recalls[plan.k_timed]["recall"],
                    "ci95": recalls[plan.k_timed]["ci95"],
                    "recall": {str(k): told["recall"] for k, told in recalls.items()},
                    "recall_ci95": {str(k): told["ci95"] for k, told in recalls.items()},
                    **_times(timed),
                    "build_seconds": built["build_seconds"],
                    "build_peak_mb": built["build_peak_mb"],
                    "bytes_per_vector": built["bytes"] / len(judge.base),
                    "open_seconds": median(turn["open_seconds"] for turn in turns),
                    "memory_mb": _median([turn["memory_mb"] for turn in turns]),
                    "memory_own_mb": _median([turn["memory_own_mb"] for turn in turns]),
                    **{
                        f"{prefix}ratio_to_{key}": _ratio(told.get(reference), timed, what)
                        for key, reference in REFERENCES.items()
                        for prefix, what in (("", _rate), ("latency_", _quickness))
                    },
                    "version": built["version"],
                    "built": built["told"],
                }
            )
    return found, records


def _shown(one: Contestant, built: dict[str, Any]) -> dict[str, Any]:
    """Build arguments as they came out: `auto` and `{lists}` spelled out."""
    factory = built["told"].get("factory")
    return dict(one.build.arguments) | ({"factory": factory} if factory else {})


def _rate(timed: dict[str, Any]) -> float:
    return float(timed["queries_per_second_batched"])


def _quickness(timed: dict[str, Any]) -> float:
    return 1 / float(np.median(timed["milliseconds"]))


def _times(timed: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Medians over rounds of each round's own figure, and their range."""
    out: dict[str, Any] = {}
    for name, share in (("p50_ms", 50), ("p95_ms", 95)):
        values = [float(np.percentile(one["milliseconds"], share)) for one in timed]
        out |= {name: median(values), f"{name}_range": [min(values), max(values)]}
    rates = [_rate(one) for one in timed]
    name = "queries_per_second_batched"
    return out | {name: median(rates), f"{name}_range": [min(rates), max(rates)]}


def _ratio(
    reference: Sequence[dict[str, Any]] | None, timed: Sequence[dict[str, Any]], what: Any
) -> dict[str, float] | None:
    """Times better than the reference's first setting, round by round; None where it was not measured."""
    if reference is None:
        return None
    ratios = [what(mine) / what(turn["settings"][0]) for mine, turn in zip(timed, reference, strict=True)]
    return {"median": median(ratios), "low": min(ratios), "high": max(ratios)}


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def _records(
    name: str, setting: dict[str, Any], right: dict[int, Any], timed: Sequence[dict[str, Any]]
) -> pa.Table:
    """A row for each query: how many of its neighbours were found at each k, and its times, if any."""
    n = len(next(iter(right.values())))
    asked = len(timed[0]["milliseconds"])
    times = [[one["milliseconds"][row] for one in timed] if row < asked else None for row in range(n)]
    told = ", ".join(f"{key} {value}" for key, value in setting.items())
    return pa.table(
        {
            "engine": pa.array([name] * n, pa.string()).dictionary_encode(),
            "setting": pa.array([told] * n, pa.string()).dictionary_encode(),
            "query": pa.array(range(n), pa.int32()),
            **{f"right_{k}": pa.array(hits, pa.int16()) for k, hits in right.items()},
            "milliseconds": pa.array(times, pa.list_(pa.float32())),
        }
    ).unify_dictionaries()
