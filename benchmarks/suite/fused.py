"""Several observations of one compound against the best of them alone, on the same molecules and pool.

The logits scale x cosine of the spaces are added, each by what it counts for (`together`). That sum is one
inner product of the vectors put end to end, so the ranking is counted as any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from acml_search.chem.splits import is_inner
from acml_search.core.errors import ConfigError
from acml_search.evaluation.data.described import KnownStructures
from acml_search.evaluation.data.queries import QueryFile
from acml_search.evaluation.data.structures import Query, make_pool
from acml_search.evaluation.rerank.together import KINDS
from benchmarks.suite.bench import Bench
from benchmarks.suite.fused_asking import Alone, Fused
from benchmarks.suite.plan import FusedQuestion, Question
from benchmarks.suite.question import to_molecule
from benchmarks.suite.reranked import again


def ask_fused(bench: Bench, wanted: FusedQuestion, files: Mapping[Path, QueryFile]) -> list[dict[str, Any]]:
    """Recall of each part alone and of all together, over the molecules that have every observation.

    Where the model's card has weights for all parts, re-ranked as well. What the parts count for is fitted
    where the question says on what, else taken from the card.

    Of each molecule and part the first row counts. Raises ConfigError where no molecule has them all.
    """
    questions = [_question(bench, wanted, part) for part in wanted.parts]
    chosen = _all_observed(questions, files, [question.where for question in questions])
    if not chosen:
        raise ConfigError(f"{bench.suite.path}: no molecule has {' and '.join(wanted.parts)}")
    paths = dict.fromkeys(path for question in questions for path in question.library)
    library = KnownStructures([one for path in paths for one in bench.structures[path]])
    rows = [query for question in questions for query in files[question.queries].queries]
    pool = make_pool(chosen[0], rows, library, seed=bench.suite.seed)
    alone = [
        Alone(bench, question, files[question.queries], pool, asks)
        for question, asks in zip(questions, chosen, strict=True)
    ]
    results: list[dict[str, Any]] = []
    for part in alone:
        results += to_molecule(part)
        if part.question.rerank:
            results += again(part)
    fitted = _fit(bench, wanted, questions, files, alone)
    results += fitted
    trust = {kind: _trust(bench, questions, kind, fitted) for kind in KINDS}
    fused = Fused(bench, wanted, questions[0], alone, trust, results)
    found = [*to_molecule(fused)]
    return [*results, *found, *(fused.reranked() if fused.question.rerank else [])]


def _fit(
    bench: Bench,
    wanted: FusedQuestion,
    questions: Sequence[Question],
    files: Mapping[Path, QueryFile],
    alone: Sequence[Alone],
) -> list[dict[str, Any]]:
    """What the parts count for, fitted on the inner part of `calibrate`'s rows; nothing where it is not to be
    fitted, no inner molecule has all observations, or two parts share a space.
    """
    modalities = [question.modality for question in questions]
    if wanted.calibrate is None or len(set(modalities)) < len(modalities):
        return []
    chosen = _all_observed(questions, files, [wanted.calibrate] * len(questions), inner=True)
    if not chosen:
        why = f"no inner molecule of `calibrate` has {' and '.join(wanted.parts)}"
        bench.skipped.append({"question": f"{wanted.name} together", "why": why})
        return []
    parts = [part.asking(asks) for part, asks in zip(alone, chosen, strict=True)]
    ones = {kind: dict.fromkeys(modalities, 1.0) for kind in KINDS}
    inner = Fused(bench, wanted, questions[0], parts, ones, [])
    return inner.fitted()


def _trust(
    bench: Bench, questions: Sequence[Question], kind: str, fitted: Sequence[Mapping[str, Any]]
) -> dict[str, float]:
    modalities = [question.modality for question in questions]
    found: dict[str, float] | None = next((one.get(kind) for one in fitted), None)
    return found or bench.card.trust(modalities, kind)


def _question(bench: Bench, wanted: FusedQuestion, part: str) -> Question:
    found = bench.suite.part(part)
    return replace(
        found,
        name=f"{wanted.name}.{part}-alone",
        filters=wanted.filters,
        isomers=False,
        training=None,
        calibrate=None,
        rerank=_weighed(bench, wanted),
        rerank_queries=None,
        pools=(),
        baselines=(),
        must={},
    )


def _weighed(bench: Bench, wanted: FusedQuestion) -> bool:
    """Has the model's card weights to re-rank every part with?"""
    modalities = [bench.suite.part(part).modality for part in wanted.parts]
    return all(bench.card.data["spaces"][modality].get("rerank") for modality in modalities)


def _all_observed(
    questions: Sequence[Question],
    files: Mapping[Path, QueryFile],
    conditions: Sequence[str | None],
    *,
    inner: bool = False,
) -> list[list[Query]]:
    """By question the first row of each molecule that has a row in all, molecules in one order; empty where
    there is none. inner: only molecules of the inner part.
    """
    first: list[dict[str, Query]] = []
    for question, where in zip(questions, conditions, strict=True):
        rows: dict[str, Query] = {}
        for query in files[question.queries].select(where=where):
            if query.structure is not None and (not inner or is_inner(query.structure.block)):
                rows.setdefault(query.structure.block, query)
        first.append(rows)
    blocks = sorted(set.intersection(*(set(rows) for rows in first)))
    return [[rows[block] for block in blocks] for rows in first] if blocks else []
