"""Shards made by a pool of workers: resumable, a bounded number in flight."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sys
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

from acml_search.errors import AcmlSearchError, ConfigError
from acml_search.index.embed import ShardJob, embed_shard, read_marker, write_shard
from acml_search.library.read import Library, Row
from acml_search.progress import progress

IN_FLIGHT = 2  # shards per worker: one being made, one waiting, so that memory stays bounded
ENGINES = ("local", "ray")
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def usable_cores() -> int:
    """Cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Pool(Protocol):
    """Whatever makes shards: `submit` one, and wait for its `result`."""

    workers: int

    def submit(self, rows: list[Row], folder: Path) -> Any:
        """Have the shard of `rows` made in `folder`; returns a handle."""

    def result(self, handle: Any) -> str | None:
        """Wait for a shard; the message when it could not be made. Raises `WorkerDied`."""

    def close(self) -> None:
        """Give up what has not begun, and end the workers."""


class WorkerDied(Exception):
    """A worker ended without an answer."""


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
            if library.total is None and library.fraction() > 0:
                bar.total = int(read / library.fraction())
            if read_marker(shards[-1]) is not None:
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


_job: ShardJob


def _start(job: ShardJob) -> None:
    """Prepare a worker process."""
    global _job
    _job = job
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the main process, which ends the pool
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A worker whose main process was killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _make(rows: list[Row], folder: Path) -> str | None:
    return make_shard(rows, folder, _job)


def make_shard(rows: list[Row], folder: Path, job: ShardJob) -> str | None:
    """One shard, made and written; the message when that is not possible, because our errors do not
    travel."""
    try:
        write_shard(embed_shard(rows, job), folder)
    except AcmlSearchError as error:
        return str(error)
    return None


class LocalPool:
    """Processes of this machine, one torch thread in each."""

    def __init__(self, job: ShardJob, workers: int) -> None:
        self.workers = workers
        self._left_alone = ExitStack()
        self._left_alone.enter_context(_no_threads())
        self._left_alone.enter_context(_main_left_alone())
        self._pool = ProcessPoolExecutor(
            workers, mp_context=multiprocessing.get_context("spawn"), initializer=_start, initargs=(job,)
        )

    def submit(self, rows: list[Row], folder: Path) -> Future[str | None]:
        return self._pool.submit(_make, rows, folder)

    def result(self, handle: Future[str | None]) -> str | None:
        try:
            return handle.result()
        except BrokenProcessPool as error:
            raise WorkerDied from error

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._left_alone.close()


@contextmanager
def _no_threads() -> Iterator[None]:
    """Processes started inside use one thread each in their numerical libraries."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _main_left_alone() -> Iterator[None]:
    """Spawned processes do not run the user's script again, which need not have a `__main__` guard for our
    sake.
    """
    main: Any = sys.modules["__main__"]
    spec, file = getattr(main, "__spec__", None), main.__dict__.pop("__file__", None)
    main.__spec__ = None
    try:
        yield
    finally:
        main.__spec__ = spec
        if file is not None:
            main.__file__ = file
