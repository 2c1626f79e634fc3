"""Every error a user can cause.

    AcmlSearchError
    ├── InvalidMolecule      a structure that cannot be read or standardised
    ├── InvalidRecord        an observation that its modality cannot read
    ├── UnknownModality      a modality nobody registered
    ├── LibraryError         a library file that cannot be read
    ├── IndexNotFound        no index where one was expected
    ├── IndexCorrupt         an index file is missing, damaged or of another format
    ├── IndexReplaced        another index took the place of one that is being asked
    ├── StoreError           an index on a server that cannot be asked, or written to
    ├── SpaceMismatch        vectors of one space offered to another
    ├── FilterError          a filter that cannot be applied
    │   └── NoCandidates     a filter that no molecule of the index passes
    ├── CheckpointError      a model that cannot be loaded
    └── ConfigError          an invalid configuration or option

Each message is one sentence that says what is wrong, where, and what to do. The command line prints it
and exits with status 1. Notes on the question (`add_note`) are printed before it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any


class AcmlSearchError(Exception):
    """Base class of every error raised on purpose. It can be pickled, whatever its arguments were."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (type(self), self.args), self.__dict__


class InvalidMolecule(AcmlSearchError):
    """A structure that cannot be read or standardised.

    `reason` is the plain cause; `smiles` the offending input (shortened) and `row` its data row, if known.
    """

    def __init__(self, reason: str, *, smiles: str | None = None, row: int | None = None) -> None:
        self.reason = reason
        self.smiles = smiles
        self.row = row
        where = "" if row is None else f"row {row}: "
        shown = "" if smiles is None else f" ({shorten(smiles)!r})"
        super().__init__(f"{where}{reason}{shown}")


class InvalidRecord(AcmlSearchError):
    """An observation that its modality cannot read."""

    def __init__(self, reason: str, *, modality: str, row: int | None = None) -> None:
        self.reason = reason
        self.modality = modality
        self.row = row
        where = "" if row is None else f" in row {row}"
        super().__init__(f"this {modality} record{where} cannot be used: {reason}")


class UnknownModality(AcmlSearchError):
    """A modality nobody registered; the message lists those there are."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        self.name = name
        self.known = sorted(known)
        super().__init__(f"there is no modality {name!r}; known are {', '.join(self.known) or 'none'}")


class LibraryError(AcmlSearchError):
    """A library file that cannot be read."""

    def __init__(self, path: Path | str, reason: str) -> None:
        self.path = str(path)
        self.reason = reason
        super().__init__(f"{path}: {reason}")


class IndexNotFound(AcmlSearchError):
    """No index where one was expected."""

    def __init__(self, path: Path | str, reason: str = "there is no index here") -> None:
        self.path = str(path)
        super().__init__(f"{path}: {reason}; build one with `acml-search build-index --out {path}`")


class IndexCorrupt(AcmlSearchError):
    """A file of an index is missing, damaged or of a format this version does not read."""

    def __init__(
        self, path: Path | str, reason: str, remedy: str = "restore it or build the index again"
    ) -> None:
        self.path = str(path)
        self.reason = f"{reason}; {remedy}"
        super().__init__(f"{path}: {self.reason}")


class IndexReplaced(AcmlSearchError):
    """Another index took the place of one while it was asked: an answer may be made of both."""

    def __init__(self, path: Path | str) -> None:
        self.path = str(path)
        super().__init__(f"{path}: this index was replaced by another while it was asked; ask again")


class StoreError(AcmlSearchError):
    """An index on a server that cannot be asked, or written to."""


class SpaceMismatch(AcmlSearchError):
    """Vectors of one space were offered to another; both digests are named."""

    def __init__(self, space: str, expected: str, found: str) -> None:
        self.space = space
        self.expected = expected
        self.found = found
        super().__init__(
            f"the index holds vectors of space {space!r} with digest {expected[:12]}, the model makes "
            f"{found[:12]}; query with the model the index was built with, or build the index again"
        )


class FilterError(AcmlSearchError):
    """A filter that cannot be applied."""


class NoCandidates(FilterError):
    """A filter that no molecule of the index passes."""


class CheckpointError(AcmlSearchError):
    """A model that cannot be loaded."""

    def __init__(self, path: Path | str, reason: str) -> None:
        self.path = str(path)
        self.reason = reason
        super().__init__(f"{path}: {reason}")


class ConfigError(AcmlSearchError):
    """An invalid configuration or option."""


def _unpickled(kind: type[AcmlSearchError], args: tuple[Any, ...]) -> AcmlSearchError:
    error = kind.__new__(kind, *args)
    error.args = args
    return error


def shorten(text: str, length: int = 80) -> str:
    """`text`, cut in the middle to at most `length` characters, so that a message stays one line."""
    if len(text) <= length:
        return text
    half = (length - 1) // 2
    return f"{text[:half]}…{text[-half:]}"
