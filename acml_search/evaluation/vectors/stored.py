"""Vectors made in one pass for every space of a model, and kept: one question after another can be asked.

    <cache>/vectors/<space>.<side>/<key>/<molecules>.npy     (n, d) float32, rows that failed are NaN

Predicted peaks are kept of the same pass where they are wanted (`peaks`). The key covers what one side of one
space depends on (`depends`), so that a new picture reader makes no graph vector anew, and a space that is
missing is embedded alone. Single precision, as the model gives them, so that figures are those of `bench
recall`. Molecules are kept in parts: what an interrupted run finished is not done again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from acml_search.core.errors import ConfigError, InvalidMolecule
from acml_search.core.progress import progress
from acml_search.encoders.card import ModelCard
from acml_search.evaluation import workers as processes
from acml_search.evaluation.data.structures import Structure
from acml_search.evaluation.vectors.depends import side_key
from acml_search.evaluation.vectors.embedding import BLOCK, Source, embed
from acml_search.evaluation.vectors.peaks import PeakFiles, PeakLists, grouped, peaks_folder, scattered
from acml_search.evaluation.workers import Workers, chunks
from acml_search.nmr.groups import Groups

PART = 65_536
RECORD_PART = 8_192  # a picture takes twenty times as long as a graph

Ints = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]


class StoredVectors:
    """Vectors of molecules, found by their SMILES. `parts`: (SMILES, {space: (n, d) array}) each; `peaks`: of
    the same parts what spaces predict, {space: lists}.
    """

    def __init__(
        self,
        parts: Sequence[tuple[Sequence[str], Mapping[str, Vectors]]],
        peaks: Sequence[Mapping[str, PeakLists]] = (),
    ) -> None:
        self._arrays = [arrays for _, arrays in parts]
        self._peaks = peaks
        self._starts = np.cumsum([0, *(len(smiles) for smiles, _ in parts)])
        self._row: dict[str, int] = {}
        for start, (smiles, _) in zip(self._starts.tolist(), parts, strict=False):
            for i, text in enumerate(smiles):
                self._row.setdefault(text, start + i)

    def take(self, space: str, smiles: Iterable[str]) -> Vectors:
        """(n, d) float32, in the order of `smiles` (canonical); NaN where the model had no vector."""
        places = self._places(smiles)
        out = np.empty((sum(len(here) for _, here, _ in places), self._arrays[0][space].shape[1]), np.float32)
        for number, here, rows in places:
            out[here] = self._arrays[number][space][rows]
        return out

    def has_peaks(self, space: str) -> bool:
        """Is what the space predicts kept?"""
        return bool(self._peaks) and space in self._peaks[0]

    def peaks(self, space: str, smiles: Iterable[str]) -> PeakLists:
        """What the space predicts of molecules, in the order of `smiles` (canonical)."""
        places = self._places(smiles)
        found = [(self._peaks[number][space], rows, here) for number, here, rows in places]
        return scattered(found, sum(len(here) for _, here, _ in places))

    def _places(self, smiles: Iterable[str]) -> list[tuple[int, Ints, Ints]]:
        """Part by part: its number, which of `smiles` it holds, and in which of its rows."""
        rows = np.fromiter((self._row[text] for text in smiles), np.int64)
        part_of = np.searchsorted(self._starts, rows, side="right") - 1
        found = [(number, np.flatnonzero(part_of == number)) for number in np.unique(part_of).tolist()]
        return [(number, here, rows[here] - self._starts[number]) for number, here in found]


def graph_vectors(
    files: Iterable[Sequence[Structure | str]],
    card: ModelCard,
    workers: Workers,
    cache: Path,
    *,
    spaces: Sequence[str] | None = None,
    peaks: Sequence[str] = (),
) -> StoredVectors:
    """The graph side of `spaces` (default: all), of the distinct molecules of `files` (lists of structures),
    and what those in `peaks` predict.

    Only what is not kept is embedded, a molecule's missing spaces in one pass.
    """
    wanted = list(card.spaces if spaces is None else spaces)
    keys = {space: side_key(card, space, "graph") for space in wanted}
    parts = [
        _Part.of(cache, "graph", keys, {space: card.spaces[space].d for space in wanted}, part)
        for file in files
        for part in chunks(dict.fromkeys(one.smiles for one in file if not isinstance(one, str)), PART)
    ]
    folders = {space: peaks_folder(cache, card, space) for space in peaks}
    for part in parts:
        part.peaks = {
            space: PeakFiles(folder, part.name, len(part.smiles)) for space, folder in folders.items()
        }
    missing = list({part.name: part for part in parts if part.missing() or part.unpredicted()}.values())
    tasks = (
        Graphs(block, part.missing(), part.unpredicted())
        for part in missing
        for block in chunks(part.smiles, BLOCK)
    )
    blocks = workers.map(embed_graphs, tasks)
    with progress(total=sum(len(part.smiles) for part in missing), desc="embedding", unit="mol") as bar:
        for part in missing:
            part.write(blocks, bar.update)
    return StoredVectors(
        [(part.smiles, part.read()) for part in parts],
        [{space: one.read() for space, one in part.peaks.items()} for part in parts],
    )


def record_vectors(
    modality: str,
    structures: Sequence[Structure],
    card: ModelCard,
    workers: Workers,
    cache: Path,
    *,
    seed: int,
) -> Vectors:
    """(n, d) float32, the record side of a derived modality, a varied record per molecule."""
    spaces, keys = {modality: card.spaces[modality].d}, {modality: side_key(card, modality, "record")}
    found = []
    with progress(total=len(structures), desc=f"{modality} records", unit="mol") as bar:
        for chosen in chunks(structures, RECORD_PART):
            what = f"{seed} {' '.join(one.block for one in chosen)}"
            part = _Part.of(cache, "record", keys, spaces, [one.smiles for one in chosen], what)
            if part.missing():
                sources = chunks((Source(one) for one in chosen), BLOCK)
                blocks = embed("record", modality, sources, workers, seed)
                part.write((Embedded({modality: block.vectors}, {}) for block in blocks), bar.update)
            else:
                bar.update(len(chosen))
            found.append(part.read()[modality])
    return np.concatenate(found)


class Graphs(NamedTuple):
    """Canonical SMILES to be embedded, into which spaces, and of which the predicted peaks are wanted."""

    smiles: list[str]
    spaces: tuple[str, ...]
    peaks: tuple[str, ...] = ()


class Embedded(NamedTuple):
    """Vectors (n, d) by space, NaN rows for what is refused, and predicted peaks by space."""

    vectors: Mapping[str, Vectors]
    peaks: Mapping[str, PeakLists]


def embed_graphs(task: Graphs) -> Embedded:
    """Task: the vectors of the molecules, and their peaks."""
    from acml_search.chem import molecule
    from acml_search.encoders.predict import encode_and_predict

    model = processes.model()
    mols, where = [], []
    for i, text in enumerate(task.smiles):
        try:
            mols.append(molecule.parse(text)[0])
            where.append(i)
        except InvalidMolecule:  # RDKit wrote this SMILES and refuses it: a NaN row, counted as failed
            continue
    out = {
        name: np.full((len(task.smiles), model.spaces[name].d), np.nan, np.float32) for name in task.spaces
    }
    lists: dict[str, list[Groups | None]] = {name: [None] * len(task.smiles) for name in task.peaks}
    if mols:
        found = encode_and_predict(model, [model.featurise(mol) for mol in mols], task.spaces, task.peaks)
        for name, vectors in found.vectors.items():
            out[name][where] = vectors
        for name, peaks in found.peaks.items():
            for i, one in zip(where, grouped(name, mols, peaks), strict=True):
                lists[name][i] = one
    return Embedded(out, {name: PeakLists.of(each) for name, each in lists.items()})


class _Part:
    """Some molecules, and the files that hold their vectors or will, one a space."""

    peaks: Mapping[str, PeakFiles]
    """those of predicted peaks, by space"""

    def __init__(
        self, name: str, files: Mapping[str, Path], spaces: Mapping[str, int], smiles: Sequence[str]
    ) -> None:
        self.name, self.smiles = name, smiles
        self._files, self._spaces = files, spaces
        self.peaks = {}

    @classmethod
    def of(
        cls,
        cache: Path,
        side: str,
        keys: Mapping[str, str],
        spaces: Mapping[str, int],
        smiles: Sequence[str],
        what: str = "",
    ) -> _Part:
        """`keys`: what each space's vectors depend on; `what`: more that these do, beside the molecules."""
        name = hashlib.sha256("\n".join([what, *smiles]).encode()).hexdigest()[:24]
        folder = cache / "vectors"
        files = {space: folder / f"{space}.{side}" / key[:24] / f"{name}.npy" for space, key in keys.items()}
        return cls(name, files, spaces, smiles)

    def missing(self) -> tuple[str, ...]:
        """Spaces whose vectors are not kept yet."""
        return tuple(space for space, path in self._files.items() if not path.exists())

    def unpredicted(self) -> tuple[str, ...]:
        """Spaces whose predicted peaks are wanted and not kept yet."""
        return tuple(space for space, files in self.peaks.items() if not files.exist())

    def write(self, blocks: Iterator[Embedded], tell: Callable[[int], object]) -> None:
        """Take blocks of what is missing until all molecules have it; a file appears when it is complete."""
        n, missing = len(self.smiles), self.missing()
        lists: dict[str, list[PeakLists]] = {space: [] for space in self.unpredicted()}
        writing = {space: path.with_suffix(f".{os.getpid()}.writing") for space, path in self._files.items()}
        arrays = {}
        for space in missing:
            writing[space].parent.mkdir(parents=True, exist_ok=True)
            shape = (n, self._spaces[space])
            arrays[space] = np.lib.format.open_memmap(writing[space], "w+", np.float32, shape)
        low = 0
        while low < n:
            block = next(blocks)
            size = min(BLOCK, n - low)
            for space, array in arrays.items():
                array[low : low + size] = block.vectors[space]
            for space, found in lists.items():
                found.append(block.peaks[space])
            low += size
            tell(size)
        for space, array in arrays.items():
            array.flush()
            os.replace(writing[space], self._files[space])
        for space, found in lists.items():
            self.peaks[space].write(found)

    def read(self) -> dict[str, Vectors]:
        """{space: (n, d) float32}, mapped. Raises ConfigError where a kept file is damaged."""
        found: dict[str, Vectors] = {}
        for space, path in self._files.items():
            try:
                array = np.load(path, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError, EOFError) as error:
                raise ConfigError(
                    f"{path}: the kept vectors cannot be read ({error}); remove the file"
                ) from error
            if array.shape != (len(self.smiles), self._spaces[space]) or array.dtype != np.float32:
                raise ConfigError(f"{path}: the kept vectors have another shape; remove the file")
            found[space] = array
        return found
