"""Vectors of a benchmark's molecules and records, computed in worker processes and cached.

One pass of the trunk gives the graph vectors of all spaces, and the peaks that NMR spaces predict on the way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

from acml_search.chem import molecule
from acml_search.core.errors import ConfigError, InvalidMolecule, InvalidRecord
from acml_search.core.io import digest_of
from acml_search.core.progress import progress
from acml_search.core.typing import Bools, Float32s, Ints
from acml_search.core.workers import Workers, chunks
from acml_search.encoders.card import ModelCard
from acml_search.evaluation import workers as processes
from acml_search.evaluation.cache import Cache
from acml_search.evaluation.pool import Structure, record_of
from acml_search.modalities.base import reranker, sources
from acml_search.modalities.nmr import ShiftReranker
from acml_search.nmr.predicted import PeakLists, symmetry_classes

BLOCK = 1_024
PART = 65_536
"""molecules of a cache entry: what an interrupted run has finished is not computed again"""
RECORD_PART = 8_192  # a picture takes twenty times as long as a graph
NO_VECTOR = "the model gave no finite vector"


class Source(NamedTuple):
    """What a record is made of. `metadata`: the row's own columns, for recorded modalities."""

    structure: Structure
    metadata: Mapping[str, Any] | None = None


class RecordTask(NamedTuple):
    modality: str
    seed: int
    sources: list[Source]


class Block(NamedTuple):
    """`vectors` (n, d) float32, NaN in the rows that failed; `errors` (n,) the reasons, else None."""

    vectors: Float32s
    errors: list[str | None]

    @classmethod
    def of(cls, vectors: Float32s, errors: Sequence[str | None] = ()) -> Block:
        """With a reason for each vector that is not finite."""
        bad: Bools = np.asarray(~np.isfinite(vectors).all(axis=1))
        told = list(errors) or [None] * len(vectors)
        for i in np.flatnonzero(bad).tolist():
            vectors[i], told[i] = np.nan, told[i] or NO_VECTOR
        return cls(vectors, told)


def embed_records(modality: str, sources: Sequence[Source], workers: Workers, seed: int, d: int) -> Block:
    """The vectors (n, d) of records of a modality, in order."""
    vectors, errors = np.empty((len(sources), d), np.float32), list[str | None]()
    tasks = (RecordTask(modality, seed, part) for part in chunks(sources, BLOCK))
    with progress(total=len(sources), desc=f"{modality} records", unit="record") as bar:
        for block in workers.map(embed_block, tasks):
            vectors[len(errors) : len(errors) + len(block.errors)] = block.vectors
            errors += block.errors
            bar.update(len(block.errors))
    return Block(vectors, errors)


def embed_block(task: RecordTask) -> Block:
    """Worker task. A source that fails is a NaN row with its reason, never an exception."""
    model = processes.model()
    errors: list[str | None] = [None] * len(task.sources)
    records: dict[int, Any] = {}
    vectors = np.full((len(task.sources), model.spaces[task.modality].d), np.nan, np.float32)
    for i, (structure, metadata) in enumerate(task.sources):
        try:
            records[i] = record_of(task.modality, structure.smiles, structure.inchikey14, metadata, task.seed)
        except (InvalidMolecule, InvalidRecord) as error:
            errors[i] = str(error)
    try:
        if records:
            vectors[list(records)] = model.encode_records(task.modality, list(records.values()))
    except (InvalidMolecule, InvalidRecord):  # one by one, so that one bad record is one miss
        for i, record in records.items():
            try:
                vectors[i] = model.encode_records(task.modality, [record])[0]
            except (InvalidMolecule, InvalidRecord) as error:
                errors[i] = str(error)
    return Block.of(vectors, errors)


class MoleculeVectors:
    """Graph vectors of molecules, found by their canonical SMILES, and their predicted peaks.

    `parts`: (SMILES, {space: (n, d) float32}) each; `peaks`: of the same parts, {space: lists}.
    """

    def __init__(
        self,
        parts: Sequence[tuple[Sequence[str], Mapping[str, Float32s]]],
        peaks: Sequence[Mapping[str, PeakLists]] = (),
    ) -> None:
        self._arrays = [arrays for _, arrays in parts]
        self._peaks = peaks
        self._joined: dict[str, PeakLists] = {}
        self._starts = np.cumsum([0, *(len(smiles) for smiles, _ in parts)])
        self._row: dict[str, int] = {}
        for start, (smiles, _) in zip(self._starts.tolist(), parts, strict=False):
            for i, text in enumerate(smiles):
                self._row.setdefault(text, start + i)

    def take(self, space: str, smiles: Iterable[str]) -> Float32s:
        """(n, d) float32 in the order of `smiles`; NaN where the model had no vector."""
        rows = self._rows(smiles)
        out = np.empty((len(rows), self._arrays[0][space].shape[1]), np.float32)
        part_of = np.searchsorted(self._starts, rows, side="right") - 1
        for number in np.unique(part_of).tolist():
            here = np.flatnonzero(part_of == number)
            out[here] = self._arrays[number][space][rows[here] - self._starts[number]]
        return out

    def has_peaks(self, space: str) -> bool:
        """Are the peaks known that the space predicts?"""
        return bool(self._peaks) and space in self._peaks[0]

    def peaks(self, space: str, smiles: Iterable[str]) -> PeakLists:
        """The predicted peaks in the order of `smiles`."""
        if space not in self._joined:
            self._joined[space] = PeakLists.join([part[space] for part in self._peaks])
        return self._joined[space].take(self._rows(smiles))

    def _rows(self, smiles: Iterable[str]) -> Ints:
        return np.fromiter((self._row[text] for text in smiles), np.int64)


class GraphTask(NamedTuple):
    """Canonical SMILES, the spaces to embed them in, and those whose predicted peaks are wanted."""

    smiles: list[str]
    spaces: tuple[str, ...]
    peaks: tuple[str, ...] = ()


class Embedded(NamedTuple):
    """Vectors (n, d) by space, NaN rows for refused molecules, and predicted peaks by space."""

    vectors: Mapping[str, Float32s]
    peaks: Mapping[str, PeakLists]


def embed_graphs(task: GraphTask) -> Embedded:
    """Worker task: the vectors of the molecules, and their peaks."""
    model = processes.model()
    mols, rows = [], []
    for i, text in enumerate(task.smiles):
        try:
            mols.append(molecule.read_stored(text))
            rows.append(i)
        except InvalidMolecule:  # RDKit wrote this SMILES and refuses it: a NaN row, counted as failed
            continue
    n = len(task.smiles)
    vectors = {name: np.full((n, model.spaces[name].d), np.nan, np.float32) for name in task.spaces}
    rerankers = {name: cast("ShiftReranker", reranker(name)) for name in task.peaks}
    lists = {name: one.pack([], [], []).placed([], n) for name, one in rerankers.items()}
    graphs = [model.featurise(mol) for mol in mols]
    if graphs and not task.peaks:
        for name, array in model.encode_graphs(graphs, task.spaces).items():
            vectors[name][rows] = array
    elif graphs:
        found = model.encode_and_predict(graphs, task.spaces, task.peaks)
        for name, array in found.vectors.items():
            vectors[name][rows] = array
        classes = [symmetry_classes(mol) for mol in mols]
        for name, peaks in found.peaks.items():
            lists[name] = rerankers[name].pack(classes, graphs, peaks).placed(rows, n)
    return Embedded(vectors, lists)


@dataclass(frozen=True)
class _Part:
    """Some molecules of a file, and where their vectors and peaks are cached, or will be."""

    smiles: list[str]
    card: ModelCard
    cache: Cache

    @cached_property
    def molecules(self) -> str:
        return digest_of(self.smiles)

    def path(self, kind: str, space: str) -> Path:
        key = {"model": self.card.made_by(space), "space": space, "molecules": self.molecules}
        return self.cache.path(kind, key, ".npy")

    def missing(self, kind: str, spaces: Sequence[str]) -> tuple[str, ...]:
        return tuple(space for space in spaces if not self.path(kind, space).exists())

    def write(self, blocks: Sequence[Embedded]) -> None:
        for space in blocks[0].vectors:
            array = np.concatenate([block.vectors[space] for block in blocks])
            Cache.write_array(self.path("vectors", space), array)
        for space in blocks[0].peaks:
            lists = PeakLists.join([block.peaks[space] for block in blocks])
            Cache.write_array(self.path("peaks", space), lists.peaks)
            Cache.write_array(self.path("peak_ends", space), lists.ends)

    def vectors(self, space: str) -> Float32s:
        array = Cache.read_array(self.path("vectors", space))
        if array.shape != (len(self.smiles), self.card.spaces[space].d):
            raise ConfigError(f"{self.path('vectors', space)}: it has another shape; remove the file")
        return array

    def peaks(self, space: str) -> PeakLists:
        ends = np.asarray(Cache.read_array(self.path("peak_ends", space)))
        return PeakLists(Cache.read_array(self.path("peaks", space)), ends)


def graph_vectors(
    files: Iterable[Sequence[Structure | str]],
    card: ModelCard,
    workers: Workers,
    cache: Cache | Path,
    *,
    spaces: Sequence[str] | None = None,
    peaks: Sequence[str] = (),
) -> MoleculeVectors:
    """Graph vectors in `spaces` (default: all) of the distinct molecules of `files` (lists of structures),
    and the peaks that those in `peaks` predict. Only what is not cached is computed, in one pass.
    """
    spaces = tuple(card.spaces if spaces is None else spaces)
    parts = [
        _Part(smiles, card, Cache.at(cache))
        for file in files
        for smiles in chunks(dict.fromkeys(one.smiles for one in file if not isinstance(one, str)), PART)
    ]
    missing = [
        (part, needed)
        for part in {part.molecules: part for part in parts}.values()
        if any(needed := (part.missing("vectors", spaces), part.missing("peak_ends", peaks)))
    ]
    tasks = (GraphTask(block, *needed) for part, needed in missing for block in chunks(part.smiles, BLOCK))
    embedded = workers.map(embed_graphs, tasks)
    with progress(total=sum(len(part.smiles) for part, _ in missing), desc="embedding", unit="mol") as bar:
        for part, _ in missing:
            blocks = []
            for low in range(0, len(part.smiles), BLOCK):
                blocks.append(next(embedded))
                bar.update(min(BLOCK, len(part.smiles) - low))
            part.write(blocks)
    return MoleculeVectors(
        [(part.smiles, {space: part.vectors(space) for space in spaces}) for part in parts],
        [{space: part.peaks(space) for space in peaks} for part in parts],
    )


def record_vectors(
    modality: str, structures: Sequence[Structure], card: ModelCard, workers: Workers, cache: Cache, seed: int
) -> Float32s:
    """(n, d) float32: the record side of a derived modality, one varied record per molecule; cached."""

    def compute(part: list[Structure]) -> Float32s:
        sources = [Source(one) for one in part]
        return embed_records(modality, sources, workers, seed, card.spaces[modality].d).vectors

    found = []
    for part in chunks(structures, RECORD_PART):
        key = {"model": card.made_by(modality), "space": modality, "seed": seed, "molecules": digest_of(part)}
        found.append(cache.array("records", key, lambda part=part: compute(part)))  # type: ignore[misc]
    return np.concatenate(found)


def predicting(card: ModelCard, spaces: Sequence[str]) -> list[str]:
    """The spaces whose graph side predicts the peaks that re-rankers of `spaces` compare."""
    from acml_search.encoders.checkpoint import DualEncoder
    from acml_search.networks.nmr import ShiftHead

    heads = DualEncoder(card.data["hyper"]).heads
    needed = dict.fromkeys(source for one in spaces for source in sources(one))
    return [one for one in needed if isinstance(heads[one], ShiftHead)]
