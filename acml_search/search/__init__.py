"""Asking an index: `open_index(path).search(...)`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from acml_search.search.query import Index

__all__ = ["open_index"]


def open_index(path: Path | str = "indexes/default", *, model: Path | str | None = None) -> Index:
    """Open an index directory for searching.

    model: the checkpoint (name or directory) that encodes queries; by default the one the index was built
    with. Raises IndexNotFound or IndexCorrupt.
    """
    from acml_search.search.query import Index

    return Index(path, model=model)
