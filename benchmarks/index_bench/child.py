"""One build or one turn of one engine, in a process of its own: `python -m ...child JOB.json`.

A fresh process, so that memory and caches are one engine's alone. JOB.json says what to do; what came of it
is written to the file that it names. Threads: one for a single query, `threads` for a build and for queries
asked together; NumPy's own (OpenBLAS) included.
"""

from __future__ import annotations

import importlib
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from acml_search.evaluation.results import write_json
from benchmarks.index_bench.data import Data
from benchmarks.index_bench.engines import ENGINES, Engine

WARM = 20  # single queries asked before the clock runs; a batch is asked once
BATCH_SECONDS = 0.5  # a batch is asked again until so much time has passed,
BATCH_TIMES = 20  # or so often
MB = 1024 * 1024


def main(job: dict[str, Any]) -> None:
    """Do what `job` says and write the result."""
    data = Data(Path(job["data"]), {})
    engine = ENGINES[job["kind"]]()
    steps: dict[str, Callable[[Engine, Data, dict[str, Any]], dict[str, Any]]] = {
        "prepare": prepare,
        "build": build,
        "turn": turn,
    }
    write_json(steps[job["step"]](engine, data, job), Path(job["result"]))


def prepare(engine: Engine, data: Data, job: dict[str, Any]) -> dict[str, Any]:
    """What a build finds done."""
    engine.prepare(data.base(), Path(job["folder"]))
    return {}


def build(engine: Engine, data: Data, job: dict[str, Any]) -> dict[str, Any]:
    """Build and write; the time of both, and the highest memory."""
    folder, threads = Path(job["folder"]), int(job["threads"])
    base, typical = data.base(), data.typical()
    with threadpool_limits(threads):
        began = time.perf_counter()
        told = engine.build(base, typical, folder, job["arguments"], threads)
        seconds = time.perf_counter() - began
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return {
        "build_seconds": seconds,
        "bytes": size,
        "build_peak_mb": peak_mb(),
        "threads": threads,
        "version": engine.version(),
        "told": told,
    }


def turn(engine: Engine, data: Data, job: dict[str, Any]) -> dict[str, Any]:
    """Every setting timed once; the answers too (`answers`), where the job wants them.

    Memory is the resident growth from before the index was opened to after everything was asked.
    """
    queries, k, threads = data.queries(), int(job["k_timed"]), int(job["threads"])
    single = queries[: int(job["single"])]
    importlib.import_module(engine.PACKAGE)  # its code is no part of an index's memory
    before, before_own = resident_mb()
    began = time.perf_counter()
    engine.open(Path(job["folder"]))
    open_seconds = time.perf_counter() - began
    found: list[dict[str, Any]] = []
    answers: dict[str, np.ndarray[Any, Any]] = {}
    asked: list[dict[str, Any]] = []
    for search in job["searches"]:
        if not engine.takes(search):
            continue
        told = engine.set(search, threads)
        if told in asked:
            continue  # a word and a number may mean the same
        asked.append(told)
        if job["answers"]:
            with threadpool_limits(threads):
                for each in job["ks"]:
                    answers[f"{len(found)}.{each}"] = engine.search(queries, each)
        found.append({"search": search, "set": told, **_timed(engine, queries, single, k, search, threads)})
    after, after_own = resident_mb()
    if job["answers"]:
        np.savez(Path(job["answers"]), **answers)  # type: ignore[arg-type]
    return {
        "open_seconds": open_seconds,
        "memory_mb": None if after is None or before is None else after - before,
        "memory_own_mb": None if after_own is None or before_own is None else after_own - before_own,
        "at": time.time(),
        "settings": found,
    }


def _timed(
    engine: Engine, queries: Any, single: Any, k: int, search: dict[str, Any], threads: int
) -> dict[str, Any]:
    with threadpool_limits(threads):
        engine.set(search, threads)
        engine.search(queries, k)  # whatever is mapped is in memory from here on, as in a running server
        times, began = 0, time.perf_counter()
        while times == 0 or (times < BATCH_TIMES and time.perf_counter() - began < BATCH_SECONDS):
            engine.search(queries, k)
            times += 1
        rate = times * len(queries) / (time.perf_counter() - began)
    with threadpool_limits(1):
        engine.set(search, 1)
        for query in queries[-WARM:]:
            engine.search(query[None], k)
        milliseconds = []
        for query in single:
            began = time.perf_counter()
            engine.search(query[None], k)
            milliseconds.append(1000 * (time.perf_counter() - began))
    return {"milliseconds": milliseconds, "queries_per_second_batched": rate}


def resident_mb() -> tuple[float | None, float | None]:
    """Resident memory of this process in MB: all of it, and what is no mapped file. None where the system
    does not say (it does on Linux).
    """
    path = Path("/proc/self/status")
    if not path.exists():
        return None, None
    lines = dict(line.split(":", 1) for line in path.read_text(encoding="utf-8").splitlines())
    return tuple(int(lines[name].split()[0]) / 1024 for name in ("VmRSS", "RssAnon"))  # type: ignore[return-value]


def peak_mb() -> float:
    """Highest resident memory of this process so far, in MB; the mapped base vectors are among it."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / MB if sys.platform == "darwin" else peak / 1024


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
