"""`IndexDirectory`: an index on disk, opened for reading. Neither torch nor a vector is loaded by opening."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from acml_search.core.errors import ConfigError, IndexCorrupt, IndexNotFound, IndexReplaced, SpaceMismatch
from acml_search.core.typing import Ints
from acml_search.index.manifest import NAME, Manifest, SpaceInfo, read_manifest

if TYPE_CHECKING:
    from acml_search.index.vectors import VectorIndex
    from acml_search.library.catalog import Catalog

SIDES = ("graph", "records")


class IndexDirectory:
    """An index directory, read-only; a context manager.

    Opening reads the manifest and checks that every file is there in its full size. The rest is opened on
    use.

    Raises IndexNotFound when there is no index, IndexCorrupt naming the file when one is missing or cut
    short.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._identity = self._file_identity()
        self.manifest: Manifest = read_manifest(self.path)
        if self.manifest.kind != "index":
            raise IndexNotFound(self.path, "this folder holds embeddings only, without a search index")
        check_sizes(self.path, self.manifest)
        self._vectors: dict[tuple[str, str], VectorIndex] = {}
        self._records: dict[str, Catalog] = {}

    def __repr__(self) -> str:
        return f"IndexDirectory({str(self.path)!r}, {self.manifest.counts['molecules']:,} molecules)"

    @property
    def spaces(self) -> dict[str, SpaceInfo]:
        return self.manifest.spaces

    @property
    def model(self) -> str:
        """Name or directory of the checkpoint the index was built with."""
        return self.manifest.model["source"]

    @property
    def restriction(self) -> str | None:
        """What the licence of the index's model forbids, as a sentence; None when it forbids nothing."""
        return self.manifest.model.get("restriction")

    @property
    def tautomer(self) -> bool:
        """Whether the molecules were turned into canonical tautomers; a query must be, then, too."""
        return bool(self.manifest.options["tautomer"])

    @property
    def counts(self) -> dict[str, int]:
        return self.manifest.counts

    @cached_property
    def catalog(self) -> Catalog:
        from acml_search.library.catalog import Catalog

        return Catalog(self.files("molecules"))

    def is_measured(self, space: str, side: str = "records") -> bool:
        """Whether this side is of measured records; its keys are then those of `records(space)`."""
        return self.has_side(space, side) and bool(self.spaces[space].sides[side].get("measured"))

    def records(self, modality: str) -> Catalog:
        """The measured records of a modality, one row each under its own `key`, with the columns of
        `library.tables.records_schema` and the library's. Raises ConfigError when there are none.
        """
        if not self.is_measured(modality):
            raise ConfigError(f"the index {self.path} holds no measured records of {modality!r}")
        if modality not in self._records:
            from acml_search.library.catalog import Catalog

            self._records[modality] = Catalog(self.files(f"records/{modality}"))
        return self._records[modality]

    @cached_property
    def keys(self) -> Ints:
        """(n,) int64 ascending: the keys of all molecules; each has a vector on every graph side."""
        return self.vectors(next(iter(self.spaces)), "graph").keys

    def files(self, folder: str) -> list[Path]:
        """The index's files below `folder` ("molecules", "records/c_nmr"), in order."""
        return [self.path / name for name in self.manifest.parts(folder)]

    def has_side(self, space: str, side: str) -> bool:
        return space in self.spaces and side in self.spaces[space].sides

    def vectors(self, space: str, side: str = "graph") -> VectorIndex:
        """One side of a space, memory-mapped. Raises ConfigError, listing what there is."""
        if not self.has_side(space, side):
            there = ", ".join(f"{name} ({', '.join(info.sides)})" for name, info in self.spaces.items())
            raise ConfigError(f"the index {self.path} has no {side} side of space {space!r}; it has {there}")
        if (space, side) not in self._vectors:
            from acml_search.index.vectors import VectorIndex

            self._vectors[space, side] = VectorIndex.open(self.path / "faiss" / f"{space}.{side}")
        return self._vectors[space, side]

    def check_spaces(self, digests: Mapping[str, str]) -> None:
        """Raise SpaceMismatch unless `digests` (of a model, by space) has every space of the index,
        unchanged.
        """
        for name, space in self.spaces.items():
            found = digests.get(name, "(no such space)")
            if found != space.digest:
                raise SpaceMismatch(name, space.digest, found)

    def replaced(self) -> bool:
        """Has a build or `add` put another index here since this one was opened?"""
        return self._file_identity() != self._identity

    @contextmanager
    def unreplaced(self) -> Iterator[None]:
        """A block in which all files read belong to one index: they are opened when first needed, and might
        be those of another index that took its place. Raises IndexReplaced.
        """
        try:
            yield
        except Exception as error:
            if self.replaced():
                raise IndexReplaced(self.path) from error
            raise
        if self.replaced():
            raise IndexReplaced(self.path)

    def _file_identity(self) -> tuple[int, int, int] | None:
        """Device, inode and time of the manifest: another index has others. None when there is none."""
        try:
            found = (self.path / NAME).stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino, found.st_mtime_ns

    def close(self) -> None:
        """Close the catalogue and let go of the mapped files."""
        if "catalog" in self.__dict__:
            self.catalog.close()
            del self.__dict__["catalog"]
        while self._records:
            self._records.popitem()[1].close()
        self._vectors.clear()
        self.__dict__.pop("keys", None)

    def __enter__(self) -> IndexDirectory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def check_sizes(directory: Path, manifest: Manifest) -> None:
    """Raise IndexCorrupt for the first file that is missing or has another size than the manifest says."""
    for name, entry in manifest.files.items():
        path = directory / name
        if not path.is_file():
            raise IndexCorrupt(path, "this file of the index is missing; restore it or build the index again")
        found = path.stat().st_size
        if found != entry["bytes"]:
            raise IndexCorrupt(
                path,
                f"it has {found:,} bytes and should have {entry['bytes']:,}; "
                "restore it or build the index again",
            )
