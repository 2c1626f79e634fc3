"""`bench isomers`: is the true molecule strictly first among all molecules of its formula in the pool?

A chemist who knows the mass knows the formula; what an observation has to decide is which isomer it is. Only
queries whose formula has at least two molecules in the pool count: one alone is no question. A query whose
structure cannot be read has no formula and is not counted, but told (`n_unreadable`); one whose observation
cannot be read is a miss.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from acml_search.core.errors import ConfigError
from acml_search.encoders.card import ModelCard, read_card
from acml_search.evaluation.data.structures import Pool
from acml_search.evaluation.measures import metrics
from acml_search.evaluation.measures.groups import by_size, sizes_of
from acml_search.evaluation.ranks.answers import TIE_RULE, asked_of
from acml_search.evaluation.ranks.leakage import check_truths
from acml_search.evaluation.ranks.ranking import Every, Ranker, SameFormula
from acml_search.evaluation.ranks.retrieval import Asked, Clock, rank_queries
from acml_search.evaluation.recall import RetrievalOptions
from acml_search.evaluation.rerank.rescoring import Keeper
from acml_search.evaluation.results import write_json, write_per_query
from acml_search.evaluation.workers import Workers
from acml_search.modalities import get

KS = (1, 5, 10)


def measure_isomers(options: RetrievalOptions) -> dict[str, Any]:
    """Run the benchmark, write OUT.json and the per-query Parquet beside it; returns the JSON's content.

    Raises ConfigError where no query has an isomer in the pool.
    """
    options.check()
    clock = Clock()
    with Workers(options.workers, model=options.model) as workers:
        file, chosen = options.read(workers)
        pool = options.pool_of(chosen, file, workers)
        codes = pool.formula_codes()
        everyone = asked_of(chosen, pool, once=False)
        check_truths(everyone, pool, str(options.queries))
        asked = with_isomers(everyone, codes)
        if not asked:
            raise ConfigError(
                f"{options.queries}: no query has an isomer among the {len(pool):,} molecules of the pool; "
                "add a library with --library"
            )
        wanted = np.isin(codes, codes[[one.truth for one in asked]])
        clock.lap("read")
        keeper = Keeper()
        rank_queries(
            asked,
            file.queries,
            pool,
            modality=options.modality,
            derived=get(options.modality).derived,
            direction="to-molecule",
            filters=Every((SameFormula(codes),)),
            workers=workers,
            seed=options.seed,
            clock=clock,
            keep=wanted,
            make=keeper if options.rerank else Ranker,
        )
        options.check_records(asked)
        if options.rerank:
            options.rerank_answers(asked, keeper, pool, workers)
            clock.lap("rerank")
    per_query = options.out.with_suffix(".queries.parquet")
    write_per_query(asked, pool, per_query)
    result = {
        **isomer_result(
            asked,
            pool,
            modality=options.modality,
            card=read_card(options.model),
            model=options.model,
            seed=options.seed,
        ),
        **options.reranked(),
        "leakage": options.told_of_seen(asked),
        "n_unreadable": sum(query.structure is None for query in chosen),
        "seconds": clock.seconds,
        "limit": options.limit,
        "split": options.split,
        "where": options.where,
        "command": options.command,
        "workers": workers.n,
        "per_query": per_query.name,
    }
    write_json(result, options.out)
    return result


def with_isomers(asked: Sequence[Asked], codes: np.ndarray) -> list[Asked]:
    """The queries whose formula has at least two molecules. `codes` (n_pool,): a number per formula."""
    sizes = np.bincount(codes)
    return [one for one in asked if one.truth >= 0 and sizes[codes[one.truth]] >= 2]


def isomer_result(
    asked: Sequence[Asked], pool: Pool, *, modality: str, card: ModelCard, model: str, seed: int
) -> dict[str, Any]:
    """What a ranking among isomers says, in the layout of the result files.

    `group_size` is over queries' molecules, each once; it is the pool's, whether or not every isomer has a
    vector.
    """
    codes = pool.formula_codes()
    sizes = np.bincount(codes)
    truths = np.array([one.truth for one in asked], dtype=np.int64)
    of_query = sizes[codes[truths]]
    of_molecule = sizes[codes[np.unique(truths)]]
    found = metrics.summarise([one.rank for one in asked], truths, of_query, ks=KS, seed=seed)
    recall, intervals, chance = (dict(found[key]) for key in ("recall", "ci95", "chance"))  # type: ignore[call-overload]
    return {
        "modality": modality,
        "accuracy": recall["1"],
        "ci95": intervals["1"],
        "chance": chance["1"],
        "mrr": found["mrr"],
        "mrr_ci95": intervals["mrr"],
        "mrr_chance": chance["mrr"],
        "recall": recall,
        "n_queries": len(asked),
        "n_molecules": len(of_molecule),
        "n_groups": len(np.unique(codes[truths])),
        "n_failed": sum(one.error is not None for one in asked),
        "n_pool": len(pool),
        "group_size": sizes_of(of_molecule),
        "by_group_size": by_size([one.rank for one in asked], truths.tolist(), of_query.tolist(), seed=seed),
        "tie_rule": TIE_RULE,
        "tie_tolerance": metrics.TIE_TOLERANCE,
        "rerank": False,
        "model": model,
        "model_digest": card.digest,
        "seed": seed,
    }
