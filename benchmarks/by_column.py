"""Recall of one result by what a column of the queries' file says: where does a question fail?

    python -m benchmarks.by_column benchmarks/results/acml-base/h_nmr.json complete
    python -m benchmarks.by_column benchmarks/results/acml-research/gc_ms.json exact_mass --edges 150 250 400

`RESULT` is a JSON file of `bench recall` or `bench suite` with its Parquet of queries beside it. The column
is one of that Parquet (`exact_mass`, `nearest_training`, ...) or of the file the queries came from. `--edges`
puts numbers into ranges. Averages are over molecules, intervals are bootstrapped, as everywhere.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from acml_search.core.errors import ConfigError
from acml_search.evaluation import metrics

Told = dict[str, Any]


def by_column(result: Path, column: str, edges: list[float]) -> list[tuple[str, int, Told]]:
    """(value or range, queries, recall and MRR with intervals) by value. Raises ConfigError where neither
    file has the column.
    """
    about = json.loads(result.read_text(encoding="utf-8"))
    asked = pq.read_table(result.parent / about["per_query"])
    if column in asked.column_names:
        values = asked.column(column).to_pylist()
    else:
        values = _of_file(Path(about["queries"]), column, asked.column("row").to_pylist())
    names = np.array([_name(value, edges) for value in values])
    ranks = np.array(
        [np.nan if rank is None else rank for rank in asked.column("rank").to_pylist()], np.float64
    )
    ranks[~np.isfinite(ranks)] = metrics.FAILED
    molecules = np.array(asked.column("molecule").to_pylist())
    candidates = np.array(asked.column("n_candidates").to_pylist())
    found = []
    for name in sorted(set(names.tolist())):
        here = names == name
        told = metrics.summarise(ranks[here], molecules[here], candidates[here], ks=(1, 10))
        found.append((name, int(here.sum()), told))
    return found


def _of_file(path: Path, column: str, rows: list[int]) -> list[Any]:
    known = pq.read_schema(path).names
    if column not in known:
        raise ConfigError(f"{path}: there is no column {column!r}; its columns are {', '.join(known)}")
    values = pq.read_table(path, columns=[column]).column(column).to_pylist()
    return [values[row] for row in rows]


def _name(value: Any, edges: list[float]) -> str:
    if value is None:
        return "not known"
    if not edges:
        return str(value)
    at = int(np.searchsorted(edges, float(value), side="right"))
    low, high = [None, *edges][at], [*edges, None][at]
    return f"{at}: " + (
        f"< {high:g}" if low is None else f">= {low:g}" if high is None else f"{low:g} to {high:g}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("result", type=Path)
    parser.add_argument("column")
    parser.add_argument("--edges", nargs="+", type=float, default=[])
    arguments = parser.parse_args()
    print(f"| {arguments.column} | queries | R@1 (95 %) | R@10 (95 %) |\n|---|---|---|---|")
    for name, n, told in by_column(arguments.result, arguments.column, arguments.edges):
        recall, ci95 = told["recall"], told["ci95"]
        cells = [f"{recall[k]:.3f} ({ci95[k][0]:.3f} to {ci95[k][1]:.3f})" for k in ("1", "10")]
        print(f"| {name} | {n:,} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
