"""Retrieval questions: does the true molecule, or its record, come back first among a stated pool?

Direction *to-molecule*: an observation (record side) ranks the pool's molecules (graph side). *to-record*: a
molecule (graph side) ranks the pool's records. Molecules are told apart by the first block of the InChIKey,
so that stereoisomers are one molecule. `metrics` defines ties, failures, averages and intervals.

`measure` answers any `Question`. `bench recall` and `bench isomers` (`measure_files`) are questions with one
filter; a suite of `benchmarks` measures many questions from one embedding pass.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, field_validator

from acml_search.core.errors import ConfigError
from acml_search.core.progress import progress
from acml_search.core.timing import Stopwatch
from acml_search.core.typing import Bools, Float32s, Floats, Ints
from acml_search.core.workers import Workers, chunks
from acml_search.encoders.card import ModelCard, missing_space, read_card
from acml_search.evaluation import leakage, metrics
from acml_search.evaluation.cache import Cache
from acml_search.evaluation.embedding import BLOCK as EMBEDDED
from acml_search.evaluation.embedding import Block, MoleculeVectors, Source, embed, record_vectors
from acml_search.evaluation.pool import (
    Described,
    LibraryStructures,
    Pool,
    Query,
    QueryFile,
    Structure,
    choose,
    described_file,
    make_pool,
    read_queries,
)
from acml_search.evaluation.ranking import (
    BLOCK,
    AllOf,
    MassWithin,
    Ranker,
    SameFormula,
    TopKRanker,
    truth_scores,
)
from acml_search.evaluation.rescoring import (
    PeakComparison,
    check_rerank,
    rerank_fields,
    set_reranked,
    source_of,
    weights_of,
)
from acml_search.evaluation.results import (
    IsomersResult,
    QueryOutcome,
    RecallResult,
    check_out,
    isomers_result,
    recall_result,
    with_ranks,
    write_per_query,
)
from acml_search.evaluation.workers import model_workers
from acml_search.modalities import get

Direction = Literal["to-molecule", "to-record"]
LEAKAGE = ("report", "drop", "fail")
"""what to do with queries about molecules that training saw"""
QUERY_STEPS = ("embed queries", "rank", "rerank")
"""steps whose time depends on the queries"""


class Filter(BaseModel):
    """Which candidates may answer: those of the truth's formula, or near its neutral exact mass."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    formula: bool = False
    da: float | None = None
    ppm: float | None = None

    @classmethod
    def parse(cls, text: str) -> Filter:
        """From "none", "formula", "5 Da" or "10 ppm". Raises ConfigError for anything else."""
        if text in ("none", "formula"):
            return cls(formula=text == "formula")
        width = re.fullmatch(r"(\d+(?:\.\d+)?) (Da|ppm)", text)
        if width is None:
            raise ConfigError(
                f"the filter {text!r} is not none, formula, or a mass such as '5 Da' or '10 ppm'"
            )
        value = float(width[1])
        return cls(da=value) if width[2] == "Da" else cls(ppm=value)

    @property
    def text(self) -> str:
        """As `parse` takes it."""
        parts = ["formula"] if self.formula else []
        parts += [f"{self.da:g} Da"] if self.da is not None else []
        parts += [f"{self.ppm:g} ppm"] if self.ppm is not None else []
        return " ".join(parts) or "none"

    @property
    def slug(self) -> str:
        """As part of a file's name."""
        return self.text.replace(" ", "-").lower()

    @property
    def name(self) -> str | None:
        """In words; None where every molecule is a candidate."""
        parts = ["same formula"] if self.formula else []
        parts += [f"neutral exact mass within {self.da:g} Da"] if self.da is not None else []
        parts += [f"neutral exact mass within {self.ppm:g} ppm"] if self.ppm is not None else []
        return " and ".join(parts) or None

    def over(self, pool: Pool) -> AllOf:
        """The conditions on the molecules of a pool."""
        conditions: list[Any] = [SameFormula(pool.formula_codes())] if self.formula else []
        if self.da is not None or self.ppm is not None:
            conditions.append(MassWithin(pool.masses(), da=self.da, ppm=self.ppm))
        return AllOf(tuple(conditions))


class Question(BaseModel):
    """The queries of one modality, the pool they are ranked in, and the filters."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """for messages and file names"""
    modality: str
    queries: Path
    library: tuple[Path, ...] = ()
    """further molecules of the pool"""
    where: str | None = None
    """SQL: the rows that are queries; all rows are in the pool"""
    split: str | None = None
    limit: int | None = None
    """at most so many queries, chosen at random"""
    pool: int | None = None
    """a pool of this size: the queries' molecules and a random choice of the others"""
    direction: Direction = "to-molecule"
    filters: tuple[Filter, ...] = (Filter(),)
    isomers_only: bool = False
    """only the queries whose formula has another molecule in the pool, with the filter `formula`"""
    rerank: bool = False
    once_per_molecule: bool = False
    """one query per molecule, however many rows it has"""
    dept: bool = False
    """13C: re-ranking compares the hydrogens of each carbon, from the column `multiplicity`"""
    leakage: Literal["report", "drop", "fail"] = "fail"

    @field_validator("filters", mode="before")
    @classmethod
    def _parse_filters(cls, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return tuple(Filter.parse(one) if isinstance(one, str) else one for one in value)
        return value

    @property
    def from_structure(self) -> bool:
        """Are records made from structures?"""
        return get(self.modality).from_structure

    def check(self, card: ModelCard) -> None:
        """Raises UnknownModality or ConfigError where this model cannot answer the question."""
        get(self.modality)
        if any(one.da is not None and one.ppm is not None for one in self.filters):
            raise ConfigError("give --mass-filter-da or --mass-filter-ppm, not both")
        check_space(card, self.modality)
        if self.rerank and self.direction == "to-record":
            raise ConfigError(
                "--rerank compares molecules with an observation; it needs --direction to-molecule"
            )


@dataclass
class Store:
    """A model, its worker processes, and the files and vectors that several questions share.

    `vectors`: graph vectors that were computed beforehand, of every molecule the questions name; without them
    each question embeds its pool.
    """

    model: str
    workers: Workers
    cache: Cache | None = None
    seed: int = 0
    smiles_column: str | None = None
    vectors: MoleculeVectors | None = None
    _files: dict[Path, QueryFile] = field(default_factory=dict)
    _structures: dict[Path, list[Described]] = field(default_factory=dict)

    @cached_property
    def card(self) -> ModelCard:
        return read_card(self.model)

    def file(self, path: Path) -> QueryFile:
        """The rows of a file of queries."""
        if path not in self._files:
            self._files[path] = read_queries(
                path, self.workers, smiles_column=self.smiles_column, cache=self.cache
            )
        return self._files[path]

    def structures(self, path: Path) -> list[Described]:
        """The structures of a file's rows."""
        if path not in self._structures:
            self._structures[path] = described_file(path, self.workers, self.cache, self.smiles_column)
        return self._structures[path]

    def library(self, paths: Sequence[Path]) -> LibraryStructures:
        """The structures of libraries: computed when they are needed, or known where there is a cache."""
        known = None
        if self.cache is not None:
            known = [one for path in paths for one in self.structures(path)]
        return LibraryStructures(paths, self.workers, smiles_column=self.smiles_column, described=known)

    def molecules(self, space: str, structures: Sequence[Structure]) -> Block:
        """The graph vectors of structures, NaN where the model has none."""
        if self.vectors is not None:
            vectors = self.vectors.take(space, (one.smiles for one in structures))
            failed: Bools = np.asarray(~np.isfinite(vectors).all(axis=1))
            errors = ["the model gave no finite vector" if one else None for one in failed.tolist()]
            return Block(vectors, errors)
        return self._embed("graph", space, [Source(one) for one in structures])

    def records(self, space: str, sources: Sequence[Source]) -> Block:
        """The vectors of records."""
        return self._embed("record", space, sources)

    def _embed(self, side: str, space: str, sources: Sequence[Source]) -> Block:
        blocks = []
        with progress(total=len(sources), desc=f"embedding {side}s", unit="mol") as bar:
            for block in embed(side, space, chunks(sources, EMBEDDED), self.workers, self.seed):
                blocks.append(block)
                bar.update(len(block.errors))
        if not blocks:
            return Block(np.zeros((0, self.card.spaces[space].d), np.float32), [])
        return Block(np.concatenate([b.vectors for b in blocks]), [e for b in blocks for e in b.errors])


@dataclass(frozen=True)
class Candidates:
    """Vectors of the pool: `places` (n,) the pool positions of the rows, those of one molecule side by side,
    and `tables`, (n, d) float32 each. Several tables (fused observations) are one long vector.
    """

    places: Ints
    tables: tuple[Float32s, ...]
    n_failed: int = 0

    @classmethod
    def of(cls, places: Ints, vectors: Float32s) -> Candidates:
        """Without the rows that have no finite vector."""
        good = np.isfinite(vectors).all(axis=1)
        if good.all():
            return cls(places, (vectors,))
        return cls(places[good], (vectors[good],), int(np.count_nonzero(~good)))

    def rows(self, rows: Any) -> Float32s:
        """(m, d) the vectors of these rows."""
        if len(self.tables) == 1:
            return self.tables[0][rows]
        joined = np.concatenate([table[rows] for table in self.tables], axis=1)
        return np.asarray(joined / np.float32(np.sqrt(len(self.tables))), np.float32)

    def blocks(self) -> Iterator[tuple[Ints, Float32s]]:
        """(positions, vectors) in blocks, each sorted by position and no molecule in two of them."""
        n = len(self.places)
        starts = np.flatnonzero(np.r_[True, self.places[1:] != self.places[:-1]]) if n else np.zeros(0, int)
        near = np.searchsorted(starts, np.arange(0, n, BLOCK))
        cuts = np.unique(starts[near[near < len(starts)]])
        for low, high in pairwise([*cuts.tolist(), n]):
            inside = low + np.argsort(self.places[low:high], kind="stable")
            yield self.places[inside], self.rows(inside)

    def at(self, positions: Ints) -> tuple[Ints, Float32s]:
        """Those of the positions that have a vector, and their vectors."""
        rows = self.row_of[np.minimum(positions, len(self.row_of) - 1)]
        return positions[rows >= 0], self.rows(rows[rows >= 0])

    @cached_property
    def row_of(self) -> Ints:
        """The row of each pool position, -1 where it has no vector; the last entry stands for all beyond."""
        rows = np.full(int(self.places.max(initial=-1)) + 2, -1, np.int64)
        rows[self.places] = np.arange(len(self.places))
        return rows


@dataclass
class PreparedQuestion:
    """A question with its queries, pool and vectors.

    `chosen`: the rows that are queries; `outcomes`: the queries, not ranked yet, and `readable` those of them
    with a structure; `queries` (n readable, d); `candidates`: what they rank.
    """

    question: Question
    store: Store
    chosen: list[Query]
    pool: Pool
    outcomes: list[QueryOutcome]
    queries: Float32s
    candidates: Candidates
    watch: Stopwatch

    @property
    def readable(self) -> list[QueryOutcome]:
        return [one for one in self.outcomes if one.truth >= 0]

    @cached_property
    def truths(self) -> Ints:
        """(n readable,) pool positions."""
        return np.array([one.truth for one in self.readable], dtype=np.int64)

    @cached_property
    def truth_scores(self) -> Floats:
        """(n readable,) of each query with its truth, -inf where the truth has no vector."""
        if len(self.candidates.tables) == 1:
            return truth_scores(self.queries, self.truths, self.candidates.places, self.candidates.tables[0])
        places, vectors = self.candidates.at(np.unique(self.truths))
        return truth_scores(self.queries, self.truths, places, vectors)

    def ranker(self, filters: AllOf, *, depth: int | None = None) -> Ranker:
        """A ranker that has counted nothing yet; with `depth`, one that keeps shortlists."""
        if depth is None:
            return Ranker(self.queries, self.truth_scores, self.truths, filters)
        return TopKRanker(self.queries, self.truth_scores, self.truths, filters, depth=depth)

    def rank(self, wanted: Filter, *, depth: int | None = None) -> Ranker:
        """Rank the queries among the candidates that the filter lets pass."""
        ranker = self.ranker(wanted.over(self.pool), depth=depth)
        for places, vectors in self.candidates.blocks():
            ranker.add(vectors, places)
        return ranker

    def with_queries(self, outcomes: Sequence[QueryOutcome]) -> PreparedQuestion:
        """Other queries in the same pool."""
        readable = [one for one in outcomes if one.truth >= 0]
        queries = embed_queries(readable, self.question, self.store)
        return replace(self, outcomes=list(outcomes), queries=queries)

    def comparison(self, structures: Sequence[Structure] | None = None) -> PeakComparison:
        """How shortlists of this question are compared peak by peak."""
        return PeakComparison(
            self.question.modality,
            self.pool.structures if structures is None else structures,
            self.store.workers,
            self.store.seed,
            self.question.dept,
            self.store.vectors,
        )


def choose_queries(question: Question, store: Store) -> list[Query]:
    """The rows that are queries. Raises ConfigError where none is left or can be read, or training saw one
    that it must not have seen, and FilterError for a wrong condition.
    """
    file, card = store.file(question.queries), store.card
    file.check_columns(question.modality)
    chosen = file.select(split=question.split, where=question.where)
    if question.leakage == "drop":
        chosen = leakage.unseen(card, chosen, question.name)
    chosen = choose(chosen, question.limit, store.seed)
    if question.leakage == "fail":
        leakage.check_unseen(card, chosen, question.name, question.from_structure)
    if all(query.structure is None for query in chosen):
        raise ConfigError(
            f"{question.queries}: none of the {len(chosen):,} queries can be read; row {chosen[0].row}: "
            f"{chosen[0].error}"
        )
    return chosen


def prepare(question: Question, store: Store, *, watch: Stopwatch | None = None) -> PreparedQuestion:
    """Choose the queries, make the pool, and embed both."""
    watch = watch or Stopwatch()
    chosen = choose_queries(question, store)
    library = store.library(question.library)
    rows = store.file(question.queries).queries
    pool = make_pool(chosen, rows, library, size=question.pool, seed=store.seed)
    outcomes = to_outcomes(chosen, pool, once=question.once_per_molecule or question.direction == "to-record")
    leakage.check_truths(outcomes, pool, question.name)
    only = None
    if question.isomers_only:
        outcomes = with_isomers(outcomes, pool)
        if not outcomes:
            raise ConfigError(
                f"{question.queries}: no query has an isomer among the {len(pool):,} molecules of the pool; "
                "add a library with --library"
            )
        codes = pool.formula_codes()
        only = np.isin(codes, codes[[one.truth for one in outcomes]])
    watch.lap("read")
    return embed_question(question, store, chosen, pool, outcomes, watch, only=only)


def embed_question(
    question: Question,
    store: Store,
    chosen: list[Query],
    pool: Pool,
    outcomes: list[QueryOutcome],
    watch: Stopwatch,
    *,
    only: Bools | None = None,
) -> PreparedQuestion:
    """Embed the queries and the pool; `only` (n_pool,): the molecules that any filter lets pass."""
    readable = [one for one in outcomes if one.truth >= 0]
    queries = embed_queries(readable, question, store)
    if readable and all(one.error is not None for one in outcomes):
        columns = ", ".join(get(question.modality).columns)
        raise ConfigError(
            f"{question.queries}: none of the {len(outcomes):,} records{columns and f' of {columns}'} can be "
            f"read as {question.modality}; row {readable[0].query.row}: {readable[0].error}"
        )
    watch.lap("embed queries")
    candidates = molecule_candidates if question.direction == "to-molecule" else record_candidates
    found = candidates(question, store, pool, only)
    watch.lap("embed pool")
    return PreparedQuestion(question, store, chosen, pool, outcomes, queries, found, watch)


def embed_queries(readable: Sequence[QueryOutcome], question: Question, store: Store) -> Float32s:
    """(n, d) the queries' vectors; one that failed is zeros, and its `error` is set."""
    space = question.modality
    if question.direction == "to-record":
        known = [source_of(one.query, "graph", question.from_structure).structure for one in readable]
        block = store.molecules(space, known)
    else:
        block = store.records(
            space, [source_of(one.query, "record", question.from_structure) for one in readable]
        )
    for one, error in zip(readable, block.errors, strict=True):
        one.error = error
    return np.nan_to_num(block.vectors)


def molecule_candidates(
    question: Question, store: Store, pool: Pool, only: Bools | None = None
) -> Candidates:
    """The graph vectors of the pool, by mass, so that a filter concerns few blocks of candidates."""
    order = np.argsort(pool.masses(), kind="stable")
    if only is not None:
        order = order[only[order]]
    block = store.molecules(question.modality, [pool.structures[i] for i in order.tolist()])
    return Candidates.of(order, block.vectors)


def record_candidates(question: Question, store: Store, pool: Pool, only: Bools | None = None) -> Candidates:
    """The records of the pool: derived ones, or all rows of the queries' file."""
    if question.from_structure:
        places = np.arange(len(pool))
        if store.cache is not None:
            vectors = record_vectors(
                question.modality, pool.structures, store.card, store.workers, store.cache, store.seed
            )
        else:
            vectors = store.records(question.modality, [Source(one) for one in pool.structures]).vectors
        return Candidates.of(places, vectors)
    position = pool.positions()
    rows = [one for one in store.file(question.queries).queries if one.structure is not None]
    rows = [one for one in rows if one.structure is not None and one.structure.inchikey14 in position]
    rows.sort(key=lambda one: position[one.structure.inchikey14] if one.structure else -1)
    places = np.array([position[one.structure.inchikey14] for one in rows if one.structure], dtype=np.int64)
    block = store.records(question.modality, [source_of(one, "record", False) for one in rows])
    return Candidates.of(places, block.vectors)


def to_outcomes(chosen: Sequence[Query], pool: Pool, *, once: bool) -> list[QueryOutcome]:
    """The queries with their truth's position; with `once`, one per molecule.

    A truth that the pool lacks has the position -1; `leakage.check_truths` refuses that.
    """
    positions = pool.positions()
    outcomes: list[QueryOutcome] = []
    known: set[int] = set()
    for query in chosen:
        truth = -1 if query.structure is None else positions.get(query.structure.inchikey14, -1)
        if once and truth in known:
            continue
        if truth >= 0:
            known.add(truth)
        outcomes.append(QueryOutcome(query, truth, query.error))
    return outcomes


def with_isomers(outcomes: Sequence[QueryOutcome], pool: Pool) -> list[QueryOutcome]:
    """The queries whose formula has at least two molecules in the pool: one alone is no question."""
    codes = pool.formula_codes()
    sizes = np.bincount(codes)
    return [one for one in outcomes if one.truth >= 0 and sizes[codes[one.truth]] >= 2]


@dataclass(frozen=True)
class Answer:
    """The ranked queries of a question with one filter."""

    filter: Filter
    outcomes: list[QueryOutcome]
    ranker: Ranker


def measure(
    question: Question, store: Store, watch: Stopwatch | None = None
) -> tuple[PreparedQuestion, list[Answer]]:
    """Rank the queries with each filter; with `rerank`, by the weights in the model's card."""
    question.check(store.card)
    if question.rerank:
        check_rerank(store.card, question.modality)
    prepared = prepare(question, store, watch=watch)
    answers = []
    for wanted in question.filters:
        ranker = prepared.rank(wanted, depth=TopKRanker.depth if question.rerank else None)
        outcomes = with_ranks(prepared.outcomes, ranker)
        prepared.watch.lap("rank")
        if isinstance(ranker, TopKRanker):
            readable = [one for one in outcomes if one.truth >= 0]
            rows, (lists,) = prepared.comparison().compare(readable, [ranker])
            weights = weights_of(store.card, question.modality)
            set_reranked(readable, lists, rows, weights.logits(lists.cosines, lists.scores))
            prepared.watch.lap("rerank")
        answers.append(Answer(wanted, outcomes, ranker))
    return prepared, answers


def measure_files(
    question: Question,
    out: Path,
    *,
    model: str = "acml-base",
    workers: int | None = None,
    seed: int = 0,
    smiles_column: str | None = None,
    cache: Path | None = None,
    command: str | None = None,
) -> RecallResult | IsomersResult:
    """`bench recall` and `bench isomers`: answer a question with one filter, write OUT.json and the per-query
    Parquet beside it. Raises ConfigError or LibraryError for what cannot be measured.

    Of isomers, only queries whose formula has at least two molecules in the pool count. A query whose
    structure cannot be read has no formula and is counted in `n_unreadable`; one whose observation cannot be
    read is a miss.
    """
    watch = Stopwatch()
    question.check(read_card(model))
    check_out(out)
    with model_workers(workers, model=model) as processes:
        store = Store(model, processes, Cache(cache) if cache else None, seed, smiles_column)
        prepared, (answer,) = measure(question, store, watch)
    outcomes, pool = answer.outcomes, prepared.pool
    seconds = {stage: value for stage, value in watch.seconds().items() if stage != "total"}
    per_query = out.with_suffix(".queries.parquet")
    write_per_query(outcomes, pool, per_query)
    fields: dict[str, Any] = {
        "modality": question.modality,
        "model": model,
        "model_digest": store.card.digest,
        "seed": seed,
        "leakage": leakage.report(store.card, outcomes, ks=metrics.KS, seed=seed),
        "seconds": seconds,
        "limit": question.limit,
        "split": question.split,
        "where": question.where,
        "command": command,
        "workers": processes.n,
        "per_query": per_query.name,
    }
    if question.rerank:
        fields |= rerank_fields(weights_of(store.card, question.modality))
    result: RecallResult | IsomersResult
    if question.isomers_only:
        fields["n_unreadable"] = sum(query.structure is None for query in prepared.chosen)
        result = isomers_result(outcomes, pool, **fields)
    else:
        fields |= {
            "seconds_per_query": sum(seconds.get(step, 0.0) for step in QUERY_STEPS) / len(outcomes),
            "n_pool_unreadable": pool.n_unreadable + prepared.candidates.n_failed,
        }
        name = answer.filter.name
        result = recall_result(outcomes, len(pool), direction=question.direction, filter_name=name, **fields)
    result.write(out)
    return result


def check_space(card: ModelCard, modality: str) -> None:
    """Raises ConfigError when the model has no space for `modality`."""
    if modality not in card.spaces:
        raise ConfigError(missing_space(card, modality))
