"""How far a search must look: measured on real queries when an index is built, instead of guessed."""

from __future__ import annotations

from typing import Any, NamedTuple

import faiss
import numpy as np

from acml_search.core.typing import Float32s
from acml_search.index import factory as factories
from acml_search.index.exact import VectorStore

TARGET = 0.99  # recall@10 against an exact search
K = 10
QUERIES = 256
MAX_CODES = 250_000  # codes compared for one query; about 10 ms with 8-bit codes of 256 dimensions
TIE = 1e-6  # scores closer than this are the same place


class Calibration(NamedTuple):
    """Lists visited (IVF), candidates held (HNSW), and the recall@10 measured with them; None where a search
    has no such setting.
    """

    nprobe: int | None = None
    ef_search: int | None = None
    recall_at_10: float | None = None


def calibrate(index: Any, store: VectorStore, queries: Float32s) -> Calibration:
    """Choose `nprobe` or `efSearch` as the smallest power of two that reaches the target recall, within
    reason, for `queries` (nq, d).

    The setting stays on `index`. A target out of reach is not an error: the recall that was reached is
    stored.
    """
    queries = np.ascontiguousarray(queries[:QUERIES], np.float32)
    k = min(K, store.n)
    if len(queries) == 0 or k == 0:
        return Calibration()
    truth = np.stack([scores for scores, _ in store.search(queries, k)])
    wanted = min(store.n, max(factories.MIN_SHORTLIST, k * factories.shortlist_factor(index, store.d)))

    def recall() -> float:
        """Share of the first k hits that score as well as the true k-th."""
        right = 0
        for q, at, best in zip(queries, index.search(queries, wanted)[1], truth, strict=True):
            scores, _ = store.rank(q, at[at >= 0], k)
            right += int(np.sum(scores >= best[-1] - TIE))
        return round(right / truth.size, 4)

    def smallest(owner: Any, name: str, first: int, largest: int) -> tuple[int, float]:
        setting = first
        while True:
            setattr(owner, name, setting)
            reached = recall()
            if reached >= TARGET or setting >= largest:
                return setting, reached
            setting = min(2 * setting, largest)

    ivf = factories.inverted_lists(index)
    if ivf is not None:
        largest = max(1, min(ivf.nlist, MAX_CODES * ivf.nlist // store.n))
        setting, reached = smallest(ivf, "nprobe", 1, largest)
        return Calibration(nprobe=setting, recall_at_10=reached)
    if isinstance(index, faiss.IndexHNSW):
        setting, reached = smallest(index.hnsw, "efSearch", 64, 1024)
        return Calibration(ef_search=setting, recall_at_10=reached)
    return Calibration(recall_at_10=recall())
