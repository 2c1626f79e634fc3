"""From scores to the order and the probabilities that are shown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from acml_search.search.hits import NO_HIT

# Vectors are stored in half precision, which moves an inner product of unit vectors by about 1e-5 (d = 256)
# to
# 4e-5 (d = 32): scores closer than this cannot be told apart.
TIE = 1e-4


def softmax(
    scores: npt.NDArray[np.float32], keys: npt.NDArray[np.int64], scale: float
) -> npt.NDArray[np.float64]:
    """(nq, n) float64: the softmax of scale x score over the filled places of each row, else 0."""
    filled = keys != NO_HIT
    logits = np.where(filled, scale * scores.astype(np.float64), -np.inf)
    best = logits.max(axis=1, keepdims=True, initial=-np.inf)
    weights = np.exp(logits - np.where(np.isfinite(best), best, 0.0))
    total = weights.sum(axis=1, keepdims=True)
    return weights / np.where(total > 0, total, 1.0)


def tied_with_best(scores: npt.NDArray[np.float32], keys: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """(nq,) int64: how many leading places of each row hold scores that cannot be told from its best."""
    tied = (keys != NO_HIT) & (scores >= scores[:, :1] - TIE)
    return tied.sum(axis=1)


def own_first(inchikeys: Sequence[str | None], tied: int, own: str) -> npt.NDArray[np.int64]:
    """The order (n,) int64 that puts the query's own molecule before others that it ties with for the first
    place.

    inchikeys: of the n hits, best first. tied: how many leading hits tie. own: the query's InChIKey.
    """
    order = np.arange(len(inchikeys), dtype=np.int64)
    mine = [i for i in range(min(tied, len(inchikeys))) if inchikeys[i] == own]
    if mine:
        others = np.delete(order, mine)
        order = np.concatenate([np.array(mine, dtype=np.int64), others])
    return order
