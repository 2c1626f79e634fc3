"""A suite: the questions of several files, measured from one embedding pass over all their molecules."""

from __future__ import annotations

import os
import platform
import resource
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from acml_search.chem.splits import is_dev
from acml_search.core.errors import ConfigError
from acml_search.core.io import versions, write_json
from acml_search.core.timing import Stopwatch
from acml_search.core.typing import Float32s, Ints
from acml_search.encoders.card import ModelCard, read_card
from acml_search.evaluation import leakage, metrics
from acml_search.evaluation.cache import Cache
from acml_search.evaluation.calibration import SHORTLIST, calibrate
from acml_search.evaluation.embedding import graph_vectors, predicting
from acml_search.evaluation.fusion import Shortlists, Weights, cross_fitted, fit_weights, ranks, summary
from acml_search.evaluation.pool import Pool, Query, Structure
from acml_search.evaluation.ranking import SHORTLIST as RERANKED
from acml_search.evaluation.ranking import NestedPools, Ranker, TopKRanker
from acml_search.evaluation.rescoring import (
    can_rerank,
    rerank_fields,
    set_reranked,
    shortlists,
    usable_queries,
    weights_of,
)
from acml_search.evaluation.results import (
    BatchesResult,
    CalibrationResult,
    PeaksResult,
    QueryOutcome,
    RecallResult,
    RerankFitResult,
    Result,
    isomers_result,
    molecule_labels,
    recall_result,
    with_ranks,
    write_per_query,
    write_rows,
)
from acml_search.evaluation.retrieval import (
    Filter,
    PreparedQuestion,
    Store,
    choose_queries,
    molecule_candidates,
    prepare,
    to_outcomes,
    with_isomers,
)
from acml_search.evaluation.workers import model_workers
from benchmarks.report import suite_page
from benchmarks.suite.batches import within_batches
from benchmarks.suite.classes import class_figures, nearest_training
from benchmarks.suite.plan import FusedQuestion, Suite, SuiteQuestion, read_suites
from benchmarks.suite.shifts import has_node_head, measure_assigned, measure_shifts

SUMMARY = "suite.json"
PAGE = "suite.md"
RECORDS = 3  # of a molecule, for calibration: more say little, since they weigh together as one
BY_COSINE = ("recall", "mrr", "ci95", "n_queries", "n_molecules")
_BY_POOL: dict[str, pa.DataType] = {
    "n_pool": pa.int64(),
    "row": pa.int64(),
    "molecule": pa.string(),
    "rank": pa.int64(),
    "n_candidates": pa.int64(),
    "error": pa.string(),
}


@dataclass(frozen=True)
class SuiteOptions:
    """The options of the command line."""

    files: tuple[Path, ...]
    out: Path
    model: str = "acml-base"
    cache: Path | None = None
    baselines: bool = True
    workers: int | None = None
    command: str | None = None


@dataclass
class SuiteRun:
    """What all questions of a run share; `skipped`: what could not be measured, and why."""

    suite: Suite
    store: Store
    out: Path
    command: str | None
    skipped: list[dict[str, str]] = field(default_factory=list)

    @property
    def card(self) -> ModelCard:
        return self.store.card

    def training_rows(self, question: SuiteQuestion) -> list[Query]:
        """The rows that the model may have learned from."""
        file, where = self.store.file(question.queries), question.training
        if where is None:
            return []
        allowed = self.suite.trained_on.get(self.card.name)
        if allowed is not None and "license" in file.types:
            where = f"({where}) AND ({allowed})"
        return [query for query in file.select(where=where) if query.structure is not None]


def measure_suite(options: SuiteOptions) -> dict[str, Any]:
    """Measure all questions, write their files, `suite.json` and `suite.md` into OUT; returns `suite.json`.

    Questions about a modality that the model has no space for are skipped, and listed so. Raises ConfigError
    where none is left, LibraryError for a file that cannot be read.
    """
    from benchmarks.suite.fused import measure_fused

    suite = read_suites(options.files)
    if not options.baselines:
        plain = tuple(one.model_copy(update={"baselines": ()}) for one in suite.questions)
        suite = replace(suite, questions=plain)
    card = read_card(options.model)
    questions, fused, skipped = _possible(suite, card)
    _check_folder(options.out)
    watch, seconds = Stopwatch(), dict[str, dict[str, float]]()
    results: list[Result] = []
    with model_workers(options.workers, model=options.model) as workers:
        cache = Cache(options.cache or options.out.parent / "cache")
        run = SuiteRun(
            suite, Store(options.model, workers, cache, suite.seed), options.out, options.command, skipped
        )
        parts = [suite.part(name) for name in dict.fromkeys(name for one in fused for name in one.parts)]
        everything = [*questions, *(one for one in parts if one not in questions)]
        n_molecules = _read_and_embed(run, everything, questions, watch)
        left: list[SuiteQuestion | FusedQuestion] = [*questions, *fused]
        while left:
            now = left.pop(0)
            if isinstance(now, FusedQuestion):
                results += measure_fused(run, now)
            else:
                own = Stopwatch()
                results += measure_question(run, now, own)
                seconds[now.name] = _seconds(own)
            watch.lap("questions")
            about = {
                "suite": suite.path,
                "model": options.model,
                "model_digest": card.digest,
                "spaces": sorted(card.spaces),
                "n_molecules": n_molecules,
                "skipped": run.skipped,
                "seconds": _seconds(watch),
                "peak_memory_mb": _peak_memory(),
                "workers": workers.n,
                "command": options.command,
                "versions": {
                    "python": platform.python_version(),
                    "machine": platform.machine(),
                    **versions("rdkit", "numpy"),
                },
                "results": [result.result for result in results],
                "seconds_by_question": seconds,
                "left": [one.name for one in left],
            }
            _write(about, results, options.out)  # after each, so that an interrupted run is of use
    about["peak_memory_mb"] = _peak_memory()  # of workers it is known when they have ended
    _write(about, results, options.out)
    return about


def _read_and_embed(
    run: SuiteRun, everything: Sequence[SuiteQuestion], questions: Sequence[SuiteQuestion], watch: Stopwatch
) -> int:
    """Read the structures of all files, check all questions, embed every molecule; returns how many."""
    store = run.store
    files = dict.fromkeys(path for one in everything for path in (one.queries, *one.library))
    files |= dict.fromkeys(path for one in questions if one.pools for path in one.large)
    structures = [store.structures(path) for path in files]
    for question in everything:  # before the long part
        for where in (question.calibrate, question.training):
            store.file(question.queries).select(where=where)
        choose_queries(question, store)
    watch.lap("read structures")
    comparing = sorted({one.modality for one in everything if one.rerank or "shifts" in one.baselines})
    spaces = sorted({one.modality for one in everything})
    assert store.cache is not None
    store.vectors = graph_vectors(
        structures, run.card, store.workers, store.cache, spaces=spaces, peaks=predicting(run.card, comparing)
    )
    watch.lap("embed molecules")
    return len({one.smiles for file in structures for one in file if not isinstance(one, str)})


def measure_question(run: SuiteRun, question: SuiteQuestion, watch: Stopwatch) -> Iterator[Result]:
    """All results of one question."""
    if question.filters or question.batch or question.calibrate is not None:
        runner = QuestionRun(run, question, prepare(question, run.store, watch=watch))
        if question.filters:
            yield from runner.to_molecule()
            if question.isomers:
                from benchmarks.suite.stereo import stereoisomers

                yield from stereoisomers(runner)
            if question.rerank:
                yield from runner.reranked()
            if question.baselines:
                from benchmarks.suite.baselines import measure_baselines

                yield from measure_baselines(runner)
        if question.batch:
            yield from runner.within_batches()
        if question.calibrate is not None:
            yield from runner.calibration()
    if question.to_record:
        inverse = question.model_copy(update={"direction": "to-record"})
        yield from QuestionRun(run, inverse, prepare(inverse, run.store, watch=watch)).to_record()
    if question.peaks:
        yield from measure_peaks(run, question, watch)


@dataclass
class QuestionRun:
    """One question: measures it and writes its results."""

    run: SuiteRun
    question: SuiteQuestion
    prepared: PreparedQuestion
    rankers: dict[Filter, Ranker] = field(default_factory=dict)
    """by filter; they keep shortlists where the question is re-ranked"""
    pool_rankers: dict[int, Ranker] = field(default_factory=dict)
    """the same by size of nested pools"""
    further: list[Structure] = field(default_factory=list)
    """molecules of `large` libraries; their positions follow those of the pool"""

    @property
    def pool(self) -> Pool:
        return self.prepared.pool

    @property
    def store(self) -> Store:
        return self.run.store

    @property
    def seed(self) -> int:
        return self.run.suite.seed

    @property
    def depth(self) -> int | None:
        return RERANKED if self.question.rerank else None

    def to_molecule(self) -> Iterator[Result]:
        """Recall of the queries in the pool with each filter, and among isomers."""
        by_pool: Mapping[str, Any] = {}
        if self.question.pools:
            self.rankers[Filter()], by_pool = self._rank_in_pools()
        for wanted in self.question.filters:
            if wanted not in self.rankers:
                self.rankers[wanted] = self.prepared.rank(wanted, depth=self.depth)
            outcomes = with_ranks(self.prepared.outcomes, self.rankers[wanted])
            self.prepared.watch.lap(f"rank {wanted.text}")
            yield from self.write_answers(wanted, outcomes, by_pool=by_pool if wanted == Filter() else {})

    def write_answers(
        self,
        wanted: Filter,
        outcomes: Sequence[QueryOutcome],
        *,
        rerank: Mapping[str, Any] | None = None,
        by_pool: Mapping[str, Any] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> Iterator[Result]:
        """Write recall with a filter and, where it is by formula, among isomers. `rerank`: keys about the
        re-ranking, where these are re-ranked answers; `by_pool`: recall in smaller and larger pools.
        """
        slug = "" if wanted == Filter() else f".{wanted.slug}"
        suffix, asks = (slug, wanted.text) if rerank is None else (f"{slug}.rerank", f"rerank {wanted.text}")
        result = self.recall(outcomes, "to-molecule", wanted.name)
        fields = {**(rerank or {}), "rerank": rerank is not None, **(by_pool or {}), **(more or {})}
        fields["by_class"] = self.by_class(outcomes)
        yield self.write(suffix, result.model_copy(update=fields), asks=asks, outcomes=outcomes)
        if wanted.formula and self.question.isomers:
            yield from self.write_isomers(outcomes, rerank is not None)

    def write_isomers(self, outcomes: Sequence[QueryOutcome], rerank: bool) -> Iterator[Result]:
        counted = with_isomers(outcomes, self.pool)
        if not counted:
            yield from self.skip("isomers", "no query has an isomer in the pool")
            return
        fields = {"rerank": rerank, "leakage": self.leakage(counted), "by_class": self.by_class(counted)}
        result = isomers_result(counted, self.pool, seed=self.seed, **fields)
        suffix, asks = (".isomers.rerank", "rerank isomers") if rerank else (".isomers", "isomers")
        yield self.write(suffix, result, asks=asks, outcomes=counted)

    def recall(self, outcomes: Sequence[QueryOutcome], direction: str, name: str | None) -> RecallResult:
        """Recall of a ranking of the question's pool. `name`: the filter in words."""
        return recall_result(
            outcomes,
            len(self.pool),
            direction=direction,
            filter_name=name,
            ks=self.run.suite.recall_at,
            seed=self.seed,
            n_pool_unreadable=self.pool.n_unreadable + self.prepared.candidates.n_failed,
            leakage=self.leakage(outcomes),
        )

    def leakage(self, outcomes: Sequence[QueryOutcome]) -> dict[str, Any]:
        return leakage.count(self.run.card, [one.query for one in outcomes])

    def by_class(self, outcomes: Sequence[QueryOutcome]) -> list[dict[str, Any]]:
        nearest = self.nearest_of(outcomes) or [None] * len(outcomes)
        rows = [
            {
                "smiles": one.query.structure.smiles if one.query.structure else None,
                "molecule": one.query.structure.inchikey14 if one.query.structure else None,
                "rank": one.rank if np.isfinite(one.rank) else None,
                "nearest_training": x,
            }
            for one, x in zip(outcomes, nearest, strict=True)
        ]
        return class_figures(rows, seed=self.seed)

    @cached_property
    def nearest(self) -> dict[int, float | None] | None:
        """By row, the Tanimoto similarity of its molecule to the nearest that training may have seen."""
        if self.question.training is None:
            return None
        known = [row.structure for row in self.run.training_rows(self.question) if row.structure]
        training = {one.inchikey14: one.smiles for one in known if not is_dev(one.inchikey14)}
        outcomes = self.prepared.outcomes
        smiles = [one.query.structure.smiles if one.query.structure else None for one in outcomes]
        found = nearest_training(smiles, list(training.values()), self.store.workers)
        return {one.query.row: x for one, x in zip(outcomes, found, strict=True)}

    def nearest_of(self, outcomes: Sequence[QueryOutcome]) -> list[float | None] | None:
        if self.nearest is None:
            return None
        return [self.nearest[one.query.row] for one in outcomes]

    def skip(self, what: str, why: str) -> list[Result]:
        """Note that a part of the question cannot be measured; no result."""
        self.run.skipped.append({"question": f"{self.question.name} {what}", "why": why})
        return []

    def write(
        self, suffix: str, result: Result, *, asks: str, outcomes: Sequence[QueryOutcome] | None = None
    ) -> Result:
        """Write a result and its queries; `suffix` of the file's name."""
        if outcomes is not None:
            name = f"{self.question.name}{suffix}.queries.parquet"
            write_per_query(outcomes, self.pool, self.run.out / name, nearest=self.nearest_of(outcomes))
            result = result.model_copy(update={"per_query": name})
        return write_result(self.run, self.question, result, suffix, asks)

    def _rank_in_pools(self) -> tuple[Ranker, dict[str, Any]]:
        """The ranking in the question's whole pool, and recall in all of `pools`. Sizes that the files cannot
        fill are skipped.
        """
        question, n = self.question, len(self.pool)
        if question.pools[-1] > n:
            known = {one.inchikey14 for one in self.pool.structures}
            for one in (one for path in question.large for one in self.store.structures(path)):
                if not isinstance(one, str) and one.inchikey14 not in known:
                    known.add(one.inchikey14)
                    self.further.append(one)
        total = n + len(self.further)
        sizes, too_large = NestedPools.fitting(question.pools, total)
        if too_large:
            names = " and ".join(f"{size:,}" for size in too_large)
            self.skip(f"pools of {names}", f"the files hold {total:,} molecules")

        def vectors(positions: Ints) -> tuple[Ints, Float32s]:
            places, found = self.prepared.candidates.at(positions[positions < n])
            others = positions[positions >= n]
            if len(others):
                wanted = [self.further[i] for i in (others - n).tolist()]
                more = self.store.molecules(question.modality, wanted).vectors
                good = np.isfinite(more).all(axis=1)
                places, found = np.r_[places, others[good]], np.concatenate([found, more[good]])
            return places, found

        nested = NestedPools.of([*sizes, n], n, len(self.further), self.seed)
        answers: dict[int, list[QueryOutcome]] = {}
        whole = self.prepared.ranker(Filter().over(self.pool), depth=self.depth)
        for size, ranker in nested.rank(whole, vectors):
            if size == n:
                whole = ranker
            if size in sizes:
                answers[size] = with_ranks(self.prepared.outcomes, ranker)
                self.pool_rankers[size] = ranker
            self.prepared.watch.lap(f"rank in {size:,}")
        return whole, self._write_by_pool(answers, "")

    def _write_by_pool(self, answers: Mapping[int, Sequence[QueryOutcome]], suffix: str) -> dict[str, Any]:
        """Write the ranks in pools of all sizes beside the results, and summarise them."""
        path = self.run.out / f"{self.question.name}{suffix}.pools.queries.parquet"
        rows = [
            {
                "n_pool": size,
                "row": one.query.row,
                "molecule": one.query.structure.inchikey14 if one.query.structure else None,
                "rank": int(one.rank) if np.isfinite(one.rank) else None,
                "n_candidates": one.n_candidates,
                "error": one.error,
            }
            for size, outcomes in answers.items()
            for one in outcomes
        ]
        write_rows(rows, pa.schema(_BY_POOL), path)
        by_pool = [
            {
                "n_pool": size,
                **pool_figures(size, outcomes, seed=self.seed),
                "n_queries": len(outcomes),
                "n_from_large": max(0, size - len(self.pool)),
            }
            for size, outcomes in answers.items()
        ]
        large = [str(one) for one in self.question.large]
        return {"by_pool": by_pool, "per_query_by_pool": path.name, "large": large}

    @cached_property
    def dev(self) -> PreparedQuestion | None:
        """The queries of the dev split of `calibrate`'s rows, in the pool with their molecules added; None
        where there are none.
        """
        rows = self.store.file(self.question.queries).select(where=self.question.calibrate)
        rows = [one for one in rows if one.structure is not None and is_dev(one.structure.inchikey14)]
        if not rows:
            return None
        known = self.pool.positions()
        structures = [one.structure for one in rows if one.structure is not None]
        # A pool of limited size may lack molecules of the dev split.
        added = {one.inchikey14: one for one in reversed(structures) if one.inchikey14 not in known}
        prepared = self.prepared
        if added:
            pool = Pool([*self.pool.structures, *added.values()])
            candidates = molecule_candidates(self.question, self.store, pool)
            prepared = replace(prepared, pool=pool, candidates=candidates)
        outcomes = to_outcomes(rows, prepared.pool, once=False)
        prepared = prepared.with_queries([outcomes[i] for i in self._few(outcomes)])
        prepared.watch.lap("embed dev queries")
        return prepared

    def _few(self, outcomes: Sequence[QueryOutcome]) -> list[int]:
        """Indices of at most `RECORDS` records of each molecule, ascending."""
        most = 1 if self.question.once_per_molecule else RECORDS
        counts: dict[int, int] = {}
        chosen = []
        for i in np.random.default_rng(self.seed).permutation(len(outcomes)).tolist():
            truth = outcomes[i].truth
            counts[truth] = counts.get(truth, 0) + 1
            if counts[truth] <= most:
                chosen.append(i)
        return sorted(chosen)

    def calibration(self) -> Iterator[Result]:
        """One temperature, fitted on the dev split in the same pool."""
        if self.dev is None:
            yield from self.skip("calibration", "the file has no row of the dev split of `calibrate`")
            return
        readable = self.prepared.readable
        few = self._few(readable)
        queries = self.prepared.queries[few]
        valid = replace(self.prepared, outcomes=[readable[i] for i in few], queries=queries)
        scale = self.run.card.spaces[self.question.modality].scale
        n_pool = len(self.dev.candidates.places)
        found = calibrate(best_cosines(self.dev), best_cosines(valid), scale)
        self.prepared.watch.lap("calibrate")
        found |= {
            "shortlist": min(SHORTLIST, n_pool),
            "n_pool": n_pool,
            "n_failed": sum(one.error is not None for one in self.dev.outcomes),
        }
        yield self.write(".calibration", CalibrationResult(**found), asks="calibration")

    def reranked(self) -> Iterator[Result]:
        """The fit of the weights, where there is `calibrate`, and re-ranked answers to every filter."""
        modality = self.question.modality
        if not next(self.store.workers.map(can_rerank, [modality])):
            yield from self.skip("rerank", f"this model has nothing to re-rank {modality} by")
            return
        if self.question.calibrate is not None:
            fitted = self.fit_rerank()
            if fitted is None:
                why = "no row of the dev split of `calibrate` has its truth in the shortlist"
                yield from self.skip("rerank", why)
                return
            yield self.write(".rerank-fit", fitted, asks="rerank fit")
            weights = Weights(fitted.cosine, fitted.evidence)
        else:
            try:
                weights = weights_of(self.run.card, modality)
            except ConfigError as error:
                yield from self.skip("rerank", str(error))
                return
        yield from self._rerank_by(weights)

    def _rerank_by(self, weights: Weights) -> Iterator[Result]:
        outcomes = self.prepared.outcomes
        drawn = np.random.default_rng(self.seed).permutation(len(outcomes))[: self.question.rerank_queries]
        chosen = np.sort(drawn).tolist()
        at_readable = {i: at for at, i in enumerate(i for i, one in enumerate(outcomes) if one.truth >= 0)}
        rankers = [one for one in self.rankers.values() if isinstance(one, TopKRanker)]
        in_pools = [one for one in self.pool_rankers.values() if isinstance(one, TopKRanker)]
        rows, lists = self.prepared.comparison([*self.pool.structures, *self.further]).compare(
            self.prepared.readable,
            [*rankers, *in_pools],
            {at_readable[i] for i in chosen if i in at_readable},
        )
        self.prepared.watch.lap("rerank")

        def again(ranker: Ranker, of: Shortlists) -> list[QueryOutcome]:
            answered = with_ranks(outcomes, ranker)
            readable = [one for one in answered if one.truth >= 0]
            set_reranked(readable, of, rows, weights.logits(of.cosines, of.scores))
            return [answered[i] for i in chosen]

        by_size = {
            size: again(ranker, of)
            for (size, ranker), of in zip(self.pool_rankers.items(), lists[len(rankers) :], strict=True)
        }
        by_pool = self._write_by_pool(by_size, ".rerank") if by_size else {}
        for (wanted, ranker), of in zip(self.rankers.items(), lists, strict=False):
            before = with_ranks(outcomes, ranker)
            plain = self.recall([before[i] for i in chosen], "to-molecule", None).document()
            fields = {
                **rerank_fields(weights),
                "attached": self.question.dept,
                "by_cosine": {key: plain[key] for key in BY_COSINE},
            }
            yield from self.write_answers(
                wanted, again(ranker, of), rerank=fields, by_pool=by_pool if wanted == Filter() else {}
            )

    def fit_rerank(self) -> RerankFitResult | None:
        """Weights by the dev split, among the candidates of the question's first filter; None where no
        shortlist holds a truth.

        The first filter is the usual one: none for NMR, the precursor's mass for MS/MS, whose weights would
        otherwise be those that tell masses apart. Figures of the dev split are cross-fitted over folds of
        molecules.
        """
        dev = self.dev
        if dev is None:
            return None
        ranker = dev.rank(self.question.filters[0], depth=RERANKED)
        assert isinstance(ranker, TopKRanker)
        rows, (lists,) = dev.comparison().compare(dev.outcomes, [ranker])
        if not lists.listed.any():
            return None
        start = Weights(self.run.card.spaces[self.question.modality].scale / 2, 0.5)
        weights = fit_weights(lists, start)
        before, n = ranker.ranks[rows], ranker.n_candidates[rows]
        by_evidence = ranks(lists, Weights(0.0, 1.0).logits(lists.cosines, lists.scores), before)
        crossed = ranks(lists, cross_fitted(lists, weights), before)
        self.prepared.watch.lap("fit rerank")
        inner = {
            "n_queries": len(rows),
            "n_molecules": len(set(lists.inchikeys)),
            "truth_in_shortlist": float(np.average(lists.listed, weights=lists.molecule_weights)),
            "cosine": summary(before, lists, n, self.seed),
            "evidence": summary(by_evidence, lists, n, self.seed),
            "together": summary(crossed, lists, n, self.seed),
        }
        return RerankFitResult(
            **weights._asdict(),
            shortlist=RERANKED,
            n_pool=len(dev.candidates.places),
            filter=self.question.filters[0].text,
            n_failed=len(dev.outcomes) - len(rows),
            inner=inner,
        )

    def within_batches(self) -> Iterator[Result]:
        """ACML's own metric: top-k within shuffled batches, from the vectors of the queries that have one."""
        readable, batch = self.prepared.readable, self.question.batch
        good = [i for i, one in enumerate(readable) if one.error is None]
        truths = [readable[i].truth for i in good]
        graphs = self.store.molecules(
            self.question.modality, [self.pool.structures[i] for i in truths]
        ).vectors
        finite = np.isfinite(graphs).all(axis=1)
        found = within_batches(
            self.prepared.queries[good][finite],
            graphs[finite],
            np.asarray(truths)[finite].tolist(),
            batch=batch,
            seed=self.seed,
        )
        self.prepared.watch.lap("within batches")
        if found is None:
            yield from self.skip("within batches", f"fewer than {batch} molecules have a vector")
        else:
            yield self.write(".batches", BatchesResult(**found), asks=f"within {batch}")

    def to_record(self) -> Iterator[Result]:
        """Molecules rank the records of the pool."""
        ranker = self.prepared.rank(Filter())
        outcomes = with_ranks(self.prepared.outcomes, ranker)
        self.prepared.watch.lap("rank records")
        result = self.recall(outcomes, "to-record", None)
        yield self.write(".to-record", result, asks="to-record", outcomes=outcomes)


def best_cosines(prepared: PreparedQuestion) -> Shortlists:
    """The 100 best candidates of each query that has a vector and whose truth has one."""
    ranker = prepared.rank(Filter(), depth=SHORTLIST)
    assert isinstance(ranker, TopKRanker)
    return shortlists(prepared.readable, ranker, usable_queries(prepared.readable, ranker))


def pool_figures(size: int, outcomes: Sequence[QueryOutcome], *, seed: int = 0) -> dict[str, Any]:
    """Recall, MRR, intervals and chance in a pool of `size`."""
    n_candidates = [one.n_candidates if one.truth >= 0 else size for one in outcomes]
    return metrics.summarise(
        [one.rank for one in outcomes], molecule_labels(outcomes), n_candidates, seed=seed
    )


def measure_peaks(run: SuiteRun, question: SuiteQuestion, watch: Stopwatch) -> Iterator[Result]:
    """Errors of predicted shifts over the queries' spectra, and over assigned shifts where there are."""
    space, workers, seed = question.modality, run.store.workers, run.suite.seed
    if not next(workers.map(has_node_head, [space])):
        why = f"the space {space} of this model predicts no peaks"
        run.skipped.append({"question": f"{question.name} peaks", "why": why})
        return
    found = measure_shifts(space, choose_queries(question, run.store), workers, seed=seed)
    assigned = question.assigned
    if assigned is not None:
        rows = [
            (query.text, query.metadata[assigned.column])
            for query in run.store.file(assigned.file).select(where=assigned.where, needs=assigned.column)
            if query.metadata[assigned.column] is not None
        ]
        found["assigned"] = measure_assigned(space, rows, workers, seed=seed)
    watch.lap("peaks")
    yield write_result(run, question, PeaksResult(**found), ".peaks", "peaks")


def write_result(run: SuiteRun, question: SuiteQuestion, result: Result, suffix: str, asks: str) -> Result:
    """Write a result with the question and how it was asked; `suffix` of the file's name."""
    path = run.out / f"{question.name}{suffix}.json"
    targets = {} if result.baseline is not None else question.targets
    fields: dict[str, Any] = {
        "question": question.name,
        "asks": asks,
        "modality": question.modality,
        "model": run.store.model,
        "model_digest": run.card.digest,
        "queries": str(question.queries),
        "library": [str(one) for one in question.library],
        "where": question.where,
        "must": {key: x for key, x in targets.items() if _is_about(key, asks)},
        "command": run.command,
        "result": path.name,
    }
    result = result.model_copy(update=fields)
    result.write(path)
    return result


def _is_about(key: str, asks: str) -> bool:
    """Is a target ("none@10", "isomers", "set error", "gain") about this kind of result?"""
    if key == "gain":
        return asks == "none"
    return key.partition("@")[0] == asks or (asks == "peaks" and key in ("set error", "assigned error"))


def _seconds(watch: Stopwatch) -> dict[str, float]:
    return {stage: seconds for stage, seconds in watch.seconds().items() if stage != "total"}


def _write(about: dict[str, Any], results: Sequence[Result], out: Path) -> None:
    write_json(about, out / SUMMARY)
    page = suite_page(about, [one.document() for one in results], out)
    (out / PAGE).write_text(page, encoding="utf-8")


def _possible(
    suite: Suite, card: ModelCard
) -> tuple[list[SuiteQuestion], list[FusedQuestion], list[dict[str, str]]]:
    """The questions that the model has spaces for, and what is skipped and why."""
    questions, fused, skipped = [], [], []
    for one in suite.questions:
        if one.modality in card.spaces:
            questions.append(one)
        else:
            skipped.append({"question": one.name, "why": f"the model has no space for {one.modality}"})
    for several in suite.fused:
        modalities = [suite.part(part).modality for part in several.parts]
        missing = [one for one in modalities if one not in card.spaces]
        if missing:
            skipped.append({"question": several.name, "why": f"the model has no space for {missing[0]}"})
        else:
            fused.append(several)
    if not questions and not fused:
        raise ConfigError(
            f"{suite.path}: model {card.name} has spaces for {', '.join(sorted(card.spaces))} only, "
            "and no question asks for these"
        )
    return questions, fused, skipped


def _check_folder(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is no folder; name one with --out")
    out.mkdir(parents=True, exist_ok=True)
    if not os.access(out, os.W_OK):
        raise ConfigError(f"{out}: the folder may not be written to; choose another --out")


def _peak_memory() -> dict[str, float]:
    """Highest resident memory so far, MB: this process (mapped files included), and its largest worker."""
    unit = 1 / 1024 if platform.system() == "Linux" else 1 / 1024**2
    return {
        "main": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit,
        "largest_worker": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit,
    }
