"""`bench index`: engines in turns on the same vectors, their answers kept, then judged."""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from acml_search.core.errors import AcmlSearchError, ConfigError
from acml_search.core.progress import progress
from acml_search.evaluation.results import check_out, write_json
from benchmarks.index_bench.data import Source, prepare
from benchmarks.index_bench.judge import TOLERANCE, Judge
from benchmarks.index_bench.plan import Plan, read_plan
from benchmarks.index_bench.rows import REFERENCES, rows
from benchmarks.index_bench.turns import Contestant

TIE_RULE = "an answer is right if its score, computed again, reaches the k-th exact one within tie_tolerance"


@dataclass(frozen=True)
class IndexOptions:
    """What is measured; the names are those of the command line."""

    plan: Path
    out: Path
    base: Sequence[Path] = ()
    """files whose molecules are indexed instead of those that the plan names"""
    n: int | None = None
    rounds: int | None = None
    only: Sequence[str] = ()
    model: str = "acml-base"
    cache: Path | None = None
    workers: int | None = None
    restart: bool = False
    command: str | None = None
    """the command line that asked, for the result"""


def measure_index(options: IndexOptions) -> dict[str, Any]:
    """Run the benchmark, write OUT.json with its records per query beside it, and return what it says.

    An engine that cannot run, or fails, has a row that says why. Raises ConfigError for a plan or an engine's
    name that makes no sense, AcmlSearchError where every engine failed.
    """
    began = time.perf_counter()
    plan = _read(options)
    check_out(options.out)
    unknown = sorted(set(options.only) - {build.name for build in plan.builds})
    if unknown:
        there = ", ".join(build.name for build in plan.builds)
        raise ConfigError(f"{plan.path}: there is no engine {unknown[0]!r}; there are {there}")
    rounds = plan.rounds if options.rounds is None else options.rounds
    folder = options.out.with_name(f"{options.out.stem}.engines")
    if options.restart:
        shutil.rmtree(folder, ignore_errors=True)
    cache = options.cache or options.out.parent / "cache"
    data = prepare(plan, options.n, Source(options.model, cache, options.workers), folder)
    builds = [one for one in plan.builds if not options.only or one.name in options.only]
    contestants = [Contestant.of(plan, build, data, rounds, folder) for build in builds]
    with progress(total=len(contestants) * (1 + rounds), desc="engines", unit="step") as bar:
        for one in contestants:
            one.make()
            bar.update(1)
        for number in range(rounds):
            # there and back: what the machine does meanwhile falls on all of them
            for one in contestants if number % 2 == 0 else contestants[::-1]:
                one.turn(number)
                bar.update(1)
    for one in contestants:
        one.clear()
    if not any(one.runs for one in contestants):
        raise AcmlSearchError(
            f"no engine could be measured; {contestants[0].build.name}: {contestants[0].why_not}"
        )
    queries = data.queries()
    judge = Judge.of(data.base(), queries, max(plan.ks), data.folder / "truth.npy")
    engines, records = rows(contestants, judge, plan)
    per_query = options.out.with_suffix(".queries.parquet")
    _write_records(records, per_query)
    result = {
        "kind": "index",
        **{key: value for key, value in data.about.items() if key not in ("digest", "kind")},
        "vectors": data.about["kind"],
        "n_queries": len(queries),
        "k": plan.k_timed,
        "ks": list(plan.ks),
        "rounds": rounds,
        "single_queries": min(plan.single, len(queries)),
        "threads": {"single": 1, "batched": plan.threads, "build": plan.threads},
        "tie_rule": TIE_RULE,
        "tie_tolerance": TOLERANCE,
        "ratios": "queries per second in a batch, and p50 of one query, times faster than "
        f"{' and '.join(REFERENCES.values())} in the same round; median, lowest and highest round",
        "engines": engines,
        "plan": str(options.plan),
        "data": dict(plan.data),
        "seed": plan.seed,
        "per_query": per_query.name,
        "command": options.command,
        "seconds": time.perf_counter() - began,
        "versions": _versions(),
    }
    write_json(result, options.out)
    return result


def _read(options: IndexOptions) -> Plan:
    plan = read_plan(options.plan)
    if not options.base:
        return plan
    if plan.data["kind"] != "embeddings":
        raise ConfigError(f"{plan.path}: its vectors are no molecules'; leave --base out")
    base = [os.path.relpath(path, plan.root) for path in options.base]
    return replace(plan, data={**plan.data, "base": base})


def _write_records(records: Sequence[pa.Table], path: Path) -> None:
    partial = path.with_name(path.name + ".partial")
    pq.write_table(pa.concat_tables(records), partial, compression="zstd")
    os.replace(partial, path)


def _versions() -> dict[str, str]:
    cores = str(len(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else str(os.cpu_count())
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": cores,
        "numpy": np.__version__,
    }
