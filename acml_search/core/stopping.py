"""Work that its asker may stop: between its steps it looks whether it is still wanted."""

from __future__ import annotations

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
