"""The rank of each query's truth among candidates that arrive in blocks: no score matrix is kept.

The truth's score is known beforehand, so that a block only has to be counted: how many of its candidates
score at least as high (ties lose, see `metrics.TIE_TOLERANCE`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from acml_search.core.typing import Bools, Float32s, Floats, Ints
from acml_search.evaluation.metrics import TIE_TOLERANCE

QUERY_BLOCK = 1_024
BLOCK = 2_048
"""candidates scored at once: larger blocks leave the cache, and cover more masses that a filter excludes"""
SHORTLIST = 200
"""candidates that are re-ranked, the truth included"""


class CandidateFilter(Protocol):
    """Which pool molecules may answer a query; both arguments are positions in the pool."""

    def mask(self, truth: Ints, pool: Ints) -> Bools:
        """`truth` (nq,) the queries' molecules, `pool` (nb,) -> (nq, nb)."""
        ...

    def concerned(self, truth: Ints, pool: Ints) -> Bools:
        """(nq,) False for queries that can find no candidate among `pool`; True in doubt."""
        ...


@dataclass(frozen=True)
class SameFormula:
    """Candidates of the truth's molecular formula. `codes` (n_pool,): a number per distinct formula."""

    codes: Ints

    def mask(self, truth: Ints, pool: Ints) -> Bools:
        return np.asarray(self.codes[truth][:, None] == self.codes[pool][None, :])

    def concerned(self, truth: Ints, pool: Ints) -> Bools:
        return np.isin(self.codes[truth], self.codes[pool])


@dataclass(frozen=True)
class MassWithin:
    """Candidates whose neutral exact mass is near the truth's. `masses` (n_pool,) in Da; one width given."""

    masses: Floats
    da: float | None = None
    ppm: float | None = None

    def mask(self, truth: Ints, pool: Ints) -> Bools:
        centre, width = self._windows(truth)
        return np.asarray(np.abs(self.masses[pool][None, :] - centre[:, None]) <= width[:, None])

    def concerned(self, truth: Ints, pool: Ints) -> Bools:
        centre, width = self._windows(truth)
        masses = self.masses[pool]
        slack = 1e-6  # rounding of sums and differences of masses; far below any useful width
        return np.asarray((centre + width + slack >= masses.min()) & (centre - width - slack <= masses.max()))

    def _windows(self, truth: Ints) -> tuple[Floats, Floats]:
        centre = self.masses[truth]
        if self.da is not None:
            return centre, np.full_like(centre, self.da)
        return centre, centre * (self.ppm or 0.0) * 1e-6


@dataclass(frozen=True)
class AllOf:
    """All of the given filters at once (none: every molecule is a candidate)."""

    filters: tuple[CandidateFilter, ...] = ()

    def mask(self, truth: Ints, pool: Ints) -> Bools:
        keep = np.ones((len(truth), len(pool)), dtype=bool)
        for one in self.filters:
            keep &= one.mask(truth, pool)
        return keep

    def concerned(self, truth: Ints, pool: Ints) -> Bools:
        concerned = np.ones(len(truth), dtype=bool)
        for one in self.filters:
            concerned &= one.concerned(truth, pool)
        return concerned


@dataclass
class Ranker:
    """Counts, block by block, the candidates that beat or equal the truth.

    `queries` (nq, d) float32 and `truth_scores` (nq,): the score of each query with its truth, the inner
    product where candidates come as vectors; `truth` (nq,): the truth's position in the pool. Where only
    scores are added, `queries` may be (nq, 0).

    `ranks` (nq,) 1 + the number of others scoring at least as high; `n_candidates` (nq,) with the truth;
    `best_other` (nq,) position of the best wrong candidate, of equal ones the lowest, -1 where there is none;
    `best_other_score` (nq,).
    """

    queries: Float32s
    truth_scores: Floats
    truth: Ints
    candidates: AllOf = field(default_factory=AllOf)
    tolerance: float = TIE_TOLERANCE

    def __post_init__(self) -> None:
        n = len(self.queries)
        self.beaten_by = np.zeros(n, dtype=np.int64)
        self.n_candidates = np.ones(n, dtype=np.int64)  # the truth itself
        self.best_other = np.full(n, -1, dtype=np.int64)
        self.best_other_score = np.full(n, -np.inf)

    @property
    def ranks(self) -> Ints:
        return 1 + self.beaten_by

    def add(self, vectors: Float32s, pool: Ints) -> None:
        """Count one block of candidates.

        `vectors` (nb, d) float32, `pool` (nb,): the pool position of each, ascending. Rows of one molecule
        (several records) must be in one block: the molecule scores as its best record. With a filter, blocks
        of molecules of about one mass are counted much faster than mixed ones.
        """
        starts = np.flatnonzero(np.r_[True, pool[1:] != pool[:-1]]) if len(pool) else np.zeros(0, np.int64)
        molecules = pool[starts]
        if not len(molecules):
            return
        asking = np.flatnonzero(self.candidates.concerned(self.truth, molecules))
        for low in range(0, len(asking), QUERY_BLOCK):
            part = asking[low : low + QUERY_BLOCK]
            scores = self.queries[part] @ vectors.T
            if len(starts) < len(pool):
                scores = np.maximum.reduceat(scores, starts, axis=1)
            self._count(part, scores, molecules)

    def add_scores(self, scores: Float32s, positions: Ints) -> None:
        """Count one block of candidates by their scores: (nq, n) float32, of any origin; higher is better.

        `positions` (n,): the pool position of each, distinct. `scores` is left as it is. As with `add`,
        blocks of about one mass are fast where there is a filter.
        """
        if not len(positions):
            return
        asking = np.flatnonzero(self.candidates.concerned(self.truth, positions))
        for low in range(0, len(asking), QUERY_BLOCK):
            part = asking[low : low + QUERY_BLOCK]
            self._count(part, np.asarray(scores[part], np.float32), positions)  # a copy

    def _count(self, part: Ints, scores: Float32s, molecules: Ints) -> None:
        if self.candidates.filters:
            usable = self.truth[part][:, None] != molecules[None, :]
            usable &= self.candidates.mask(self.truth[part], molecules)
            scores[~usable] = -np.inf
            self.n_candidates[part] += np.count_nonzero(usable, axis=1)
        else:
            rows, columns = _places(self.truth[part], molecules)
            scores[rows, columns] = -np.inf
            self.n_candidates[part] += len(molecules)
            self.n_candidates[part[rows]] -= 1
        floor = (self.truth_scores[part] - self.tolerance).astype(np.float32)
        self.beaten_by[part] += np.count_nonzero(scores >= floor[:, None], axis=1)
        column = scores.argmax(axis=1)
        best, score = molecules[column], scores[np.arange(len(scores)), column].astype(np.float64)
        known, known_score = self.best_other[part], self.best_other_score[part]
        better = (score > known_score) | ((score == known_score) & np.isfinite(score) & (best < known))
        self.best_other[part] = np.where(better, best, known)
        self.best_other_score[part] = np.where(better, score, known_score)


@dataclass
class TopKRanker(Ranker):
    """A ranker that keeps the best candidates beside the truth: `listed` (nq, depth - 1) int64 positions in
    no order, -1 where there are fewer, and `listed_scores` (nq, depth - 1) float32.
    """

    depth: int = SHORTLIST

    def __post_init__(self) -> None:
        super().__post_init__()
        shape = (len(self.queries), self.depth - 1)
        self.listed = np.full(shape, -1, np.int64)
        self.listed_scores = np.full(shape, -np.inf, np.float32)

    def _count(self, part: Ints, scores: Float32s, molecules: Ints) -> None:
        super()._count(part, scores, molecules)  # the truth and what a filter keeps out score -inf now
        over = scores > self.listed_scores[part].min(axis=1)[:, None]
        found = np.count_nonzero(over, axis=1)
        most, widest = self.depth - 1, int(found.max(initial=0))
        if not widest:
            return
        if widest > most:  # the first blocks
            new = np.argpartition(scores, -min(most, scores.shape[1]), axis=1)[:, -most:]
            values, places = np.take_along_axis(scores, new, axis=1), molecules[new]
        else:  # few are better than the list: no need to partition the block
            rows, columns = np.nonzero(over)
            slots = np.arange(len(rows)) - np.repeat(np.cumsum(found) - found, found)
            values = np.full((len(part), widest), -np.inf, np.float32)
            places = np.full((len(part), widest), -1, np.int64)
            values[rows, slots], places[rows, slots] = scores[rows, columns], molecules[columns]
        values = np.concatenate([self.listed_scores[part], values], axis=1)
        places = np.concatenate([self.listed[part], places], axis=1)
        best = np.argpartition(values, -most, axis=1)[:, -most:]
        self.listed_scores[part] = np.take_along_axis(values, best, axis=1)
        self.listed[part] = np.where(
            np.isfinite(self.listed_scores[part]), np.take_along_axis(places, best, axis=1), -1
        )


def truth_scores(queries: Float32s, truths: Ints, places: Ints, vectors: Float32s) -> Floats:
    """(nq,) inner product of each query (nq, d) with its truth, the best one of several records; minus
    infinity where the truth has no vector. `vectors` (n, d) of the pool positions `places` (n,), in any
    order.
    """
    order = np.argsort(places, kind="stable")
    low, high = (np.searchsorted(places, truths, side=side, sorter=order) for side in ("left", "right"))
    scores = np.full(len(queries), -np.inf)
    for i in np.flatnonzero(high > low).tolist():
        scores[i] = (vectors[order[low[i] : high[i]]] @ queries[i]).max()
    return scores


def _places(truth: Ints, molecules: Ints) -> tuple[Ints, Ints]:
    """Where the truths (nq,) are among distinct `molecules` (nb,): rows and columns of those that are."""
    order = np.argsort(molecules)
    place = np.minimum(np.searchsorted(molecules, truth, sorter=order), len(molecules) - 1)
    columns = order[place]
    rows = np.flatnonzero(molecules[columns] == truth)
    return rows, columns[rows]


_COUNTED = ("beaten_by", "n_candidates", "best_other", "best_other_score", "listed", "listed_scores")
"""arrays of a ranker that change as it counts"""


@dataclass(frozen=True)
class NestedPools:
    """Pools of several sizes from one seeded order, ranked in one pass.

    A pool of n molecules is a query's truth and the first n - 1 *others* of the order, so that each smaller
    pool is part of every larger one and all have exactly n candidates. Only the very last candidate of a pool
    depends on the query: it belongs to the pool where the truth comes before it in the order.

    `sizes`, ascending, and the order (n,) in which molecules, by their position, enter.
    """

    sizes: tuple[int, ...]
    order: Ints

    @classmethod
    def of(cls, sizes: Sequence[int], n_first: int, n_more: int, seed: int) -> NestedPools:
        """Positions 0 to `n_first` (the questions' files) enter first, then `n_more` others (large
        libraries). All sizes must fit.
        """
        rng = np.random.default_rng([seed, 2])
        order = np.concatenate([rng.permutation(n_first), n_first + rng.permutation(n_more)])
        chosen = tuple(sorted(set(sizes)))
        if not chosen or chosen[0] < 1 or chosen[-1] > len(order):
            raise ValueError(f"pools of {sizes} from {len(order)} molecules")
        return cls(chosen, order)

    def rank(
        self, ranker: Ranker, vectors: Callable[[Ints], tuple[Ints, Float32s]]
    ) -> Iterator[tuple[int, Ranker]]:
        """(size, a ranker with the counts of that pool) for each size.

        `vectors`: positions (n,) ascending -> the positions that have a vector and these vectors (n, d).
        """
        turn = np.empty(len(self.order), np.int64)
        turn[self.order] = np.arange(len(self.order))
        low = 0
        for size in self.sizes:
            entering = np.sort(self.order[low : size - 1])  # neighbours in the files are read together
            for start in range(0, len(entering), BLOCK):
                places, found = vectors(entering[start : start + BLOCK])
                ranker.add(found, places)
            before = _copy_of(ranker)
            places, found = vectors(self.order[size - 1 : size])
            ranker.add(found, places)
            after = _copy_of(ranker)
            later = turn[ranker.truth] >= size
            for name in _COUNTED:
                if hasattr(ranker, name):
                    getattr(after, name)[later] = getattr(before, name)[later]
            yield size, after
            low = size

    @staticmethod
    def fitting(sizes: Sequence[int], n: int) -> tuple[list[int], list[int]]:
        """The sizes that `n` molecules can fill, and those that they cannot."""
        return [size for size in sizes if size <= n], [size for size in sizes if size > n]


def _copy_of(ranker: Ranker) -> Ranker:
    """A copy with arrays of its own."""
    one = copy(ranker)
    for name in _COUNTED:
        if hasattr(ranker, name):
            setattr(one, name, getattr(ranker, name).copy())
    return one
