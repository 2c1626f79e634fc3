"""Files of object stores (`s3://`, `gs://`, all that fsspec knows), as readers of libraries use a path."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import BinaryIO, TypeVar, cast

from acml_search.core.errors import ConfigError, LibraryError
from acml_search.core.extras import require

T = TypeVar("T")
_PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs"}


_URL = re.compile(r"([a-z][a-z0-9+]+):/+(.*)")


def local(out: Path | str) -> Path:
    """The folder `out`. Raises ConfigError for a URL: an index is mapped into memory from a disk."""
    if _URL.fullmatch(str(out)):
        raise ConfigError(
            f"{out} is no folder of this machine; give one as --out, and copy it there when it is done"
        )
    return Path(out)


def located(path: Path | str) -> Path:
    """The file at `path`, or at a URL, whose slashes a path may have lost.

    Raises LibraryError for a store that cannot be asked, ConfigError where its package is not installed.
    """
    url = _URL.fullmatch(str(path))
    if url is None or Path(path).exists():
        return Path(path)
    return cast(Path, Remote(f"{url[1]}://{'/' if url[1] == 'file' else ''}{url[2]}"))


class Remote:
    """What the readers ask of a path, answered by an object store. Read in order, nothing is kept on disk."""

    def __init__(self, url: str) -> None:
        from fsspec.core import url_to_fs

        if (scheme := url.split(":")[0]) in _PACKAGES:
            require(_PACKAGES[scheme])
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
