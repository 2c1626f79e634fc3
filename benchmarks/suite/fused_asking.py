"""One part of a fused question over a given pool, and all its parts together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from acml_search.evaluation.data.queries import QueryFile
from acml_search.evaluation.data.structures import Pool, Query
from acml_search.evaluation.measures import metrics
from acml_search.evaluation.ranks.answers import asked_of
from acml_search.evaluation.ranks.leakage import check_truths
from acml_search.evaluation.ranks.ranking import Every
from acml_search.evaluation.ranks.retrieval import Asked, Truths, answered_by
from acml_search.evaluation.rerank.rescoring import DEPTH, Listing, lists_of, weights_of, with_evidence
from acml_search.evaluation.rerank.together import added, fit_factors, told
from acml_search.evaluation.rerank.weights import Lists, ranks
from benchmarks.suite.asking import COUNTED, Asking
from benchmarks.suite.bench import Bench
from benchmarks.suite.plan import Filter, FusedQuestion, Question

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]


class Alone(Asking):
    """One part over a pool and queries that are given."""

    def __init__(
        self, bench: Bench, question: Question, file: QueryFile, pool: Pool, chosen: Sequence[Query]
    ) -> None:
        super().__init__(bench, question, file)
        self.pool, self.nearest = pool, None
        order = np.argsort(pool.masses(), kind="stable")
        self.places, self.table = self.finite(order, [pool.structures[i] for i in order.tolist()])
        self._ask(chosen)

    def _ask(self, chosen: Sequence[Query]) -> None:
        self.asked = self.readable = asked_of(chosen, self.pool, once=False)
        check_truths(self.asked, self.pool, self.question.name)
        self.queries = self.records(self.readable)

    def asking(self, chosen: Sequence[Query]) -> Alone:
        """The same pool, asked by other rows."""
        other = copy(self)
        other.listings, other.listed_in = {}, {}
        other._ask(chosen)
        return other


class Fused(Asking):
    """All parts together: vectors end to end, each times its space's scale."""

    def __init__(
        self,
        bench: Bench,
        wanted: FusedQuestion,
        first: Question,
        parts: Sequence[Asking],
        trust: Mapping[str, Mapping[str, float]],
        alone: Sequence[Mapping[str, Any]],
    ) -> None:
        modality = "+".join(part.question.modality for part in parts)
        question = replace(first, name=wanted.name, modality=modality, must=wanted.must)
        self.bench, self.question, self.file, self.derived = bench, question, parts[0].file, False
        self.clock, self.pool, self.nearest = parts[0].clock, parts[0].pool, None
        self.listings, self.listed_in = {}, {}
        self.parts, self.trust, self.alone = parts, trust, alone
        self.asked = self.readable = [
            replace(one, error=next((p.asked[i].error for p in parts if p.asked[i].error), None))
            for i, one in enumerate(parts[0].asked)
        ]
        names = [part.question.modality for part in parts]
        scales = np.array([trust["plain"][name] * bench.card.spaces[name].scale for name in names])
        self.scales = (scales / np.linalg.norm(scales)).astype(np.float32)
        common = parts[0].places
        for part in parts[1:]:
            common = common[np.isin(common, part.places)]
        self.places = common
        self.rows = [_rows_of(part.places, common) for part in parts]
        self.queries = np.concatenate(
            [scale * part.queries for scale, part in zip(self.scales, parts, strict=True)], axis=1
        )

    def blocks(self) -> Iterator[tuple[Ints, Vectors]]:
        # End to end only block by block: half a million molecules in two spaces would be a gigabyte.
        for low in range(0, len(self.places), COUNTED):
            at = slice(low, low + COUNTED)
            block = [part.table[rows[at]] for part, rows in zip(self.parts, self.rows, strict=True)]
            yield self.places[at], np.concatenate(block, axis=1) / np.float32(np.sqrt(len(self.parts)))

    def reranked(self) -> Iterator[dict[str, Any]]:
        """The shortlists of the summed logits again, each part's peaks compared and all logits added."""
        usable, by_part = self._compared()
        factors = [self.trust["rerank"][part.question.modality] for part in self.parts]
        for wanted, listing in self.listings.items():
            answers = answered_by(self.asked, listing)
            lists = [of[wanted] for of in by_part]
            totals = added(self._logits(lists), factors)
            places = ranks(lists[0], totals, [answers[i].rank for i in usable])
            for row, i in enumerate(usable):
                answers[i].rank, answers[i].score = float(places[row]), float(totals[row, 0])
            what = ".rerank" if wanted.text == "none" else f".{wanted.slug}.rerank"
            more = {"shortlist": DEPTH, "trust": dict(self.trust["rerank"])}
            yield from self.say(wanted, answers, what, more)

    def fitted(self) -> list[dict[str, Any]]:
        """What each part counts for, of greatest likelihood over these queries among all of the pool."""
        truths = Truths(self.queries, np.array([one.truth for one in self.readable], dtype=np.int64))
        for at, vectors in self.blocks():
            truths.see(at, vectors)
        listing = Listing(self.queries, truths.scores, truths.positions, Every())
        for at, vectors in self.blocks():
            listing.add(vectors, at)
        self.listings = {self.question.filters[0]: listing}
        names = [part.question.modality for part in self.parts]
        usable, by_part = self._compared() if self.question.rerank else self._listed()
        lists = [next(iter(of.values())) for of in by_part]
        scales = [self.bench.card.spaces[name].scale for name in names]
        plain = [scale * one.cosines for scale, one in zip(scales, lists, strict=True)]
        found: dict[str, Any] = {"modality": "+".join(sorted(names)), "shortlist": DEPTH}
        inner: dict[str, Any] = {"n_queries": len(usable), "n_failed": len(self.asked) - len(usable)}
        # Where no peaks are compared, nothing is re-ranked: the second set is left out, and counts as 1.
        kinds = {"plain": plain, **({"rerank": self._logits(lists)} if self.question.rerank else {})}
        for kind, logits in kinds.items():
            factors = fit_factors(lists[0], logits)
            if factors is None:
                return self.skip("together", "no inner row of `calibrate` has its truth in the shortlist")
            found[kind] = dict(zip(names, factors, strict=True))
            inner[kind] = told(lists[0], logits, self.bench.suite.seed)
        found |= {"n_pool": len(self.places), "inner": inner}
        return [super().write(".together", found, kind="together", asks="together")]

    def _logits(self, lists: Sequence[Lists]) -> list[Floats]:
        """(nq, k) of each part, its peaks compared."""
        names = [part.question.modality for part in self.parts]
        weights = [weights_of(self.bench.card, name) for name in names]
        return [one.total(of.cosines, of.scores) for one, of in zip(weights, lists, strict=True)]

    def _compared(self) -> tuple[list[int], list[dict[Filter, Lists]]]:
        """Places of the queries with a shortlist, and by part these shortlists with the part's own cosines
        and the scores of its peaks.
        """
        found: list[dict[Filter, Lists]] = []
        for part in self.parts:
            usable, lists = with_evidence(
                [replace(one, error=whole.error) for one, whole in zip(part.asked, self.asked, strict=True)],
                list(self.listings.values()),
                self.pool.structures,
                modality=part.question.modality,
                derived=part.derived,
                workers=self.bench.workers,
                seed=self.bench.suite.seed,
                kept=self.bench.vectors,
            )
            found.append(dict(zip(self.listings, lists, strict=True)))
        return usable, self._own_cosines(found, usable)

    def _listed(self) -> tuple[list[int], list[dict[Filter, Lists]]]:
        """As `_compared`, without comparing peaks."""
        first = next(iter(self.listings.values()))
        usable = [
            i for i, one in enumerate(self.asked) if one.error is None and np.isfinite(first.truth_scores[i])
        ]
        lists = {wanted: lists_of(self.asked, one, usable) for wanted, one in self.listings.items()}
        return usable, self._own_cosines([lists for _ in self.parts], usable)

    def _own_cosines(
        self, found: Sequence[Mapping[Filter, Lists]], usable: Sequence[int]
    ) -> list[dict[Filter, Lists]]:
        out = []
        for part, rows, lists in zip(self.parts, self.rows, found, strict=True):
            row_of = np.full(len(self.pool), -1, np.int64)
            row_of[self.places] = rows
            queries = part.queries[list(usable)]
            out.append(
                {
                    wanted: replace(one, cosines=_cosines(queries, part.table, row_of, one.places))
                    for wanted, one in lists.items()
                }
            )
        return out

    def write(
        self, what: str, found: dict[str, Any], *, kind: str, asks: str, asked: Sequence[Asked] | None = None
    ) -> dict[str, Any]:
        same = [one for one in self.alone if one["asks"] == asks]
        found["gain"] = _gain(asked or [], same, self.bench)
        found.setdefault("trust", dict(self.trust["plain"]))
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
