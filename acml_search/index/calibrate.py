"""How far a search must look: measured on real queries when an index is built, instead of guessed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np

from acml_search.index import factory as factories
from acml_search.index.exact import ExactStore, Floats

TARGET = 0.99  # recall@10 against an exact search
K = 10
QUERIES = 256
CODES_AT_MOST = 250_000  # codes compared for one query; about 10 ms with 8-bit codes of 256 dimensions
TIE = 1e-6  # scores closer than this are the same place


@dataclass(frozen=True)
class Calibration:
    """Lists visited (IVF), candidates held (HNSW), and the recall@10 measured with them; None where it has no
    say.
    """

    nprobe: int | None = None
    ef_search: int | None = None
    recall_at_10: float | None = None


def calibrate(index: Any, store: ExactStore, queries: Floats) -> Calibration:
    """Choose `nprobe` or `efSearch` as the smallest power of two that reaches the target recall, within
    reason.

    The setting stays on `index`. A target out of reach is not an error: the recall that was reached is
    stored.
    """
    queries = np.ascontiguousarray(queries[:QUERIES], np.float32)
    k = min(K, store.n)
    if len(queries) == 0 or k == 0:
        return Calibration()
    truth = np.stack([scores for scores, _ in store.search(queries, k)])
    ivf = factories.inverted_lists(index)
    if ivf is not None:
        largest = max(1, min(ivf.nlist, CODES_AT_MOST * ivf.nlist // store.n))
        setting, recall = _smallest(index, ivf, "nprobe", 1, largest, store, queries, truth)
        return Calibration(nprobe=setting, recall_at_10=recall)
    if isinstance(index, faiss.IndexHNSW):
        setting, recall = _smallest(index, index.hnsw, "efSearch", 64, 1024, store, queries, truth)
        return Calibration(ef_search=setting, recall_at_10=recall)
    return Calibration(recall_at_10=_recall(index, store, queries, truth))


def _smallest(
    index: Any,
    owner: Any,
    name: str,
    first: int,
    largest: int,
    store: ExactStore,
    queries: Floats,
    truth: Floats,
) -> tuple[int, float]:
    setting = first
    while True:
        setattr(owner, name, setting)
        recall = _recall(index, store, queries, truth)
        if recall >= TARGET or setting >= largest:
            return setting, recall
        setting = min(2 * setting, largest)


def _recall(index: Any, store: ExactStore, queries: Floats, truth: Floats) -> float:
    """Share of the first k hits that score as well as the true k-th."""
    k = truth.shape[1]
    wanted = max(factories.SHORTLIST_AT_LEAST, k * factories.shortlist_factor(index, store.d))
    candidates = index.search(queries, min(wanted, store.n))[1]
    right = 0
    for q, at, best in zip(queries, candidates, truth, strict=True):
        scores, _ = store.rank(q, at[at >= 0], k)
        right += int(np.sum(scores >= best[-1] - TIE))
    return round(right / truth.size, 4)
