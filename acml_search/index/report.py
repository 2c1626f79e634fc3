"""What a build reports: what the index holds, and how long each stage took."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.dataset as ds

from acml_search.core.io import read_sealed
from acml_search.index.manifest import BUILD, Manifest
from acml_search.library.lines import CUT_OFF

COUNTS = ("rows", "molecules", "rejected", "duplicates", "no_record")


@dataclass(frozen=True)
class BuildReport:
    """What an index holds, and whether it was complete already; seconds per stage of the run that made it.
    before: what it held before a library was added.
    """

    index: Path
    manifest: Manifest
    seconds: dict[str, float]
    complete: bool
    before: Mapping[str, int] | None = None

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
        counts = {name: self.manifest.counts[name] for name in COUNTS}
        before = self.before
        added = {} if before is None else {"added": {name: counts[name] - before[name] for name in COUNTS}}
        return {
            "index": str(self.index),
            **counts,
            **added,
            "spaces": spaces,
            "seconds": self.seconds,
            "already_complete": self.complete,
            "damaged": self.damaged(),
        }

    def damaged(self) -> list[str]:
        """What was said of library files that end in damage, so that rows after it are missing."""
        path = self.index / "rejects.parquet"
        if not path.exists():
            return []
        found = ds.dataset(path).to_table(
            ["source_row", "reason"], filter=pc.match_substring(ds.field("reason"), CUT_OFF)
        )
        return [f"row {one['source_row']:,}: {one['reason']}" for one in found.to_pylist()]


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
