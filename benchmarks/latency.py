"""How long one observation takes in a running process, with and without re-ranking.

    acml-search build-index ../shared/data/library_chembl_500k.parquet --out indexes/chembl
    python -m benchmarks.latency indexes/chembl --modality c_nmr --queries ../shared/data/nmr_c13.parquet

Records of a Parquet file (`valid` rows) are each asked once in each way, the ways in turns, after ten that do
not count. Prints JSON: p50 and p95 in milliseconds, and where the time goes. What a fresh process takes is
measured by `benchmarks.compare`.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from acml_search import modalities, open_index
from benchmarks.shared import finish, percentiles, records

WARM = 10


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
    ways: dict[str, dict[str, Any]] = {"without_rerank": {"rerank": False}, "with_rerank": {}}
    ways |= {f"rerank_{most}": {"rerank_depth": most} for most in depth or ()}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    stages: dict[str, dict[str, float]] = {name: {} for name in ways}
    with open_index(index_path) as index:
        for number, record in enumerate(records(queries, modality, where, n + WARM, seed)):
            observation = modalities.get(modality).observe(record, f"query {number}")
            for name, how in ways.items():
                started = time.perf_counter()
                answer = index.identify([observation], k=10, by_precursor=False, **how)
                if number < WARM:
                    continue
                seconds[name].append(time.perf_counter() - started)
                for stage, spent in answer.seconds.items():
                    stages[name][stage] = stages[name].get(stage, 0.0) + spent
        result: dict[str, Any] = {"index": str(index_path), "molecules": len(index), "modality": modality}
    result |= {"queries": len(seconds["with_rerank"]), "where": where, "seed": seed}
    for name, of in seconds.items():
        mean = {stage: round(spent / len(of) * 1000, 2) for stage, spent in stages[name].items()}
        result[name] = {**percentiles(of), "mean_ms": mean}
    finish("latency", result, out)


if __name__ == "__main__":
    typer.run(warm)
