"""A question asked in nested pools of many sizes: recall against the size of the pool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from acml_search.evaluation.data.structures import Structure
from acml_search.evaluation.measures import metrics
from acml_search.evaluation.ranks.answers import molecules_of
from acml_search.evaluation.ranks.pools import NestedPools, fitting, summary
from acml_search.evaluation.ranks.ranking import Ranker
from acml_search.evaluation.ranks.retrieval import Asked, answered_by
from acml_search.evaluation.rerank.rescoring import Listing
from benchmarks.suite.asking import Asking

Ints = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]

_ROWS: dict[str, pa.DataType] = {
    "n_pool": pa.int64(),
    "row": pa.int64(),
    "molecule": pa.string(),
    "rank": pa.int64(),
    "n_candidates": pa.int64(),
    "error": pa.string(),
}


def ask(asking: Asking, ranker: Ranker) -> tuple[Ranker, dict[str, Any]]:
    """The ranking in the question's whole pool, and what its result says of all pools.

    `ranker` has counted nothing yet. Sizes that the files cannot fill are left out, and noted.
    """
    question, n = asking.question, len(asking.pool)
    if question.pools[-1] > n:
        asking.more = further_molecules(asking)
    sizes, left = fitting(question.pools, n + len(asking.more))
    if left:
        asking.skip(
            f"pools of {' and '.join(f'{size:,}' for size in left)}",
            f"the files hold {n + len(asking.more):,} molecules",
        )
    row_of = np.full(n, -1, np.int64)
    row_of[asking.places] = np.arange(len(asking.places))

    def vectors(positions: Ints) -> tuple[Ints, Vectors]:
        mine, others = positions[positions < n], positions[positions >= n]
        rows = row_of[mine]
        known = asking.table[rows[rows >= 0]]
        if not len(others):
            return mine[rows >= 0], known
        at, found = asking.finite(others, [asking.more[i] for i in (others - n).tolist()])
        return np.concatenate([mine[rows >= 0], at]), np.concatenate([known, found])

    nested = NestedPools.of([*sizes, n], n, len(asking.more), asking.bench.suite.seed)
    answers: dict[int, list[Asked]] = {}
    whole = ranker
    for size, counted in nested.rank(ranker, vectors):
        if size == n:
            whole = counted
        if size in sizes:
            answers[size] = answered_by(asking.asked, counted)
            if isinstance(counted, Listing):
                asking.listed_in[size] = counted
        asking.clock.lap(f"rank in {size:,}")
    return whole, tell(asking, answers, "")


def further_molecules(asking: Asking) -> list[Structure]:
    """The molecules of `large` libraries that the question's own pool lacks, each once."""
    known = {one.block for one in asking.pool.structures}
    found: list[Structure] = []
    for path in asking.question.large:
        for one in asking.bench.structures[path]:
            if not isinstance(one, str) and one.block not in known:
                known.add(one.block)
                found.append(one)
    return found


def tell(asking: Asking, answers: Mapping[int, Sequence[Asked]], what: str) -> dict[str, Any]:
    """Write the answers in pools of all sizes beside the results, and sum them up. `what` goes into the
    file's name.
    """
    bench, question = asking.bench, asking.question
    path = bench.out / f"{question.name}{what}.pools.queries.parquet"
    rows = [
        {
            "n_pool": size,
            "row": one.query.row,
            "molecule": one.query.structure.block if one.query.structure else None,
            "rank": int(one.rank) if np.isfinite(one.rank) else None,
            "n_candidates": one.n_candidates,
            "error": one.error,
        }
        for size, asked in answers.items()
        for one in asked
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema(_ROWS)), path, compression="zstd")
    by_pool = [
        {
            **summary(size, asked, molecules_of(asked), ks=metrics.KS, seed=bench.suite.seed),
            "n_queries": len(asked),
            "n_from_large": max(0, size - len(asking.pool)),
        }
        for size, asked in answers.items()
    ]
    return {"by_pool": by_pool, "per_query_by_pool": path.name, "large": [str(one) for one in question.large]}
