"""Ranks the truth of every query among a pool: embeds queries, streams the pool past them, counts.

The pool's embeddings are made, counted and forgotten block by block. The queries' own molecules stand
first in the pool, so that every truth's score is known when counting begins.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt

from acml_search.core.progress import progress
from acml_search.evaluation.data.structures import Pool, Query
from acml_search.evaluation.measures import metrics
from acml_search.evaluation.ranks.ranking import Every, Ranker
from acml_search.evaluation.vectors.embedding import BLOCK, Block, Source, embed
from acml_search.evaluation.workers import Workers, chunks

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Vectors = npt.NDArray[np.float32]

SIDES = {"to-molecule": ("record", "graph"), "to-record": ("graph", "record")}  # direction: queries', pool's


@dataclass
class Asked:
    """A query and what became of it. `truth`: position in the pool, -1 where the query could not be read."""

    query: Query
    truth: int
    error: str | None = None
    rank: float = metrics.FAILED
    score: float = float("nan")
    n_candidates: int = 1
    best_other: int = -1
    best_other_score: float = float("nan")


@dataclass
class Clock:
    """Seconds by step."""

    seconds: dict[str, float] = field(default_factory=dict)
    _last: float = field(default_factory=time.perf_counter)

    def lap(self, step: str) -> None:
        """The time since the last lap goes to `step`."""
        now = time.perf_counter()
        self.seconds[step] = self.seconds.get(step, 0.0) + now - self._last
        self._last = now


def rank_queries(
    asked: Sequence[Asked],
    queries: Sequence[Query],
    pool: Pool,
    *,
    modality: str,
    derived: bool,
    direction: str,
    filters: Every,
    workers: Workers,
    seed: int,
    clock: Clock,
    keep: npt.NDArray[np.bool_] | None = None,
    make: Callable[[Vectors, Floats, Ints, Every], Ranker] = Ranker,
) -> int:
    """Fill in rank, scores and number of candidates of `asked`; returns how many pool molecules failed.

    `queries`: all rows of the queries' file: their records are the pool's when a recorded modality (not
    `derived`) is ranked. `keep` (n_pool,): only these are embedded, where the filters let no other pass.
    `make`: gives the ranker, where more is wanted of it than ranks.
    """
    ours, theirs = SIDES[direction]
    readable = [one for one in asked if one.truth >= 0]
    sources = [source_of(one.query, ours, derived) for one in readable]
    vectors = query_vectors(readable, embed(ours, modality, chunks(sources, BLOCK), workers, seed))
    clock.lap("embed queries")

    blocks = list(candidate_blocks(theirs, derived, queries, pool))
    if keep is not None:
        blocks = [(at, sources) for at, sources in (_only(keep, *block) for block in blocks) if len(at)]
    embedded = embed(theirs, modality, (sources for _, sources in blocks), workers, seed)
    truths = Truths(vectors, np.array([one.truth for one in readable], dtype=np.int64))
    ranker = make(vectors, truths.scores, truths.positions, filters)
    held: list[tuple[Ints, Vectors]] = []
    n_failed = 0
    total = len(pool) if keep is None else int(keep.sum())
    with progress(total=total, desc="ranking", unit="mol") as bar:
        for (positions, _), block in zip(blocks, embedded, strict=True):
            clock.lap("embed pool")
            good = np.logical_and.reduce(np.isfinite(block.vectors), axis=1)
            n_failed += len(good) - int(good.sum())
            part = (positions[good], block.vectors[good])
            held.append(part)
            truths.see(*part)
            if positions[-1] >= truths.last:
                for held_positions, held_vectors in held:
                    ranker.add(held_vectors, held_positions)
                held.clear()
            bar.update(len(positions))
            clock.lap("rank")
        for held_positions, held_vectors in held:  # only where the last truths have no record
            ranker.add(held_vectors, held_positions)
    tell(readable, ranker)
    return n_failed


class Truths:
    """The inner product of each query with its truth, the best one if there are several records.

    `scores` (nq,) float64, minus infinity until the truth was seen; `last`: the last truth's pool position.
    """

    def __init__(self, queries: Vectors, positions: Ints) -> None:
        self.scores = np.full(len(queries), -np.inf)
        self.positions = positions
        self.last = int(positions.max(initial=-1))
        self._queries = queries
        self._order = np.argsort(positions, kind="stable")
        self._sorted = positions[self._order]

    def see(self, positions: Ints, vectors: Vectors) -> None:
        """Take notice of a block: pool positions (nb,) and vectors (nb, d)."""
        low = np.searchsorted(self._sorted, positions, side="left")
        high = np.searchsorted(self._sorted, positions, side="right")
        for i in np.flatnonzero(high > low).tolist():
            asking = self._order[low[i] : high[i]]
            self.scores[asking] = np.maximum(self.scores[asking], self._queries[asking] @ vectors[i])


def query_vectors(readable: Sequence[Asked], blocks: Iterable[Block]) -> Vectors:
    """The queries' vectors (nq, d); a failed one is zeros and has its reason in `error`."""
    found = list(blocks)
    errors = [error for block in found for error in block.errors]
    for one, error in zip(readable, errors, strict=True):
        one.error = error
    vectors = np.concatenate([block.vectors for block in found]) if found else np.zeros((0, 1), np.float32)
    return np.nan_to_num(vectors, copy=False)


def source_of(query: Query, side: str, derived: bool) -> Source:
    """What a readable query's vector is made of."""
    if query.structure is None:
        raise ValueError(f"row {query.row} has no structure")
    return Source(query.structure, None if derived or side == "graph" else query.metadata)


def candidate_blocks(
    side: str, derived: bool, queries: Sequence[Query], pool: Pool
) -> Iterator[tuple[Ints, list[Source]]]:
    """(pool positions, sources) of the candidates by position; a molecule's records never in two blocks."""
    if side == "graph" or derived:
        candidates = [(i, Source(structure)) for i, structure in enumerate(pool.structures)]
    else:
        position = pool.positions()
        readable = [(query, query.structure) for query in queries if query.structure is not None]
        candidates = [(position[known.block], source_of(query, side, derived)) for query, known in readable]
        candidates.sort(key=itemgetter(0))
    block: list[tuple[int, Source]] = []
    for candidate in candidates:
        if len(block) >= BLOCK and block[-1][0] != candidate[0]:
            yield _columns(block)
            block = []
        block.append(candidate)
    if block:
        yield _columns(block)


def _columns(block: list[tuple[int, Source]]) -> tuple[Ints, list[Source]]:
    return np.array([position for position, _ in block], dtype=np.int64), [source for _, source in block]


def _only(keep: npt.NDArray[np.bool_], positions: Ints, sources: list[Source]) -> tuple[Ints, list[Source]]:
    kept = np.flatnonzero(keep[positions])
    return positions[kept], [sources[i] for i in kept.tolist()]


def tell(readable: Sequence[Asked], ranker: Ranker) -> None:
    """Write what the ranker counted to the queries, which are in its order; those that failed stay misses."""
    found: list[tuple[Any, ...]] = list(
        zip(
            ranker.ranks.tolist(),
            ranker.truth_scores.tolist(),
            ranker.n_candidates.tolist(),
            ranker.best_other.tolist(),
            ranker.best_other_score.tolist(),
            strict=True,
        )
    )
    for one, (rank, score, n_candidates, best, best_score) in zip(readable, found, strict=True):
        one.n_candidates = n_candidates
        if one.error is None and not np.isfinite(score):
            one.error = "the true molecule has no vector in the pool"
        if one.error is None:
            one.rank, one.score = float(rank), score
            one.best_other, one.best_other_score = best, best_score


def answered_by(asked: Sequence[Asked], ranker: Ranker) -> list[Asked]:
    """Copies of the queries with what the ranker counted."""
    copies = [replace(one) for one in asked]
    tell([one for one in copies if one.truth >= 0], ranker)
    return copies
