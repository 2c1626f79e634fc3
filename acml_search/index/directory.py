"""An index on disk: its manifest, and `IndexDirectory`, which opens it for reading; `open_store` opens one
that lies in Milvus in the same way (`milvus.MilvusStore`).

The manifest says what an index holds, what it was made of and with, and has a checksum of every file.

Formats, all of which open: 1, molecules and derived records; 2, measured records too, which a reader of 1
would take for molecules; 3, every vector stored once, beside FAISS's codes. Formats 1 and 2 keep a copy of
all vectors in `embeddings/`; format 3 has that folder only without a search index (`kind` "embeddings").
Counts of atoms in `molecules/` and predicted peaks in `peaks/` came to format 3 later: both may be missing.
Format 4 is format 3 with rows that were removed since (`removed/`), which a reader of 3 would find.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from tokenize import TokenError
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from acml_search.core.errors import ConfigError, IndexCorrupt, IndexNotFound, IndexReplaced, SpaceMismatch
from acml_search.core.io import atomic, digest_of, sha256, versions
from acml_search.core.typing import Bools, Ints

if TYPE_CHECKING:
    from acml_search.encoders.card import ModelCard
    from acml_search.index.milvus import MilvusStore, Selection
    from acml_search.index.vectors import VectorIndex
    from acml_search.library.catalog import Catalog
    from acml_search.nmr.predicted import PeakLists

Store: TypeAlias = "IndexDirectory | MilvusStore"
"""Where an index lies, as a search sees it; `IndexDirectory` says what both do."""
Passing: TypeAlias = "Ints | Selection"
"""The molecules that pass a filter: their keys (n,), ascending, or what a server is told to select them."""
MILVUS = "milvus:"

FORMAT_VERSION = 3
TOMBSTONES = 4
READABLE = (1, 2, 3, TOMBSTONES)
NAME = "manifest.json"
BUILD = "build.json"
"""Date and seconds of the build: a file of its own, the only one in which two builds of one input differ."""


@dataclass(frozen=True)
class SpaceInfo:
    """A space as the index holds it. `sides` has `graph` and, where records were made, `records`.

    Each side: n, `measured` (true) where the records came with the library, and for an index also factory,
    reason, bytes_per_vector, nprobe, recall_at_10 and the like.
    """

    digest: str
    d: int
    scale: float
    sides: dict[str, dict[str, Any]]
    configuration: float | None = None
    """its share of a score; None where stereoisomers are not told apart"""


@dataclass(frozen=True)
class Manifest:
    """kind: "index", or "embeddings" for Parquet files alone. counts: rows, molecules, rejected, duplicates,
    records that could not be made (`no_record`), and, where molecules were removed, the rows that went with
    them (`removed`: their own and those of their duplicates). job: digest of the input and options; `added`:
    of what was added later."""

    kind: str
    job: str
    added: list[str]
    created_by: dict[str, str]
    standardisation: dict[str, Any]
    options: dict[str, Any]
    model: dict[str, str]
    spaces: dict[str, SpaceInfo]
    library: list[dict[str, Any]]
    counts: dict[str, int]
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    """relative path -> sha256, bytes"""
    format_version: int = FORMAT_VERSION

    @property
    def measured(self) -> list[str]:
        """The modalities of which there are measured records."""
        return [name for name, space in self.spaces.items() if space.sides.get("records", {}).get("measured")]

    def parts(self, folder: str) -> list[str]:
        """Relative paths of the files below `folder` ("molecules", "embeddings/smiles/graph"), in order."""
        return sorted(name for name in self.files if name.startswith(f"{folder}/"))


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Write `manifest.json`; it goes last, so that its presence says that the index is complete."""
    write_checksummed(directory / NAME, asdict(manifest))


def read_manifest(directory: Path) -> Manifest:
    """The manifest of an index directory.

    Raises IndexNotFound when there is none, IndexCorrupt when it is damaged or written by a later version.
    """
    path = directory / NAME
    if not path.is_file():
        if directory.is_dir():
            raise IndexNotFound(directory, f"this folder has no {NAME}, so it is no complete index")
        raise IndexNotFound(directory)
    document = read_checksummed(path)
    version = document.get("format_version")
    if version not in READABLE:
        raise IndexCorrupt(
            path,
            f"index format {version} is not one this version reads ({', '.join(map(str, READABLE))})",
            "upgrade acml-search or build the index again",
        )
    try:
        spaces = {name: SpaceInfo(**space) for name, space in document.pop("spaces").items()}
        return Manifest(spaces=spaces, **document)
    except (TypeError, KeyError) as error:
        raise IndexCorrupt(path, f"the manifest lacks or has an unknown field ({error})") from error


def file_entry(path: Path, checksum: str | None = None) -> dict[str, Any]:
    """sha256 (computed unless known) and bytes of a file, as the manifest lists them."""
    return {"sha256": checksum or sha256(path), "bytes": path.stat().st_size}


def software_versions() -> dict[str, str]:
    """Versions of the software that decides what is in an index."""
    return versions("acml-search", "rdkit", "faiss-cpu", "numpy", "torch", "pyarrow", "duckdb")


SIDES = ("graph", "records")


class OpenedIndex:
    """What a manifest tells of an index, read-only; a context manager. The manifest is read at once, the rest
    when it is asked for."""

    manifest: Manifest
    notes: Collection[str] = ()
    """what those who ask should know of how the answers were come by"""

    @property
    def spaces(self) -> dict[str, SpaceInfo]:
        return self.manifest.spaces

    @property
    def model(self) -> str:
        """Name or directory of the checkpoint the index was built with."""
        return self.manifest.model["source"]

    def has_side(self, space: str, side: str) -> bool:
        return space in self.spaces and side in self.spaces[space].sides

    def is_measured(self, space: str, side: str = "records") -> bool:
        """Whether this side is of measured records; its keys are then those of `records(space)`."""
        return self.has_side(space, side) and bool(self.spaces[space].sides[side].get("measured"))

    def card(self, model: Path | str) -> ModelCard:
        """The card of a model as this index was built with it. Raises CheckpointError, and SpaceMismatch for
        a model of other spaces."""
        from acml_search.encoders.card import read_card

        card = read_card(model).of_index({name: space.digest for name, space in self.spaces.items()})
        self.check_spaces({name: space.digest for name, space in card.spaces.items()})
        return card

    def check_spaces(self, digests: Mapping[str, str]) -> None:
        """Raise SpaceMismatch unless `digests` (of a model, by space) has every space of the index,
        unchanged.
        """
        for name, space in self.spaces.items():
            found = digests.get(name, "(no such space)")
            if found != space.digest:
                raise SpaceMismatch(name, space.digest, found)

    def close(self) -> None:
        """Let go of files and connections; they are opened again when something is asked for."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class IndexDirectory(OpenedIndex):
    """An index directory.

    Opening reads the manifest and checks that every file is there in its full size. The rest is opened on
    use.

    Raises IndexNotFound when there is no index, IndexCorrupt naming the file when one is missing or cut
    short.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._opened = self._file_identity(NAME), self._file_identity(BUILD)
        self.manifest = read_manifest(self.path)
        if self.manifest.kind != "index":
            raise IndexNotFound(self.path, "this folder holds embeddings only, without a search index")
        check_sizes(self.path, self.manifest)
        self.removed = removed_rows(self.path, self.manifest)
        """(m,) int64 ascending: rows whose molecule is there no more; nothing below has them."""
        self._vectors: dict[tuple[str, str], VectorIndex] = {}
        self._records: dict[str, Catalog] = {}
        self._peaks: dict[str, PeakLists] = {}

    @cached_property
    def catalog(self) -> Catalog:
        """The molecules."""
        from acml_search.library.catalog import Catalog

        return Catalog(self.files("molecules"), self.removed)

    def records(self, modality: str) -> Catalog:
        """The measured records of a modality, one row each under its own `key`, with the columns of
        `library.tables.records_schema` and the library's. Raises ConfigError when there are none.
        """
        if not self.is_measured(modality):
            raise ConfigError(f"the index {self.path} holds no measured records of {modality!r}")
        if modality not in self._records:
            from acml_search.library.catalog import Catalog

            self._records[modality] = Catalog(self.files(f"records/{modality}"), self.removed)
        return self._records[modality]

    @cached_property
    def keys(self) -> Ints:
        """(n,) int64 ascending: the keys of all molecules; each has a vector on every graph side."""
        return self._graph.keys

    @property
    def _graph(self) -> VectorIndex:
        return self.vectors(next(iter(self.spaces)), "graph")

    def places(self, keys: Ints) -> Ints:
        """The rows of the molecules `keys` in `peaks`."""
        return self._graph.places(keys)

    def holds(self, keys: Ints) -> Bools:
        """(n,): which of `keys` are of molecules that are there."""
        return np.isin(keys, self.keys)

    @cached_property
    def hydrogens(self) -> Ints | None:
        """(kinds, 2): the kinds of molecules by hydrogens and how many of them are exchangeable; None in an
        index of a version before 0.2"""
        return self._kinds[0] if self.catalog.has_counts else None

    def kinds_of(self, keys: Ints) -> Ints:
        """(n,): the rows of the molecules `keys` in `hydrogens`."""
        return self._kinds[1][self._graph.positions_of(keys)].astype("int64")

    def of_kinds(self, kinds: Bools, positions: Any = None) -> Any:
        """The positions on graph sides, among `positions` only if given, of the molecules of these `kinds`
        (of `hydrogens`)."""
        fits = kinds[self._kinds[1]] if positions is None else kinds[self._kinds[1][positions]]
        return np.flatnonzero(fits) if positions is None else positions[fits]

    @cached_property
    def _kinds(self) -> tuple[Ints, npt.NDArray[np.uint32]]:
        """`hydrogens`, and of which kind each molecule is, (n,) in the order of `keys`."""
        numbers = [self.catalog.numbers(name).astype(np.int64) for name in ("hydrogens", "exchangeable")]
        codes, kind = np.unique(numbers[0] << 16 | numbers[1], return_inverse=True)
        return np.stack([codes >> 16, codes & 0xFFFF], axis=1), kind.astype(np.uint32)

    def peaks(self, space: str) -> PeakLists | None:
        """The peaks that a space predicts of every molecule, removed ones too (`places` finds the others),
        memory-mapped; None where the index keeps none, as those of versions before 0.2."""
        if f"peaks/{space}.npy" not in self.manifest.files:
            return None
        if space not in self._peaks:
            self._peaks[space] = open_peaks(self.path / "peaks" / space)
        return self._peaks[space]

    def files(self, folder: str) -> list[Path]:
        """The index's files below `folder` ("molecules", "records/c_nmr"), in order."""
        return [self.path / name for name in self.manifest.parts(folder)]

    def vectors(self, space: str, side: str = "graph") -> VectorIndex:
        """One side of a space, memory-mapped. Raises ConfigError, listing what there is."""
        if not self.has_side(space, side):
            there = ", ".join(f"{name} ({', '.join(info.sides)})" for name, info in self.spaces.items())
            raise ConfigError(f"the index {self.path} has no {side} side of space {space!r}; it has {there}")
        if (space, side) not in self._vectors:
            from acml_search.index.vectors import VectorIndex

            self._vectors[space, side] = VectorIndex.open(
                self.path / "faiss" / f"{space}.{side}", self.removed
            )
        return self._vectors[space, side]

    def replaced(self) -> bool:
        """Was another index put here, or a molecule removed, since this one was opened?"""
        return self._file_identity(NAME) != self._opened[0]

    @contextmanager
    def unreplaced(self) -> Iterator[None]:
        """A block in which all files read belong to one index: they are opened when first needed, and might
        be those of another index that took its place (not where molecules were only removed: the files of
        before are still there). Raises IndexReplaced.
        """
        try:
            yield
        except Exception as error:
            if self._file_identity(BUILD) != self._opened[1]:
                raise IndexReplaced(self.path) from error
            raise
        if self._file_identity(BUILD) != self._opened[1]:
            raise IndexReplaced(self.path)

    def _file_identity(self, name: str) -> tuple[int, int, int] | None:
        """Device, inode and time of a file: that of another index has others. None when there is none."""
        try:
            found = (self.path / name).stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino, found.st_mtime_ns

    def close(self) -> None:
        if "catalog" in self.__dict__:
            self.catalog.close()
            del self.__dict__["catalog"]
        while self._records:
            self._records.popitem()[1].close()
        self._vectors.clear()
        self._peaks.clear()
        for name in ("keys", "hydrogens", "_kinds"):
            self.__dict__.pop(name, None)


def removed_rows(directory: Path, manifest: Manifest) -> Ints:
    """(m,) int64 ascending: the rows that `remove` took out of an index. Raises IndexCorrupt."""
    rows = np.empty(0, np.int64)
    for name in manifest.parts("removed"):
        rows = read_array(directory / name)
    return rows


def read_array(path: Path, mode: Literal["r"] | None = None) -> np.ndarray:
    """The array in a .npy file; "r": memory-mapped. Raises IndexCorrupt."""
    try:
        return np.load(path, mmap_mode=mode, allow_pickle=False)
    except (ValueError, OSError, EOFError, TokenError) as error:
        raise IndexCorrupt(path, f"it cannot be read ({getattr(error, 'strerror', error)})") from error


def open_peaks(path: Path) -> PeakLists:
    """Predicted peaks: `path`.npy, (P,) records of `nmr.predicted.DTYPES`, molecule after molecule, memory-
    mapped, and `path`.sizes.npy, (n,) how many each molecule has. Raises IndexCorrupt.
    """
    from acml_search.nmr.predicted import DTYPES, PeakLists

    peaks = read_array(Path(f"{path}.npy"), "r")
    ends = np.cumsum(read_array(Path(f"{path}.sizes.npy")), dtype=np.int64)
    if peaks.dtype not in DTYPES.values() or (int(ends[-1]) if len(ends) else 0) != len(peaks):
        raise IndexCorrupt(path, "the predicted peaks are not as the index wrote them")
    return PeakLists(peaks, ends)


def check_sizes(directory: Path, manifest: Manifest) -> None:
    """Raise IndexCorrupt for the first file that is missing or has another size than the manifest says."""
    for name, entry in manifest.files.items():
        check_size(directory / name, entry)


def check_size(path: Path, entry: Mapping[str, Any]) -> None:
    """As `check_sizes`, of one file and its entry in the manifest."""
    if not path.is_file():
        raise IndexCorrupt(path, "this file of the index is missing")
    if (found := path.stat().st_size) != entry["bytes"]:
        raise IndexCorrupt(path, f"it has {found:,} bytes and should have {entry['bytes']:,}")


def write_checksummed(path: Path, document: dict[str, Any]) -> None:
    """Write `document` with a `digest` of its own contents, atomically."""
    full = {**document, "digest": digest_of(document)}
    with atomic(path) as temporary:
        temporary.write_text(_layout(full), encoding="utf-8")


def read_checksummed(path: Path) -> dict[str, Any]:
    """The document that `write_checksummed` wrote, without the digest.

    Raises IndexCorrupt when a byte of it changed.
    """
    try:
        text = path.read_text(encoding="utf-8")
        sealed = json.loads(text)
        found = sealed.pop("digest")
    except OSError as error:
        raise IndexCorrupt(path, f"it cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise IndexCorrupt(path, "it is damaged: not a document that acml-search wrote") from error
    if found != digest_of(sealed) or text != _layout({**sealed, "digest": found}):
        raise IndexCorrupt(path, "it is damaged or was edited: its checksum does not fit its contents")
    return sealed


def _layout(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def location(index: Path | str) -> Path | str:
    """A directory as a path; `milvus:URI` as text, with the slashes that a path lost."""
    text = str(index)
    return re.sub(r"^(milvus:\w+:)/+", r"\1//", text) if text.startswith(MILVUS) else Path(index)


def open_store(index: Path | str) -> Store:
    """The index in a directory, or in a Milvus server (`milvus:URI`).

    Raises IndexNotFound or IndexCorrupt when there is none in a directory, StoreError for a server.
    """
    where = location(index)
    if isinstance(where, str):
        from acml_search.index.milvus import MilvusStore

        return MilvusStore(where)
    return IndexDirectory(where)
