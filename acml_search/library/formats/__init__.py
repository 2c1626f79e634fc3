"""File formats of libraries: one module each, found by itself, chosen by the ending of the file's name.

A new format is one new module here with a `Source` decorated by `@register(".ending")`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from acml_search.core.errors import LibraryError
from acml_search.library.formats.base import Record, Source, registered

__all__ = ["Record", "Source", "endings", "open_source"]


@cache
def _discover() -> None:
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")


def endings() -> list[str]:
    """The endings that can be read; each may be followed by `.gz`."""
    _discover()
    return sorted(registered)


def open_source(path: Path, smiles_column: str | None = None, records: Sequence[str] | None = None) -> Source:
    """The file at `path`, ready to be streamed; raises `LibraryError` if it cannot be.

    `records`: give measured records too, of these modalities where the file leaves it open; None: give none.
    """
    _discover()
    ending = path.with_suffix("").suffix if path.suffix.lower() == ".gz" else path.suffix
    source = registered.get(ending.lower())
    if path.is_dir():
        raise LibraryError(path, "this is a directory; name the files in it")
    if source is None:
        raise LibraryError(
            path,
            f"the ending {ending!r} is of no known format; known are {', '.join(endings())}, each also .gz",
        )
    opened = source(path, smiles_column)
    if records is not None:
        opened.observe(records)
    return opened
