"""All shards of a library: resumable, a bounded number in flight, whoever makes them."""

from __future__ import annotations

import shutil
from collections import deque
from pathlib import Path
from typing import Any, Protocol

from acml_search.core.errors import AcmlSearchError, ConfigError
from acml_search.core.progress import progress
from acml_search.index.embed import ShardJob, read_marker
from acml_search.index.pool import LocalPool, WorkerDied, usable_cores
from acml_search.library.read import Library, Row

IN_FLIGHT = 2  # shards per worker: one being made, one waiting, so that memory stays bounded
ENGINES = ("local", "ray")


class Pool(Protocol):
    """Whatever makes shards: `submit` one, and wait for its `result`."""

    workers: int

    def submit(self, rows: list[Row], folder: Path) -> Any:
        """Have the shard of `rows` made in `folder`; returns a handle."""

    def result(self, handle: Any) -> str | None:
        """Wait for a shard; the message when it could not be made. Raises `WorkerDied`."""

    def close(self) -> None:
        """Give up what has not begun, and end the workers."""


def open_pool(engine: str, job: ShardJob, workers: int | None) -> Pool:
    """The pool of an engine: `local` processes, or the workers of a `ray` cluster. Raises ConfigError."""
    check_engine(engine)
    if engine == "local":
        return LocalPool(job, workers or usable_cores())
    from acml_search.index.ray_pool import RayPool

    return RayPool(job, workers)


def check_engine(engine: str) -> None:
    """Raises ConfigError for an engine that there is not."""
    if engine not in ENGINES:
        raise ConfigError(f"there is no engine {engine!r}; there are {' and '.join(ENGINES)}")


def embed_all(library: Library, pool: Pool, folder: Path, shard_size: int) -> list[Path]:
    """Make every shard of `library` that `folder` does not hold yet; the folders of all shards, in order.

    Raises AcmlSearchError when a worker dies or cannot work; what is finished stays, and is not made again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(".*.tmp"):
        shutil.rmtree(left)
    shards: list[Path] = []
    flying: deque[tuple[Any, list[Row]]] = deque()
    bar = progress(total=library.total, desc="embedding", unit=" mol")
    read = 0
    with bar:
        for number, rows in enumerate(library.batches(shard_size)):
            shards.append(folder / f"{number:06d}")
            read += len(rows)
            bar.total = library.expected(read)
            # A power cut can leave a file of the right size and of zeros.
            if read_marker(shards[-1], check=True) is not None:
                _skip(bar, len(rows))
                continue
            shutil.rmtree(shards[-1], ignore_errors=True)
            while len(flying) >= pool.workers * IN_FLIGHT:
                _land(pool, flying, bar)
            flying.append((pool.submit(rows, shards[-1]), rows))
        while flying:
            _land(pool, flying, bar)
    return shards


def _land(pool: Pool, flying: deque[tuple[Any, list[Row]]], bar: Any) -> None:
    """Wait for the oldest shard."""
    handle, rows = flying.popleft()
    try:
        problem = pool.result(handle)
    except WorkerDied as error:
        raise AcmlSearchError(
            f"a worker died at rows {rows[0].row:,} to {rows[-1].row:,} or in a shard after them (killed, or "
            "out of memory?); run the same command again to resume, with fewer --workers if memory is short"
        ) from error
    if problem is not None:
        raise AcmlSearchError(problem)
    bar.update(len(rows))


def _skip(bar: Any, rows: int) -> None:
    """Count rows made by an earlier run without counting them into the rate."""
    if bar.disable:
        return
    bar.n += rows
    bar.initial += rows
    bar.last_print_n = bar.n
    bar.refresh()
