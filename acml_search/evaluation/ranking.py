"""The rank of each query's truth among candidates that arrive in blocks: no score matrix is kept.

The truth's score is known beforehand, so that a block only has to be counted: how many of its candidates
score at least as high (ties lose, see `metrics.TIE_TOLERANCE`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field

import numpy as np

from acml_search.core.typing import Bools, Float32s, Floats, Ints
from acml_search.evaluation.metrics import TIE_TOLERANCE
from acml_search.nmr.hydrogens import hydrogen_prior

QUERY_BLOCK = 1_024
BLOCK = 2_048
"""candidates scored at once: larger blocks leave the cache, and cover more masses that a filter excludes"""
SHORTLIST = 200
"""candidates that are re-ranked, the truth included"""
_SLACK = 1e-6  # Da: rounding of sums and differences of masses; far below any useful width


@dataclass(frozen=True)
class Conditions:
    """Which pool molecules may answer a query: those of the truth's formula, and those near its neutral exact
    mass; a condition that is None excludes nobody.

    `codes` (n_pool,): a number per distinct formula; `masses` (n_pool,) in Da, with a width `da` or `ppm`.
    """

    codes: Ints | None = None
    masses: Floats | None = None
    da: float | None = None
    ppm: float | None = None

    def __bool__(self) -> bool:
        return self.codes is not None or self.masses is not None

    def mask(self, truth: Ints, pool: Ints) -> Bools:
        """(nq, nb) of the queries' molecules `truth` (nq,) and candidates `pool` (nb,), pool positions."""
        keep = np.ones((len(truth), len(pool)), bool)
        if self.codes is not None:
            keep &= self.codes[truth][:, None] == self.codes[pool][None, :]
        if self.masses is not None:
            centre, width = self._windows(truth, self.masses)
            keep &= np.abs(self.masses[pool][None, :] - centre[:, None]) <= width[:, None]
        return keep

    def concerned(self, truth: Ints, pool: Ints) -> Bools:
        """(nq,) False for queries that can find no candidate among `pool`; True in doubt."""
        found = np.ones(len(truth), bool)
        if self.codes is not None:
            found &= np.isin(self.codes[truth], self.codes[pool])
        if self.masses is not None:
            centre, width = self._windows(truth, self.masses)
            near = self.masses[pool]
            found &= (centre + width + _SLACK >= near.min()) & (centre - width - _SLACK <= near.max())
        return found

    def _windows(self, truth: Ints, masses: Floats) -> tuple[Floats, Floats]:
        centre = masses[truth]
        if self.da is not None:
            return centre, np.full_like(centre, self.da)
        return centre, centre * (self.ppm or 0.0) * 1e-6


@dataclass(frozen=True)
class HydrogenBias:
    """What is added to the scores of candidates by the hydrogens that 1H spectra count, as in a search.

    `observed` (nq,): counted by each query, -1 where it counts none; `hydrogens` and `exchangeable`
    (n_pool,) of the molecules; `scale`: logit per unit of score.
    """

    observed: Ints
    hydrogens: Ints
    exchangeable: Ints
    scale: float

    def logits(self, rows: Ints, places: Ints) -> Floats:
        """(len(rows), n) of the queries `rows` and candidates `places`: (n,) the same for all, or each
        query's own; 0 where there is no candidate (-1)."""
        observed = self.observed[rows][:, None]
        prior = hydrogen_prior(observed, self.hydrogens[places], self.exchangeable[places])
        return np.where((observed >= 0) & (places >= 0), prior, 0.0)


@dataclass
class Ranker:
    """Counts, block by block, the candidates that beat or equal the truth.

    `queries` (nq, d) float32 and `truth_scores` (nq,): the score of each query with its truth, the inner
    product where candidates come as vectors; `truth` (nq,): the truth's position in the pool. Where only
    scores are added, `queries` may be (nq, 0). A `bias` is added to all scores, also to `truth_scores`.

    `ranks` (nq,) 1 + the number of others scoring at least as high; `n_candidates` (nq,) with the truth;
    `best_other` (nq,) position of the best wrong candidate, of equal ones the lowest, -1 where there is none;
    `best_other_score` (nq,). With a `depth` it keeps the best candidates beside the truth: `listed` (nq,
    depth - 1) int64 positions in no order, -1 where there are fewer, and `listed_scores` float32.
    """

    queries: Float32s
    truth_scores: Floats
    truth: Ints
    conditions: Conditions = field(default_factory=Conditions)
    depth: int | None = None
    bias: HydrogenBias | None = None

    def __post_init__(self) -> None:
        n = len(self.queries)
        if self.bias is not None:
            own = self.bias.logits(np.arange(n), self.truth[:, None])[:, 0]
            self.truth_scores = self.truth_scores + own / self.bias.scale
        self.beaten_by = np.zeros(n, dtype=np.int64)
        self.n_candidates = np.ones(n, dtype=np.int64)  # the truth itself
        self.best_other = np.full(n, -1, dtype=np.int64)
        self.best_other_score = np.full(n, -np.inf)
        shape = (n, (self.depth or 1) - 1)
        self.listed = np.full(shape, -1, np.int64)
        self.listed_scores = np.full(shape, -np.inf, np.float32)

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
        for part in self._asking(molecules):
            scores = self.queries[part] @ vectors.T
            if len(starts) < len(pool):
                scores = np.maximum.reduceat(scores, starts, axis=1)
            self._count(part, scores, molecules)

    def add_scores(self, scores: Float32s, positions: Ints) -> None:
        """Count candidates by scores (nq, n) float32, left as they are; distinct pool `positions` (n,)."""
        for part in self._asking(positions):
            self._count(part, np.asarray(scores[part], np.float32), positions)  # a copy

    def copy(self) -> Ranker:
        """With arrays of its own, to go on counting."""
        one = copy(self)
        for name in _COUNTED:
            setattr(one, name, getattr(self, name).copy())
        return one

    def _asking(self, molecules: Ints) -> Iterator[Ints]:
        """Blocks of the queries that may find a candidate among the molecules."""
        if len(molecules):
            asking = np.flatnonzero(self.conditions.concerned(self.truth, molecules))
            for low in range(0, len(asking), QUERY_BLOCK):
                yield asking[low : low + QUERY_BLOCK]

    def _count(self, part: Ints, scores: Float32s, molecules: Ints) -> None:
        if self.bias is not None:
            scores += (self.bias.logits(part, molecules) / self.bias.scale).astype(np.float32)
        if self.conditions:
            usable = self.truth[part][:, None] != molecules[None, :]
            usable &= self.conditions.mask(self.truth[part], molecules)
            scores[~usable] = -np.inf
            self.n_candidates[part] += np.count_nonzero(usable, axis=1)
        else:
            rows, columns = _places(self.truth[part], molecules)
            scores[rows, columns] = -np.inf
            self.n_candidates[part] += len(molecules)
            self.n_candidates[part[rows]] -= 1
        floor = (self.truth_scores[part] - TIE_TOLERANCE).astype(np.float32)
        self.beaten_by[part] += np.count_nonzero(scores >= floor[:, None], axis=1)
        column = scores.argmax(axis=1)
        best, score = molecules[column], scores[np.arange(len(scores)), column].astype(np.float64)
        known, known_score = self.best_other[part], self.best_other_score[part]
        better = (score > known_score) | ((score == known_score) & np.isfinite(score) & (best < known))
        self.best_other[part] = np.where(better, best, known)
        self.best_other_score[part] = np.where(better, score, known_score)
        if self.depth is not None:
            self._keep_best(part, scores, molecules, self.depth - 1)

    def _keep_best(self, part: Ints, scores: Float32s, molecules: Ints, most: int) -> None:
        """Merge a block into the shortlists; the truth and what a filter excludes score -inf."""
        over = scores > self.listed_scores[part].min(axis=1, initial=np.inf)[:, None]
        found = np.count_nonzero(over, axis=1)
        widest = int(found.max(initial=0))
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
        self.listed_scores[part] = kept = np.take_along_axis(values, best, axis=1)
        self.listed[part] = np.where(np.isfinite(kept), np.take_along_axis(places, best, axis=1), -1)


_COUNTED = ("beaten_by", "n_candidates", "best_other", "best_other_score", "listed", "listed_scores")
"""arrays of a ranker that change as it counts"""


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


def rank_in_pools(
    ranker: Ranker, sizes: Sequence[int], order: Ints, vectors: Callable[[Ints], tuple[Ints, Float32s]]
) -> Iterator[tuple[int, Ranker]]:
    """(size, a ranker with the counts of that pool) for pools of several sizes, ranked in one pass.

    A pool of n molecules is a query's truth and the first n - 1 *others* of one `order` (n_pool,), so that
    each smaller pool is part of every larger one and all have exactly n candidates. Only the very last
    candidate of a pool depends on the query: it belongs to the pool where the truth comes before it in the
    order. `vectors`: positions (n,) ascending -> the positions that have a vector and these vectors (n, d).
    """
    turn = np.empty(len(order), np.int64)
    turn[order] = np.arange(len(order))
    low = 0
    for size in sorted(set(sizes)):
        entering = np.sort(order[low : size - 1])  # neighbours in the files are read together
        for start in range(0, len(entering), BLOCK):
            places, found = vectors(entering[start : start + BLOCK])
            ranker.add(found, places)
        before = ranker.copy()
        places, found = vectors(order[size - 1 : size])
        ranker.add(found, places)
        after = ranker.copy()
        later = turn[ranker.truth] >= size
        for name in _COUNTED:
            getattr(after, name)[later] = getattr(before, name)[later]
        yield size, after
        low = size


def pool_order(n: int, seed: int) -> Ints:
    """(n,) the seeded order in which molecules enter pools of growing size."""
    return np.random.default_rng([seed, 2]).permutation(n)
