"""Several observations of one compound against the best of them alone, on the same molecules and pool.

The logits scale x cosine of the spaces are added, each with its factor (`acml_search.evaluation.fusion`).
That sum is one inner product of the concatenated vectors, so the fused question is ranked as any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from acml_search.chem.splits import is_dev
from acml_search.core.errors import ConfigError
from acml_search.core.timing import Stopwatch
from acml_search.core.typing import Floats, Ints
from acml_search.evaluation import metrics
from acml_search.evaluation.fusion import (
    KINDS,
    Shortlists,
    fit_factors,
    ranks,
    summarise_factors,
    weighted_sum,
)
from acml_search.evaluation.leakage import check_truths
from acml_search.evaluation.pool import Pool, Query, make_pool
from acml_search.evaluation.ranking import SHORTLIST, TopKRanker
from acml_search.evaluation.rescoring import shortlists, usable_queries, weights_of
from acml_search.evaluation.results import FusionFitResult, QueryOutcome, Result, with_ranks
from acml_search.evaluation.retrieval import (
    Candidates,
    Filter,
    PreparedQuestion,
    embed_question,
    to_outcomes,
)
from benchmarks.suite.plan import FusedQuestion, SuiteQuestion
from benchmarks.suite.run import QuestionRun, SuiteRun, write_result

Factors = Mapping[str, float]
"""by modality"""


def measure_fused(run: SuiteRun, question: FusedQuestion) -> Iterator[Result]:
    """Recall of each part alone and of all fused, over the molecules that have every observation; of each
    molecule and part the first row counts.

    Where the model's card has weights for all parts, re-ranked as well. Factors are fitted on `calibrate`, or
    taken from the card. Raises ConfigError where no molecule has all observations.
    """
    parts = [_alone(run, question, part) for part in question.parts]
    rows = _observed_in_all(run, parts, [part.where for part in parts])
    if not rows:
        raise ConfigError(f"{run.suite.path}: no molecule has {' and '.join(question.parts)}")
    library = run.store.library(list(dict.fromkeys(path for part in parts for path in part.library)))
    every_row = [query for part in parts for query in run.store.file(part.queries).queries]
    pool = make_pool(rows[0], every_row, library, seed=run.suite.seed)
    prepared = [_prepare(run, part, pool, of) for part, of in zip(parts, rows, strict=True)]
    alone: list[Result] = []
    for part, one in zip(parts, prepared, strict=True):
        runner = QuestionRun(run, part, one)
        alone += runner.to_molecule()
        if part.rerank:
            alone += runner.reranked()
    yield from alone
    fitted = _fit(run, question, parts, prepared)
    if fitted is not None:
        yield fitted
    factors = {kind: _factors(run, parts, kind, fitted) for kind in KINDS}
    fused = Fused(run, _as_question(question, parts), prepared, factors["plain"])
    runner = QuestionRun(run, fused.question, fused.prepared)
    for wanted in question.filters:
        ranker = fused.prepared.rank(wanted, depth=SHORTLIST if parts[0].rerank else None)
        outcomes = with_ranks(fused.prepared.outcomes, ranker)
        more = {"gain": _gain(run, outcomes, alone, wanted.text), "trust": dict(factors["plain"])}
        yield from runner.write_answers(wanted, outcomes, more=more)
        runner.rankers[wanted] = ranker
    if parts[0].rerank:
        yield from _reranked(fused, runner, alone, factors["rerank"])


@dataclass
class Fused:
    """All parts as one prepared question: vectors concatenated, each times its space's scale and factor."""

    run: SuiteRun
    question: SuiteQuestion
    parts: Sequence[PreparedQuestion]
    factors: Factors

    def __post_init__(self) -> None:
        names = [part.question.modality for part in self.parts]
        scales = np.array([self.factors[name] * self.run.card.spaces[name].scale for name in names])
        scales = (scales / np.linalg.norm(scales)).astype(np.float32)
        queries = [scale * part.queries for scale, part in zip(scales, self.parts, strict=True)]
        first = self.parts[0]
        errors = [
            next((part.outcomes[i].error for part in self.parts if part.outcomes[i].error), None)
            for i in range(len(first.outcomes))
        ]
        outcomes = [replace(one, error=error) for one, error in zip(first.outcomes, errors, strict=True)]
        self.prepared = replace(
            first,
            question=self.question,
            outcomes=outcomes,
            queries=np.concatenate(queries, axis=1),
            candidates=_joined([part.candidates for part in self.parts]),
        )

    def shortlists(
        self, rankers: Sequence[TopKRanker], *, peaks: bool
    ) -> tuple[list[int], list[list[Shortlists]]]:
        """The queries with a shortlist, and by ranker and part these shortlists with the part's own cosines,
        and with the scores of its peaks if `peaks`.
        """
        outcomes = self.prepared.outcomes
        rows = usable_queries(outcomes, rankers[0])
        by_part: list[list[Shortlists]] = []
        for part in self.parts:
            if peaks:
                own = [
                    replace(one, error=whole.error)
                    for one, whole in zip(part.outcomes, outcomes, strict=True)
                ]
                rows, lists = part.comparison().compare(own, rankers)
            else:
                lists = [shortlists(outcomes, ranker, rows) for ranker in rankers]
            by_part.append([replace(one, cosines=_cosines(part, rows, one.places)) for one in lists])
        return rows, [list(of) for of in zip(*by_part, strict=True)]

    def logits(self, lists: Sequence[Shortlists]) -> list[Floats]:
        """(nq, k) of each part, its peaks compared."""
        weights = [weights_of(self.run.card, part.question.modality) for part in self.parts]
        return [one.logits(of.cosines, of.scores) for one, of in zip(weights, lists, strict=True)]


def _alone(run: SuiteRun, question: FusedQuestion, part: str) -> SuiteQuestion:
    """A part as a question of its own, without what only a whole question measures."""
    modalities = [run.suite.part(one).modality for one in question.parts]
    weighted = all(run.card.data["spaces"][modality].get("rerank") for modality in modalities)
    changes: dict[str, Any] = {
        "name": f"{question.name}.{part}-alone",
        "filters": question.filters,
        "isomers": False,
        "training": None,
        "calibrate": None,
        "rerank": weighted,
        "rerank_queries": None,
        "pools": (),
        "baselines": (),
        "targets": {},
    }
    return run.suite.part(part).model_copy(update=changes)


def _as_question(question: FusedQuestion, parts: Sequence[SuiteQuestion]) -> SuiteQuestion:
    changes = {
        "name": question.name,
        "modality": "+".join(part.modality for part in parts),
        "targets": question.targets,
    }
    return parts[0].model_copy(update=changes)


def _observed_in_all(
    run: SuiteRun, parts: Sequence[SuiteQuestion], conditions: Sequence[str | None], *, dev: bool = False
) -> list[list[Query]]:
    """By part the first row of each molecule that has a row in all, molecules in one order; empty where there
    is none. `dev`: only molecules of the dev split.
    """
    first: list[dict[str, Query]] = []
    for part, where in zip(parts, conditions, strict=True):
        rows: dict[str, Query] = {}
        for query in run.store.file(part.queries).select(where=where):
            if query.structure is not None and (not dev or is_dev(query.structure.inchikey14)):
                rows.setdefault(query.structure.inchikey14, query)
        first.append(rows)
    keys = sorted(set.intersection(*(set(rows) for rows in first)))
    return [[rows[key] for key in keys] for rows in first] if keys else []


def _prepare(run: SuiteRun, part: SuiteQuestion, pool: Pool, rows: list[Query]) -> PreparedQuestion:
    outcomes = to_outcomes(rows, pool, once=False)
    check_truths(outcomes, pool, part.name)
    return embed_question(part, run.store, rows, pool, outcomes, Stopwatch())


def _fit(
    run: SuiteRun,
    question: FusedQuestion,
    parts: Sequence[SuiteQuestion],
    prepared: Sequence[PreparedQuestion],
) -> FusionFitResult | None:
    """The factors, fitted on the dev split of `calibrate`'s rows; None where they are not to be fitted, no
    molecule there has all observations, or two parts share a space.
    """
    names = [part.modality for part in parts]
    if question.calibrate is None or len(set(names)) < len(names):
        return None
    rows = _observed_in_all(run, parts, [question.calibrate] * len(parts), dev=True)
    why = f"no molecule of the dev split of `calibrate` has {' and '.join(question.parts)}"
    if rows:
        others = [
            one.with_queries(to_outcomes(of, one.pool, once=False))
            for one, of in zip(prepared, rows, strict=True)
        ]
        fused = Fused(run, _as_question(question, parts), others, dict.fromkeys(names, 1.0))
        fields = _fitted_factors(fused, names, peaks=parts[0].rerank)
        if fields is not None:
            return write_result(run, fused.question, FusionFitResult(**fields), ".together", "together")
        why = "no row of the dev split of `calibrate` has its truth in the shortlist"
    run.skipped.append({"question": f"{question.name} together", "why": why})
    return None


def _fitted_factors(fused: Fused, names: Sequence[str], *, peaks: bool) -> dict[str, Any] | None:
    """The factors of each kind, and recall on the dev split; None where no shortlist holds its truth."""
    run, prepared = fused.run, fused.prepared
    ranker = prepared.rank(Filter(), depth=SHORTLIST)
    assert isinstance(ranker, TopKRanker)
    rows, (lists,) = fused.shortlists([ranker], peaks=peaks)
    scales = [run.card.spaces[name].scale for name in names]
    # Without peaks nothing is re-ranked: the second set is left out, and counts as 1.
    logits = {"plain": [scale * one.cosines for scale, one in zip(scales, lists, strict=True)]}
    if peaks:
        logits["rerank"] = fused.logits(lists)
    fields: dict[str, Any] = {"shortlist": SHORTLIST, "n_pool": len(prepared.candidates.places)}
    inner: dict[str, Any] = {"n_queries": len(rows), "n_failed": len(prepared.outcomes) - len(rows)}
    for kind, of in logits.items():
        factors = fit_factors(lists[0], of)
        if factors is None:
            return None
        fields[kind] = dict(zip(names, factors, strict=True))
        inner[kind] = summarise_factors(lists[0], of, run.suite.seed)
    return {**fields, "inner": inner}


def _factors(
    run: SuiteRun, parts: Sequence[SuiteQuestion], kind: str, fitted: FusionFitResult | None
) -> dict[str, float]:
    known: dict[str, float] | None = getattr(fitted, kind, None)
    return known or run.card.fusion_weights([part.modality for part in parts], kind)


def _reranked(
    fused: Fused, runner: QuestionRun, alone: Sequence[Result], factors: Factors
) -> Iterator[Result]:
    """The shortlists of the summed logits, each part's peaks compared and all logits added."""
    rankers = [one for one in runner.rankers.values() if isinstance(one, TopKRanker)]
    rows, by_ranker = fused.shortlists(rankers, peaks=True)
    weights = [factors[part.question.modality] for part in fused.parts]
    for wanted, ranker, lists in zip(runner.rankers, rankers, by_ranker, strict=True):
        outcomes = with_ranks(fused.prepared.outcomes, ranker)
        total = weighted_sum(fused.logits(lists), weights)
        again = ranks(lists[0], total, [outcomes[i].rank for i in rows])
        for row, i in enumerate(rows):
            outcomes[i].rank, outcomes[i].score = float(again[row]), float(total[row, 0])
        fields = {"shortlist": SHORTLIST, "trust": dict(factors)}
        gain = _gain(fused.run, outcomes, alone, f"rerank {wanted.text}")
        yield from runner.write_answers(wanted, outcomes, rerank=fields, more={"gain": gain})


def _gain(run: SuiteRun, outcomes: Sequence[QueryOutcome], alone: Sequence[Any], asks: str) -> dict[str, Any]:
    """Recall at 1 of all fused less that of the best part alone, and its interval over the same molecules."""
    import pyarrow.parquet as pq

    best = max((one for one in alone if one.asks == asks), key=lambda one: one.recall["1"])
    of_best = pq.read_table(run.out / best.per_query).column("rank").to_numpy(zero_copy_only=False)
    ours = metrics.hits_at_k([one.rank for one in outcomes], 1)
    difference = ours - metrics.hits_at_k(np.nan_to_num(of_best.astype(np.float64), nan=np.inf), 1)
    return {
        "over": best.question,
        "recall_at_1": float(difference.mean()),
        "ci95": list(metrics.bootstrap_interval(difference, seed=run.suite.seed)),
    }


def _joined(parts: Sequence[Candidates]) -> Candidates:
    """The molecules that have a vector in every part. Tables are copied only where the parts differ: half a
    million molecules are half a gigabyte.
    """
    common = parts[0].places
    for part in parts[1:]:
        common = common[np.isin(common, part.places)]
    tables = tuple(
        part.tables[0] if len(part.places) == len(common) else part.tables[0][part.row_of[common]]
        for part in parts
    )
    return Candidates(common, tables, max(part.n_failed for part in parts))


def _cosines(part: PreparedQuestion, rows: Sequence[int], places: Ints) -> Floats:
    """(nq, k) cosines of a part's queries and the molecules at `places` (nq, k); -inf where there is none."""
    out = np.full(places.shape, -np.inf)
    for row, i in enumerate(rows):
        known = places[row] >= 0
        out[row, known] = part.candidates.at(places[row, known])[1] @ part.queries[i]
    return out
