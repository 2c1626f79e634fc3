"""What a search returns: `Answer`, one `HitList` per side searched, and how they turn into rows and JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from acml_search.search.columns import MOLECULE_COLUMNS, extra_columns, plain
from acml_search.search.hits import Hits, table_to_pandas
from acml_search.search.table import render

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


@dataclass(frozen=True)
class HitList:
    """The hits of one query on one side of one space, best first.

    modality: the space's name; side: "records" (which record would this molecule give) or "graph".
    hits: `Hits` of shape (1, k).
    probabilities: (n,) float64, the softmax of the logits over the shortlist: how far a hit stands out from
    the others found, not a calibrated chance of being right.
    scale: logit = scale x score. molecules: pyarrow Table of n rows, the hits' molecules in their order.
    why: the reason for each hit, where more than its logit is known. ranks: where the list does not begin
    with the best, each hit's place from 1; None where it is not known.
    """

    modality: str
    side: str
    hits: Hits
    probabilities: npt.NDArray[np.float64]
    scale: float
    molecules: pa.Table
    why: Sequence[dict[str, Any]] | None = None
    ranks: Sequence[int | None] | None = None

    def __len__(self) -> int:
        return int(self.hits.counts[0])

    def rows(self) -> Iterator[dict[str, Any]]:
        """One dict per hit, keys in the order of the command line's JSON, then the library's own columns."""
        extra = extra_columns(self.molecules.column_names)
        for i, molecule in enumerate(self.molecules.to_pylist()):
            score = float(self.hits.scores[0, i])
            yield {
                "rank": i + 1 if self.ranks is None else self.ranks[i],
                **{name: molecule[name] for name in MOLECULE_COLUMNS},
                "score": round(score, 6),
                "probability": float(f"{self.probabilities[i]:.4g}"),
                "why": self._logit(score) if self.why is None else self.why[i],
                **{shown: molecule[name] for name, shown in extra.items()},
            }

    def _logit(self, score: float) -> dict[str, Any]:
        return {"logits": {self.modality: round(self.scale * score, 4)}}

    def to_dict(self) -> dict[str, Any]:
        return {
            "modality": self.modality,
            "side": self.side,
            "hits": [{name: plain(value) for name, value in row.items()} for row in self.rows()],
        }


@dataclass(frozen=True)
class Answer:
    """The answer to one query. `print(answer)` shows a table.

    query: what was asked and how it was understood (given and standardised SMILES, InChIKey, k, filter, ...).
    lists: one `HitList` per side searched. seconds: where the time went.
    notes: sentences a user should read, such as that fewer than k molecules were found.
    """

    query: dict[str, Any]
    index: str
    lists: list[HitList]
    seconds: dict[str, float]
    notes: list[str] = field(default_factory=list)

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
        return table_to_pandas(self.to_arrow())

    def __str__(self) -> str:
        return render(self)

    def __repr__(self) -> str:
        counts = ", ".join(f"{hits.modality}/{hits.side}: {len(hits)} hits" for hits in self.lists)
        asked = self.query.get("smiles") or [one["modality"] for one in self.query.get("observations", [])]
        return f"Answer({asked!r}, {counts})"
