"""Several observations of one compound against the best of them alone, on the same molecules and pool.

The logits scale x cosine of the spaces are added. That sum is one inner product of the vectors put end to
end, so the ranking is counted as any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from acml_search.errors import ConfigError
from acml_search.evaluation.data.described import KnownStructures
from acml_search.evaluation.data.queries import QueryFile
from acml_search.evaluation.data.structures import Pool, Query, make_pool
from acml_search.evaluation.measures import metrics
from acml_search.evaluation.ranks.answers import asked_of
from acml_search.evaluation.ranks.leakage import check_truths
from acml_search.evaluation.ranks.retrieval import Asked, answered_by
from acml_search.evaluation.rerank.rescoring import DEPTH, weights_of, with_evidence
from acml_search.evaluation.rerank.weights import ranks
from acml_search.evaluation.suite.bench import Bench
from acml_search.evaluation.suite.further import COUNTED
from acml_search.evaluation.suite.plan import Filter, FusedQuestion, Question
from acml_search.evaluation.suite.question import Asking
from acml_search.evaluation.suite.reranked import again

Ints = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]


def ask_fused(bench: Bench, wanted: FusedQuestion, files: Mapping[Path, QueryFile]) -> list[dict[str, Any]]:
    """Recall of each part alone and of all together, over the molecules that have every observation.

    Where the model's card has weights for all parts, re-ranked as well.

    Of each molecule and part the first row counts. Raises ConfigError where no molecule has them all.
    """
    questions = [_question(bench, wanted, part) for part in wanted.parts]
    chosen = [_first_rows(question, files[question.queries]) for question in questions]
    blocks = sorted(set.intersection(*(set(rows) for rows in chosen)))
    if not blocks:
        raise ConfigError(f"{bench.suite.path}: no molecule has {' and '.join(wanted.parts)}")
    paths = dict.fromkeys(path for question in questions for path in question.library)
    library = KnownStructures([one for path in paths for one in bench.structures[path]])
    rows = [query for question in questions for query in files[question.queries].queries]
    pool = make_pool([chosen[0][block] for block in blocks], rows, library, seed=bench.suite.seed)
    alone = [
        _Alone(bench, question, files[question.queries], pool, [rows[block] for block in blocks])
        for question, rows in zip(questions, chosen, strict=True)
    ]
    results: list[dict[str, Any]] = []
    for part in alone:
        results += part.to_molecule()
        if part.question.rerank:
            results += again(part)
    fused = _Fused(bench, wanted, questions[0], alone, results)
    together = [*fused.to_molecule()]
    return [*results, *together, *(fused.reranked() if fused.question.rerank else [])]


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


def _first_rows(question: Question, file: QueryFile) -> dict[str, Query]:
    """InChIKey block -> its first row that asks."""
    rows: dict[str, Query] = {}
    for query in file.select(where=question.where):
        if query.structure is not None:
            rows.setdefault(query.structure.block, query)
    return rows


class _Alone(Asking):
    """One part over a pool and queries that are given."""

    def __init__(
        self, bench: Bench, question: Question, file: QueryFile, pool: Pool, chosen: Sequence[Query]
    ) -> None:
        super().__init__(bench, question, file)
        self.pool, self.nearest = pool, None
        self.asked = self.readable = asked_of(chosen, pool, once=False)
        check_truths(self.asked, pool, question.name)
        order = np.argsort(pool.masses(), kind="stable")
        self.places, self.table = self.finite(order, [pool.structures[i] for i in order.tolist()])
        self.queries = self.records(self.readable)


class _Fused(Asking):
    """All parts together: vectors end to end, each times its space's scale."""

    def __init__(
        self,
        bench: Bench,
        wanted: FusedQuestion,
        first: Question,
        parts: Sequence[Asking],
        alone: Sequence[Mapping[str, Any]],
    ) -> None:
        modality = "+".join(part.question.modality for part in parts)
        question = replace(first, name=wanted.name, modality=modality, must=wanted.must)
        self.bench, self.question, self.file, self.derived = bench, question, parts[0].file, False
        self.clock, self.pool, self.nearest = parts[0].clock, parts[0].pool, None
        self.listings, self.listed_in = {}, {}
        self.parts, self.alone = parts, alone
        self.asked = self.readable = [
            replace(one, error=next((p.asked[i].error for p in parts if p.asked[i].error), None))
            for i, one in enumerate(parts[0].asked)
        ]
        scales = np.array([bench.card.spaces[part.question.modality].scale for part in parts])
        self.scales = (scales / np.linalg.norm(scales)).astype(np.float32)
        common = parts[0].places
        for part in parts[1:]:
            common = common[np.isin(common, part.places)]
        self.places = common
        self.rows = [_rows_of(part.places, common) for part in parts]
        self.queries = np.concatenate(
            [scale * part.queries for scale, part in zip(self.scales, parts, strict=True)], axis=1
        )

    def _blocks(self) -> Iterator[tuple[Ints, Vectors]]:
        # End to end only block by block: half a million molecules in two spaces would be a gigabyte.
        for low in range(0, len(self.places), COUNTED):
            at = slice(low, low + COUNTED)
            block = [part.table[rows[at]] for part, rows in zip(self.parts, self.rows, strict=True)]
            yield self.places[at], np.concatenate(block, axis=1) / np.float32(np.sqrt(len(self.parts)))

    def reranked(self) -> Iterator[dict[str, Any]]:
        """The shortlists of the summed logits again, each part's peaks compared and all logits added."""
        totals: dict[Filter, npt.NDArray[np.float64]] = {}
        for part, rows in zip(self.parts, self.rows, strict=True):
            modality = part.question.modality
            weights = weights_of(self.bench.card, modality)
            usable, lists = with_evidence(
                [replace(one, error=whole.error) for one, whole in zip(part.asked, self.asked, strict=True)],
                list(self.listings.values()),
                self.pool.structures,
                modality=modality,
                derived=part.derived,
                workers=self.bench.workers,
                seed=self.bench.suite.seed,
            )
            row_of = np.full(len(self.pool), -1, np.int64)
            row_of[self.places] = rows
            for wanted, one in zip(self.listings, lists, strict=True):
                cosines = _cosines(part.queries[usable], part.table, row_of, one.places)
                logits = weights.total(cosines, one.scores)
                totals[wanted] = totals[wanted] + logits if wanted in totals else logits
        for (wanted, listing), one in zip(self.listings.items(), lists, strict=True):
            answers = answered_by(self.asked, listing)
            places = ranks(one, totals[wanted], [answers[i].rank for i in usable])
            for row, i in enumerate(usable):
                answers[i].rank, answers[i].score = float(places[row]), float(totals[wanted][row, 0])
            what = ".rerank" if wanted.text == "none" else f".{wanted.slug}.rerank"
            yield from self.say(wanted, answers, what, {"shortlist": DEPTH})

    def write(
        self, what: str, found: dict[str, Any], *, kind: str, asks: str, asked: Sequence[Asked] | None = None
    ) -> dict[str, Any]:
        same = [one for one in self.alone if one["asks"] == asks]
        found["gain"] = _gain(asked or [], same, self.bench)
        return super().write(what, found, kind=kind, asks=asks, asked=asked)


def _cosines(queries: Vectors, table: Vectors, row_of: Ints, places: Ints) -> npt.NDArray[np.float64]:
    """(nq, k) cosines of queries (nq, d) and the molecules at `places` (nq, k); -inf where there is none."""
    out = np.full(places.shape, -np.inf)
    for i, (query, at) in enumerate(zip(queries, places, strict=True)):
        there = at >= 0
        out[i, there] = table[row_of[at[there]]] @ query
    return out


def _rows_of(places: Ints, wanted: Ints) -> Ints:
    """Where each of `wanted` stands in `places`."""
    order = np.argsort(places, kind="stable")
    return np.asarray(order[np.searchsorted(places[order], wanted)], np.int64)


def _gain(asked: Sequence[Asked], alone: Sequence[Mapping[str, Any]], bench: Bench) -> dict[str, Any]:
    """Recall at 1 together less that of the better part alone, with its interval over the same molecules."""
    import pyarrow.parquet as pq

    best = max(alone, key=lambda one: one["recall"]["1"])
    ranks = pq.read_table(bench.out / best["per_query"]).column("rank").to_numpy(zero_copy_only=False)
    ours = metrics.hits_at_k([one.rank for one in asked], 1)
    difference = ours - metrics.hits_at_k(np.nan_to_num(ranks.astype(np.float64), nan=np.inf), 1)
    return {
        "over": best["question"],
        "recall_at_1": float(difference.mean()),
        "ci95": list(metrics.bootstrap_interval(difference, seed=bench.suite.seed)),
    }
