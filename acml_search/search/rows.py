"""From the keys that a search found to the list that is shown: rows fetched once, ties settled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from acml_search.core.errors import IndexCorrupt
from acml_search.library.arrow import int64s, take
from acml_search.search.answer import HitList
from acml_search.search.hits import NO_HIT, Hits
from acml_search.search.rank import own_first, softmax, tied_with_best

if TYPE_CHECKING:
    import pyarrow as pa

    from acml_search.index.opened import IndexDirectory
    from acml_search.library.catalog import Catalog


class Side(NamedTuple):
    """One FAISS index to search: one side of the space called `modality`."""

    modality: str
    side: Literal["graph", "records"]


def rows_of(directory: IndexDirectory, sides: Sequence[Side], found: Sequence[Hits], k: int) -> list[Rows]:
    """For each side searched, the rows that may be shown of it; sides of molecules share theirs."""
    wanted = [worth_fetching(hits, k) for hits in found]
    measured = [directory.is_measured(*side) for side in sides]
    of_molecules = [keys for keys, own in zip(wanted, measured, strict=True) if not own]
    molecules = Rows(directory, directory.catalog, of_molecules)
    return [
        Rows(directory, directory.records(side.modality), [keys]) if own else molecules
        for side, keys, own in zip(sides, wanted, measured, strict=True)
    ]


class Rows:
    """The rows of a catalogue, of molecules or of measured records, for all hits of a batch, fetched once."""

    def __init__(
        self, directory: IndexDirectory, catalog: Catalog, keys: list[npt.NDArray[np.int64]]
    ) -> None:
        self._keys = np.unique(np.concatenate([np.zeros(0, np.int64), *keys]))
        try:
            self._table = catalog.rows(self._keys)
        except KeyError as error:
            raise IndexCorrupt(
                directory.path,
                f"a hit has no row ({error.args[0]}); run `acml-search verify` on the index",
            ) from error

    def at(self, keys: npt.NDArray[np.int64]) -> pa.Table:
        return take(self._table, np.searchsorted(self._keys, keys))


def one_of(hits: Hits, i: int) -> Hits:
    return Hits(hits.keys[i : i + 1], hits.scores[i : i + 1])


def worth_fetching(hits: Hits, k: int) -> npt.NDArray[np.int64]:
    """The keys that may be shown: the first k of each query, and further ones that tie with its best."""
    places = np.arange(hits.keys.shape[1])[None]
    wanted = places < np.maximum(k, tied_with_best(hits.scores, hits.keys))[:, None]
    return hits.keys[wanted & (hits.keys != NO_HIT)]


def hit_list(side: Side, hits: Hits, k: int, scale: float, own: str, rows: Rows) -> HitList:
    """The first k of one query's shortlist (`hits`, one row), its own molecule first among equals.

    Of measured records, several may be of one molecule; the keys shown are the molecules'.
    """
    tied = int(tied_with_best(hits.scores, hits.keys)[0])
    n = min(int(hits.counts[0]), max(k, tied))
    table = rows.at(hits.keys[0, :n])
    order = np.arange(n) if tied <= 1 else own_first(table.column("inchikey").to_pylist(), tied, own)
    order = order[:k]
    keys, scores = np.full(k, NO_HIT), np.full(k, -np.inf, dtype=np.float32)
    probabilities = softmax(hits.scores, hits.keys, scale)[0, order]
    shown = _by_molecule(take(table, order))
    keys[: len(order)], scores[: len(order)] = int64s(shown.column("key")), hits.scores[0, order]
    return HitList(side.modality, side.side, Hits(keys, scores), probabilities, scale, shown)


def _by_molecule(table: pa.Table) -> pa.Table:
    """Measured records under their molecules' keys, their own as `record_id`; molecules as they are."""
    renamed = {"key": "record_id", "molecule_key": "key"}
    if "molecule_key" not in table.column_names:
        return table
    return table.rename_columns([renamed.get(name, name) for name in table.column_names])
