"""Who asks in a pool and under which conditions, and what the answers say together.

Of `bench recall` and of every question of a suite; see `measures.metrics` for ties, failures, averages and
intervals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from acml_search.encoders.card import ModelCard
from acml_search.evaluation.data.structures import Pool, Query
from acml_search.evaluation.measures import metrics
from acml_search.evaluation.ranks.ranking import Candidates, Every, MassWithin, SameFormula
from acml_search.evaluation.ranks.retrieval import Asked

TIE_RULE = "a tie is a miss: a candidate within tie_tolerance of the truth's score counts as better"


def asked_of(chosen: Sequence[Query], pool: Pool, *, once: bool) -> list[Asked]:
    """The queries with their truth's position; with `once`, a molecule asks once however many rows it has.

    A truth that the pool lacks has the position -1; `leakage.check_truths` is there to refuse that.
    """
    positions = pool.positions()
    asked: list[Asked] = []
    seen: set[int] = set()
    for query in chosen:
        truth = -1 if query.structure is None else positions.get(query.structure.block, -1)
        if once and truth in seen:
            continue
        if truth >= 0:
            seen.add(truth)
        asked.append(Asked(query, truth, query.error))
    return asked


def filters_of(pool: Pool, *, formula: bool, da: float | None = None, ppm: float | None = None) -> Every:
    """Conditions on the candidates: the truth's formula, its mass within `da` (Da) or `ppm`."""
    conditions: list[Candidates] = []
    if formula:
        conditions.append(SameFormula(pool.formula_codes()))
    if da is not None or ppm is not None:
        conditions.append(MassWithin(pool.masses(), da=da, ppm=ppm))
    return Every(tuple(conditions))


def filter_name(formula: bool, da: float | None = None, ppm: float | None = None) -> str | None:
    """The filter in words; None where every molecule is a candidate."""
    parts = ["same formula"] if formula else []
    if da is not None:
        parts.append(f"neutral exact mass within {da:g} Da")
    if ppm is not None:
        parts.append(f"neutral exact mass within {ppm:g} ppm")
    return " and ".join(parts) or None


def molecules_of(asked: Sequence[Asked]) -> list[int]:
    """A label per query, equal for queries of one molecule, as averages want it.

    A query that could not be read is a molecule of its own: its miss weighs as much as any other.
    """
    return [one.truth if one.truth >= 0 else -1 - i for i, one in enumerate(asked)]


def recall_result(
    asked: Sequence[Asked],
    n_pool: int,
    *,
    modality: str,
    direction: str,
    filtered: str | None,
    card: ModelCard,
    model: str,
    seed: int,
    ks: Sequence[int] = metrics.KS,
) -> dict[str, Any]:
    """What a ranking says, in the layout of the result files, without times and how it was asked."""
    molecules = molecules_of(asked)
    n_candidates = [one.n_candidates if one.truth >= 0 else n_pool for one in asked]
    summary: Mapping[str, object] = metrics.summarise(
        [one.rank for one in asked], molecules, n_candidates, ks=ks, seed=seed
    )
    return {
        "modality": modality,
        "direction": direction,
        "n_queries": len(asked),
        "n_molecules": len(set(molecules)),
        "n_pool": n_pool,
        "n_failed": sum(one.error is not None for one in asked),
        **summary,
        "model": model,
        "model_digest": card.digest,
        "filter": filtered,
        "candidates_per_query": {"median": float(np.median(n_candidates)), "max": int(max(n_candidates))},
        "rerank": False,
        "tie_rule": TIE_RULE,
        "tie_tolerance": metrics.TIE_TOLERANCE,
        "seed": seed,
    }
