"""Worker processes: order, set-up, errors, bounds, and no orphans."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import worker_tasks

from acml_search.core.errors import ConfigError, InvalidRecord
from acml_search.core.workers import IN_FLIGHT, WorkerDied, Workers, chunks, cpu_count

TESTS = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def tasks_are_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))


def test_results_come_in_order_from_processes_set_up_once() -> None:
    with Workers(2, initializer=worker_tasks.prepare, initargs=(100,)) as workers:
        results = list(workers.map(worker_tasks.add, range(20)))
    assert [number for number, _ in results] == list(range(100, 120))
    assert os.getpid() not in {pid for _, pid in results}


def test_one_worker_is_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_tasks, "offset", 0)
    with Workers(1, initializer=worker_tasks.prepare, initargs=(5,)) as workers:
        assert list(workers.map(worker_tasks.add, [1])) == [(6, os.getpid())]


def test_tasks_are_read_as_results_are_wanted() -> None:
    taken = []

    def tasks() -> Iterator[int]:
        for number in range(1000):
            taken.append(number)
            yield number

    with Workers(2) as workers:
        next(iter(workers.map(worker_tasks.add, tasks())))
    assert len(taken) <= 2 * IN_FLIGHT


def test_an_error_keeps_its_class_and_attributes() -> None:
    with Workers(2) as workers, pytest.raises(InvalidRecord, match="in row 7 cannot be used") as caught:
        list(workers.map(worker_tasks.refuse, [7]))
    assert (caught.value.row, caught.value.modality) == (7, "c_nmr")


def test_a_dead_worker_is_said() -> None:
    with Workers(2) as workers, pytest.raises(WorkerDied, match="--workers"):
        list(workers.map(worker_tasks.die, [1, 2]))


def test_an_unknown_engine_names_the_known() -> None:
    with pytest.raises(ConfigError, match="local and ray"):
        Workers(2, engine="spark")


def test_cores_are_counted_without_an_affinity_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)  # macOS
    assert cpu_count() >= 1
    assert list(chunks(range(5), 2)) == [[0, 1], [2, 3], [4]]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_no_worker_outlives_the_main_process(number: signal.Signals, tmp_path: Path) -> None:
    program = (
        "import signal, worker_tasks; from acml_search.core.workers import Workers\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored in a shell's background jobs
        f"with Workers(2) as workers: list(workers.map(worker_tasks.say_and_sleep, [{str(tmp_path)!r}] * 8))"
    )
    main = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
    try:
        assert _within(60, lambda: len(list(tmp_path.iterdir())) == 2)
        main.send_signal(number)
        main.wait(30)
    finally:
        main.kill()
    workers = [int(path.name) for path in tmp_path.iterdir()]
    assert _within(20, lambda: not any(worker_tasks.lives(pid) for pid in workers))


def _within(seconds: float, condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True
