"""What a build reports: what the index holds, and how long each stage took."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acml_search.index.files import read_sealed
from acml_search.index.manifest import BUILD, Manifest


@dataclass(frozen=True)
class BuildReport:
    """What an index holds, and whether it was complete before; seconds per stage of the run that made it."""

    index: Path
    manifest: Manifest
    seconds: dict[str, float]
    complete: bool

    def to_dict(self) -> dict[str, Any]:
        """The JSON document of `build-index --json`."""
        spaces = {}
        for name, space in self.manifest.spaces.items():
            graph, records = space.sides["graph"], space.sides.get("records", {})
            spaces[name] = {
                "graph": graph["n"],
                "records": records.get("n", 0),
                "factory": graph.get("factory"),
                "reason": graph.get("reason"),
                "bytes_per_vector": graph.get("bytes_per_vector"),
            }
        return {
            "index": str(self.index),
            **{
                name: self.manifest.counts[name]
                for name in ("rows", "molecules", "rejected", "duplicates", "no_record")
            },
            "spaces": spaces,
            "seconds": self.seconds,
            "complete": self.complete,
        }


def build_seconds(out: Path) -> dict[str, float]:
    """Seconds per stage of the run that made the index at `out`."""
    return dict(read_sealed(out / BUILD)["seconds"])


class Clock:
    """Seconds per stage."""

    def __init__(self) -> None:
        self._start = self._last = time.perf_counter()
        self._laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self._laps[name] = round(now - self._last, 3)
        self._last = now

    def seconds(self) -> dict[str, float]:
        return {**self._laps, "total": round(self._last - self._start, 3)}
