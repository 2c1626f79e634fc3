"""Recall of one result by the values of a column: where does a question fail?

    python -m benchmarks.by_column benchmarks/results/acml-base/h_nmr.json complete
    python -m benchmarks.by_column RESULT.json exact_mass --edges 150 --edges 250 --edges 400

RESULT is a JSON file of `bench recall` or of a suite with its Parquet of queries beside it. The column is one
of that Parquet (`exact_mass`, `nearest_training`, ...) or of the file the queries came from. `--edges` puts
numbers into ranges. Averages are over molecules, intervals are bootstrapped, as everywhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow.parquet as pq
import typer

from acml_search.core.errors import ConfigError
from acml_search.evaluation import metrics
from acml_search.evaluation.results import read_result
from benchmarks.report import Entry, by, with_interval


def by_column(path: Path, column: str, edges: list[float]) -> dict[str, tuple[int, dict[str, Any]]]:
    """Value or range -> number of queries, and recall and MRR with intervals.

    Raises ConfigError where neither file has the column.
    """
    result = Entry(read_result(path), path)
    rows = result.queries_table
    if rows and column not in rows[0]:
        known = pq.read_schema(result.queries).names
        if column not in known:
            raise ConfigError(
                f"{result.queries}: there is no column {column!r}; its columns are {', '.join(known)}"
            )
        values = pq.read_table(result.queries, columns=[column]).column(column).to_pylist()
        rows = [{**row, column: values[row["row"]]} for row in rows]
    found = {}
    for name, group in sorted(by(lambda row: _name(row[column], edges), rows).items()):
        ranks = [metrics.FAILED if row["rank"] is None else row["rank"] for row in group]
        molecules = [str(row["molecule"]) for row in group]
        n_candidates = [row["n_candidates"] for row in group]
        found[name] = (len(group), metrics.summarise(ranks, molecules, n_candidates, ks=(1, 10)))
    return found


def _name(value: Any, edges: list[float]) -> str:
    if value is None:
        return "unknown"
    if not edges:
        return str(value)
    at = int(np.searchsorted(edges, float(value), side="right"))
    low, high = [None, *edges][at], [*edges, None][at]
    return f"{at}: " + (
        f"< {high:g}" if low is None else f">= {low:g}" if high is None else f"{low:g} to {high:g}"
    )


def main(
    result: Path,
    column: str,
    edges: Annotated[list[float] | None, typer.Option(help="Limit of a range; repeatable.")] = None,
) -> None:
    """Recall of one result by the values of a column."""
    print(f"| {column} | queries | R@1 (95 %) | R@10 (95 %) |\n|---|---|---|---|")
    for name, (n, found) in by_column(result, column, edges or []).items():
        cells = [with_interval(found["recall"][k], found["ci95"][k]) for k in ("1", "10")]
        print(f"| {name} | {n:,} | {' | '.join(cells)} |")


if __name__ == "__main__":
    typer.run(main)
