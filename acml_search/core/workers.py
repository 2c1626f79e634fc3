"""Worker processes: one numerical thread each, set up once, results in order, no orphans.

Two threads in each of two processes are several times slower than one on two cores, hence processes. loky,
joblib's executor, starts them without running the user's script again; on a cluster Ray does, and gives the
tasks of a node that dies to another. Both are used directly and not by `joblib.Parallel`, which does not
bound the finished results that wait to be read. Tasks and results are pickled; errors of `core.errors` keep
their class and attributes.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from types import TracebackType
from typing import Any, TypeVar
from uuid import uuid4

from acml_search.core.errors import AcmlSearchError, ConfigError

Task = TypeVar("Task")
Result = TypeVar("Result")

ENGINES = ("local", "ray")
IN_FLIGHT = 3  # tasks per worker that are sent before their results are read: bounds the memory of both sides
RETRIES = 5  # of a task whose node or process died on a cluster
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
ONE_THREAD = dict.fromkeys((*_THREADS, "VECLIB_MAXIMUM_THREADS"), "1")


class WorkerDied(AcmlSearchError):
    """A worker process ended without an answer."""

    def __init__(self) -> None:
        super().__init__(
            "a worker process died (killed, or out of memory?); use fewer --workers if memory is short"
        )


def cpu_count() -> int:
    """Cores this process may use: of its affinity mask and its container's quota, where there are such."""
    import joblib

    return int(joblib.cpu_count())


def chunks(items: Iterable[Task], size: int) -> Iterator[list[Task]]:
    """`items` in lists of `size`, the last one shorter."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def check_engine(engine: str) -> None:
    """Raise ConfigError for an engine that does not exist or is not installed."""
    if engine not in ENGINES:
        raise ConfigError(f"there is no engine {engine!r}; there are {' and '.join(ENGINES)}")
    if engine == "ray":
        try:
            import ray  # noqa: F401
        except ImportError as error:
            raise ConfigError(
                "the engine ray needs Ray, which is not installed: pip install 'acml-search[ray]'"
            ) from error


class Workers:
    """`n` processes, used as a context manager.

    n: None for one per core (of the cluster, with Ray). initializer(*initargs) runs once in each process
    before its first task: the place to load a model. in_process: where n is 1, do the work in this process.
    engine: `local`, or `ray` for the cluster at RAY_ADDRESS (without that variable, one on this machine).
    Raises ConfigError for an engine that is not there.
    """

    def __init__(
        self,
        n: int | None = None,
        *,
        initializer: Callable[..., None] | None = None,
        initargs: tuple[Any, ...] = (),
        engine: str = "local",
        in_process: bool = True,
    ) -> None:
        check_engine(engine)
        self._initializer, self._initargs, self._engine = initializer, initargs, engine
        self._submit: Callable[[Callable[[Any], Any], Any], Callable[[], Any]] | None = None
        self._died: tuple[type[BaseException], ...] = ()
        self._stop: Callable[[bool], None] = lambda failed: None
        self.n = self._start_ray(n) if engine == "ray" else n or cpu_count()
        self._in_process = in_process and self.n == 1

    def __enter__(self) -> Workers:
        if self._engine == "local" and not self._in_process:
            self._start_local()
        elif self._engine == "local" and self._initializer is not None:
            self._initializer(*self._initargs)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._submit = None
        self._stop(kind is not None)

    def map(self, function: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
        """`function` of a module of each task, in order, few in flight. Raises WorkerDied and its errors."""
        if self._submit is None:
            yield from map(function, tasks)
            return
        waiting: deque[Callable[[], Result]] = deque()
        try:
            for task in tasks:
                waiting.append(self._submit(function, task))
                if len(waiting) >= self.n * IN_FLIGHT:
                    yield waiting.popleft()()
            while waiting:
                yield waiting.popleft()()
        except self._died as error:
            raise WorkerDied from error

    def _start_local(self) -> None:
        from joblib.externals.loky import BrokenProcessPool, ProcessPoolExecutor

        executor = ProcessPoolExecutor(
            self.n,
            timeout=None,
            initializer=_start,
            initargs=(os.getpid(), self._initializer, self._initargs),
            env=ONE_THREAD,
        )
        self._submit = lambda function, task: executor.submit(function, task).result
        self._died = (BrokenProcessPool,)
        self._stop = lambda failed: executor.shutdown(wait=True, kill_workers=failed)

    def _start_ray(self, n: int | None) -> int:
        import ray

        ours = not ray.is_initialized()
        if ours:
            ray.init(
                num_cpus=None if "RAY_ADDRESS" in os.environ else n,
                include_dashboard=False,
                log_to_driver=False,
                logging_level="warning",
                runtime_env={"env_vars": ONE_THREAD},
            )
        n = n or max(1, int(ray.cluster_resources().get("CPU", 1)))
        run = ray.remote(num_cpus=1, max_retries=RETRIES)(_on_cluster)
        prepared = ray.put((uuid4().hex, self._initializer, self._initargs))

        def submit(function: Callable[[Any], Any], task: Any) -> Callable[[], Any]:
            waiting = run.remote(prepared, function, task)

            def get() -> Any:
                try:
                    return ray.get(waiting)
                except ray.exceptions.RayTaskError as error:
                    raise error.cause from error

            return get

        def stop(failed: bool) -> None:
            if ours:
                ray.shutdown()

        self._submit, self._died, self._stop = submit, (ray.exceptions.RayError,), stop
        return n


_prepared: set[str] = set()


def _on_cluster(
    prepared: tuple[str, Callable[..., None] | None, tuple[Any, ...]],
    function: Callable[[Any], Any],
    task: Any,
) -> Any:
    """A task in a process of Ray, which is set up by its first."""
    name, initializer, initargs = prepared
    if initializer is not None and name not in _prepared:
        initializer(*initargs)
    _prepared.add(name)
    return function(task)


def _start(parent: int, initializer: Callable[..., None] | None, initargs: tuple[Any, ...]) -> None:
    """Set up a worker of the process `parent`, which alone handles Ctrl-C."""
    from joblib.externals.loky import process_executor

    # A model loaded in a task is no leak; loky would replace the worker and warn.
    process_executor._MAX_MEMORY_LEAK_SIZE = sys.maxsize
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    if initializer is not None:
        initializer(*initargs)


def _end_with(parent: int) -> None:
    """End this process soon after its parent, whatever ended that: an orphan has another parent."""
    while os.getppid() == parent:
        time.sleep(0.05)
    os._exit(1)
