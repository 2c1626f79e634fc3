"""The rank of each query's truth among candidates that arrive in blocks: no score matrix, no stored pool.

The truth's score is known beforehand, so that a block only has to be counted: how many of its candidates
score at least as high (ties lose, see `measures.metrics.TIE_TOLERANCE`). What is kept per query is a count,
the number of candidates that passed the filter, and the best wrong candidate.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from acml_search.evaluation.measures.metrics import TIE_TOLERANCE

QUERY_BLOCK = 1_024

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Vectors = npt.NDArray[np.float32]


class Candidates(Protocol):
    """Which pool molecules may answer a query; both arguments are positions in the pool."""

    def mask(self, truth: Ints, pool: Ints) -> npt.NDArray[np.bool_]:
        """`truth` (nq,) the queries' molecules, `pool` (nb,) -> bool (nq, nb)."""
        ...

    def concerned(self, truth: Ints, pool: Ints) -> npt.NDArray[np.bool_]:
        """Which queries may find a candidate among `pool` at all: bool (nq,), True in doubt."""
        ...


@dataclass(frozen=True)
class SameFormula:
    """Candidates of the truth's molecular formula. `codes` (n_pool,): a number per distinct formula."""

    codes: npt.NDArray[np.int64]

    def mask(self, truth: Ints, pool: Ints) -> npt.NDArray[np.bool_]:
        return self.codes[truth][:, None] == self.codes[pool][None, :]

    def concerned(self, truth: Ints, pool: Ints) -> npt.NDArray[np.bool_]:
        return np.isin(self.codes[truth], self.codes[pool])


@dataclass(frozen=True)
class MassWithin:
    """Candidates whose neutral exact mass is near the truth's. `masses` (n_pool,) in Da; one width given."""

    masses: Floats
    da: float | None = None
    ppm: float | None = None

    def mask(self, truth: Ints, pool: Ints) -> npt.NDArray[np.bool_]:
        centre, width = self._windows(truth)
        return np.abs(self.masses[pool][None, :] - centre[:, None]) <= width[:, None]

    def concerned(self, truth: Ints, pool: Ints) -> npt.NDArray[np.bool_]:
        centre, width = self._windows(truth)
        masses = self.masses[pool]
        slack = 1e-6  # what sums and differences of masses lose, and far below any width of use
        return (centre + width + slack >= masses.min()) & (centre - width - slack <= masses.max())

    def _windows(self, truth: Ints) -> tuple[Floats, Floats]:
        centre = self.masses[truth]
        if self.da is not None:
            return centre, np.full_like(centre, self.da)
        return centre, centre * (self.ppm or 0.0) * 1e-6


@dataclass(frozen=True)
class Every:
    """All of the given conditions at once (none: every molecule is a candidate)."""

    conditions: tuple[Candidates, ...] = ()

    def mask(self, truth: Ints, pool: Ints) -> npt.NDArray[np.bool_]:
        keep = np.ones((len(truth), len(pool)), dtype=bool)
        for condition in self.conditions:
            keep &= condition.mask(truth, pool)
        return keep

    def concerned(self, truth: Ints, pool: Ints) -> npt.NDArray[np.bool_]:
        concerned = np.ones(len(truth), dtype=bool)
        for condition in self.conditions:
            concerned &= condition.concerned(truth, pool)
        return concerned


@dataclass
class Ranker:
    """Counts, block by block, the candidates that beat or equal the truth.

    `queries` (nq, d) float32 and `truth_scores` (nq,): the score of each query with its truth, the inner
    product where candidates come as vectors; `truth` (nq,): the truth's position in the pool. Where only
    scores are added, `queries` may be (nq, 0).
    """

    queries: Vectors
    truth_scores: Floats
    truth: Ints
    candidates: Every = field(default_factory=Every)
    tolerance: float = TIE_TOLERANCE

    def __post_init__(self) -> None:
        n = len(self.queries)
        self.beaten_by = np.zeros(n, dtype=np.int64)
        self.n_candidates = np.ones(n, dtype=np.int64)  # the truth itself
        self.best_other = np.full(n, -1, dtype=np.int64)
        self.best_other_score = np.full(n, -np.inf)

    @property
    def ranks(self) -> Ints:
        """1 + the number of other candidates scoring at least as high, (nq,)."""
        return 1 + self.beaten_by

    def add(self, vectors: Vectors, pool: Ints) -> None:
        """Count one block of candidates.

        `vectors` (nb, d) float32, `pool` (nb,): the pool position of each. Rows of one molecule (several
        records) must stand side by side in one block: the molecule scores as its best record.
        With a filter, blocks of molecules of about one mass are counted much faster than mixed ones.
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

    def add_scores(self, scores: Vectors, positions: Ints) -> None:
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

    def _count(self, part: Ints, scores: Vectors, molecules: Ints) -> None:
        if self.candidates.conditions:
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
        best = scores.argmax(axis=1)
        score = scores[np.arange(len(scores)), best].astype(np.float64)
        better = score > self.best_other_score[part]
        self.best_other[part] = np.where(better, molecules[best], self.best_other[part])
        self.best_other_score[part] = np.where(better, score, self.best_other_score[part])


def _places(truth: Ints, molecules: Ints) -> tuple[Ints, Ints]:
    """Where the truths (nq,) stand among distinct `molecules` (nb,): rows and columns of those that do."""
    order = np.argsort(molecules)
    place = np.minimum(np.searchsorted(molecules, truth, sorter=order), len(molecules) - 1)
    columns = order[place]
    rows = np.flatnonzero(molecules[columns] == truth)
    return rows, columns[rows]
