"""Measured records of a shard: read, encoded, and those that cannot be used told apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from acml_search import modalities
from acml_search.core.errors import InvalidRecord
from acml_search.library.prepare import MAX_INPUT, Accepted, Rejected

if TYPE_CHECKING:
    from acml_search.encoders.model import Model

CHUNK = 2_048  # records encoded at once: bounds a worker's memory, whatever the size of a shard


class Measured(NamedTuple):
    """The rows of a shard whose measured record, if there is one, could be used, and why the others not.

    vectors: by modality, the places in `accepted` (m,) int64 of its records, and their vectors (m, d)
    float16.
    """

    accepted: list[Accepted]
    rejected: list[Rejected]
    vectors: dict[str, tuple[npt.NDArray[np.int64], npt.NDArray[np.float16]]]


def read_measured(model: Model, accepted: Sequence[Accepted], names: Sequence[str]) -> Measured:
    """Read and encode the measured records of `accepted` that are of the modalities `names`."""
    bad: dict[int, str] = {}
    encoded: dict[int, npt.NDArray[np.float16]] = {}
    for name in names:
        reader = modalities.get(name)
        here = [i for i, item in enumerate(accepted) if item.observed and item.observed.modality == name]
        for start in range(0, len(here), CHUNK):
            places: list[int] = []
            items: list[Any] = []
            for i in here[start : start + CHUNK]:
                observed = accepted[i].observed
                assert observed is not None
                try:
                    items.append(reader.read(observed.record))
                    places.append(i)
                except InvalidRecord as error:
                    bad[i] = f"the {name} record cannot be used: {error.reason}"
            if not items:
                continue
            vectors = model.encode_items(name, items).astype(np.float16)
            for i, vector in zip(places, vectors, strict=True):
                if np.isfinite(vector).all():
                    encoded[i] = vector
                else:
                    bad[i] = f"the {name} tower gives the record no finite vector"
    kept = [i for i in range(len(accepted)) if i not in bad]
    return Measured(
        accepted=[accepted[i] for i in kept],
        rejected=[Rejected(accepted[i].row, _place(accepted[i]), why) for i, why in sorted(bad.items())],
        vectors={
            name: _stacked(
                [
                    (place, encoded[i])
                    for place, i in enumerate(kept)
                    if (observed := accepted[i].observed) and observed.modality == name
                ],
                model.card.spaces[name].d,
            )
            for name in names
        },
    )


def _place(item: Accepted) -> str:
    """Where the record is, and whose."""
    observed = item.observed
    place = "" if observed is None else f"{observed.file}#{observed.number} "
    return f"{place}{item.molecule.smiles}"[:MAX_INPUT]


def _stacked(
    found: list[tuple[int, npt.NDArray[np.float16]]], d: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float16]]:
    places = np.array([place for place, _ in found], np.int64)
    vectors = np.stack([vector for _, vector in found]) if found else np.empty((0, d), np.float16)
    return places, vectors
