"""A suite: the questions of several files, measured from one embedding pass over all their molecules."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from acml_search.chem.splits import is_dev
from acml_search.core.errors import ConfigError
from acml_search.core.io import versions, write_json
from acml_search.core.timing import Stopwatch
from acml_search.core.workers import chunks
from acml_search.encoders.card import ModelCard, read_card
from acml_search.evaluation import leakage
from acml_search.evaluation.cache import Cache
from acml_search.evaluation.embedding import graph_vectors, predicting
from acml_search.evaluation.metrics import summarise
from acml_search.evaluation.pool import Pool, Query, few_of_each
from acml_search.evaluation.ranking import pool_order, rank_in_pools
from acml_search.evaluation.rescoring import (
    Shortlists,
    Weights,
    can_rerank,
    compare,
    ranks,
    rerank_fields,
    shortlists,
    usable_queries,
    weights_of,
)
from acml_search.evaluation.results import (
    QueryOutcome,
    Result,
    check_out,
    figures,
    isomers_result,
    query_rows,
    write_rows,
)
from acml_search.evaluation.retrieval import (
    Answer,
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
from benchmarks.suite.fits import LISTED, calibrate, cross_fitted, fit, molecule_weights, summary
from benchmarks.suite.measures import (
    SEED,
    Stereoisomers,
    by_class,
    has_node_head,
    measure_shifts,
    nearest_training,
    stereoisomer_ranks,
    within_batches,
)
from benchmarks.suite.plan import FusedQuestion, Suite, SuiteQuestion, read_suites

SUMMARY = "suite.json"
PAGE = "suite.md"
KS = (1, 5, 10, 20, 100, 500)
RECORDS = 3  # of a molecule, for calibration: more say little, since they weigh together as one
BY_COSINE = ("recall", "mrr", "ci95", "n_queries", "n_molecules")


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

    def skip(self, question: str, why: str) -> None:
        self.skipped.append({"question": question, "why": why})

    def training_rows(self, question: SuiteQuestion) -> list[Query]:
        """The rows that the model may have learned from."""
        file, where = self.store.file(question.queries), question.training
        if where is None:
            return []
        allowed = self.suite.trained_on.get(self.card.name)
        if allowed is not None and "license" in file.types:
            where = f"({where}) AND ({allowed})"
        return [query for query in file.select(where=where) if query.structure is not None]

    def write(self, question: SuiteQuestion, result: Result, suffix: str, asks: str) -> Result:
        """Write a result with the question and how it was asked; `suffix` of the file's name."""
        path = self.out / f"{question.name}{suffix}.json"
        targets = {} if result.baseline is not None else question.targets
        fields: dict[str, Any] = {
            "question": question.name,
            "asks": asks,
            "modality": question.modality,
            "model": self.store.model,
            "model_digest": self.card.digest,
            "queries": str(question.queries),
            "library": [str(one) for one in question.library],
            "where": question.where,
            "must": {key: x for key, x in targets.items() if _is_about(key, asks)},
            "command": self.command,
            "result": path.name,
        }
        result = result.model_copy(update=fields)
        result.write(path)
        return result


def _is_about(key: str, asks: str) -> bool:
    """Is a target ("none@10", "isomers", "set error", "gain") about this kind of result?"""
    if key == "gain":
        return asks == "none"
    return key.partition("@")[0] == asks or (asks == "peaks" and key == "set error")


def measure_suite(
    files: Sequence[Path],
    out: Path,
    *,
    model: str = "acml-base",
    cache: Path | None = None,
    baselines: bool = True,
    workers: int | None = None,
    command: str | None = None,
) -> dict[str, Any]:
    """Measure all questions, write their files, `suite.json` and `suite.md` into OUT; returns `suite.json`.

    Questions about a modality that the model has no space for are skipped, and listed so. Raises ConfigError
    where none is left, LibraryError for a file that cannot be read.
    """
    from benchmarks.suite.fused import measure_fused

    suite = read_suites(files)
    if not baselines:
        plain = tuple(one.model_copy(update={"baselines": ()}) for one in suite.questions)
        suite = replace(suite, questions=plain)
    card = read_card(model)
    questions, fused, skipped = _possible(suite, card)
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is no folder; name one with --out")
    check_out(out / SUMMARY)
    watch, seconds = Stopwatch(), dict[str, dict[str, float]]()
    results: list[Result] = []
    with model_workers(workers, model=model) as processes:
        store = Store(model, processes, Cache(cache or out.parent / "cache"))
        run = SuiteRun(suite, store, out, command, skipped)
        parts = [suite.part(name) for name in dict.fromkeys(name for one in fused for name in one.parts)]
        about = {
            "kind": "suite",
            "suite": suite.path,
            "model": model,
            "model_digest": card.digest,
            "spaces": sorted(card.spaces),
            "n_molecules": read_and_embed(
                run, [*questions, *(one for one in parts if one not in questions)], watch
            ),
            "skipped": run.skipped,
            "workers": processes.n,
            "command": command,
            "versions": {
                "python": platform.python_version(),
                "machine": platform.machine(),
                **versions("rdkit", "numpy"),
            },
            "seconds_by_question": seconds,
        }

        def write() -> None:
            about["seconds"] = _seconds(watch)
            about["results"] = [result.result for result in results]
            write_json(about, out / SUMMARY)
            page = suite_page(about, [one.document() for one in results], out)
            (out / PAGE).write_text(page, encoding="utf-8")

        for question in (*questions, *fused):
            if isinstance(question, FusedQuestion):
                results += measure_fused(run, question)
            else:
                own = Stopwatch()
                results += measure_question(run, question, own)
                seconds[question.name] = _seconds(own)
            watch.lap("questions")
            write()  # after each, so that an interrupted run is of use
    return about


def read_and_embed(run: SuiteRun, questions: Sequence[SuiteQuestion], watch: Stopwatch) -> int:
    """Read the structures of all files, check all questions, embed every molecule; returns how many."""
    store = run.store
    files = dict.fromkeys(path for one in questions for path in (one.queries, *one.library))
    structures = [store.structures(path) for path in files]
    for question in questions:  # before the long part
        for where in (question.calibrate, question.training):
            store.rows(question).select(where=where)
        choose_queries(question, store)
    watch.lap("read structures")
    comparing = sorted({one.modality for one in questions if one.rerank or "shifts" in one.baselines})
    spaces = sorted({one.modality for one in questions})
    assert store.cache is not None
    store.vectors = graph_vectors(
        structures, run.card, store.workers, store.cache, spaces=spaces, peaks=predicting(run.card, comparing)
    )
    watch.lap("embed molecules")
    return len({one.smiles for file in structures for one in file if not isinstance(one, str)})


def measure_question(run: SuiteRun, question: SuiteQuestion, watch: Stopwatch) -> Iterator[Result]:
    if question.filters or question.batch or question.calibrate is not None:
        runner = QuestionRun(run, question, prepare(question, run.store, watch=watch))
        if question.filters:
            yield from runner.to_molecule()
            if question.rerank:
                yield from runner.reranked()
            if question.baselines:
                from benchmarks.baselines import measure_baselines

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
    if question.stereoisomers:
        yield measure_stereoisomers(run, question, watch)


@dataclass
class QuestionRun:
    """One question: measures it and writes its results."""

    run: SuiteRun
    question: SuiteQuestion
    prepared: PreparedQuestion
    answers: list[Answer] = field(default_factory=list)
    """by filter; their rankers keep shortlists where the question is re-ranked"""
    in_pools: dict[int, Answer] = field(default_factory=dict)
    """the same without filter, by size of nested pools"""

    @property
    def pool(self) -> Pool:
        return self.prepared.pool

    @property
    def store(self) -> Store:
        return self.run.store

    @property
    def depth(self) -> int | None:
        return self.question.rerank_depth if self.question.rerank else None

    def skip(self, what: str, why: str) -> None:
        """Note that a part of the question cannot be measured."""
        self.run.skip(f"{self.question.name} {what}", why)

    def write(
        self, suffix: str, result: Result, *, asks: str, outcomes: Sequence[QueryOutcome] | None = None
    ) -> Result:
        """Write a result and its queries; `suffix` of the file's name."""
        if outcomes is not None:
            name = f"{self.question.name}{suffix}.queries.parquet"
            write_rows(self.rows(outcomes), self.run.out / name)
            result = result.model_copy(update={"per_query": name})
        return self.run.write(self.question, result, suffix, asks)

    def to_molecule(self) -> Iterator[Result]:
        """Recall of the queries in the pool with each filter, and among isomers."""
        known: dict[Filter, Answer] = {}
        by_pool: Mapping[str, Any] = {}
        if self.question.pools:
            known[Filter()] = self._rank_in_pools()
            by_pool = self._by_pool(self.in_pools)
        for wanted in self.question.filters:
            answer = known.get(wanted) or self.prepared.answer(wanted, self.depth)
            self.answers.append(answer)
            self.prepared.watch.lap(f"rank {wanted.text}")
            more = by_pool if wanted == Filter() else {}
            yield from self.write_answer(wanted, answer.outcomes, rerank=False, **more)

    def write_answer(
        self, wanted: Filter, outcomes: Sequence[QueryOutcome], *, rerank: bool, **more: Any
    ) -> Iterator[Result]:
        """Write recall with a filter and, where it is by formula, among isomers. `more`: further keys."""
        baseline = more.get("baseline")
        slug = "" if wanted == Filter() else f".{wanted.slug}"
        found = [(slug, wanted.text, outcomes, self.recall(outcomes, wanted.name, rerank=rerank, **more))]
        if wanted.formula and self.question.isomers:
            counted = with_isomers(outcomes, self.pool)
            fields = {"rerank": rerank, **(more if baseline else {"leakage": self.leakage(counted)})}
            if counted:
                result = isomers_result(counted, self.pool, **fields)
                found.append((".isomers", "isomers", counted, result))
            else:
                self.skip("isomers", "no query has an isomer in the pool")
        for name, asks, of, result in found:
            suffix = f".baseline-{baseline}{name}" if baseline else f"{name}{'.rerank' if rerank else ''}"
            if not baseline:
                result = result.model_copy(update={"by_class": by_class(self.rows(of))})
            yield self.write(suffix, result, asks=f"rerank {asks}" if rerank else asks, outcomes=of)

    def recall(self, outcomes: Sequence[QueryOutcome], filter_name: str | None, **more: Any) -> Result:
        """Recall of a ranking of the question's pool. `filter_name`: the filter in words."""
        return self.prepared.recall(outcomes, filter_name, ks=KS, leakage=self.leakage(outcomes), **more)

    def leakage(self, outcomes: Sequence[QueryOutcome]) -> dict[str, Any]:
        return leakage.count(self.run.card, outcomes)[0]

    def rows(self, outcomes: Sequence[QueryOutcome]) -> list[dict[str, Any]]:
        nearest = [self.nearest.get(one.query.row) for one in outcomes]
        return query_rows(outcomes, self.pool, nearest)

    @cached_property
    def nearest(self) -> dict[int, float | None]:
        """By row, the Tanimoto similarity of its molecule to the nearest that training may have seen."""
        if self.question.training is None:
            return {}
        known = [row.structure for row in self.run.training_rows(self.question) if row.structure]
        training = {one.inchikey14: one.smiles for one in known if not is_dev(one.inchikey14)}
        outcomes = self.prepared.outcomes
        smiles = [one.query.structure.smiles if one.query.structure else None for one in outcomes]
        found = nearest_training(smiles, list(training.values()), self.store.workers)
        return {one.query.row: x for one, x in zip(outcomes, found, strict=True)}

    def _rank_in_pools(self) -> Answer:
        """The answer in the whole pool, and those in all of `pools` that the files can fill (`in_pools`)."""
        n, prepared = len(self.pool), self.prepared
        sizes = [size for size in self.question.pools if size <= n]
        if len(sizes) < len(self.question.pools):
            names = " and ".join(f"{size:,}" for size in self.question.pools if size > n)
            self.skip(f"pools of {names}", f"the files hold {n:,} molecules")
        ranker = prepared.ranker(Filter(), self.depth)
        found = {}
        for size, one in rank_in_pools(ranker, [*sizes, n], pool_order(n, SEED), prepared.candidates.at):
            found[size] = prepared.answered(Filter(), one)
            prepared.watch.lap(f"rank in {size:,}")
        self.in_pools = {size: found[size] for size in sizes}
        return found[n]

    def _by_pool(self, answers: Mapping[int, Answer]) -> dict[str, Any]:
        by_pool = [
            {"n_pool": size, **figures(one.outcomes, size), "n_queries": len(one.outcomes)}
            for size, one in answers.items()
        ]
        return {"by_pool": by_pool} if by_pool else {}

    @cached_property
    def dev(self) -> PreparedQuestion | None:
        """Queries of the dev split of `calibrate`'s rows, in the pool with their molecules added, if any."""
        rows = self.store.rows(self.question).select(where=self.question.calibrate)
        rows = [
            one for one in rows if one.structure is not None and self.question.fits(one.structure.inchikey14)
        ]
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
        return sorted(few_of_each([one.truth for one in outcomes], most, SEED))

    def calibration(self) -> Iterator[Result]:
        """One temperature, fitted on the dev split in the same pool."""
        if self.question.calibrate_on == "all":
            return
        if self.dev is None:
            self.skip("calibration", "the file has no row of the dev split of `calibrate`")
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
            "shortlist": min(LISTED, n_pool),
            "n_pool": n_pool,
            "n_failed": sum(one.error is not None for one in self.dev.outcomes),
        }
        yield self.write(".calibration", Result(kind="calibration", **found), asks="calibration")

    def reranked(self) -> Iterator[Result]:
        """The fit of the weights, where there is `calibrate`, and re-ranked answers to every filter."""
        modality = self.question.modality
        if not next(self.store.workers.map(can_rerank, [modality])):
            self.skip("rerank", f"this model has nothing to re-rank {modality} by")
            return
        if self.question.calibrate is not None and not self.question.card_weights:
            found = self.fit_rerank()
            if found is None:
                why = "no row of the dev split of `calibrate` has its truth in the shortlist"
                self.skip("rerank", why)
                return
            weights, fields = found
            result = Result(kind="rerank", **weights._asdict(), **fields)
            yield self.write(".rerank-fit", result, asks="rerank fit")
        else:
            try:
                weights = weights_of(self.run.card, modality, self.prepared.weights_kind)
            except ConfigError as error:
                self.skip("rerank", str(error))
                return
        yield from self._rerank_by(weights)

    def _rerank_by(self, weights: Weights) -> Iterator[Result]:
        before = self.prepared.outcomes
        drawn = np.random.default_rng(SEED).permutation(len(before))[: self.question.rerank_queries]
        chosen = np.sort(drawn).tolist()
        at_readable = {i: at for at, i in enumerate(i for i, one in enumerate(before) if one.truth >= 0)}
        every = [*self.answers, *self.in_pools.values()]
        again = [
            replace(one, outcomes=[one.outcomes[i] for i in chosen])
            for one in self.prepared.rerank(
                every, weights, {at_readable[i] for i in chosen if i in at_readable}
            )
        ]
        by_pool = self._by_pool(dict(zip(self.in_pools, again[len(self.answers) :], strict=True)))
        for answer, one in zip(self.answers, again, strict=False):
            plain = self.recall([answer.outcomes[i] for i in chosen], None).document()
            fields = {
                **rerank_fields(weights, self.question.rerank_depth),
                "attached": self.question.dept,
                "by_cosine": {key: plain[key] for key in BY_COSINE},
                **(by_pool if one.filter == Filter() else {}),
            }
            yield from self.write_answer(one.filter, one.outcomes, **fields)

    def fit_rerank(self) -> tuple[Weights, dict[str, Any]] | None:
        """Weights by the dev split, among the candidates of the question's first filter, and keys of their
        result; None where no shortlist holds a truth.

        The first filter is the usual one: none for NMR, the precursor's mass for MS/MS, whose weights would
        otherwise be those that tell masses apart. Figures of the dev split are cross-fitted over folds of
        molecules.
        """
        dev = self.dev
        if dev is None:
            return None
        ranker = dev.answer(self.question.filters[0], self.question.rerank_depth).ranker
        rows, (lists,) = compare(dev, [ranker])
        if not lists.listed.any():
            return None
        start = (self.run.card.spaces[self.question.modality].scale / 2, 0.5)
        weights = Weights(*fit(lists, lists.features, start).tolist())
        before, n = ranker.ranks[rows], ranker.n_candidates[rows]
        by_evidence = ranks(lists, replace(lists, prior=None).logits(Weights(0.0, 1.0)), before)
        crossed = ranks(lists, cross_fitted(lists, lists.features, weights), before)
        self.prepared.watch.lap("fit rerank")
        inner = {
            "n_queries": len(rows),
            "n_molecules": len(set(lists.inchikeys)),
            "truth_in_shortlist": float(np.average(lists.listed, weights=molecule_weights(lists))),
            "cosine": summary(before, lists, n),
            "evidence": summary(by_evidence, lists, n),
            "together": summary(crossed, lists, n),
        }
        return weights, {
            "shortlist": self.question.rerank_depth,
            "n_pool": len(dev.candidates.places),
            "filter": self.question.filters[0].text,
            "signals": dev.bias is not None,
            "n_failed": len(dev.outcomes) - len(rows),
            "inner": inner,
        }

    def within_batches(self) -> Iterator[Result]:
        """ACML's own metric, from the vectors of the queries that have one."""
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
        )
        self.prepared.watch.lap("within batches")
        if found is None:
            self.skip("within batches", f"fewer than {batch} molecules have a vector")
        else:
            yield self.write(".batches", Result(kind="batches", **found), asks=f"within {batch}")

    def to_record(self) -> Iterator[Result]:
        """Molecules rank the records of the pool."""
        outcomes = self.prepared.answer(Filter()).outcomes
        self.prepared.watch.lap("rank records")
        yield self.write(".to-record", self.recall(outcomes, None), asks="to-record", outcomes=outcomes)


def best_cosines(prepared: PreparedQuestion) -> Shortlists:
    """The 100 best candidates of each query that has a vector and whose truth has one."""
    ranker = prepared.answer(Filter(), LISTED).ranker
    return shortlists(prepared.readable, ranker, usable_queries(prepared.readable, ranker))


def measure_stereoisomers(run: SuiteRun, question: SuiteQuestion, watch: Stopwatch) -> Result:
    """Is a molecule strictly first among its stereoisomers, by a record that states its configuration?"""
    known = (one.structure for one in choose_queries(question, run.store))
    smiles = sorted({one.smiles for one in known if one is not None and set(one.smiles) & set("@/\\")})
    tasks = (Stereoisomers(question.modality, part) for part in chunks(smiles, 64))
    ranked = [one for some in run.store.workers.map(stereoisomer_ranks, tasks) for one in some if one[1] > 1]
    ranks, sizes = np.array(ranked).reshape(-1, 2).T
    found = summarise(ranks, np.arange(len(ranks)), sizes, ks=(1,))
    watch.lap("stereoisomers")
    result = Result(
        kind="stereoisomers",
        accuracy=found["recall"]["1"],
        ci95=found["ci95"]["1"],
        chance=found["chance"]["1"],
        n_molecules=len(ranks),
        n_failed=int(np.isinf(ranks).sum()),
        n_candidates={"median": float(np.median(sizes)), "max": int(sizes.max())},
        seed=SEED,
    )
    return run.write(question, result, ".stereoisomers", "stereoisomers")


def measure_peaks(run: SuiteRun, question: SuiteQuestion, watch: Stopwatch) -> Iterator[Result]:
    """Errors of predicted shifts over the queries' spectra."""
    space, workers = question.modality, run.store.workers
    if not next(workers.map(has_node_head, [space])):
        run.skip(f"{question.name} peaks", f"the space {space} of this model predicts no peaks")
        return
    found = measure_shifts(space, choose_queries(question, run.store), workers)
    watch.lap("peaks")
    yield run.write(question, Result(kind="peaks", **found), ".peaks", "peaks")


def _possible(
    suite: Suite, card: ModelCard
) -> tuple[list[SuiteQuestion], list[FusedQuestion], list[dict[str, str]]]:
    """The questions that the model has spaces for, and what is skipped and why."""
    questions: list[SuiteQuestion] = []
    fused: list[FusedQuestion] = []
    skipped = []
    for one in (*suite.questions, *suite.fused):
        parts = one.parts if isinstance(one, FusedQuestion) else (one.name,)
        missing = [m for part in parts if (m := suite.part(part).modality) not in card.spaces]
        if missing:
            skipped.append({"question": one.name, "why": f"the model has no space for {missing[0]}"})
        elif isinstance(one, FusedQuestion):
            fused.append(one)
        else:
            questions.append(one)
    if not questions and not fused:
        raise ConfigError(
            f"{suite.path}: model {card.name} has spaces for {', '.join(sorted(card.spaces))} only, "
            "and no question asks for these"
        )
    return questions, fused, skipped


def _seconds(watch: Stopwatch) -> dict[str, float]:
    return {stage: seconds for stage, seconds in watch.seconds().items() if stage != "total"}
