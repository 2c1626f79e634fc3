"""Snapshots on disk: gzip'd JSON, and NumPy archives."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent / "snapshots"


def write(name: str, value: Any) -> None:
    """Write `value`; a list as one line of JSON for each item."""
    items = value if isinstance(value, list) else [value]
    text = "".join(json.dumps(one, ensure_ascii=False, sort_keys=True) + "\n" for one in items)
    HERE.mkdir(exist_ok=True)
    (HERE / name).write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def read(name: str) -> Any:
    """A document written by `write`."""
    (one,) = read_lines(name)
    return one


def read_lines(name: str) -> list[Any]:
    """A list written by `write`."""
    return [json.loads(line) for line in gzip.decompress((HERE / name).read_bytes()).decode().splitlines()]
