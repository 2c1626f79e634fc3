"""What an engine must do to be compared."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Positions = npt.NDArray[np.int64]

BLOCK = 65_536  # vectors added at once: 64 MB at 256 dimensions


class Engine(ABC):
    """Nearest vectors by inner product of unit vectors. One object lives in one process.

    `BUILD` and `SEARCH` are the arguments that a plan may give, `PREPARES` tells whether `prepare` does
    anything, `PACKAGE` is the one that must be installed.
    """

    BUILD: ClassVar[tuple[str, ...]] = ()
    SEARCH: ClassVar[tuple[str, ...]] = ()
    PREPARES: ClassVar[bool] = False
    PACKAGE: ClassVar[str]
    DISTRIBUTION: ClassVar[str]

    @classmethod
    def why_not(cls) -> str | None:
        """Why this engine cannot run here; None where it can."""
        if find_spec(cls.PACKAGE) is None:
            return f"{cls.PACKAGE} is not installed: pip install {cls.DISTRIBUTION}"
        return None

    @classmethod
    def version(cls) -> str:
        """Of the package that does the work."""
        return f"{cls.DISTRIBUTION} {version(cls.DISTRIBUTION)}"

    @abstractmethod
    def build(
        self, base: Floats, typical: Floats, folder: Path, arguments: Mapping[str, Any], threads: int
    ) -> dict[str, Any]:
        """Index `base` (n, d) and write it into `folder`; returns what is worth telling of it.

        `typical` (m, d): queries that are never asked in the benchmark, for an engine that measures itself.
        """

    def prepare(self, base: Floats, folder: Path) -> None:
        """What another part of the program has done before a build, and is not timed; nothing, mostly."""
        return None

    @abstractmethod
    def open(self, folder: Path) -> None:
        """Make the index in `folder` ready to be searched."""

    def takes(self, search: Mapping[str, Any]) -> bool:
        """Whether the open index has a use for this setting."""
        return True

    @abstractmethod
    def set(self, search: Mapping[str, Any], threads: int) -> dict[str, Any]:
        """Search like this from now on; returns the setting in numbers, where it was a word."""

    @abstractmethod
    def search(self, xq: Floats, k: int) -> Positions:
        """(nq, k) positions in `base`, best first, -1 where there are fewer."""


def blocks(base: Floats) -> Iterator[Floats]:
    """`base` in pieces that are in memory."""
    for low in range(0, len(base), BLOCK):
        yield np.ascontiguousarray(base[low : low + BLOCK])


def sample(base: Floats, size: int, seed: int = 7) -> Floats:
    """(size, d): a random sample, the same for the same seed."""
    chosen = np.random.default_rng(seed).choice(len(base), size, replace=False)
    return np.ascontiguousarray(base[np.sort(chosen)])
