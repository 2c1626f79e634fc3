"""Where an index lies, as a search sees it: `Store`, of which there are two, a directory and Milvus."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeAlias

from acml_search.core.errors import SpaceMismatch
from acml_search.core.typing import Bools, Float32s, Ints

if TYPE_CHECKING:
    from acml_search.encoders.card import ModelCard
    from acml_search.index.directory import Manifest, SpaceInfo
    from acml_search.index.milvus import Selection
    from acml_search.library.catalog import Catalog
    from acml_search.nmr.predicted import PeakLists

MILVUS = "milvus:"
Passing: TypeAlias = "Ints | Selection"
"""The molecules that pass a filter: their keys (n,), ascending, or what a server is told to select them."""


class Vectors(Protocol):
    """One side of a space. Positions are what the store makes of keys, and nobody else's business."""

    def positions_of(self, keys: Any) -> Any:
        """The positions of `Passing` that have a vector here."""

    def stored(self, positions: Any) -> Float32s:
        """(m, d) float32: the stored vectors at `positions`, in the order of their keys."""

    def sample(self, n: int) -> Float32s:
        """(m, d) float32: about `n` vectors from all over."""

    def search(self, xq: Float32s, k: int, positions: Any = None) -> tuple[Float32s, Ints]:
        """Inner products and keys (nq, k) of the k best, among `positions` only if given; -1: no more."""


class Peaks(Protocol):
    """The peaks that a space predicts of every molecule."""

    def take(self, rows: Ints) -> PeakLists:
        """Those of the molecules at `rows` (`Store.places`)."""


class Store(ABC):
    """An index, read-only; a context manager. The manifest is read at once, the rest when it is asked for."""

    path: Path | str
    manifest: Manifest
    hydrogens: Ints | None
    """(kinds, 2): the kinds of molecules by hydrogens and how many of them are exchangeable; None in an index
    of a version before 0.2"""
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

    @property
    @abstractmethod
    def catalog(self) -> Catalog:
        """The molecules."""

    @abstractmethod
    def records(self, modality: str) -> Catalog:
        """The measured records of a modality, one row each under its own `key`, with the columns of
        `library.tables.records_schema` and the library's. Raises ConfigError when there are none.
        """

    @abstractmethod
    def vectors(self, space: str, side: str = "graph") -> Vectors:
        """One side of a space. Raises ConfigError, listing what there is."""

    @abstractmethod
    def peaks(self, space: str) -> Peaks | None:
        """The peaks that a space predicts of every molecule; None where the index keeps none, as those of
        versions before 0.2."""

    @abstractmethod
    def places(self, keys: Ints) -> Ints:
        """The rows of the molecules `keys` in `peaks`."""

    @abstractmethod
    def holds(self, keys: Ints) -> Bools:
        """(n,): which of `keys` are of molecules that are there."""

    @abstractmethod
    def kinds_of(self, keys: Ints) -> Ints:
        """(n,): the rows of the molecules `keys` in `hydrogens`."""

    @abstractmethod
    def of_kinds(self, kinds: Bools, positions: Any = None) -> Any:
        """The positions on graph sides, among `positions` only if given, of the molecules of these `kinds`
        (of `hydrogens`)."""

    @abstractmethod
    def replaced(self) -> bool:
        """Was another index put here, or a molecule removed, since this one was opened?"""

    @abstractmethod
    def unreplaced(self) -> AbstractContextManager[None]:
        """A block in which all that is read belongs to one index. Raises IndexReplaced."""

    @abstractmethod
    def close(self) -> None:
        """Let go of files and connections; they are opened again when something is asked for."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


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
    from acml_search.index.directory import IndexDirectory

    return IndexDirectory(where)
