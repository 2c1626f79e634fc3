"""Files of object stores (`s3://`, `gs://`, all that fsspec knows), as readers of libraries use a path."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import BinaryIO, TypeVar, cast

from acml_search.core.errors import LibraryError

T = TypeVar("T")


def located(path: Path | str) -> Path:
    """The file at `path`, or at a URL, whose slashes a path may have lost.

    Raises LibraryError for a store that cannot be asked, or whose package (s3fs, gcsfs) is not installed.
    """
    url = re.fullmatch(r"([a-z][a-z0-9+]+):/+(.*)", str(path))
    if url is None or Path(path).exists():
        return Path(path)
    return cast(Path, Remote(f"{url[1]}://{'/' if url[1] == 'file' else ''}{url[2]}"))


class Remote:
    """What the readers ask of a path, answered by an object store. Read in order, nothing is kept on disk."""

    def __init__(self, url: str) -> None:
        from fsspec.core import url_to_fs

        self._url = url
        self._store, self._key = self._told(lambda: url_to_fs(url))
        self._of = PurePosixPath(self._key)
        self.name, self.suffix = self._of.name, self._of.suffix

    def __str__(self) -> str:
        return self._url

    def with_suffix(self, suffix: str) -> PurePosixPath:
        return self._of.with_suffix(suffix)

    def exists(self) -> bool:
        return bool(self._told(lambda: self._store.exists(self._key)))

    def is_file(self) -> bool:
        return bool(self._told(lambda: self._store.isfile(self._key)))

    def is_dir(self) -> bool:
        return bool(self._told(lambda: self._store.isdir(self._key)))

    def stat(self) -> SimpleNamespace:
        return SimpleNamespace(st_size=int(self._told(lambda: self._store.size(self._key))))

    def open(self, mode: str = "rb", buffering: int = -1) -> BinaryIO:
        return cast(BinaryIO, self._told(lambda: self._store.open(self._key, mode)))

    def _told(self, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except Exception as error:  # every store has errors of its own
            reason = " ".join(str(error).split()) or type(error).__name__
            raise LibraryError(self._url, f"the store does not give it: {reason}") from error
