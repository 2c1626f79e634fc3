"""The best candidates of each query, as a search's answer shares out probability over them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from acml_search.evaluation.measures.calibration import Shortlists
from acml_search.evaluation.ranks.retrieval import Asked

SHORTLIST = 100
"""candidates that share out probability, as in a search's answer (`search.engine.SHORTLIST`)"""


def shortlists(
    asked: Sequence[Asked],
    queries: npt.NDArray[np.float32],
    places: npt.NDArray[np.int64],
    table: npt.NDArray[np.float32],
) -> Shortlists:
    """The best candidates of each query that has a vector and whose truth has one.

    `queries` (nq, d): the vectors of `asked`; `table` (n, d): those of the pool's molecules at `places` (n,).
    """
    import faiss

    row = np.full(int(places.max(initial=-1)) + 1, -1, np.int64)
    row[places] = np.arange(len(places))
    good = [i for i, one in enumerate(asked) if one.error is None and row[one.truth] >= 0]
    truths = row[[asked[i].truth for i in good]]
    k = min(SHORTLIST, len(places))
    if not good:
        return Shortlists(np.zeros((0, k)), np.zeros(0), np.zeros(0, np.int64), [])
    chosen = np.ascontiguousarray(queries[good])
    scores, at = faiss.knn(chosen, table, k, metric=faiss.METRIC_INNER_PRODUCT)
    listed = at == truths[:, None]
    truth_at = np.where(listed.any(axis=1), listed.argmax(axis=1), -1)
    truth_scores = np.einsum("nd,nd->n", chosen, table[truths]).astype(np.float64)
    blocks = [structure.block for i in good if (structure := asked[i].query.structure) is not None]
    return Shortlists(scores.astype(np.float64), truth_scores, truth_at, blocks)
