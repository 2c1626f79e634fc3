"""Embeds the molecules or records of a benchmark in worker processes, block by block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from acml_search.core.errors import InvalidMolecule, InvalidRecord
from acml_search.evaluation import workers as processes
from acml_search.evaluation.data.records import record_of
from acml_search.evaluation.data.structures import Structure
from acml_search.evaluation.workers import Workers

BLOCK = 1_024

Vectors = npt.NDArray[np.float32]


class Source(NamedTuple):
    """What a vector is made of. `metadata`: the row's own columns, for the records of recorded modalities."""

    structure: Structure
    metadata: Mapping[str, Any] | None = None


class Task(NamedTuple):
    side: str  # "graph" or "record"
    modality: str
    seed: int
    sources: list[Source]


class Block(NamedTuple):
    """`vectors` (n, d) float32, NaN in the rows that failed; `errors` (n,) the reasons, else None."""

    vectors: Vectors
    errors: list[str | None]


def embed(
    side: str, modality: str, blocks: Iterable[list[Source]], workers: Workers, seed: int
) -> Iterator[Block]:
    """The vectors of each block of sources on one side of a modality's space, block by block, in order."""
    return workers.map(embed_block, (Task(side, modality, seed, block) for block in blocks))


def embed_block(task: Task) -> Block:
    """One block in one process. A source that fails is a NaN row with its reason, never an exception."""
    errors: list[str | None] = [None] * len(task.sources)
    items: list[Any] = []
    where: list[int] = []
    for i, source in enumerate(task.sources):
        try:
            items.append(_item(task, source))
            where.append(i)
        except (InvalidMolecule, InvalidRecord) as error:
            errors[i] = str(error)
    vectors = np.full((len(task.sources), _dimension(task)), np.nan, dtype=np.float32)
    if items:
        vectors[where] = _encode_or_explain(task, items, where, errors)
    for i in np.flatnonzero(~np.isfinite(vectors).all(axis=1)).tolist():
        errors[i] = errors[i] or "the model gave no finite vector"
        vectors[i] = np.nan
    return Block(vectors, errors)


def _item(task: Task, source: Source) -> Any:
    structure = source.structure
    if task.side == "graph":
        from acml_search.chem import molecule

        return molecule.parse(structure.smiles)[0]
    return record_of(task.modality, structure.smiles, structure.block, source.metadata, task.seed)


def _encode(task: Task, items: list[Any]) -> Vectors:
    model = processes.model()
    if task.side == "graph":
        return np.asarray(model.encode_molecules(items)[task.modality], dtype=np.float32)
    return np.asarray(model.encode_records(task.modality, items), dtype=np.float32)


def _encode_or_explain(task: Task, items: list[Any], where: list[int], errors: list[str | None]) -> Vectors:
    """All items at once; if the batch is refused, one by one, so that one bad record is one miss."""
    try:
        return _encode(task, items)
    except (InvalidMolecule, InvalidRecord):
        rows = []
        for i, item in zip(where, items, strict=True):
            try:
                rows.append(_encode(task, [item])[0])
            except (InvalidMolecule, InvalidRecord) as error:
                errors[i] = str(error)
                rows.append(np.full(_dimension(task), np.nan, dtype=np.float32))
        return np.stack(rows)


def _dimension(task: Task) -> int:
    return int(processes.model().spaces[task.modality].d)
