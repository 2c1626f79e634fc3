"""`bench recall`: does the true molecule, or its record, come back first among a stated pool?

Direction *to-molecule*: an observation (record side) ranks the pool's molecules (graph side).
*to-record*: a molecule (graph side) ranks the pool's records. Molecules are told apart by the first block of
the InChIKey, so stereoisomers are one molecule. See `metrics` for ties, failures, averages and intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from acml_search.encoders.card import read_card
from acml_search.errors import ConfigError
from acml_search.evaluation import metrics
from acml_search.evaluation.ranking import Candidates, Every, MassWithin, SameFormula
from acml_search.evaluation.report import check_out, write_json, write_per_query
from acml_search.evaluation.retrieval import SIDES, Asked, Clock, rank_queries
from acml_search.evaluation.structures import Pool, Query, choose, read_pool, read_queries
from acml_search.evaluation.workers import Workers
from acml_search.modalities import get

TIE_RULE = "a tie is a miss: a candidate within tie_tolerance of the truth's score counts as better"


@dataclass(frozen=True)
class RecallOptions:
    """What is measured; the names are those of the command line."""

    modality: str
    queries: Path
    out: Path
    library: Sequence[Path] = ()
    direction: str = "to-molecule"
    formula_filter: bool = False
    mass_filter_da: float | None = None
    mass_filter_ppm: float | None = None
    rerank: bool = False
    model: str = "acml-base"
    limit: int | None = None
    pool: int | None = None
    split: str | None = None
    seed: int = 0
    workers: int | None = None
    smiles_column: str | None = None
    command: str | None = None
    """the command line that asked, for the result"""

    def check(self) -> None:
        """Raises UnknownModality, CheckpointError or ConfigError for options that make no sense."""
        kind = get(self.modality)
        spaces = read_card(self.model).spaces
        if self.modality not in spaces:
            there = ", ".join(sorted(spaces))
            raise ConfigError(f"model {self.model} has no space for {self.modality!r}; it has {there}")
        if self.direction not in SIDES:
            raise ConfigError(f"--direction {self.direction} is not one of {', '.join(SIDES)}")
        if self.mass_filter_da is not None and self.mass_filter_ppm is not None:
            raise ConfigError("give --mass-filter-da or --mass-filter-ppm, not both")
        if self.rerank and kind.derived:
            raise ConfigError(f"--rerank: there is nothing to re-rank by for {self.modality!r}")
        check_out(self.out)

    def filter_name(self) -> str | None:
        """The filter in words, for the result."""
        parts = ["same formula"] if self.formula_filter else []
        if self.mass_filter_da is not None:
            parts.append(f"neutral exact mass within {self.mass_filter_da:g} Da")
        if self.mass_filter_ppm is not None:
            parts.append(f"neutral exact mass within {self.mass_filter_ppm:g} ppm")
        return " and ".join(parts) or None


def measure_recall(options: RecallOptions) -> dict[str, Any]:
    """Run the benchmark, write OUT.json and the per-query Parquet beside it; returns the JSON's content."""
    options.check()
    clock = Clock()
    with Workers(options.workers, model=options.model) as workers:
        queries = read_queries(
            options.queries, workers, split=options.split, smiles_column=options.smiles_column
        )
        chosen = choose(queries, options.limit, options.seed)
        if all(query.structure is None for query in chosen):
            raise ConfigError(
                f"{options.queries}: none of the {len(chosen):,} queries can be read; row {chosen[0].row}: "
                f"{chosen[0].error}"
            )
        pool = read_pool(
            chosen,
            queries,
            options.library,
            workers,
            size=options.pool,
            seed=options.seed,
            smiles_column=options.smiles_column,
        )
        asked = _asked(chosen, pool, once=options.direction == "to-record")
        clock.lap("read")
        n_lost = rank_queries(
            asked,
            queries,
            pool,
            modality=options.modality,
            derived=get(options.modality).derived,
            direction=options.direction,
            filters=_filters(pool, options),
            workers=workers,
            seed=options.seed,
            clock=clock,
        )
    per_query = options.out.with_suffix(".queries.parquet")
    write_per_query(asked, pool, per_query)
    result = _result(asked, pool, options, clock.seconds)
    result |= {
        "n_pool_unreadable": pool.n_unreadable + n_lost,
        "workers": workers.n,
        "per_query": per_query.name,
    }
    write_json(result, options.out)
    return result


def _asked(chosen: Sequence[Query], pool: Pool, *, once: bool) -> list[Asked]:
    """The queries with their truth's position; with `once`, a molecule asks once however many rows it has."""
    positions = pool.positions()
    asked: list[Asked] = []
    seen: set[int] = set()
    for query in chosen:
        truth = -1 if query.structure is None else positions[query.structure.block]
        if once and truth in seen:
            continue
        if truth >= 0:
            seen.add(truth)
        asked.append(Asked(query, truth, query.error))
    return asked


def _filters(pool: Pool, options: RecallOptions) -> Every:
    conditions: list[Candidates] = []
    if options.formula_filter:
        conditions.append(SameFormula(pool.formula_codes()))
    if options.mass_filter_da is not None or options.mass_filter_ppm is not None:
        conditions.append(MassWithin(pool.masses(), da=options.mass_filter_da, ppm=options.mass_filter_ppm))
    return Every(tuple(conditions))


def _result(
    asked: Sequence[Asked], pool: Pool, options: RecallOptions, seconds: dict[str, float]
) -> dict[str, Any]:
    ranks = [one.rank for one in asked]
    # a query that could not be read is a molecule of its own: its miss weighs as much as any other
    molecules = [one.truth if one.truth >= 0 else -1 - i for i, one in enumerate(asked)]
    n_candidates = [one.n_candidates if one.truth >= 0 else len(pool) for one in asked]
    return {
        "modality": options.modality,
        "direction": options.direction,
        "n_queries": len(asked),
        "n_molecules": len(set(molecules)),
        "n_pool": len(pool),
        "n_failed": sum(one.error is not None for one in asked),
        **metrics.summarise(ranks, molecules, n_candidates, seed=options.seed),
        "seconds_per_query": (seconds["embed queries"] + seconds.get("rank", 0.0)) / len(asked),
        "seconds": seconds,
        "model": options.model,
        "model_digest": read_card(options.model).digest,
        "filter": options.filter_name(),
        "candidates_per_query": {"median": float(np.median(n_candidates)), "max": int(max(n_candidates))},
        "rerank": options.rerank,
        "tie_rule": TIE_RULE,
        "tie_tolerance": metrics.TIE_TOLERANCE,
        "seed": options.seed,
        "limit": options.limit,
        "split": options.split,
        "command": options.command,
    }
