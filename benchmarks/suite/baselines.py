"""The baselines of a question: the same queries, pool, filters and tie rule as the model's own answers.

The ranks of a baseline do not depend on the model (but for one that takes its predicted peaks): they are
cached, so that new weights need no new baselines.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from acml_search.core.errors import InvalidRecord
from acml_search.core.io import digest_of
from acml_search.core.progress import progress
from acml_search.core.typing import Float32s, Ints
from acml_search.evaluation import ranking
from acml_search.evaluation.cache import code_digest
from acml_search.evaluation.fusion import Weights
from acml_search.evaluation.pool import Query, few_of_each
from acml_search.evaluation.ranking import SHORTLIST, Ranker
from acml_search.evaluation.results import QueryOutcome, Result
from acml_search.evaluation.retrieval import Filter
from acml_search.modalities import get
from benchmarks import baselines
from benchmarks.baselines import Baseline, Material, Score, baseline
from benchmarks.suite.run import QuestionRun

BLOCK = 4_096
MAX_QUERIES, RECORDS_PER_MOLECULE = 1_000, 2
"""a seeded choice of the queries; the model is compared with baselines on these"""
_RANKS = ("error", "rank", "score", "n_candidates", "best_other", "best_other_score")


def measure_baselines(runner: QuestionRun) -> Iterator[Result]:
    """Every baseline that the question names, with each of its filters and among isomers; where one is
    pointless for the modality, a result that says why.
    """
    outcomes = _some_queries(runner)
    keys = {one.query.structure.inchikey14 for one in runner.prepared.outcomes if one.query.structure}
    training = [
        row
        for row in runner.run.training_rows(runner.question)
        if row.structure is not None and row.structure.inchikey14 not in keys
    ]
    for name in runner.question.baselines:
        one = baseline(name)
        why = one.why_not(runner.question.modality)
        if why is not None:
            note = Result(kind="baseline", baseline=name, about=one.about, why_not=why)
            yield runner.write(f".baseline-{name}", note, asks="baseline")
        else:
            answers, about = _cached_answers(runner, one, outcomes, training)
            fields = {"baseline": one.name, "about": one.about, **about}
            for wanted, answered in answers.items():
                yield from runner.write_answer(wanted, answered, rerank=False, **fields)
        runner.prepared.watch.lap(f"baseline {name}")


def _some_queries(runner: QuestionRun) -> list[QueryOutcome]:
    """The queries that baselines get, in their order."""
    every = runner.prepared.outcomes
    chosen = few_of_each([one.truth for one in every], RECORDS_PER_MOLECULE, runner.seed)
    return [every[i] for i in sorted(chosen[:MAX_QUERIES])]


def _cached_answers(
    runner: QuestionRun, one: Baseline, outcomes: list[QueryOutcome], training: list[Query]
) -> tuple[dict[Filter, list[QueryOutcome]], dict[str, Any]]:
    """The ranked queries by filter, and what the baseline reports of itself."""
    question, card = runner.question, runner.run.card
    key = {
        "baseline": one.name,
        "code": code_digest(Path(baselines.__file__), Path(ranking.__file__)),
        "pool": digest_of(runner.pool.structures),
        "queries": digest_of(_plain([(each.truth, each.query) for each in outcomes])),
        "training": digest_of(_plain(training)),
        "modality": question.modality,
        "filters": [each.text for each in question.filters],
        "seed": runner.seed,
        "model": card.digest if one.matches_peaks else None,
    }

    def compute() -> dict[str, Any]:
        answers, about = _answers(runner, one, outcomes, training)
        of_filters = [
            [[getattr(o, name) for name in _RANKS] for o in answered] for answered in answers.values()
        ]
        return {"answers": of_filters, "about": about}

    assert runner.store.cache is not None
    found = runner.store.cache.document("baselines", key, compute)
    answers = {
        wanted: [
            replace(one, **dict(zip(_RANKS, values, strict=True)))
            for one, values in zip(outcomes, rows, strict=True)
        ]
        for wanted, rows in zip(question.filters, found["answers"], strict=True)
    }
    return answers, found["about"]


def _answers(
    runner: QuestionRun, one: Baseline, outcomes: list[QueryOutcome], training: list[Query]
) -> tuple[dict[Filter, list[QueryOutcome]], dict[str, Any]]:
    readable = [each for each in outcomes if each.truth >= 0]
    material = _material(runner, readable, training)
    if one.matches_peaks:
        material.about["shortlist"] = SHORTLIST
    score = one.prepare(material)
    truths, at = np.unique(material.truths, return_inverse=True)
    truth_scores = np.full(len(at), -np.inf)
    for low in range(0, len(truths), BLOCK):
        here = np.flatnonzero((at >= low) & (at < low + BLOCK))
        truth_scores[here] = score(truths[low : low + BLOCK])[here, at[here] - low]
    order = np.argsort(runner.pool.masses(), kind="stable")
    empty = np.zeros((len(readable), 0), np.float32)
    depth = SHORTLIST if one.matches_peaks else None
    rankers = {
        wanted: Ranker(empty, truth_scores, material.truths, wanted.over(runner.pool), depth)
        for wanted in runner.question.filters
    }
    with progress(total=len(order), desc=f"{runner.question.name}: {one.name}", unit="mol") as bar:
        for positions, block in scored_blocks(score, order, runner.store.workers.n):
            for ranker in rankers.values():
                ranker.add_scores(block, positions)
            bar.update(len(positions))
    prepared = replace(runner.prepared, outcomes=outcomes)
    answers = [prepared.answered(wanted, ranker) for wanted, ranker in rankers.items()]
    if one.matches_peaks:  # the shortlists are ranked by the matching of peaks alone
        answers = prepared.rerank(answers, Weights(0.0, 1.0))
    return {answer.filter: answer.outcomes for answer in answers}, dict(material.about)


def scored_blocks(score: Score, order: Ints, threads: int) -> Iterator[tuple[Ints, Float32s]]:
    """The pool's blocks in order, positions and scores, each scored while the one before is ranked: NumPy
    releases the interpreter meanwhile.
    """
    waiting: deque[tuple[Ints, Future[Float32s]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for low in range(0, len(order), BLOCK):
            positions = order[low : low + BLOCK]
            waiting.append((positions, pool.submit(score, positions)))
            if len(waiting) > threads:
                at, block = waiting.popleft()
                yield at, block.result()
        for at, block in waiting:
            yield at, block.result()


def _material(runner: QuestionRun, readable: Sequence[QueryOutcome], training: list[Query]) -> Material:
    question, store = runner.question, runner.store
    reader = get(question.modality)
    items: list[Any] = []
    for one in readable:
        try:
            items.append(None if one.error or question.from_structure else reader.read(one.query.metadata))
        except InvalidRecord:
            items.append(None)
    truths = np.array([one.truth for one in readable], np.int64)
    assert store.cache is not None
    assert store.vectors is not None
    return Material(
        question.modality, runner.pool, items, truths, training, store.workers, store.cache,
        store.vectors, runner.seed,
    )  # fmt: skip


def _plain(value: Any) -> Any:
    """Rows as JSON takes them."""
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return value.tolist() if hasattr(value, "tolist") else value if value is None else str(value)
