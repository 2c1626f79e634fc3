"""How long one observation takes in a running process, with and without re-ranking.

    acml-search build-index ../shared/data/library_chembl_500k.parquet --out indexes/chembl
    python -m benchmarks.latency indexes/chembl --modality c_nmr --queries ../shared/data/nmr_c13.parquet

Queries are records of a Parquet file (`valid` rows), each asked once in each way, the ways in turns, after
ten that do not count. Prints JSON: p50 and p95 in milliseconds, and where the time goes.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import duckdb
import numpy as np

from acml_search import modalities, open_index
from acml_search.modalities import get

WARM = 10


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("index", type=Path)
    parser.add_argument("--modality", default="c_nmr")
    parser.add_argument("--queries", type=Path, required=True)
    parser.add_argument("--where", default="split = 'valid'")
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    source = arguments.queries.as_posix().replace("'", "''")
    rows = duckdb.sql(f"SELECT * FROM '{source}' WHERE {arguments.where}").to_arrow_table().to_pylist()
    order = np.random.default_rng(arguments.seed).permutation(len(rows))
    chosen = [rows[i] for i in order[: arguments.n + WARM].tolist()]
    kind = modalities.get(arguments.modality)
    seconds: dict[bool, list[float]] = {True: [], False: []}
    stages: dict[bool, dict[str, float]] = {True: {}, False: {}}
    with open_index(arguments.index) as index:
        for number, row in enumerate(chosen):
            record = {name: row[name] for name in (*kind.columns, *kind.optional) if name in row}
            observation = get(arguments.modality).observe(record, f"row {number}")
            for rerank in (False, True):
                started = time.perf_counter()
                answer = index.identify([observation], k=10, rerank=rerank, by_precursor=False)
                if number < WARM:
                    continue
                seconds[rerank].append(time.perf_counter() - started)
                for stage, spent in answer.seconds.items():
                    stages[rerank][stage] = stages[rerank].get(stage, 0.0) + spent
        n_molecules = len(index)
    result = {
        "index": str(arguments.index),
        "molecules": n_molecules,
        "modality": arguments.modality,
        "queries": len(seconds[True]),
        "where": arguments.where,
        "seed": arguments.seed,
    }
    for rerank, name in ((False, "without_rerank"), (True, "with_rerank")):
        p50, p95 = np.percentile(seconds[rerank], [50, 95]) * 1000
        mean = {
            stage: round(spent / len(seconds[rerank]) * 1000, 2) for stage, spent in stages[rerank].items()
        }
        result[name] = {"p50_ms": round(float(p50), 1), "p95_ms": round(float(p95), 1), "mean_ms": mean}
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
