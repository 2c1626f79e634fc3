"""`verify`: is an index what its manifest says? Checksums, counts, keys, and a sample embedded again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow.dataset as ds

from acml_search import modalities
from acml_search.chem.molecule import read_stored
from acml_search.core.errors import AcmlSearchError, CheckpointError, IndexCorrupt
from acml_search.core.io import sha256
from acml_search.core.progress import progress
from acml_search.core.typing import Float32s, Ints
from acml_search.encoders.card import read_card
from acml_search.index.directory import (
    BUILD,
    NAME,
    Manifest,
    check_size,
    open_peaks,
    read_checksummed,
    read_manifest,
    removed_rows,
)
from acml_search.index.embeddings import Embeddings, count_rows
from acml_search.index.merge import all_counted
from acml_search.index.vectors import VectorIndex
from acml_search.library.tables import column_of
from acml_search.nmr.predicted import decode, symmetry_classes

if TYPE_CHECKING:
    from rdkit import Chem

    from acml_search.encoders.checkpoint import Model

SAMPLE = 64
MIN_COSINE = 0.999
"""Least cosine of a vector made again with the stored one: half precision costs 1e-6; another molecule, model
or order of vectors costs far more."""


MAX_SHIFT = 0.1
"""ppm between a peak predicted again and the stored one: rounding costs 0.03; other molecules far more"""


class Problem(NamedTuple):
    """Something wrong with `file`, a path relative to the index (or "model")."""

    file: str
    what: str

    def __str__(self) -> str:
        return f"{self.file}: {self.what}"


def verify(directory: Path | str, *, sample: int = SAMPLE, model: Path | str | None = None) -> list[Problem]:
    """All problems found in an index (or folder of embeddings); none when it is sound.

    sample: molecules embedded again with the model (0: none); `model` says where the model is now.
    Raises IndexNotFound when there is no index at all.
    """
    directory = Path(directory)
    try:
        manifest = read_manifest(directory)
    except AcmlSearchError as error:
        if not (directory / NAME).exists():
            raise
        return [Problem(NAME, _reason(error))]
    checked = _Verification(directory, manifest)
    problems = list(checked.files())
    if problems:  # what is damaged cannot be read any further
        return problems
    checked.removed = removed_rows(directory, manifest)
    problems += checked.counts()
    for space, info in manifest.spaces.items():
        for side in info.sides:
            problems += checked.side(space, side)
        problems += checked.peaks(space)
    if sample and not problems:
        problems += checked.sample(sample, model)
    return problems


class _Verification:
    def __init__(self, directory: Path, manifest: Manifest) -> None:
        self.directory, self.manifest = directory, manifest
        self.removed = np.empty(0, np.int64)

    def paths(self, folder: str) -> list[Path]:
        return [self.directory / name for name in self.manifest.parts(folder)]

    def is_measured(self, space: str, side: str) -> bool:
        return side == "records" and space in self.manifest.measured

    def vectors(self, space: str, side: str) -> VectorIndex | Embeddings:
        if self.manifest.kind == "index":
            return VectorIndex.open(self.directory / "faiss" / f"{space}.{side}", self.removed)
        return Embeddings(self.paths(f"embeddings/{space}/{side}"))

    def folder(self, space: str, side: str) -> str:
        """The name under which a side's problems are listed."""
        return f"faiss/{space}.{side}" if self.manifest.kind == "index" else f"embeddings/{space}/{side}"

    def files(self) -> Iterator[Problem]:
        for name, entry in progress(sorted(self.manifest.files.items()), desc="checksums", unit=" files"):
            path = self.directory / name
            try:
                check_size(path, entry)
                if sha256(path) != entry["sha256"]:
                    raise IndexCorrupt(path, "its contents changed: the checksum is not the manifest's")
            except IndexCorrupt as error:
                yield Problem(name, error.reason)
        try:
            read_checksummed(self.directory / BUILD)
        except AcmlSearchError as error:
            yield Problem(BUILD, _reason(error))

    def counts(self) -> Iterator[Problem]:
        counts = self.manifest.counts
        tables = {"rejected": "rejects", "duplicates": "duplicates", "no_record": "no_record"}
        files = {name: [self.directory / f"{file}.parquet"] for name, file in tables.items()}
        for name, paths in {"molecules": self.paths("molecules"), **files}.items():
            rows = count_rows(paths)
            if len(self.removed) and name in ("molecules", "duplicates"):
                rows = len(self.living(paths, "key" if name == "molecules" else "source_row"))
            if counts[name] != rows:
                yield Problem(NAME, f"it counts {counts[name]:,} {name}, the files hold {rows:,}")
        if not all_counted(counts):
            yield Problem(
                NAME, f"molecules, duplicates, rejected and removed do not add up to rows: {counts}"
            )

    def living(self, files: list[Path], name: str) -> Ints:
        """A column of keys or rows without the removed ones."""
        keys = column_of(files, name)
        return keys[~np.isin(keys, self.removed)]

    def side(self, space: str, side: str) -> Iterator[Problem]:
        """The vectors of one side against the manifest and the molecules or records they are of."""
        folder, info = self.folder(space, side), self.manifest.spaces[space]
        try:
            vectors = self.vectors(space, side)
        except AcmlSearchError as error:
            yield Problem(f"{folder}.faiss" if self.manifest.kind == "index" else folder, _reason(error))
            return
        keys, n = np.asarray(vectors.keys), info.sides[side]["n"]
        if len(keys) != n:
            yield Problem(folder, f"there are {len(keys):,} vectors, the manifest counts {n:,}")
        if vectors.d != info.d:
            yield Problem(folder, f"vectors have {vectors.d} dimensions and should have {info.d}")
        if np.any(np.diff(keys) < 0):
            yield Problem(folder, "the keys do not ascend")
        molecules = self.living(self.paths("molecules"), "key")
        table = f"records/{space}"
        if self.is_measured(space, side):
            if not np.array_equal(self.living(self.paths(table), "key"), keys):
                yield Problem(
                    table,
                    "not every record has one vector, or there are vectors of records that are not here",
                )
            there = ~np.isin(column_of(self.paths(table), "key"), self.removed)
            if not np.isin(column_of(self.paths(table), "molecule_key")[there], molecules).all():
                yield Problem(table, "there are records of molecules that the index does not hold")
        elif not np.isin(keys, molecules).all():
            yield Problem(folder, "there are vectors of molecules that the index does not hold")
        if side == "graph" and not np.array_equal(keys, molecules):
            yield Problem(folder, "not every molecule has one vector on the graph side")
        copy = self.paths(f"embeddings/{space}/{side}")  # formats 1 and 2
        if isinstance(vectors, VectorIndex) and copy and len(keys):
            at = np.unique(np.linspace(0, len(keys) - 1, 256).astype(np.int64))
            if not np.array_equal(vectors.stored(at), Embeddings(copy).take(at)):
                yield Problem(f"{folder}.faiss", "its vectors are not those of the embeddings")

    def peaks(self, space: str) -> Iterator[Problem]:
        """The predicted peaks that are kept of a space against the molecules."""
        if f"peaks/{space}.npy" not in self.manifest.files:
            return
        try:
            lists = open_peaks(self.directory / "peaks" / space)
        except AcmlSearchError as error:
            yield Problem(f"peaks/{space}.npy", _reason(error))
            return
        if len(lists.ends) != count_rows(self.paths("molecules")):
            yield Problem(f"peaks/{space}.sizes.npy", "not every molecule has one list of peaks")

    def sample(self, sample: int, model: Path | str | None) -> Iterator[Problem]:
        """Molecules and records spread over the index, embedded again and compared."""
        source = str(model) if model is not None else self.manifest.model["source"]
        wanted = self.manifest.model["digest"]
        try:
            card = read_card(source).of_index(
                {name: one.digest for name, one in self.manifest.spaces.items()}
            )
            if (digest := card.digest) != wanted:
                yield Problem(
                    "model",
                    f"the model {source} has digest {digest[:12]}, the index was made with {wanted[:12]}, "
                    "so no vector could be checked",
                )
                return
            from acml_search.encoders.checkpoint import load_model

            loaded = load_model(card)
        except CheckpointError as error:
            yield Problem("model", f"no vector could be checked, because the model cannot be loaded: {error}")
            return
        table = self.spread("molecules", sample, ["key", "smiles"])
        smiles = np.array(table.column("smiles").to_pylist(), object)
        keys = table.column("key").to_numpy()
        mols = [read_stored(text) for text in smiles]
        graphs = loaded.encode_molecules(mols)
        for space in self.manifest.spaces:
            if f"peaks/{space}.npy" in self.manifest.files:
                yield from self.predicted(space, keys, mols, loaded)
        for space, info in self.manifest.spaces.items():
            kind = modalities.get(space)
            for side in info.sides:
                if self.is_measured(space, side):
                    rows = self.spread(f"records/{space}", sample).to_pylist()
                    again = loaded.encode_records(space, [kind.restored(row) for row in rows])
                    yield from self.compared(space, side, np.array([row["key"] for row in rows]), again)
                    continue
                present = np.isin(keys, self.vectors(space, side).keys)
                again = graphs[space][present]
                if side == "records":
                    again = loaded.encode_records(space, [kind.derive(text) for text in smiles[present]])
                yield from self.compared(space, side, keys[present], again)

    def spread(self, folder: str, sample: int, columns: list[str] | None = None) -> Any:
        """At most `sample` rows, evenly spread over the tables."""
        there = np.flatnonzero(~np.isin(column_of(self.paths(folder), "key"), self.removed))
        at = np.unique(np.linspace(0, len(there) - 1, min(sample, len(there))).astype(np.int64))
        return ds.dataset(list(map(str, self.paths(folder)))).take(there[at], columns=columns)

    def predicted(self, space: str, keys: Ints, mols: Sequence[Chem.Mol], model: Model) -> Iterator[Problem]:
        """Kept peaks of `keys` against those predicted again, atom by atom."""
        reranker: Any = modalities.get(space).reranker()
        at = np.searchsorted(column_of(self.paths("molecules"), "key"), keys)
        kept, graphs = open_peaks(self.directory / "peaks" / space).take(at), list(map(model.featurise, mols))
        again = reranker.pack(list(map(symmetry_classes, mols)), graphs, model.predicted_peaks(space, graphs))
        wrong = np.flatnonzero(kept.sizes != again.sizes)
        if not len(wrong):
            here, there = (decode(reranker.nucleus, lists.peaks).position for lists in (kept, again))
            off = np.flatnonzero(np.abs(here - there) > MAX_SHIFT)
            wrong = np.searchsorted(kept.ends, off, side="right")
        for row in wrong[:1]:
            yield Problem(f"peaks/{space}.npy", f"molecule {keys[row]} predicted again shows other peaks")

    def compared(self, space: str, side: str, keys: Ints, again: Float32s) -> Iterator[Problem]:
        """Stored vectors of `keys` against those made `again`."""
        vectors = self.vectors(space, side)
        at = np.searchsorted(vectors.keys, keys)
        stored = vectors.stored(at) if isinstance(vectors, VectorIndex) else vectors.take(at)
        lengths = np.linalg.norm(again, axis=1) * np.linalg.norm(stored, axis=1)
        cosine = np.einsum("nd,nd->n", again, stored) / lengths
        what = "record" if self.is_measured(space, side) else "molecule"
        for row in np.flatnonzero(~(cosine >= MIN_COSINE))[:3]:
            yield Problem(
                self.folder(space, side),
                f"{what} {keys[row]} embedded again has cosine {cosine[row]:.4f} with its stored vector",
            )


def _reason(error: AcmlSearchError) -> str:
    return str(getattr(error, "reason", error))
