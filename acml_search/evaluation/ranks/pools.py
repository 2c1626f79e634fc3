"""Recall against the size of the pool: nested pools of one seeded order, ranked in one pass.

A pool of n molecules is a query's truth and the first n - 1 *others* of a random order, so that each smaller
pool is part of every larger one and all have exactly n candidates. Molecules of the questions' own files come
first in the order; those of `large` libraries only fill what is beyond them.

Candidates are counted pool by pool. Only the very last one of a pool depends on the query: it belongs to the
pool where the truth stands before it in the order, and not where the truth comes later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from acml_search.evaluation.measures import metrics
from acml_search.evaluation.ranks.ranking import Ranker
from acml_search.evaluation.ranks.retrieval import Asked

BLOCK = 8_192  # candidates scored at once

Ints = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]

_COUNTED = ("beaten_by", "n_candidates", "best_other", "best_other_score", "listed", "listed_scores")
"""what a ranker, or one that keeps shortlists, knows of each query so far"""


@dataclass(frozen=True)
class NestedPools:
    """`sizes`, ascending, and the order (n,) in which molecules, by their position, enter."""

    sizes: tuple[int, ...]
    order: Ints

    @classmethod
    def of(cls, sizes: Sequence[int], n_first: int, n_more: int, seed: int) -> NestedPools:
        """Of positions 0 to `n_first` (the questions' files), then `n_more` others. All sizes must fit."""
        rng = np.random.default_rng([seed, 2])
        order = np.concatenate([rng.permutation(n_first), n_first + rng.permutation(n_more)])
        chosen = tuple(sorted(set(sizes)))
        if not chosen or chosen[0] < 1 or chosen[-1] > len(order):
            raise ValueError(f"pools of {sizes} from {len(order)} molecules")
        return cls(chosen, order)

    def rank(
        self, ranker: Ranker, vectors: Callable[[Ints], tuple[Ints, Vectors]]
    ) -> Iterator[tuple[int, Ranker]]:
        """(size, what the ranker counted in that pool) for each size.

        `vectors`: positions (n,) ascending -> the positions that have a vector and these vectors (n, d).
        """
        turn = np.empty(len(self.order), np.int64)
        turn[self.order] = np.arange(len(self.order))
        low = 0
        for size in self.sizes:
            inner = np.sort(
                self.order[low : size - 1]
            )  # ascending: neighbours in the files are read together
            for start in range(0, len(inner), BLOCK):
                self._add(ranker, vectors, inner[start : start + BLOCK])
            before = _still(ranker)
            self._add(ranker, vectors, self.order[size - 1 : size])
            yield size, _either(before, ranker, turn[ranker.truth] < size)
            low = size

    @staticmethod
    def _add(ranker: Ranker, vectors: Callable[[Ints], tuple[Ints, Vectors]], positions: Ints) -> None:
        places, found = vectors(positions)
        ranker.add(found, places)


def _still(ranker: Ranker) -> Ranker:
    """A copy that counting on leaves as it is."""
    one = copy(ranker)
    for name in _COUNTED:
        if hasattr(ranker, name):
            setattr(one, name, getattr(ranker, name).copy())
    return one


def _either(before: Ranker, after: Ranker, later: npt.NDArray[np.bool_]) -> Ranker:
    """What `after` knows of the queries `later` (nq,), and `before` of the others."""
    one = _still(before)
    for name in _COUNTED:
        if hasattr(one, name):
            getattr(one, name)[later] = getattr(after, name)[later]
    return one


def fitting(sizes: Sequence[int], n: int) -> tuple[list[int], list[int]]:
    """The sizes that `n` molecules can fill, and those that they cannot."""
    return [size for size in sizes if size <= n], [size for size in sizes if size > n]


def summary(
    size: int, asked: Sequence[Asked], molecules: Sequence[int], *, ks: Sequence[int], seed: int
) -> dict[str, Any]:
    """An entry of `by_pool`: recall, MRR, intervals and chance in a pool of `size`."""
    n_candidates = [one.n_candidates if one.truth >= 0 else size for one in asked]
    found = metrics.summarise([one.rank for one in asked], molecules, n_candidates, ks=ks, seed=seed)
    return {"n_pool": size, **found}
