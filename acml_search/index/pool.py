"""Shards made by processes of this machine, one torch thread in each."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from acml_search.core.errors import AcmlSearchError
from acml_search.index.embed import ShardJob, embed_shard, write_shard
from acml_search.library.read import Row

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


class WorkerDied(Exception):
    """A worker ended without an answer."""


def usable_cores() -> int:
    """Cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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
