"""How long one observation takes: in a running process, with and without re-ranking, and from a cold start.

    acml-search build-index ../shared/data/library_chembl_500k.parquet --out indexes/chembl
    python -m benchmarks.latency warm indexes/chembl --modality c_nmr --queries ../shared/data/nmr_c13.parquet
    python -m benchmarks.latency cold indexes/chembl --against ../old

Warm: queries are records of a Parquet file (`valid` rows), each asked once in each way, the ways in turns,
after ten that do not count. Prints JSON: p50 and p95 in milliseconds, and where the time goes.
Cold: `acml-search query` in processes of their own, this checkout and another in turns: processor and wall
seconds and the peak of resident memory, medians of the runs.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import duckdb
import numpy as np
import typer

from acml_search import modalities, open_index
from acml_search.cli.app import command_line
from acml_search.core.io import write_json

WARM = 10
LINE = "13C NMR (151 MHz, DMSO-d6) δ 167.6, 153.2, 131.1, 120.9, 115.0, 39.5, 23.8"
PROGRAM = "from acml_search.cli import main; main()"
# in a process of its own, whose one child is the program
MEASURE = """
import json, os, resource, subprocess, sys, time
started = time.perf_counter()
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
wall = time.perf_counter() - started
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([used.ru_utime + used.ru_stime, wall, used.ru_maxrss]))
"""
app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.command()
def cold(
    index_path: Annotated[Path, typer.Argument(metavar="INDEX")],
    against: Annotated[Path | None, typer.Option(help="Another checkout, in turns with this one.")] = None,
    against_index: Annotated[Path | None, typer.Option(help="Its index. Default: the same.")] = None,
    c_nmr: Annotated[str, typer.Option(help="The 13C line that is asked.")] = LINE,
    runs: int = 5,
    out: Annotated[Path | None, typer.Option(help="JSON file to write, too.")] = None,
) -> None:
    """How much does `acml-search query INDEX --c-nmr TEXT` take in a process of its own?"""
    asked = {"here": (Path(__file__).parents[1], index_path)}
    if against is not None:
        asked["against"] = (against.resolve(), against_index or index_path)
    found: dict[str, list[list[float]]] = {name: [] for name in asked}
    for run in range(runs + 1):
        for name, (checkout, index) in asked.items():
            query = [sys.executable, "-P", "-c", PROGRAM, "query", str(index), "--c-nmr", c_nmr]
            environment = {**os.environ, "PYTHONPATH": str(checkout)}
            done = subprocess.run(
                [sys.executable, "-c", MEASURE, *query], capture_output=True, text=True, env=environment
            )
            if done.returncode:
                raise typer.BadParameter(done.stderr.strip().splitlines()[-1], param_hint=name)
            if run:  # the first reads the files
                found[name].append(json.loads(done.stdout))
    result: dict[str, Any] = {"kind": "cold start", "c_nmr": c_nmr, "runs": runs, "command": command_line()}
    for name, measured in found.items():
        cpu, wall, memory = (statistics.median(column) for column in zip(*measured, strict=True))
        megabytes = memory * (1 if sys.platform == "darwin" else 1024) / 1e6  # macOS counts bytes
        result[name] = {
            "processor_s": round(cpu, 2),
            "wall_s": round(wall, 2),
            "peak_memory_mb": round(megabytes),
        }
    if out is not None:
        write_json(result, out)
    print(json.dumps(result, indent=1, ensure_ascii=False))


@app.command()
def warm(
    index_path: Annotated[Path, typer.Argument(metavar="INDEX")],
    queries: Annotated[Path, typer.Option(help="Parquet file of records.")],
    modality: str = "c_nmr",
    where: Annotated[str, typer.Option(help="SQL: the rows that are queries.")] = "split = 'valid'",
    n: Annotated[int, typer.Option(help="Number of queries.")] = 200,
    depth: Annotated[list[int] | None, typer.Option(help="Candidates compared, beside the default.")] = None,
    seed: int = 0,
    out: Annotated[Path | None, typer.Option(help="JSON file to write, too.")] = None,
) -> None:
    """How long does one observation take in a running process?"""
    source = queries.as_posix().replace("'", "''")
    rows = duckdb.sql(f"SELECT * FROM '{source}' WHERE {where}").to_arrow_table().to_pylist()
    order = np.random.default_rng(seed).permutation(len(rows))
    chosen = [rows[i] for i in order[: n + WARM].tolist()]
    kind = modalities.get(modality)
    ways: dict[str, dict[str, Any]] = {"without_rerank": {"rerank": False}, "with_rerank": {}}
    ways |= {f"rerank_{most}": {"rerank_depth": most} for most in depth or ()}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    stages: dict[str, dict[str, float]] = {name: {} for name in ways}
    with open_index(index_path) as index:
        for number, row in enumerate(chosen):
            record = {name: row[name] for name in (*kind.columns, *kind.optional) if name in row}
            observation = kind.observe(record, f"row {number}")
            for name, how in ways.items():
                started = time.perf_counter()
                answer = index.identify([observation], k=10, by_precursor=False, **how)
                if number < WARM:
                    continue
                seconds[name].append(time.perf_counter() - started)
                for stage, spent in answer.seconds.items():
                    stages[name][stage] = stages[name].get(stage, 0.0) + spent
        n_molecules = len(index)
    result: dict[str, Any] = {
        "kind": "latency",
        "index": str(index_path),
        "molecules": n_molecules,
        "modality": modality,
        "queries": len(seconds["with_rerank"]),
        "where": where,
        "seed": seed,
        "command": command_line(),
    }
    for name, of in seconds.items():
        p50, p95 = np.percentile(of, [50, 95]) * 1000
        mean = {stage: round(spent / len(of) * 1000, 2) for stage, spent in stages[name].items()}
        result[name] = {"p50_ms": round(float(p50), 1), "p95_ms": round(float(p95), 1), "mean_ms": mean}
    if out is not None:
        write_json(result, out)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    app()
