"""One cache for what benchmarks compute: each entry is keyed by the inputs and the code that it depends on.

    <folder>/<kind>/<digest of the key and of the code>.<parquet | npy>

Keys name the content of files and the digests of models. The code is that of all layers below this one
(`LAYERS`; layers import downwards only), so that changed data, weights or code are another entry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

import acml_search
from acml_search.core.errors import ConfigError
from acml_search.core.io import atomic, digest_of

Array = npt.NDArray[Any]
LAYERS = ("chem", "core", "encoders", "library", "modalities", "ms", "networks", "nmr", "ocsr")


@cache
def code_digest(*paths: Path) -> str:
    """Hex SHA-256 over source files and folders of them; without `paths`, the packages of `LAYERS`."""
    given = paths or tuple(Path(acml_search.__file__).with_name(name) for name in LAYERS)
    files = (file for path in given for file in (sorted(path.rglob("*.py")) if path.is_dir() else [path]))
    digest = sha256()
    for file in files:
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


class Cache:
    """Entries below a folder. An entry is written whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def at(cls, folder: Cache | Path) -> Cache:
        return folder if isinstance(folder, Cache) else cls(folder)

    def path(self, kind: str, key: Mapping[str, Any], suffix: str) -> Path:
        return self.folder / kind / f"{digest_of({**key, 'layers': code_digest()})[:24]}{suffix}"

    def table(self, kind: str, key: Mapping[str, Any], compute: Callable[[], pa.Table]) -> pa.Table:
        """A table, read or computed. Raises ConfigError, as all of these, for a damaged entry."""
        path = self.path(kind, key, ".parquet")
        if not path.exists():
            with atomic(path) as temporary:
                pq.write_table(compute(), temporary, compression="zstd")
        try:
            return pq.read_table(path)
        except (OSError, pa.ArrowInvalid) as error:
            raise _damaged(path, kind, error) from error

    def array(self, kind: str, key: Mapping[str, Any], compute: Callable[[], Array]) -> Array:
        """An array, mapped into memory."""
        path = self.path(kind, key, ".npy")
        if not path.exists():
            self.write_array(path, compute())
        return self.read_array(path)

    @staticmethod
    def write_array(path: Path, array: Array) -> None:
        with atomic(path) as temporary, temporary.open("wb") as file:
            np.save(file, array, allow_pickle=False)

    @staticmethod
    def read_array(path: Path) -> Array:
        """Mapped into memory. Raises ConfigError for a damaged file."""
        try:
            array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise _damaged(path, path.parent.name, error) from error
        return array


def _damaged(path: Path, kind: str, error: Exception) -> ConfigError:
    return ConfigError(f"{path}: the kept {kind} cannot be read ({error}); remove the file")
