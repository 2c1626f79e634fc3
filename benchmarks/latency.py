"""How long one observation takes in a running process, with and without re-ranking.

    acml-search build-index ../shared/data/library_chembl_500k.parquet --out indexes/chembl
    python -m benchmarks.latency indexes/chembl --modality c_nmr --queries ../shared/data/nmr_c13.parquet

Queries are records of a Parquet file (`valid` rows), each asked once in each way, the ways in turns, after
ten that do not count. Prints JSON: p50 and p95 in milliseconds, and where the time goes.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import duckdb
import numpy as np
import typer

from acml_search import modalities, open_index
from acml_search.cli.output import command_line
from acml_search.core.io import write_json

WARM = 10


def main(
    index_path: Annotated[Path, typer.Argument(metavar="INDEX")],
    queries: Annotated[Path, typer.Option(help="Parquet file of records.")],
    modality: str = "c_nmr",
    where: Annotated[str, typer.Option(help="SQL: the rows that are queries.")] = "split = 'valid'",
    n: Annotated[int, typer.Option(help="Number of queries.")] = 200,
    seed: int = 0,
    out: Annotated[Path | None, typer.Option(help="JSON file to write, too.")] = None,
) -> None:
    """How long does one observation take in a running process?"""
    source = queries.as_posix().replace("'", "''")
    rows = duckdb.sql(f"SELECT * FROM '{source}' WHERE {where}").to_arrow_table().to_pylist()
    order = np.random.default_rng(seed).permutation(len(rows))
    chosen = [rows[i] for i in order[: n + WARM].tolist()]
    kind = modalities.get(modality)
    seconds: dict[bool, list[float]] = {True: [], False: []}
    stages: dict[bool, dict[str, float]] = {True: {}, False: {}}
    with open_index(index_path) as index:
        for number, row in enumerate(chosen):
            record = {name: row[name] for name in (*kind.columns, *kind.optional) if name in row}
            observation = kind.observe(record, f"row {number}")
            for rerank in (False, True):
                started = time.perf_counter()
                answer = index.identify([observation], k=10, rerank=rerank, by_precursor=False)
                if number < WARM:
                    continue
                seconds[rerank].append(time.perf_counter() - started)
                for stage, spent in answer.seconds.items():
                    stages[rerank][stage] = stages[rerank].get(stage, 0.0) + spent
        n_molecules = len(index)
    result: dict[str, Any] = {
        "kind": "latency",
        "index": str(index_path),
        "molecules": n_molecules,
        "modality": modality,
        "queries": len(seconds[True]),
        "where": where,
        "seed": seed,
        "command": command_line(),
    }
    for rerank, name in ((False, "without_rerank"), (True, "with_rerank")):
        p50, p95 = np.percentile(seconds[rerank], [50, 95]) * 1000
        mean = {
            stage: round(spent / len(seconds[rerank]) * 1000, 2) for stage, spent in stages[rerank].items()
        }
        result[name] = {"p50_ms": round(float(p50), 1), "p95_ms": round(float(p95), 1), "mean_ms": mean}
    if out is not None:
        write_json(result, out)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    typer.run(main)
