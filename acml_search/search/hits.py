"""`Hits`: the k best keys and their scores for each of nq queries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from acml_search.core.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

NO_HIT = -1  # the key of an unfilled place


class _HitsFields(NamedTuple):
    keys: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]


class Hits(_HitsFields):
    """The best hits of nq queries, best first.

    keys: (nq, k) int64, the molecules' keys; -1 where there was no further hit (such places come last).
    scores: (nq, k) float32, inner products of unit vectors (higher is better); -inf where the key is -1.

    Lists are accepted: `Hits(keys=[[7, 3]], scores=[[0.9, 0.8]])`. Raises ConfigError when the shapes differ.
    """

    __slots__ = ()

    def __new__(cls, keys: npt.ArrayLike, scores: npt.ArrayLike) -> Hits:
        k = np.atleast_2d(np.asarray(keys, dtype=np.int64))
        s = np.atleast_2d(np.asarray(scores, dtype=np.float32))
        if k.ndim != 2 or k.shape != s.shape:
            raise ConfigError(f"Hits needs keys and scores of one shape (nq, k), not {k.shape} and {s.shape}")
        return super().__new__(cls, k, np.where(k == NO_HIT, np.float32(-np.inf), s))

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """(nq,) int64: how many hits each query has."""
        return (self.keys != NO_HIT).sum(axis=1)

    def head(self, k: int) -> Hits:
        """The first k hits of each query."""
        return Hits(self.keys[:, :k], self.scores[:, :k])

    def to_arrow(self) -> pa.Table:
        """One row per hit: query (int64, 0-based), rank (int64, 1-based), key (int64), score (float32)."""
        import pyarrow as pa

        query, place = np.nonzero(self.keys != NO_HIT)
        return pa.table(
            {
                "query": query,
                "rank": place + 1,
                "key": self.keys[query, place],
                "score": self.scores[query, place],
            }
        )

    def to_pandas(self) -> pd.DataFrame:
        """`to_arrow` as a pandas DataFrame. Raises ConfigError when pandas is not installed."""
        return table_to_pandas(self.to_arrow())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Hits):
            return NotImplemented
        return np.array_equal(self.keys, other.keys) and np.array_equal(self.scores, other.scores)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None  # type: ignore[assignment]  # holds arrays

    def __repr__(self) -> str:
        nq, k = self.keys.shape
        lines = [f"Hits(nq={nq}, k={k})"]
        for i in range(min(nq, 5)):
            n = int(self.counts[i])
            pairs = zip(self.keys[i, : min(n, 5)], self.scores[i, : min(n, 5)], strict=True)
            shown = ", ".join(f"{key}: {score:.4f}" for key, score in pairs)
            lines.append(f"  {i}: {shown or 'no hits'}{', …' if n > 5 else ''}")
        if nq > 5:
            lines.append(f"  … {nq - 5:,} more")
        return "\n".join(lines)


def table_to_pandas(table: Any) -> pd.DataFrame:
    """A pyarrow Table as a DataFrame. Raises ConfigError when pandas, which is optional, is not installed."""
    try:
        import pandas  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "to_pandas needs pandas: pip install 'acml-search[pandas]', or use to_arrow"
        ) from error
    return table.to_pandas()
