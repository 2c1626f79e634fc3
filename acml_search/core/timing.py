"""A stop-watch for the stages of a task."""

from __future__ import annotations

import time

from acml_search.core.stopping import step


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
