"""Retrieval questions: does the true molecule, or its record, come back first among a stated pool?

Direction *to-molecule*: an observation (record side) ranks the pool's molecules (graph side). *to-record*: a
molecule (graph side) ranks the pool's records. Molecules are told apart by the first block of the InChIKey,
so that stereoisomers are one molecule. `metrics` defines ties, failures, averages and intervals.

`prepare` chooses the queries of a `Question`, makes its pool and embeds both with a `Store`; the prepared
question answers with any filter, and re-ranks. `bench recall` and `bench isomers` (`measure_files`) are
questions with one filter; a suite of `benchmarks` asks many of one store.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict

from acml_search.core.errors import ConfigError
from acml_search.core.io import digest_of
from acml_search.core.timing import Stopwatch
from acml_search.core.typing import Bools, Float32s, Floats, Ints
from acml_search.core.workers import Workers, chunks
from acml_search.encoders.card import ModelCard, missing_space, read_card
from acml_search.evaluation import leakage
from acml_search.evaluation.cache import Cache
from acml_search.evaluation.embedding import (
    Block,
    MoleculeVectors,
    Source,
    embed_records,
    graph_vectors,
    record_vectors,
)
from acml_search.evaluation.pool import (
    CHUNK,
    Described,
    Pool,
    Query,
    QueryFile,
    Structure,
    choose,
    count_hydrogens,
    described_file,
    make_pool,
    read_queries,
)
from acml_search.evaluation.ranking import (
    BLOCK,
    SHORTLIST,
    Conditions,
    HydrogenBias,
    Ranker,
    truth_scores,
)
from acml_search.evaluation.rescoring import (
    Weights,
    compare,
    rerank_fields,
    set_reranked,
    source_of,
    weights_of,
)
from acml_search.evaluation.results import (
    QueryOutcome,
    Result,
    check_out,
    isomers_result,
    query_rows,
    recall_result,
    with_ranks,
    write_rows,
)
from acml_search.evaluation.workers import model_workers
from acml_search.modalities import get
from acml_search.nmr.hydrogens import stated_hydrogens

Direction = Literal["to-molecule", "to-record"]
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
        parts = ["formula"] if self.formula else []
        parts += [f"{width:g} {unit}" for unit, width in self._widths]
        return " ".join(parts) or "none"

    @property
    def slug(self) -> str:
        """As part of a file's name."""
        return self.text.replace(" ", "-").lower()

    @property
    def name(self) -> str | None:
        """In words; None where every molecule is a candidate."""
        parts = ["same formula"] if self.formula else []
        parts += [f"neutral exact mass within {width:g} {unit}" for unit, width in self._widths]
        return " and ".join(parts) or None

    @property
    def _widths(self) -> list[tuple[str, float]]:
        return [(unit, x) for unit, x in (("Da", self.da), ("ppm", self.ppm)) if x is not None]

    def over(self, pool: Pool) -> Conditions:
        codes = pool.formula_codes() if self.formula else None
        return Conditions(codes, pool.masses() if self._widths else None, self.da, self.ppm)


def _parse_filters(value: Any) -> Any:
    return tuple(Filter.parse(one) if isinstance(one, str) else one for one in value)


Filters = Annotated[tuple[Filter, ...], BeforeValidator(_parse_filters)]
"""also from texts, as `Filter.parse` takes them"""


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
    filters: Filters = (Filter(),)
    isomers_only: bool = False
    """only the queries whose formula has another molecule in the pool, with the filter `formula`"""
    rerank: bool = False
    rerank_depth: int = SHORTLIST
    """candidates of each query that are re-ranked, the truth included"""
    once_per_molecule: bool = False
    """one query per molecule, however many rows it has"""
    printed: str | None = None
    """a column with spectra as papers print them, which are read; rows without one are no queries"""
    leave_out: tuple[str, ...] = ()
    """what printed spectra state and is not used: counts, multiplicity, couplings"""
    dept: bool = False
    """13C: re-ranking compares the hydrogens of each carbon, from the column `multiplicity`"""
    leakage: Literal["report", "drop", "fail"] = "fail"
    """what to do with queries about molecules that training saw"""

    @property
    def from_structure(self) -> bool:
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

    `cache`: keeps structures and vectors for other runs. `vectors`: graph vectors that were computed
    beforehand, of every molecule the questions name; without them each question embeds its pool.
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

    @contextmanager
    def vector_cache(self) -> Iterator[Cache]:
        """The cache, or one in a temporary folder."""
        if self.cache is not None:
            yield self.cache
            return
        with TemporaryDirectory(prefix="acml-search-bench-") as folder:
            yield Cache(Path(folder))

    def file(self, path: Path) -> QueryFile:
        if path not in self._files:
            self._files[path] = read_queries(
                path, self.workers, smiles_column=self.smiles_column, cache=self.cache
            )
        return self._files[path]

    def rows(self, question: Question) -> QueryFile:
        """The rows of a question's file, read as the question reads them."""
        file = self.file(question.queries)
        if question.printed is None:
            return file
        return file.printed(question.modality, question.printed, question.leave_out)

    def structures(self, path: Path) -> list[Described]:
        """The structures of a file's rows."""
        if path not in self._structures:
            self._structures[path] = described_file(path, self.workers, self.cache, self.smiles_column)
        return self._structures[path]

    def library(self, paths: Sequence[Path]) -> list[Described]:
        """The structures of the rows of libraries."""
        return [one for path in paths for one in self.structures(path)]

    def molecules(self, space: str, structures: Sequence[Structure]) -> Block:
        """The graph vectors of structures, NaN where the model has none."""
        smiles = [one.smiles for one in structures]
        if self.vectors is not None:
            return Block.of(self.vectors.take(space, smiles))
        with self.vector_cache() as cache:
            vectors = graph_vectors([structures], self.card, self.workers, cache, spaces=[space])
            return Block.of(vectors.take(space, smiles))

    def hydrogens(self, pool: Pool) -> Ints:
        """(n_pool, 2) of each molecule the hydrogens, and how many of them are exchangeable; cached."""
        smiles = [one.smiles for one in pool.structures]
        with self.vector_cache() as cache:
            return cache.array(
                "hydrogens",
                {"molecules": digest_of(smiles)},
                lambda: np.concatenate(list(self.workers.map(count_hydrogens, chunks(smiles, CHUNK)))),
            )

    def records(self, space: str, sources: Sequence[Source]) -> Block:
        return embed_records(space, sources, self.workers, self.seed, self.card.spaces[space].d)


@dataclass(frozen=True)
class Candidates:
    """Of the pool: positions `places` (n,), of one molecule side by side, and `vectors` (n, d) float32."""

    places: Ints
    vectors: Float32s
    n_failed: int = 0

    @classmethod
    def of(cls, places: Ints, vectors: Float32s) -> Candidates:
        """Without the rows that have no finite vector."""
        good = np.isfinite(vectors).all(axis=1)
        if good.all():
            return cls(places, vectors)
        return cls(places[good], vectors[good], int(np.count_nonzero(~good)))

    def blocks(self) -> Iterator[tuple[Ints, Float32s]]:
        """(positions, vectors) in blocks, each sorted by position and no molecule in two of them."""
        n = len(self.places)
        starts = np.flatnonzero(np.r_[True, self.places[1:] != self.places[:-1]]) if n else np.zeros(0, int)
        near = np.searchsorted(starts, np.arange(0, n, BLOCK))
        cuts = np.unique(starts[near[near < len(starts)]])
        for low, high in pairwise([*cuts.tolist(), n]):
            inside = low + np.argsort(self.places[low:high], kind="stable")
            yield self.places[inside], self.vectors[inside]

    def at(self, positions: Ints) -> tuple[Ints, Float32s]:
        """Those of the positions that have a vector, and their vectors."""
        rows = self.row_of[np.minimum(positions, len(self.row_of) - 1)]
        return positions[rows >= 0], self.vectors[rows[rows >= 0]]

    @cached_property
    def row_of(self) -> Ints:
        """The row of each pool position, -1 where it has no vector; the last entry stands for all beyond."""
        rows = np.full(int(self.places.max(initial=-1)) + 2, -1, np.int64)
        rows[self.places] = np.arange(len(self.places))
        return rows


@dataclass(frozen=True)
class Answer:
    """The ranked queries of a question with one filter."""

    filter: Filter
    ranker: Ranker
    outcomes: list[QueryOutcome]


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
        return truth_scores(self.queries, self.truths, self.candidates.places, self.candidates.vectors)

    def ranker(self, wanted: Filter, depth: int | None = None) -> Ranker:
        """A ranker that has counted nothing yet; with `depth`, one that keeps shortlists."""
        conditions = wanted.over(self.pool)
        return Ranker(self.queries, self.truth_scores, self.truths, conditions, depth, self.bias)

    @property
    def weights_kind(self) -> str:
        """Which weights of a card re-rank the question (`ModelCard.rerank_weights`)."""
        return "rerank" if self.bias is None else "signals"

    @cached_property
    def bias(self) -> HydrogenBias | None:
        """Of 1H spectra whose column `counts` states the hydrogens of their signals."""
        question = self.question
        if get(question.modality).nuclei != "H" or question.direction == "to-record":
            return None
        counts = [stated_hydrogens(one.query.metadata.get("counts") or ()) for one in self.readable]
        if all(n is None for n in counts):
            return None
        observed = np.array([-1 if n is None else n for n in counts], np.int64)
        hydrogens, exchangeable = self.store.hydrogens(self.pool).T
        return HydrogenBias(
            observed, hydrogens, exchangeable, self.store.card.spaces[question.modality].scale
        )

    def answer(self, wanted: Filter, depth: int | None = None) -> Answer:
        """Rank the queries among the candidates that the filter lets pass."""
        ranker = self.ranker(wanted, depth)
        for places, vectors in self.candidates.blocks():
            ranker.add(vectors, places)
        return self.answered(wanted, ranker)

    def answered(self, wanted: Filter, ranker: Ranker) -> Answer:
        return Answer(wanted, ranker, with_ranks(self.outcomes, ranker))

    def rerank(
        self, answers: Sequence[Answer], weights: Weights, chosen: Collection[int] | None = None
    ) -> list[Answer]:
        """The answers, their shortlists re-ranked; `chosen`: only these of the readable queries."""
        rows, lists = compare(self, [one.ranker for one in answers], chosen)
        again = [self.answered(one.filter, one.ranker) for one in answers]
        for one, of in zip(again, lists, strict=True):
            readable = [outcome for outcome in one.outcomes if outcome.truth >= 0]
            set_reranked(readable, of, rows, of.logits(weights))
        self.watch.lap("rerank")
        return again

    def with_queries(self, outcomes: Sequence[QueryOutcome]) -> PreparedQuestion:
        """Other queries in the same pool."""
        readable = [one for one in outcomes if one.truth >= 0]
        queries = embed_queries(readable, self.question, self.store)
        return replace(self, outcomes=list(outcomes), queries=queries)

    def recall(self, outcomes: Sequence[QueryOutcome], filter_name: str | None, **more: Any) -> Result:
        """The result of queries that were ranked in this pool. `filter_name`: the filter in words."""
        return recall_result(
            outcomes,
            len(self.pool),
            direction=self.question.direction,
            filter_name=filter_name,
            seed=self.store.seed,
            n_pool_unreadable=self.pool.n_unreadable + self.candidates.n_failed,
            **more,
        )


def choose_queries(question: Question, store: Store) -> list[Query]:
    """The rows that are queries. Raises ConfigError where none is left or can be read, or training saw one
    that it must not have seen, and FilterError for a wrong condition.
    """
    file, card = store.rows(question), store.card
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
    sources = [source_of(one.query, space) for one in readable]
    if question.direction == "to-record":
        block = store.molecules(space, [one.structure for one in sources])
    else:
        block = store.records(space, sources)
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
    space = question.modality
    if question.from_structure:
        with store.vector_cache() as cache:
            vectors = record_vectors(space, pool.structures, store.card, store.workers, cache, store.seed)
        return Candidates.of(np.arange(len(pool)), vectors)
    position = pool.positions()
    rows = [
        (position[one.structure.inchikey14], one)
        for one in store.file(question.queries).queries
        if one.structure is not None and one.structure.inchikey14 in position
    ]
    rows.sort(key=lambda row: row[0])
    block = store.records(space, [source_of(one, space) for _, one in rows])
    return Candidates.of(np.array([place for place, _ in rows], np.int64), block.vectors)


def to_outcomes(chosen: Sequence[Query], pool: Pool, *, once: bool) -> list[QueryOutcome]:
    """The queries with their truth's position, -1 where the pool lacks it; `once`: one per molecule."""
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


def measure(
    question: Question, store: Store, watch: Stopwatch | None = None
) -> tuple[PreparedQuestion, list[Answer]]:
    """Rank the queries with each filter; with `rerank`, by the weights in the model's card."""
    question.check(store.card)
    if question.rerank:
        weights_of(store.card, question.modality)  # refused before the long part
    prepared = prepare(question, store, watch=watch)
    weights = weights_of(store.card, question.modality, prepared.weights_kind) if question.rerank else None
    answers = [
        prepared.answer(wanted, question.rerank_depth if weights else None) for wanted in question.filters
    ]
    prepared.watch.lap("rank")
    return prepared, prepared.rerank(answers, weights) if weights else answers


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
) -> Result:
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
    outcomes, seconds = answer.outcomes, watch.seconds()
    del seconds["total"]
    per_query = out.with_suffix(".queries.parquet")
    write_rows(query_rows(outcomes, prepared.pool), per_query)
    fields: dict[str, Any] = {
        "modality": question.modality,
        "model": model,
        "model_digest": store.card.digest,
        "leakage": leakage.report(store.card, outcomes, seed=seed),
        "seconds": seconds,
        "limit": question.limit,
        "split": question.split,
        "where": question.where,
        "command": command,
        "workers": processes.n,
        "per_query": per_query.name,
    }
    if question.rerank:
        weights = weights_of(store.card, question.modality, prepared.weights_kind)
        fields |= rerank_fields(weights, question.rerank_depth)
    if question.isomers_only:
        fields["n_unreadable"] = sum(query.structure is None for query in prepared.chosen)
        result = isomers_result(outcomes, prepared.pool, seed=seed, **fields)
    else:
        fields["seconds_per_query"] = sum(seconds.get(step, 0.0) for step in QUERY_STEPS) / len(outcomes)
        result = prepared.recall(outcomes, answer.filter.name, **fields)
    result.write(out)
    return result


def check_space(card: ModelCard, modality: str) -> None:
    """Raises ConfigError when the model has no space for `modality`."""
    if modality not in card.spaces:
        raise ConfigError(missing_space(card, modality))
