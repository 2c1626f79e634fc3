"""One question of a suite being asked: its pool and queries, ranking, and the files of its results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from acml_search.chem.splits import is_inner
from acml_search.evaluation.data.described import KnownStructures
from acml_search.evaluation.data.queries import QueryFile
from acml_search.evaluation.data.structures import Query, Structure, make_pool
from acml_search.evaluation.isomers import isomer_result, with_isomers
from acml_search.evaluation.measures import classes
from acml_search.evaluation.measures.classes import nearest_training
from acml_search.evaluation.ranks import leakage
from acml_search.evaluation.ranks.answers import asked_of, filter_name, recall_result
from acml_search.evaluation.ranks.ranking import Every, Ranker
from acml_search.evaluation.ranks.retrieval import Asked, Clock, Truths, query_vectors, source_of
from acml_search.evaluation.rerank.rescoring import Listing
from acml_search.evaluation.results import write_json, write_per_query
from acml_search.evaluation.vectors.embedding import BLOCK, Source, embed
from acml_search.evaluation.workers import chunks
from acml_search.modalities import get
from benchmarks.suite.bench import Bench
from benchmarks.suite.chosen import chosen_of
from benchmarks.suite.plan import Filter, Question

COUNTED = 8_192  # candidates scored at once

Ints = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]


class Asking:
    """One question: `prepare` gathers what is ranked, `say` and `write` put results into files."""

    more: Sequence[Structure] = ()
    """molecules that only the largest of `pools` hold; their positions follow those of `pool`"""
    listings: dict[Filter, Listing]
    """shortlists by filter, and below by size of the pool, where answers are re-ranked"""
    listed_in: dict[int, Listing]
    queries: Vectors
    """(nq, d) of those that are `readable`"""

    def __init__(self, bench: Bench, question: Question, file: QueryFile) -> None:
        self.bench, self.question, self.file = bench, question, file
        self.derived = get(question.modality).derived
        self.clock = Clock()
        self.listings, self.listed_in = {}, {}

    def prepare(self) -> list[Query]:
        """Choose the queries, make the pool and gather its vectors; returns the rows that were chosen."""
        question, bench = self.question, self.bench
        chosen = chosen_of(question, self.file, bench.card, bench.suite.seed)
        library = KnownStructures([one for path in question.library for one in bench.structures[path]])
        self.pool = make_pool(chosen, self.file.queries, library, size=question.pool, seed=bench.suite.seed)
        self.asked = asked_of(chosen, self.pool, once=question.once)
        leakage.check_truths(self.asked, self.pool, question.name)
        self.nearest = self._nearest()
        self.clock.lap("read")
        # By mass, so that a filter looks at few blocks of candidates for each query.
        order = np.argsort(self.pool.masses(), kind="stable")
        self.places, self.table = self.finite(order, [self.pool.structures[i] for i in order.tolist()])
        self.clock.lap("gather pool")
        self.readable = [one for one in self.asked if one.truth >= 0]
        if question.filters or question.batch or question.calibrate is not None:
            self.queries = self.records(self.readable)
            self.clock.lap("embed queries")
        return chosen

    def say(
        self,
        wanted: Filter,
        asked: Sequence[Asked],
        what: str,
        more: Mapping[str, Any] | None = None,
        by_pool: Mapping[str, Any] | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Write recall with a filter and, where it is by formula, among isomers. `what` goes into the file's
        name; `more`: about re-ranking, where these are re-ranked answers; `by_pool`: recall in smaller and
        larger pools.
        """
        rerank = more is not None
        asks = f"rerank {wanted.text}" if rerank else wanted.text
        name = filter_name(wanted.formula, wanted.da, wanted.ppm)
        result = {
            **self.recall(asked, "to-molecule", name),
            "rerank": rerank,
            **(more or {}),
            **(by_pool or {}),
            "by_class": self._by_class(asked),
        }
        yield self.write(what, result, kind="recall", asked=asked, asks=asks)
        if wanted.formula and self.question.isomers:
            yield from self._isomers(asked, rerank)

    def _isomers(self, asked: Sequence[Asked], rerank: bool) -> list[dict[str, Any]]:
        counted = with_isomers(asked, self.pool.formula_codes())
        if not counted:
            return self.skip("isomers", "no query has an isomer in the pool")
        result = isomer_result(
            counted,
            self.pool,
            modality=self.question.modality,
            card=self.bench.card,
            model=self.bench.model,
            seed=self.bench.suite.seed,
        )
        result |= {"rerank": rerank, "leakage": self._leakage(counted), "by_class": self._by_class(counted)}
        what, asks = (".isomers.rerank", "rerank isomers") if rerank else (".isomers", "isomers")
        return [self.write(what, result, kind="isomers", asked=counted, asks=asks)]

    def _by_class(self, asked: Sequence[Asked]) -> list[dict[str, Any]]:
        nearest = self._nearest_of(asked) or [None] * len(asked)
        rows = [
            {
                "smiles": one.query.structure.smiles if one.query.structure else None,
                "molecule": one.query.structure.block if one.query.structure else None,
                "rank": one.rank if np.isfinite(one.rank) else None,
                "nearest_training": x,
            }
            for one, x in zip(asked, nearest, strict=True)
        ]
        return classes.told(rows, seed=self.bench.suite.seed)

    def skip(self, what: str, why: str) -> list[dict[str, Any]]:
        """Note that a part of the question cannot be asked; no result."""
        self.bench.skipped.append({"question": f"{self.question.name} {what}", "why": why})
        return []

    def _nearest(self) -> list[float | None] | None:
        """Tanimoto similarity of each query's molecule to the nearest that training may have seen."""
        where = self.question.training
        if where is None:
            return None
        clean = self.bench.suite.trained_on.get(self.bench.card.name)
        if clean is not None and "license" in self.file.types:
            where = f"({where}) AND ({clean})"
        seen = {
            query.structure.block: query.structure.smiles
            for query in self.file.select(where=where)
            if query.structure is not None and not is_inner(query.structure.block)
        }
        smiles = [one.query.structure.smiles if one.query.structure else None for one in self.asked]
        return nearest_training(smiles, list(seen.values()), self.bench.workers)

    def graphs(self, structures: Sequence[Structure]) -> Vectors:
        """(n, d) graph vectors of the question's space; NaN where the model had none."""
        return self.bench.vectors.take(self.question.modality, (one.smiles for one in structures))

    def finite(self, places: Ints, structures: Sequence[Structure]) -> tuple[Ints, Vectors]:
        """Graph vectors of the structures that have one, and their places."""
        vectors = self.graphs(structures)
        good = np.isfinite(vectors).all(axis=1)
        return (places, vectors) if good.all() else (places[good], vectors[good])

    def records(self, asked: Sequence[Asked]) -> Vectors:
        """(n, d) vectors of the queries' records; one that failed is zeros and has its reason in `error`."""
        sources: list[Source] = [source_of(one.query, "record", self.derived) for one in asked]
        bench = self.bench
        blocks = embed(
            "record", self.question.modality, chunks(sources, BLOCK), bench.workers, bench.suite.seed
        )
        vectors = query_vectors(asked, blocks)
        return vectors if len(asked) else np.zeros((0, self.table.shape[1]), np.float32)

    def blocks(self) -> Iterator[tuple[Ints, Vectors]]:
        for low in range(0, len(self.places), COUNTED):
            yield self.places[low : low + COUNTED], self.table[low : low + COUNTED]

    def ranker(self, queries: Vectors, truths: Truths, filters: Every) -> Ranker:
        kind = Listing if self.question.rerank else Ranker
        return kind(queries, truths.scores, truths.positions, filters)

    def rank(self, queries: Vectors, truths: Truths, filters: Every) -> Ranker:
        ranker = self.ranker(queries, truths, filters)
        for at, vectors in self.blocks():
            ranker.add(vectors, at)
        return ranker

    def recall(self, asked: Sequence[Asked], direction: str, filtered: str | None) -> dict[str, Any]:
        """What a ranking of the question's pool says."""
        return {
            **recall_result(
                asked,
                len(self.pool),
                modality=self.question.modality,
                direction=direction,
                filtered=filtered,
                card=self.bench.card,
                model=self.bench.model,
                seed=self.bench.suite.seed,
                ks=self.bench.suite.recall_at,
            ),
            "n_pool_unreadable": self.pool.n_unreadable + len(self.pool) - len(self.places),
            "leakage": self._leakage(asked),
        }

    def _leakage(self, asked: Sequence[Asked]) -> dict[str, Any]:
        """How many of the molecules that ask training saw."""
        queries = [one.query for one in asked]
        return leakage.told_in_suite(leakage.seen_of(self.bench.card, queries), queries)

    def write(
        self, what: str, found: dict[str, Any], *, kind: str, asks: str, asked: Sequence[Asked] | None = None
    ) -> dict[str, Any]:
        """Write a result (and its queries) with what was asked and how; `what` goes into the file's name."""
        question, bench = self.question, self.bench
        path = bench.out / f"{question.name}{what}.json"
        must = {} if "baseline" in found else question.must
        result = {
            "question": question.name,
            "kind": kind,
            "asks": asks,
            "modality": question.modality,
            **found,
            "model": bench.model,
            "model_digest": bench.card.digest,
            "queries": str(question.queries),
            "library": [str(one) for one in question.library],
            "where": question.where,
            "must": {key: x for key, x in must.items() if _belongs(key, asks)},
            "command": bench.command,
            "result": path.name,
        }
        if asked is not None:
            result["per_query"] = path.with_suffix(".queries.parquet").name
            path_of_rows = bench.out / result["per_query"]
            write_per_query(asked, self.pool, path_of_rows, nearest=self._nearest_of(asked))
        write_json(result, path)
        return result

    def _nearest_of(self, asked: Sequence[Asked]) -> list[float | None] | None:
        """Similarity to the nearest training molecule of some of the queries, where that was worked out."""
        if self.nearest is None:
            return None
        of = {one.query.row: x for one, x in zip(self.asked, self.nearest, strict=True)}
        return [of[one.query.row] for one in asked]


def _belongs(key: str, asks: str) -> bool:
    """Is a key of `must` ("none@10", "isomers", "set error", "gain") about this kind of result?"""
    if key == "gain":
        return asks == "none"
    return key.partition("@")[0] == asks or (asks == "peaks" and key in ("set error", "assigned error"))
