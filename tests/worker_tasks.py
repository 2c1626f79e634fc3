"""Tasks for tests of worker processes: they must be importable in those."""

from __future__ import annotations

import os
import time
from pathlib import Path

from acml_search.core.errors import InvalidRecord

offset = 0


def prepare(value: int) -> None:
    global offset
    offset = value


def add(number: int) -> tuple[int, int]:
    return number + offset, os.getpid()


def refuse(number: int) -> None:
    raise InvalidRecord("it is empty", modality="c_nmr", row=number)


def die(number: int) -> None:
    os._exit(7)


def say_and_sleep(folder: str) -> None:
    """Leave a file named after this process, then be busy for long."""
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(600)


def lives(pid: int) -> bool:
    """Whether the process runs; one that ended and waits for its parent to notice does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] == "Z")
