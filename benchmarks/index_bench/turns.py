"""Builds and turns of engines, each in a process of its own, kept so that an interrupted run goes on.

    <folder>/<data digest>/<engine>-<build digest>/build.json        when its index was built, and how
                                                   index/            the index; gone when all was asked
                                                   turn-<r>-<digest>.json, answers-<digest>.npz

A digest is of all that a file depends on: other settings, another k or another number of threads is another
file, and what is there is not done again.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from acml_search.core.errors import AcmlSearchError
from acml_search.evaluation.results import write_json
from benchmarks.index_bench.data import Data
from benchmarks.index_bench.engines import ENGINES
from benchmarks.index_bench.plan import Build, Plan, digest

CHILD = "benchmarks.index_bench.child"


class Failed(AcmlSearchError):
    """A build or a turn that came to nothing; the sentence goes into the result."""


@dataclass
class Contestant:
    """One build of one engine on the way. `why_not`: the reason why it is out, if it is."""

    plan: Plan
    build: Build
    data: Data
    rounds: int
    folder: Path
    why_not: str | None = None

    @classmethod
    def of(cls, plan: Plan, build: Build, data: Data, rounds: int, folder: Path) -> Contestant:
        own = folder / data.digest / f"{build.name}-{build.digest}-{plan.threads}"
        return cls(plan, build, data, rounds, own, ENGINES[build.kind].why_not())

    @property
    def runs(self) -> bool:
        """Whether it still takes part."""
        return self.why_not is None

    def make(self) -> None:
        """Build the index unless it is there, or all turns are."""
        if not self.runs or (self._built.exists() and (self._index.exists() or not self._left())):
            return
        shutil.rmtree(self._index, ignore_errors=True)
        self._index.mkdir(parents=True)
        self._try(self._build)

    def turn(self, number: int) -> None:
        """Time every setting, unless this turn was done before. The first one keeps the answers."""
        if not self.runs or self._turn(number).exists():
            return
        answers = None if number else str(self._answers)
        job = {
            **self._asked,
            "folder": str(self._index),
            "searches": [dict(one) for one in self.build.searches],
            "answers": answers,
        }
        self._try(lambda: self._child("turn", job, self._turn(number)))

    def clear(self) -> None:
        """Remove the index where nothing is left to ask of it; what was measured stays."""
        if not self._left() or not self.runs:
            shutil.rmtree(self._index, ignore_errors=True)

    def built(self) -> dict[str, Any]:
        """What the build told."""
        return _read(self._built)

    def turns(self) -> list[dict[str, Any]]:
        """What every turn told, in their order."""
        return [_read(self._turn(number)) for number in range(self.rounds)]

    def answers(self, setting: int, k: int) -> npt.NDArray[np.int64]:
        """(nq, k) positions that the setting answered, -1 where there were fewer."""
        with np.load(self._answers, allow_pickle=False) as kept:
            found: npt.NDArray[np.int64] = kept[f"{setting}.{k}"]
        return found

    @property
    def _asked(self) -> dict[str, Any]:
        plan = self.plan
        return {"ks": list(plan.ks), "k_timed": plan.k_timed, "single": plan.single, "threads": plan.threads}

    @property
    def _digest(self) -> str:
        return digest([self._asked, [dict(one) for one in self.build.searches]])

    @property
    def _built(self) -> Path:
        return self.folder / "build.json"

    @property
    def _index(self) -> Path:
        return self.folder / "index"

    @property
    def _answers(self) -> Path:
        return self.folder / f"answers-{self._digest}.npz"

    def _turn(self, number: int) -> Path:
        return self.folder / f"turn-{number}-{self._digest}.json"

    def _left(self) -> list[int]:
        return [number for number in range(self.rounds) if not self._turn(number).exists()]

    def _build(self) -> None:
        job = {
            "folder": str(self._index),
            "arguments": dict(self.build.arguments),
            "threads": self.plan.threads,
        }
        if ENGINES[self.build.kind].PREPARES:  # in another process: its memory is not the build's
            self._child("prepare", job, self.folder / "prepared.json")
        self._child("build", job, self._built)

    def _try(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Failed as error:
            self.why_not = str(error)

    def _child(self, step: str, job: dict[str, Any], result: Path) -> None:
        """Run one step. Raises Failed for one that fails or takes too long."""
        write_json(
            {
                "step": step,
                "kind": self.build.kind,
                "data": str(self.data.folder),
                "result": str(result),
                **job,
            },
            self.folder / "job.json",
        )
        threads = str(self.plan.threads)
        environment = {**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        command = [sys.executable, "-m", CHILD, str(self.folder / "job.json")]
        minutes = self.plan.limit_minutes
        try:
            done = subprocess.run(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=60 * minutes,
            )
        except subprocess.TimeoutExpired:
            raise Failed(f"the {step} took longer than {minutes:g} minutes (limit_minutes)") from None
        if done.returncode < 0:
            raise Failed(f"the {step} was ended by signal {-done.returncode}, as is done for want of memory")
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["no word why"]
            raise Failed(f"the {step} failed: {lines[-1]}")


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
