"""Is the model ahead of every baseline? Said in words, for every row of a table.

Where both systems' queries are at hand they are compared on the queries that both were asked: the difference
of recall at 1 (of accuracy among isomers), averaged over molecules, with a 95 % bootstrap interval over
molecules. Else the two figures are, and the row says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from acml_search.evaluation.measures.metrics import bootstrap_interval, hits_at_k, per_molecule
from benchmarks.report.found import Found
from benchmarks.report.markdown import signed


@dataclass(frozen=True)
class Duel:
    """The model against one baseline. `interval` is None where only the two figures were compared."""

    baseline: Found
    difference: float
    interval: tuple[float, float] | None

    @property
    def ahead(self) -> bool:
        """Clearly: the whole interval is above zero."""
        return self.difference > 0 and (self.interval is None or self.interval[0] > 0)

    @property
    def words(self) -> str:
        by = signed(self.difference, self.interval)
        name = self.baseline.system
        how = "" if self.interval is not None else ", not paired"
        if self.ahead:
            return f"ahead; nearest is {name}, {by}{how}"
        if self.difference < 0 and (self.interval is None or self.interval[1] < 0):
            return f"**behind {name}**, {by}{how}"
        return f"**not ahead of {name}**, {by}{how}"


def first(one: Found) -> float:
    """The figure that systems are compared by: recall at 1, or accuracy among isomers."""
    return float(one.data["recall"]["1"] if one.kind == "recall" else one.data["accuracy"])


def nearest_baseline(ours: Found, found: Sequence[Found]) -> Duel | None:
    """The baseline that comes closest to a result of the model, or is furthest ahead of it.

    None where `ours` is a baseline itself, or none was asked the same.
    """
    if ours.baseline is not None:
        return None
    rivals = [one for one in found if one.baseline is not None and one.asked == ours.asked]
    return min((duel(ours, one) for one in rivals), key=lambda one: one.difference, default=None)


def best_baseline(ours: Found, found: Sequence[Found]) -> Found | None:
    """The baseline with the best figure among those that were asked the same."""
    rivals = [one for one in found if one.baseline is not None and one.asked == ours.asked]
    return max(rivals, key=first, default=None)


def duel(ours: Found, baseline: Found) -> Duel:
    """Compare on the same queries where both have kept theirs."""
    mine, theirs = _hits(ours), _hits(baseline)
    shared = [row for row in mine if row in theirs]
    if not shared:
        return Duel(baseline, first(ours) - first(baseline), None)
    gains = [mine[row][1] - theirs[row][1] for row in shared]
    per = per_molecule(gains, [mine[row][0] for row in shared])
    low, high = bootstrap_interval(per, seed=int(ours.data.get("seed") or 0))
    return Duel(baseline, float(per.mean()), (low, high))


def _hits(one: Found) -> dict[int, tuple[str, float]]:
    """Row of the queries' file -> (molecule, 1.0 where it came first)."""
    rows = one.rows or []
    hits = hits_at_k([np.inf if row["rank"] is None else row["rank"] for row in rows], 1).tolist()
    return {
        row["row"]: (row["molecule"] or f"row {row['row']}", hit) for row, hit in zip(rows, hits, strict=True)
    }
