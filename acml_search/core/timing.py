"""How long the stages of a task take, and how its asker stops it: between its steps it looks whether it is
still wanted."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar
from threading import Event
from typing import TypeVar

T = TypeVar("T")
_stop: ContextVar[Event | None] = ContextVar("stop", default=None)


class Stopped(Exception):
    """The work is not wanted any more. No error of the work, so nothing that handles those catches it."""


def stoppable(stop: Event, work: Callable[[], T]) -> T:
    """The result of `work`, run in this thread. Raises Stopped at its next step once `stop` is set."""
    before = _stop.set(stop)
    try:
        step()
        return work()
    finally:
        _stop.reset(before)


def step() -> None:
    """Called between the steps of long work. Raises Stopped where that is not wanted any more."""
    stop = _stop.get()
    if stop is not None and stop.is_set():
        raise Stopped


class Stopwatch:
    """Seconds per named stage, in the order of the stages, and in total.

    >>> watch = Stopwatch()
    >>> watch.lap("read")
    >>> sorted(watch.seconds())
    ['read', 'total']
    """

    def __init__(self) -> None:
        self._start = self._last = time.perf_counter()
        self._laps: dict[str, float] = {}

    def lap(self, stage: str) -> None:
        """Add the time since the last lap to `stage`. Raises Stopped where the task is no longer wanted."""
        step()
        now = time.perf_counter()
        self._laps[stage] = self._laps.get(stage, 0.0) + now - self._last
        self._last = now

    def seconds(self, digits: int = 6) -> dict[str, float]:
        """Seconds per stage and `total`, rounded."""
        laps = {stage: round(seconds, digits) for stage, seconds in self._laps.items()}
        return {**laps, "total": round(self._last - self._start, digits)}
