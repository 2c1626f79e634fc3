"""What a server takes at most, and how it refuses the rest."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """bytes of a body, of a run's file and of what is packed in a file; peaks of a mass spectrum; signals of
    an NMR spectrum; hits; seconds of a search and of its SQL condition; searches that may wait, per one that
    runs; runs that may wait, and that are kept when they are done."""

    body: int = 20 << 20
    run: int = 500 << 20
    unpacked: int = 128 << 20
    peaks: int = 10_000
    signals: int = 500
    k: int = 1_000
    observations: int = 20
    seconds: float = 60.0
    sql_seconds: float = 10.0
    waiting: int = 8
    runs: int = 8
    kept_runs: int = 20


class Refused(Exception):
    """A request that is not answered. status: of HTTP; retry_after: seconds, after which another may be."""

    def __init__(self, status: int, sentence: str, retry_after: int | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.retry_after = retry_after
