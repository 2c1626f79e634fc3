"""Candidates for one or several observations: found in each space, scored in all of them.

Every observation searches the graph side of its own space; the union of the shortlists is then scored in
every space, from the stored vectors, and the calibrated logits are added, each by what it counts for (a
logarithmic opinion pool: Genest and Zidek 1986): an observation that is missing adds nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from acml_search.core.errors import IndexCorrupt
from acml_search.search.hits import NO_HIT

if TYPE_CHECKING:
    from acml_search.index.opened import IndexDirectory

SHORTLIST = 500  # candidates that each observation contributes, at least

Keys = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Candidates(NamedTuple):
    """n molecules, the best first.

    keys: (n,) int64; cosines: (n,) float64 by space; logits: (n,) float64, the sum over the spaces of what
    each counts for x scale x cosine. listed: (n,) bool, found by a search, not only asked for by key.
    """

    keys: Keys
    cosines: dict[str, Floats]
    logits: Floats
    listed: npt.NDArray[np.bool_]

    def take(self, at: npt.NDArray[np.int64]) -> Candidates:
        """Those at the places `at`, in that order."""
        cosines = {m: x[at] for m, x in self.cosines.items()}
        return Candidates(self.keys[at], cosines, self.logits[at], self.listed[at])

    def places(self) -> list[int | None]:
        """Each one's rank among those that were listed, from 1; None for the others: better ones may be
        among the molecules that nobody looked at.
        """
        ranks = np.cumsum(self.listed).tolist()
        return [rank if listed else None for rank, listed in zip(ranks, self.listed.tolist(), strict=True)]


def gather(
    directory: IndexDirectory,
    vectors: Mapping[str, npt.NDArray[np.float32]],
    k: int,
    trust: Mapping[str, float],
    passing: Keys | None = None,
    besides: Keys | None = None,
) -> Candidates:
    """The candidates for observations with the unit vectors `vectors`, (d,) by space.

    k: at least so many of each space. trust: what each space's logit counts for. passing: keys that may be
    found, ascending; None for all. besides: keys that are candidates whatever their score.
    Raises IndexCorrupt where a molecule lacks a vector in one of the spaces.
    """
    found = []
    for name, vector in vectors.items():
        index = directory.vectors(name, "graph")
        positions = None if passing is None else index.positions_of(passing)
        _, keys = index.search(vector[None], max(k, SHORTLIST), positions)
        found.append(keys[0][keys[0] != NO_HIT])
    listed = np.unique(np.concatenate(found))
    union = listed if besides is None else np.union1d(listed, np.asarray(besides, np.int64))
    cosines = {name: _cosines(directory, name, vector, union) for name, vector in vectors.items()}
    logits = np.zeros(len(union))
    for name, values in cosines.items():
        logits += trust[name] * directory.spaces[name].scale * values
    # Ties by key, so that the same question has the same answer.
    return Candidates(union, cosines, logits, np.isin(union, listed)).take(np.lexsort((union, -logits)))


def _cosines(directory: IndexDirectory, name: str, vector: npt.NDArray[np.float32], keys: Keys) -> Floats:
    index = directory.vectors(name, "graph")
    positions = index.positions_of(keys)
    if len(positions) != len(keys):
        raise IndexCorrupt(
            directory.path,
            f"{len(keys) - len(positions)} of {len(keys)} candidates have no vector in space {name!r}; "
            "run `acml-search verify` on the index",
        )
    return np.asarray(index.stored(positions) @ vector, np.float64)
