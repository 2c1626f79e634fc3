"""What a search returns: `Hits` (keys and scores), `HitList` (one per side searched) and `Answer`."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from acml_search.core.errors import ConfigError
from acml_search.core.typing import Float32s, Floats, Ints
from acml_search.search.explanation import Explanation

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from acml_search.modalities import Observation

NO_HIT = -1  # the key of an unfilled place
MOLECULE_COLUMNS = ("key", "smiles", "inchikey", "formula", "exact_mass")
HIT_COLUMNS = ("modality", "side", "rank", "score", "probability", "why")


class _HitsFields(NamedTuple):
    keys: Ints
    scores: Float32s


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
    def counts(self) -> Ints:
        """(nq,) int64: how many hits each query has."""
        return (self.keys != NO_HIT).sum(axis=1)

    def head(self, k: int) -> Hits:
        """The first k hits of each query."""
        return Hits(self.keys[:, :k], self.scores[:, :k])

    def to_arrow(self) -> pa.Table:
        """One row per hit: query (int64, 0-based), rank (int64, 1-based), key (int64), score (float32)."""
        import pyarrow as pa

        query, place = np.nonzero(self.keys != NO_HIT)
        keys, scores = self.keys[query, place], self.scores[query, place]
        return pa.table({"query": query, "rank": place + 1, "key": keys, "score": scores})

    def to_pandas(self) -> pd.DataFrame:
        """`to_arrow` as a pandas DataFrame. Raises ConfigError when pandas is not installed."""
        return _to_pandas(self.to_arrow())

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


@dataclass(frozen=True)
class HitList:
    """The hits of one query on one side of one space, best first.

    modality: the space's name, or "fused"; side: "records" (which record would this molecule give) or
    "graph". hits: `Hits` of shape (1, k).
    probabilities: (n,) float64, the softmax of the logits over the shortlist: how far a hit stands out from
    the other candidates, not a calibrated chance of being right.
    scale: logit = scale x score. molecules: pyarrow Table of n rows, the hits' molecules in their order.
    explanations: one per hit; without them, the logit is all that is known. ranks: where the list does not
    begin with the best, each hit's place from 1; None where it is not known.
    """

    modality: str
    side: str
    hits: Hits
    probabilities: Floats
    scale: float
    molecules: pa.Table
    explanations: Sequence[Explanation] | None = None
    ranks: Sequence[int | None] | None = None

    def __len__(self) -> int:
        return int(self.hits.counts[0])

    def explanation(self, i: int) -> Explanation:
        """Why the i-th hit is one."""
        if self.explanations is not None:
            return self.explanations[i]
        return Explanation({self.modality: self.scale * float(self.hits.scores[0, i])})

    def rows(self) -> Iterator[dict[str, Any]]:
        """One dict per hit, keys in the order of the command line's JSON, then the library's own columns."""
        extra = extra_columns(self.molecules.column_names)
        for i, molecule in enumerate(self.molecules.to_pylist()):
            yield {
                "rank": i + 1 if self.ranks is None else self.ranks[i],
                **{name: molecule[name] for name in MOLECULE_COLUMNS},
                "score": round(float(self.hits.scores[0, i]), 6),
                "probability": float(f"{self.probabilities[i]:.4g}"),
                "why": self.explanation(i).to_dict(),
                **{shown: molecule[name] for name, shown in extra.items()},
            }

    def to_dict(self) -> dict[str, Any]:
        hits = [{name: plain(value) for name, value in row.items()} for row in self.rows()]
        return {"modality": self.modality, "side": self.side, "hits": hits}


@dataclass(frozen=True)
class Answer:
    """The answer to one query. `print(answer)` shows a table.

    query: the question and how it was understood (given and standardised SMILES, or observations; k, filter,
    ...), as JSON shows it. lists: one `HitList` per side searched. seconds: where the time went.
    notes: sentences a user should read, such as that fewer than k molecules pass the filter.
    observations: those that were given, typed; none when a molecule was.
    """

    query: dict[str, Any]
    index: str
    lists: list[HitList]
    seconds: Mapping[str, float]
    notes: list[str] = field(default_factory=list)
    observations: Sequence[Observation] = ()

    def to_dict(self) -> dict[str, Any]:
        """The JSON document of `acml-search query --json`, in JSON's own types only."""
        return {
            "query": plain(self.query),
            "index": self.index,
            "lists": [hits.to_dict() for hits in self.lists],
            "seconds": {name: round(value, 6) for name, value in self.seconds.items()},
            "notes": list(self.notes),
        }

    def to_arrow(self) -> pa.Table:
        """One row per hit of every list: modality, side, rank, the molecule, score, probability, metadata."""
        import pyarrow as pa

        tables = []
        for hits in self.lists:
            n = len(hits)
            columns = {
                "modality": pa.array([hits.modality] * n, pa.string()),
                "side": pa.array([hits.side] * n, pa.string()),
                "rank": pa.array(hits.ranks or range(1, n + 1), pa.int64()),
            }
            columns |= {name: hits.molecules.column(name) for name in MOLECULE_COLUMNS}
            columns["score"] = pa.array(hits.hits.scores[0, :n])
            columns["probability"] = pa.array(hits.probabilities)
            for name, shown in extra_columns(hits.molecules.column_names).items():
                columns[shown] = hits.molecules.column(name)
            tables.append(pa.table(columns))
        return pa.concat_tables(tables, promote_options="default")  # records have columns of their own

    def to_pandas(self) -> pd.DataFrame:
        """`to_arrow` as a pandas DataFrame. Raises ConfigError when pandas is not installed."""
        return _to_pandas(self.to_arrow())

    def __str__(self) -> str:
        from acml_search.search.render.terminal import render

        return render(self)

    def __repr__(self) -> str:
        counts = ", ".join(f"{hits.modality}/{hits.side}: {len(hits)} hits" for hits in self.lists)
        given = self.query.get("smiles") or [one.modality for one in self.observations]
        return f"Answer({given!r}, {counts})"


def extra_columns(columns: Sequence[str]) -> dict[str, str]:
    """The library's own columns and their names in a hit: `input_` goes before one that would clash."""
    names = {}
    for column in columns:
        if column not in MOLECULE_COLUMNS:
            shown = column
            while shown in HIT_COLUMNS or (shown != column and shown in columns):
                shown = f"input_{shown}"
            names[column] = shown
    return names


def plain(value: Any) -> Any:
    """`value` in JSON's own types: NaN and infinity as null, bytes base64, dates ISO 8601, else text."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float | Decimal):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic | np.ndarray):
        return plain(value.tolist())
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    return str(value)


def _to_pandas(table: Any) -> pd.DataFrame:
    """A pyarrow Table as a DataFrame. Raises ConfigError when pandas, which is optional, is not installed."""
    try:
        import pandas  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "to_pandas needs pandas: pip install 'acml-search[pandas]', or use to_arrow"
        ) from error
    return table.to_pandas()
