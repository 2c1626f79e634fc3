"""The baselines of a question: the same queries, pool, filters and tie rule as the model's own answers."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np

from acml_search.core.errors import InvalidRecord
from acml_search.core.progress import progress
from acml_search.evaluation.data.structures import Query
from acml_search.evaluation.isomers import isomer_result, with_isomers
from acml_search.evaluation.ranks.answers import filter_name, filters_of
from acml_search.evaluation.ranks.ranking import Ranker
from acml_search.evaluation.ranks.retrieval import Asked, answered_by
from acml_search.evaluation.rerank.rescoring import DEPTH, Listing, tell, with_evidence
from acml_search.evaluation.rerank.weights import Weights
from acml_search.modalities import get
from benchmarks.baselines.base import Baseline, Ints, Material, Score, Scores, baseline
from benchmarks.suite.asking import Asking
from benchmarks.suite.kept import KeptAnswers
from benchmarks.suite.plan import Filter

BLOCK = 4_096
MATCHED = DEPTH
"""candidates that are matched peak by peak: as many as the model re-ranks"""
MOST, RECORDS_ASKED = 1_000, 2
"""queries that baselines are asked, a seeded choice, and of one molecule at most; the model is compared with
them on these"""


def baselines(asking: Asking) -> list[dict[str, Any]]:
    """Every baseline that the question names, with each of its filters and among isomers; where one makes no
    sense for the modality, a result that says why. What was answered before is kept.
    """
    results: list[dict[str, Any]] = []
    asked, training = _asked(asking), _training(asking)
    for name in asking.question.baselines:
        one = baseline(name)
        why = one.why_not(asking.question.modality)
        if why is not None:
            told = {"baseline": name, "about": one.about, "why_not": why}
            results.append(asking.write(f".baseline-{name}", told, kind="baseline", asks="baseline"))
        else:
            kept = KeptAnswers(asking, one, asked, training)
            found = kept.read()
            if found is None:
                found = list(_answers(asking, one, asked, training))
                kept.write(found)
            results += found
        asking.clock.lap(f"baseline {name}")
    return results


def _asked(asking: Asking) -> list[Asked]:
    """The queries that baselines are asked, in their order."""
    order = np.random.default_rng(asking.bench.suite.seed).permutation(len(asking.asked))
    taken: dict[int, int] = {}
    kept: list[int] = []
    for i in order.tolist():
        truth = asking.asked[i].truth
        taken[truth] = taken.get(truth, 0) + 1
        if truth < 0 or taken[truth] <= RECORDS_ASKED:
            kept.append(i)
    return [asking.asked[i] for i in sorted(kept[:MOST])]


def _answers(
    asking: Asking, one: Baseline, asked: list[Asked], training: list[Query]
) -> Iterator[dict[str, Any]]:
    material = _material(asking, [each for each in asked if each.truth >= 0], training)
    if one.matches_peaks:
        material.told["shortlist"] = MATCHED
    score = one.prepare(material)
    truths, at = np.unique(material.truths, return_inverse=True)
    truth_scores = np.full(len(at), -np.inf)
    for low in range(0, len(truths), BLOCK):
        here = np.flatnonzero((at >= low) & (at < low + BLOCK))
        truth_scores[here] = score(truths[low : low + BLOCK])[here, at[here] - low]
    # By mass, so that a filter looks at few blocks for each query.
    order = np.argsort(asking.pool.masses(), kind="stable")
    wanted = list(asking.question.filters)
    rankers = {each: _ranker(asking, one, each, truth_scores, material) for each in wanted}
    with progress(total=len(order), desc=f"{asking.question.name}: {one.name}", unit="mol") as bar:
        for positions, block in _ahead(score, order, asking.bench.workers.n):
            for ranker in rankers.values():
                ranker.add_scores(block, positions)
            bar.update(len(positions))
    answers = {each: answered_by(asked, ranker) for each, ranker in rankers.items()}
    if one.matches_peaks:
        _match(asking, rankers, answers)
    for each, answered in answers.items():
        what = f".baseline-{one.name}" + ("" if each.text == "none" else f".{each.slug}")
        yield from _say(asking, one, material, each, answered, what)


def _ahead(score: Score, order: Ints, threads: int) -> Iterator[tuple[Ints, Scores]]:
    """The pool's blocks in order, their positions and scores, each scored while the one before is ranked:
    NumPy lets go of the interpreter meanwhile.
    """
    waiting: deque[tuple[Ints, Future[Scores]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for low in range(0, len(order), BLOCK):
            positions = order[low : low + BLOCK]
            waiting.append((positions, pool.submit(score, positions)))
            if len(waiting) > threads:
                at, block = waiting.popleft()
                yield at, block.result()
        for at, block in waiting:
            yield at, block.result()


def _say(
    asking: Asking, one: Baseline, material: Material, wanted: Filter, asked: list[Asked], what: str
) -> Iterator[dict[str, Any]]:
    """Write recall with a filter and, where it is by formula, among isomers."""
    told = {"rerank": False, "baseline": one.name, "about": one.about, **material.told}
    name = filter_name(wanted.formula, wanted.da, wanted.ppm)
    found = {**asking.recall(asked, "to-molecule", name), **told}
    yield asking.write(what, found, kind="recall", asks=wanted.text, asked=asked)
    counted = with_isomers(asked, asking.pool.formula_codes())
    if wanted.formula and asking.question.isomers and counted:
        result = isomer_result(
            counted,
            asking.pool,
            modality=asking.question.modality,
            card=asking.bench.card,
            model=asking.bench.model,
            seed=asking.bench.suite.seed,
        )
        ending = f".baseline-{one.name}.isomers"
        yield asking.write(ending, {**result, **told}, kind="isomers", asks="isomers", asked=counted)


def _ranker(asking: Asking, one: Baseline, wanted: Filter, truth_scores: Any, material: Material) -> Ranker:
    filters = filters_of(asking.pool, formula=wanted.formula, da=wanted.da, ppm=wanted.ppm)
    empty = np.zeros((len(truth_scores), 0), np.float32)
    if one.matches_peaks:
        return Listing(empty, truth_scores, material.truths, filters, depth=MATCHED)
    return Ranker(empty, truth_scores, material.truths, filters)


def _material(asking: Asking, readable: Sequence[Asked], training: list[Query]) -> Material:
    reader = get(asking.question.modality)
    items: list[Any] = []
    for one in readable:
        try:
            items.append(None if one.error or asking.derived else reader.read(one.query.metadata))
        except InvalidRecord:
            items.append(None)
    return Material(
        asking.question.modality,
        asking.pool,
        items,
        np.array([one.truth for one in readable], np.int64),
        training,
        asking.bench.workers,
        asking.bench.cache,
        asking.bench.vectors,
        asking.bench.suite.seed,
    )


def _training(asking: Asking) -> list[Query]:
    """The rows that the model may have learned from."""
    where = asking.question.training
    if where is None:
        return []
    clean = asking.bench.suite.trained_on.get(asking.bench.card.name)
    if clean is not None and "license" in asking.file.types:
        where = f"({where}) AND ({clean})"
    asked = {one.query.structure.block for one in asking.asked if one.query.structure is not None}
    rows = asking.file.select(where=where)
    return [one for one in rows if one.structure is not None and one.structure.block not in asked]


def _match(asking: Asking, rankers: dict[Filter, Any], answers: dict[Filter, list[Asked]]) -> None:
    """Rank the shortlists by the matching of peaks alone."""
    readable = {each: [one for one in asked if one.truth >= 0] for each, asked in answers.items()}
    first = next(iter(answers))
    usable, lists = with_evidence(
        [replace(one) for one in readable[first]],
        list(rankers.values()),
        asking.pool.structures,
        modality=asking.question.modality,
        derived=asking.derived,
        workers=asking.bench.workers,
        seed=asking.bench.suite.seed,
        kept=asking.bench.vectors,
    )
    for each, found in zip(rankers, lists, strict=True):
        tell(readable[each], found, usable, Weights(0.0, 1.0))
