"""Numbers that plots and tables take from results: by size of the isomer group and by class of molecule.

A result that tells them itself is believed; from an older one they are worked out of its queries.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np

from acml_search.evaluation.measures import classes, groups
from benchmarks.report.found import Found


class Point(NamedTuple):
    """A figure with its interval over `n` molecules; `name` and `order` say where it stands on an axis."""

    name: str
    order: float
    value: float
    low: float
    high: float
    n: int
    chance: float | None = None


def by_group_size(one: Found) -> list[Point]:
    """Accuracy among isomers by number of molecules of the formula; none where nothing tells it."""
    told: Sequence[Mapping[str, Any]] | None = one.data.get("by_group_size")
    if told is None:
        told = _grouped(one.rows or [], int(one.data.get("seed") or 0))
    points = []
    for entry in told:
        low, high = entry["size"]
        name = str(low) if low == high else (f"{low:,}+" if high is None else f"{low:,}–{high:,}")
        points.append(
            Point(
                name,
                low,
                entry["accuracy"],
                entry["ci95"][0],
                entry["ci95"][1],
                entry["n_molecules"],
                entry.get("chance"),
            )
        )
    return points


def _grouped(rows: Sequence[Mapping[str, Any]], seed: int) -> list[dict[str, Any]]:
    known = [row for row in rows if row.get("molecule") is not None and row.get("n_candidates")]
    if not known:
        return []
    labels = np.unique([row["molecule"] for row in known], return_inverse=True)[1].tolist()
    ranks = [np.inf if row["rank"] is None else float(row["rank"]) for row in known]
    return groups.by_size(ranks, labels, [row["n_candidates"] for row in known], seed=seed)


def by_class(one: Found) -> list[Mapping[str, Any]]:
    """Entries `{"class", "value", "n_molecules", "recall_at_1", "ci95"}`; none where nothing tells them."""
    told = one.data.get("by_class")
    if told is not None:
        return list(told)
    rows = [row for row in one.rows or [] if row.get("smiles") is not None]
    return _classed(one) if rows else []


@lru_cache(maxsize=256)
def _classed(one: Found) -> list[Mapping[str, Any]]:
    return list(classes.told(one.rows or [], seed=int(one.data.get("seed") or 0)))


def classed(one: Found, name: str) -> list[Point]:
    """The classes of one kind (`size`, `similarity`) as points, in their order."""
    points = []
    for entry in by_class(one):
        if entry["class"] == name:
            low, text = _range(str(entry["value"]))
            points.append(
                Point(
                    text, low, entry["recall_at_1"], entry["ci95"][0], entry["ci95"][1], entry["n_molecules"]
                )
            )
    return points


@cache
def _range(text: str) -> tuple[float, str]:
    """`"11 to 15 heavy atoms"` -> (11, "11–15"); `"51 or more heavy atoms"` -> (51, "51+")."""
    found = re.findall(r"\d+(?:\.\d+)?", text)
    if not found:
        return 0.0, text
    return float(found[0]), "–".join(found[:2]) if len(found) > 1 else f"{found[0]}+"
