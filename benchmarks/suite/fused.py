"""Several observations of one compound against the best of them alone, on the same molecules and pool.

The logits scale x cosine of the spaces are added, each with its factor (`benchmarks.suite.fits`), and
the sum is ranked as any other score.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from acml_search.core.errors import ConfigError
from acml_search.core.timing import Stopwatch
from acml_search.core.typing import Floats, Ints
from acml_search.evaluation import metrics
from acml_search.evaluation.leakage import check_truths, unseen
from acml_search.evaluation.pool import Query, make_pool
from acml_search.evaluation.ranking import BLOCK, Ranker
from acml_search.evaluation.rescoring import (
    Shortlists,
    compare,
    ranks,
    shortlists,
    usable_queries,
    weighted,
    weights_of,
)
from acml_search.evaluation.results import QueryOutcome, Result
from acml_search.evaluation.retrieval import (
    Answer,
    Filter,
    PreparedQuestion,
    embed_question,
    to_outcomes,
)
from benchmarks.suite.fits import fit, summarise_factors
from benchmarks.suite.plan import FusedQuestion, SuiteQuestion
from benchmarks.suite.run import QuestionRun, SuiteRun

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
    pool = make_pool(rows[0], every_row, library)
    prepared, alone = [], list[Result]()
    for part, of in zip(parts, rows, strict=True):
        outcomes = to_outcomes(of, pool, once=False)
        check_truths(outcomes, pool, part.name)
        prepared.append(embed_question(part, run.store, of, pool, outcomes, Stopwatch()))
        runner = QuestionRun(run, part, prepared[-1])
        alone += runner.to_molecule()
        if part.rerank:
            alone += runner.reranked()
    yield from alone
    changes = {
        "name": question.name,
        "modality": "+".join(part.modality for part in parts),
        "targets": question.targets,
    }
    whole = parts[0].model_copy(update=changes)
    fitted = _fit(run, question, whole, prepared)
    if fitted is not None:
        yield fitted
    names = [part.modality for part in parts]
    kinds = ("plain", "rerank")
    plain, again = (getattr(fitted, kind, None) or run.card.fusion_weights(names, kind) for kind in kinds)
    fused = Fused(run, whole, prepared, plain)
    runner = QuestionRun(run, whole, fused.prepared)
    answers = [fused.answer(wanted) for wanted in question.filters]
    for one in answers:
        more = {"gain": _gain(run, one.outcomes, alone, one.filter.text), "trust": dict(plain)}
        yield from runner.write_answer(one.filter, one.outcomes, rerank=False, **more)
    for one in fused.rerank(answers, again) if whole.rerank else ():
        fields = {"rerank": True, "shortlist": whole.rerank_depth, "trust": dict(again)}
        gain = _gain(run, one.outcomes, alone, f"rerank {one.filter.text}")
        yield from runner.write_answer(one.filter, one.outcomes, **fields, gain=gain)


@dataclass
class Fused:
    """All parts as one question, which ranks the molecules that have a vector in every part."""

    run: SuiteRun
    question: SuiteQuestion
    parts: Sequence[PreparedQuestion]
    factors: Factors

    def __post_init__(self) -> None:
        first, places = self.parts[0], self.parts[0].candidates.places
        for part in self.parts[1:]:
            places = places[np.isin(places, part.candidates.places)]
        self.places: Ints = places
        errors = [
            next((one.error for one in of if one.error), None)
            for of in zip(*(part.outcomes for part in self.parts), strict=True)
        ]
        outcomes = [replace(one, error=error) for one, error in zip(first.outcomes, errors, strict=True)]
        n_failed = max(part.candidates.n_failed for part in self.parts)
        candidates = replace(first.candidates, n_failed=n_failed)
        self.prepared = replace(first, question=self.question, outcomes=outcomes, candidates=candidates)
        names = [part.question.modality for part in self.parts]
        scales = np.array([self.factors[name] * self.run.card.spaces[name].scale for name in names])
        # as if the parts' vectors were one long unit vector
        self.scales = (scales / np.linalg.norm(scales) / np.sqrt(len(scales))).astype(np.float32)
        bias = next((part.bias for part in self.parts if part.bias is not None), None)
        self.bias = None if bias is None else replace(bias, scale=float(scales[0] / self.scales[0]))

    def answer(self, wanted: Filter) -> Answer:
        """Rank by the sum of scale x cosine."""
        truths = sum(x * part.truth_scores for x, part in zip(self.scales, self.parts, strict=True))
        known = np.isin(self.prepared.truths, self.places)
        none = np.zeros((len(known), 0), np.float32)
        conditions, truths = wanted.over(self.prepared.pool), np.where(known, truths, -np.inf)
        depth = self.question.rerank_depth
        ranker = Ranker(none, truths, self.prepared.truths, conditions, depth, self.bias)
        for low in range(0, len(self.places), BLOCK):
            block = self.places[low : low + BLOCK]
            scores = sum(
                x * (part.queries @ part.candidates.at(block)[1].T)
                for x, part in zip(self.scales, self.parts, strict=True)
            )
            ranker.add_scores(np.asarray(scores), block)
        return self.prepared.answered(wanted, ranker)

    def rerank(self, answers: Sequence[Answer], factors: Factors) -> Iterator[Answer]:
        """The shortlists of the summed logits, each part's peaks compared and all logits added."""
        rows, by_ranker = self.shortlists([one.ranker for one in answers], peaks=True)
        weights = [factors[part.question.modality] for part in self.parts]
        for answer, lists in zip(answers, by_ranker, strict=True):
            again = self.prepared.answered(answer.filter, answer.ranker)
            total = weighted(self.logits(lists), weights, lists[0].prior)
            found = ranks(lists[0], total, [again.outcomes[i].rank for i in rows])
            for row, i in enumerate(rows):
                again.outcomes[i].rank, again.outcomes[i].score = float(found[row]), float(total[row, 0])
            yield again

    def shortlists(
        self, rankers: Sequence[Ranker], *, peaks: bool
    ) -> tuple[list[int], list[list[Shortlists]]]:
        """Queries with a shortlist; by ranker and part the lists with its cosines (if `peaks`, scores)."""
        outcomes = self.prepared.outcomes
        rows = usable_queries(outcomes, rankers[0])
        by_part: list[list[Shortlists]] = []
        for part in self.parts:
            if peaks:
                own = [
                    replace(one, error=whole.error)
                    for one, whole in zip(part.outcomes, outcomes, strict=True)
                ]
                rows, lists = compare(replace(part, outcomes=own), rankers)
            else:
                lists = [shortlists(outcomes, ranker, rows) for ranker in rankers]
            by_part.append([replace(one, cosines=_cosines(part, rows, one.places)) for one in lists])
        return rows, [list(of) for of in zip(*by_part, strict=True)]

    def logits(self, lists: Sequence[Shortlists]) -> Floats:
        """(nq, k, parts), the peaks of each compared."""
        card = self.run.card
        weights = [weights_of(card, part.question.modality, part.weights_kind) for part in self.parts]
        return np.stack([weighted(of.features, one) for one, of in zip(weights, lists, strict=True)], axis=2)


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


def _observed_in_all(
    run: SuiteRun, parts: Sequence[SuiteQuestion], conditions: Sequence[str | None], *, dev: bool = False
) -> list[list[Query]]:
    """By part the first row of each molecule that has one in all, in one order. `dev`: of the dev split."""
    first: list[dict[str, Query]] = []
    for part, where in zip(parts, conditions, strict=True):
        rows: dict[str, Query] = {}
        found = run.store.rows(part).select(where=where)
        if part.leakage == "drop":
            found = unseen(run.card, found, part.name)
        for query in found:
            if query.structure is not None and (not dev or part.fits(query.structure.inchikey14)):
                rows.setdefault(query.structure.inchikey14, query)
        first.append(rows)
    keys = sorted(set.intersection(*(set(rows) for rows in first)))
    return [[rows[key] for key in keys] for rows in first] if keys else []


def _fit(
    run: SuiteRun, question: FusedQuestion, whole: SuiteQuestion, prepared: Sequence[PreparedQuestion]
) -> Result | None:
    """The factors, fitted on the dev split of `calibrate`'s rows; None where they are not or cannot be."""
    parts = [run.suite.part(part) for part in question.parts]
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
        fields = _fitted_factors(Fused(run, whole, others, dict.fromkeys(names, 1.0)), names)
        if fields is not None:
            return run.write(whole, Result(kind="together", **fields), ".together", "together")
        why = "no row of the dev split of `calibrate` has its truth in the shortlist"
    run.skip(f"{question.name} together", why)
    return None


def _fitted_factors(fused: Fused, names: Sequence[str]) -> dict[str, Any] | None:
    """The factors of each kind, and recall on the dev split; None where no shortlist holds its truth."""
    run, rerank = fused.run, fused.question.rerank
    ranker = fused.answer(Filter()).ranker
    rows, (lists,) = fused.shortlists([ranker], peaks=rerank)
    if not lists[0].listed.any():
        return None
    scales = [run.card.spaces[name].scale for name in names]
    # Without peaks nothing is re-ranked: the second set is left out, and counts as 1.
    logits = {"plain": np.stack([x * one.cosines for x, one in zip(scales, lists, strict=True)], axis=2)}
    if rerank:
        logits["rerank"] = fused.logits(lists)
    inner: dict[str, Any] = {"n_queries": len(rows), "n_failed": len(fused.prepared.outcomes) - len(rows)}
    fields: dict[str, Any] = {"shortlist": fused.question.rerank_depth, "n_pool": len(fused.places)}
    fields |= {"signals": fused.bias is not None, "inner": inner}
    for kind, of in logits.items():
        fields[kind] = dict(zip(names, fit(lists[0], of, np.ones(len(names))).tolist(), strict=True))
        inner[kind] = summarise_factors(lists[0], of)
    return fields


def _gain(run: SuiteRun, outcomes: Sequence[QueryOutcome], alone: Sequence[Any], asks: str) -> dict[str, Any]:
    """Recall at 1 of all fused less that of the best part alone, and its interval over the same molecules."""
    best = max((one for one in alone if one.asks == asks), key=lambda one: one.recall["1"])
    of_best = pq.read_table(run.out / best.per_query).column("rank").to_numpy(zero_copy_only=False)
    ours = metrics.hits_at_k([one.rank for one in outcomes], 1)
    difference = ours - metrics.hits_at_k(np.nan_to_num(of_best.astype(np.float64), nan=np.inf), 1)
    return {
        "over": best.question,
        "recall_at_1": float(difference.mean()),
        "ci95": list(metrics.bootstrap_interval(difference)),
    }


def _cosines(part: PreparedQuestion, rows: Sequence[int], places: Ints) -> Floats:
    """(nq, k) cosines of a part's queries and the molecules at `places` (nq, k); -inf where there is none."""
    out = np.full(places.shape, -np.inf)
    for row, i in enumerate(rows):
        known = places[row] >= 0
        out[row, known] = part.candidates.at(places[row, known])[1] @ part.queries[i]
    return out
