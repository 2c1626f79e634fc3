"""A pool of processes for benchmarks: one torch thread each, the model loaded once in each, results in order.

Two threads in each of two processes are several times slower than one on two cores, hence processes.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from types import TracebackType
from typing import Any, TypeVar

from acml_search.core.errors import AcmlSearchError

Task = TypeVar("Task")
Result = TypeVar("Result")

IN_FLIGHT_PER_WORKER = 3

_model: Any = None


def model() -> Any:
    """The model of this worker process; only inside a task of `Workers` that were given one."""
    if _model is None:
        raise RuntimeError("no model was loaded in this process")
    return _model


def start(name: str | None) -> None:
    """Prepare this process: one torch thread, and the model called `name` unless None."""
    global _model
    _model = None
    if name is not None:
        import torch

        from acml_search.encoders.model import load_model

        torch.set_num_threads(1)
        _model = load_model(name)


def _start_worker(name: str | None) -> None:
    """As `start`, in a process of its own: Ctrl-C is the main process's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    start(name)


class Workers:
    """`n` processes; with n = 1 the work is done here, in this process.

    `model` names the checkpoint to load in each, if the tasks need one. Use as a context manager.
    """

    def __init__(self, n: int | None = None, *, model: str | None = None) -> None:
        self.n = n or len(os.sched_getaffinity(0))
        self._model = model
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Workers:
        if self.n == 1:
            start(self._model)
        else:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(
                self.n, context, initializer=_start_worker, initargs=(self._model,)
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def map(self, function: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
        """`function` (of a module, so that it can be sent) of each task, in order, few in flight."""
        if self._pool is None:
            yield from map(function, tasks)
            return
        waiting: deque[Future[Result]] = deque()
        try:
            for task in tasks:
                waiting.append(self._pool.submit(function, task))
                if len(waiting) >= self.n * IN_FLIGHT_PER_WORKER:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise AcmlSearchError(
                "a worker process died (usually for want of memory); try fewer with --workers"
            ) from error


def chunks(items: Iterable[Task], size: int) -> Iterator[list[Task]]:
    """`items` in lists of `size`, the last one shorter."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
