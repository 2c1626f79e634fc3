"""Result documents of benchmarks. Beside one stands a Parquet file with the queries that its figures were
computed from (`per_query`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from acml_search.core.errors import ConfigError
from acml_search.core.io import atomic, write_json
from acml_search.evaluation import metrics
from acml_search.evaluation.pool import Pool, Query
from acml_search.evaluation.ranking import Ranker


@dataclass
class QueryOutcome:
    """A query and the rank of its truth. `truth`: position in the pool, -1 where the query could not be read.

    `rank` is `metrics.FAILED` where there is an `error`; `best_other`: pool position of the best wrong
    candidate, -1 where there is none.
    """

    query: Query
    truth: int
    error: str | None = None
    rank: float = metrics.FAILED
    score: float = float("nan")
    n_candidates: int = 1
    best_other: int = -1
    best_other_score: float = float("nan")


def with_ranks(outcomes: Sequence[QueryOutcome], ranker: Ranker) -> list[QueryOutcome]:
    """Copies of the outcomes with a ranker's counts of the readable ones; those that failed stay misses."""
    copies = [replace(one) for one in outcomes]
    columns = (
        ranker.ranks,
        ranker.truth_scores,
        ranker.n_candidates,
        ranker.best_other,
        ranker.best_other_score,
    )
    rows = zip(*(column.tolist() for column in columns), strict=True)
    readable = (one for one in copies if one.truth >= 0)
    for one, (rank, score, n_candidates, best, best_score) in zip(readable, rows, strict=True):
        one.n_candidates = n_candidates
        if one.error is None and not np.isfinite(score):
            one.error = "the true molecule has no vector in the pool"
        if one.error is None:
            one.rank, one.score = float(rank), score
            one.best_other, one.best_other_score = best, best_score
    return copies


def molecule_labels(outcomes: Sequence[QueryOutcome]) -> list[int]:
    """Equal for queries of one molecule; a query that could not be read is a molecule of its own."""
    return [one.truth if one.truth >= 0 else -1 - i for i, one in enumerate(outcomes)]


def figures(
    outcomes: Sequence[QueryOutcome], n_pool: int, *, ks: Sequence[int] = metrics.KS, seed: int = 0
) -> dict[str, Any]:
    """`metrics.summarise` of ranked queries; one that could not be read had the whole pool to fail in."""
    n_candidates = [one.n_candidates if one.truth >= 0 else n_pool for one in outcomes]
    ranks = [one.rank for one in outcomes]
    return metrics.summarise(ranks, molecule_labels(outcomes), n_candidates, ks=ks, seed=seed)


class Result(BaseModel):
    """A result document; every key of it is an attribute. `question`, `asks`, `must`, `baseline` and the like
    are of suites. Intervals are 95 % bootstraps over molecules.
    """

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    kind: str
    must: dict[str, float] = Field(default_factory=dict)
    baseline: str | None = None
    result: str | None = None
    leakage: dict[str, Any] = Field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """The JSON document: the kind, and what was set."""
        return {"kind": self.kind, **self.model_dump(mode="json", exclude_unset=True)}

    def write(self, path: Path) -> None:
        write_json(self.document(), path)


_RULES = {"rerank": False, "tie_rule": metrics.TIE_RULE, "tie_tolerance": metrics.TIE_TOLERANCE}


def recall_result(
    outcomes: Sequence[QueryOutcome], n_pool: int, *, direction: str, filter_name: str | None,
    ks: Sequence[int] = metrics.KS, seed: int = 0, **more: Any,
) -> Result:  # fmt: skip
    """Recall, MRR, intervals and chance of the truth in the pool. `more`: further keys of the document."""
    n_candidates = [one.n_candidates if one.truth >= 0 else n_pool for one in outcomes]
    fields: dict[str, Any] = {
        **figures(outcomes, n_pool, ks=ks, seed=seed),
        "direction": direction,
        "n_queries": len(outcomes),
        "n_molecules": len(set(molecule_labels(outcomes))),
        "n_pool": n_pool,
        "n_failed": sum(one.error is not None for one in outcomes),
        "filter": filter_name,
        "candidates_per_query": {"median": float(np.median(n_candidates)), "max": int(max(n_candidates))},
    }
    return Result(kind="recall", **{**fields, **_RULES, "seed": seed, **more})


def isomers_result(
    outcomes: Sequence[QueryOutcome],
    pool: Pool,
    *,
    seed: int = 0,
    ks: Sequence[int] = (1, 5, 10),
    **more: Any,
) -> Result:
    """Accuracy and MRR of queries that were ranked among the molecules of their formula.

    `group_size` is over queries' molecules, each once, of the pool, whether or not every isomer has a vector.
    """
    codes = pool.formula_codes()
    sizes = np.bincount(codes)
    truths = np.array([one.truth for one in outcomes], dtype=np.int64)
    ranks = [one.rank for one in outcomes]
    of_query, of_molecule = sizes[codes[truths]], sizes[codes[np.unique(truths)]]
    found = metrics.summarise(ranks, truths, of_query, ks=ks, seed=seed)
    fields: dict[str, Any] = {
        "accuracy": found["recall"]["1"],
        "ci95": found["ci95"]["1"],
        "chance": found["chance"]["1"],
        "mrr": found["mrr"],
        "mrr_ci95": found["ci95"]["mrr"],
        "mrr_chance": found["chance"]["mrr"],
        "recall": found["recall"],
        "n_queries": len(outcomes),
        "n_molecules": len(of_molecule),
        "n_groups": len(np.unique(codes[truths])),
        "n_failed": sum(one.error is not None for one in outcomes),
        "n_pool": len(pool),
        "group_size": metrics.group_size_summary(of_molecule),
        "by_group_size": metrics.by_group_size(ranks, truths, of_query, seed=seed),
    }
    return Result(kind="isomers", **{**fields, **_RULES, "seed": seed, **more})


def check_out(path: Path) -> None:
    """Raises ConfigError where the result could not be written to `path`: before the measuring, not after."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not path.is_file():
        raise ConfigError(f"{path} is no file that can be written; name a file with --out")
    if not os.access(path.parent, os.W_OK):
        raise ConfigError(f"{path}: the folder may not be written to; choose another --out")


PER_QUERY: dict[str, pa.DataType] = {
    "row": pa.int64(),
    "molecule": pa.string(),
    "smiles": pa.string(),
    "formula": pa.string(),
    "exact_mass": pa.float64(),
    "rank": pa.int64(),
    "score": pa.float64(),
    "n_candidates": pa.int64(),
    "best_other_smiles": pa.string(),
    "best_other_score": pa.float64(),
    "nearest_training": pa.float64(),
    "error": pa.string(),
}


def query_rows(
    outcomes: Sequence[QueryOutcome], pool: Pool, nearest: Sequence[float | None] | None = None
) -> list[dict[str, Any]]:
    """A row per query; a failed one has no rank but an error. `nearest`: similarity to training."""
    rows = []
    for one, similarity in zip(outcomes, nearest or [None] * len(outcomes), strict=True):
        known = one.query.structure
        ranked = np.isfinite(one.rank)
        rival = ranked and one.best_other >= 0
        rows.append(
            {
                "row": one.query.row,
                "molecule": known.inchikey14 if known else None,
                "smiles": known.smiles if known else None,
                "formula": known.formula if known else None,
                "exact_mass": known.mass if known else None,
                "rank": int(one.rank) if ranked else None,
                "score": one.score if ranked else None,
                "n_candidates": one.n_candidates,
                "best_other_smiles": pool.structures[one.best_other].smiles if rival else None,
                "best_other_score": one.best_other_score if rival else None,
                "nearest_training": similarity,
                "error": one.error,
            }
        )
    return rows


def write_rows(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """A Parquet file of queries, atomically."""
    with atomic(path) as temporary:
        table = pa.Table.from_pylist(list(rows), schema=pa.schema(PER_QUERY))
        pq.write_table(table, temporary, compression="zstd")
