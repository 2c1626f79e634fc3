"""Every answer to one question of a suite, from vectors that are already there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from acml_search.evaluation.ranks.answers import filters_of
from acml_search.evaluation.ranks.ranking import Every, Ranker
from acml_search.evaluation.ranks.retrieval import Truths, answered_by
from acml_search.evaluation.rerank.rescoring import Listing
from benchmarks.suite import further, in_pools, reranked
from benchmarks.suite.asking import Asking
from benchmarks.suite.stereo import stereoisomers


def answers(asking: Asking) -> list[dict[str, Any]]:
    """All results, each with its file's name under `result`."""
    question = asking.question
    chosen = asking.prepare()
    results: list[dict[str, Any]] = []
    if question.filters:
        results += to_molecule(asking)
        if question.isomers:
            results += stereoisomers(asking)
        if question.rerank:
            results += reranked.again(asking)
        if question.baselines:
            from benchmarks.suite.baselines import baselines

            results += baselines(asking)
    if question.batch:
        results += further.within(asking)
    if question.calibrate is not None:
        results += further.calibration(asking)
    if question.to_record:
        results.append(further.to_record(asking))
    if question.peaks:
        results += further.peaks(asking, chosen)
    return results


def to_molecule(asking: Asking) -> Iterator[dict[str, Any]]:
    """Recall of the queries in the pool, with each filter, and among isomers."""
    truths = Truths(asking.queries, np.array([one.truth for one in asking.readable], dtype=np.int64))
    for at, vectors in asking.blocks():
        truths.see(at, vectors)
    by_pool: Mapping[str, Any] = {}
    whole: Ranker | None = None
    if asking.question.pools:
        whole, by_pool = in_pools.ask(asking, asking.ranker(asking.queries, truths, Every()))
    for wanted in asking.question.filters:
        filters = filters_of(asking.pool, formula=wanted.formula, da=wanted.da, ppm=wanted.ppm)
        plain = wanted.text == "none"
        ranker = whole if plain and whole is not None else asking.rank(asking.queries, truths, filters)
        if isinstance(ranker, Listing):
            asking.listings[wanted] = ranker
        asked = answered_by(asking.asked, ranker)
        asking.clock.lap(f"rank {wanted.text}")
        what = "" if plain else f".{wanted.slug}"
        yield from asking.say(wanted, asked, what, by_pool=by_pool if plain else {})
