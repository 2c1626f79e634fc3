"""Searches in few threads, of which few wait; and the indexes that all of them share."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from acml_search.core.errors import AcmlSearchError, ConfigError
from acml_search.core.timing import stoppable
from acml_search.search.pipeline import Index, open_index
from acml_search.serve.gate import Limits, Refused

T = TypeVar("T")
log = logging.getLogger(__name__)


class Shelf:
    """The indexes of a server, by name: that of their folder, with its parent's where two are alike.

    Raises ConfigError for no index or one that is given twice, and as `open_index` does.
    """

    def __init__(self, paths: Sequence[Path], model: str | None = None) -> None:
        folders = [path.resolve() for path in paths]
        if not folders or len(set(folders)) < len(folders):
            raise ConfigError("name one or several indexes, each once")
        names = [folder.name for folder in folders]
        names = [
            name if names.count(name) == 1 else f"{folder.parent.name}/{name}"
            for name, folder in zip(names, folders, strict=True)
        ]
        if len(set(names)) < len(names):
            raise ConfigError("two indexes have one name; rename the folder of one")
        self.indexes = {name: open_index(path, model=model) for name, path in zip(names, paths, strict=True)}

    def get(self, name: str | None) -> tuple[str, Index]:
        """An index and its name; the first one where none is named. Raises Refused."""
        name = next(iter(self.indexes)) if name is None else name
        if name not in self.indexes:
            known = ", ".join(self.indexes)
            raise Refused(404, f"there is no index of this name here; there are {known}")
        return name, self.indexes[name]

    def warm(self) -> None:
        """Search once in each, so that models are loaded and files mapped."""
        for name, index in self.indexes.items():
            try:
                index.search("C", k=1)
            except AcmlSearchError as error:
                log.error("%s: %s", name, error)

    def said(self, text: str) -> str:
        """A sentence that calls the indexes by their names."""
        for name, index in self.indexes.items():
            text = text.replace(str(index.path), name)
        return text

    def close(self) -> None:
        for index in self.indexes.values():
            index.close()


class Pool:
    """`workers` threads; Refused (503) where so many searches wait already that another would wait long,
    Refused (408) for one that takes longer than `limits.seconds`. That one, and one whose asker went away,
    stops at its next step and leaves its thread to others."""

    def __init__(self, workers: int, limits: Limits) -> None:
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="search")
        self._most, self._seconds = workers * (1 + limits.waiting), limits.seconds
        self._lock = threading.Lock()
        self.open = 0

    async def do(self, work: Callable[[], T], gone: Callable[[], Awaitable[bool]]) -> T:
        """The result of `work`. gone: whether the client went away."""
        with self._lock:
            if self.open >= self._most:
                raise Refused(503, f"{self.open} searches run or wait; ask again in a moment", 2)
            self.open += 1
        stop = threading.Event()
        running = self._threads.submit(stoppable, stop, work)
        running.add_done_callback(self._left)
        result = asyncio.wrap_future(running)
        end = asyncio.get_running_loop().time() + self._seconds
        try:
            while not result.done():
                left = end - asyncio.get_running_loop().time()
                if left <= 0 or await gone():
                    raise Refused(408, f"it took more than {self._seconds:g} seconds; ask for less")
                await asyncio.wait([result], timeout=min(left, 0.5))
            return result.result()
        finally:
            stop.set()
            result.cancel()

    def _left(self, _: Future[T]) -> None:
        with self._lock:
            self.open -= 1

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
