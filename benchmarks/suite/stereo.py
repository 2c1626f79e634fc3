"""Is the true stereoisomer told from the others of its constitution?

The group of a query: all distinct full InChIKeys with its first block among the rows of the question's files.
A pool holds one molecule of each constitution, so this is measured beside it. Ties lose, as everywhere: a
model that reads no configuration gives all of a group one vector, and never has the truth first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from acml_search.core.typing import Float32s
from acml_search.core.workers import Workers, chunks
from acml_search.evaluation import metrics
from acml_search.evaluation.pool import Described
from acml_search.evaluation.results import (
    Result,
    StereoisomersResult,
    accuracy_figures,
    molecule_labels,
    write_rows,
)
from benchmarks.suite.run import QuestionRun

_ROWS: dict[str, pa.DataType] = {
    "row": pa.int64(),
    "molecule": pa.string(),
    "inchikey": pa.string(),
    "smiles": pa.string(),
    "rank": pa.int64(),
    "n_candidates": pa.int64(),
    "error": pa.string(),
}


def stereoisomers(runner: QuestionRun) -> Iterator[Result]:
    """The result, or none where no query has a stereoisomer in the files."""
    question, store = runner.question, runner.store
    readable = runner.prepared.readable
    structures = [one.query.structure for one in readable]
    wanted = {one.inchikey14 for one in structures if one is not None}
    files = (one for path in (question.queries, *question.library) for one in store.structures(path))
    groups = groups_of(files, wanted, store.workers)
    at = [i for i, one in enumerate(structures) if one is not None and one.inchikey14 in groups]
    if not at:
        yield from runner.skip("stereoisomers", "no query has a stereoisomer in the files")
        return
    smiles = [one.smiles for i in at if (one := structures[i]) is not None]
    keys = [key for part in store.workers.map(full_keys, chunks(smiles, 500)) for key in part]
    rows = []
    for i, key in zip(at, keys, strict=True):
        one, group = readable[i], groups[key[:14]]
        vectors = store.vectors.take(question.modality, group.values()) if store.vectors else np.empty((0, 0))
        truth, error = list(group).index(key), one.error
        if error is None and not np.isfinite(vectors[truth]).all():
            error = "the true molecule has no vector in the pool"
        rank = None if error else rank_in_group(runner.prepared.queries[i], vectors, truth)
        rows.append(
            {
                "row": one.query.row,
                "molecule": key[:14],
                "inchikey": key,
                "smiles": group[key],
                "rank": rank,
                "n_candidates": len(group),
                "error": error,
            }
        )
    labels, n = molecule_labels([readable[i] for i in at]), [row["n_candidates"] for row in rows]
    ranks = [metrics.FAILED if row["rank"] is None else row["rank"] for row in rows]
    size_of = dict(zip(labels, n, strict=True))
    figures = accuracy_figures(ranks, labels, n, ks=(1,), seed=runner.seed)
    result = StereoisomersResult(
        **{key: value for key, value in figures.items() if key != "recall"},
        n_queries=len(rows),
        n_molecules=len(size_of),
        n_groups=len(size_of),
        n_failed=sum(row["error"] is not None for row in rows),
        group_size=metrics.group_size_summary(list(size_of.values())),
        by_group_size=metrics.by_group_size(ranks, labels, n, seed=runner.seed),
        reads_stereo=bool(runner.run.card.data["hyper"].get("reads_stereo", True)),
        tie_rule=metrics.TIE_RULE,
        tie_tolerance=metrics.TIE_TOLERANCE,
        seed=runner.seed,
    )
    write_rows(rows, pa.schema(_ROWS), runner.run.out / f"{question.name}.stereoisomers.queries.parquet")
    yield runner.write(".stereoisomers", result, asks="stereoisomers")


def groups_of(
    structures: Iterable[Described], wanted: set[str], workers: Workers
) -> dict[str, dict[str, str]]:
    """Constitutions of `wanted` (InChIKey first blocks) that have stereoisomers among the structures:
    {first block: {full InChIKey: SMILES}}.
    """
    spellings: dict[str, dict[str, None]] = {}
    for one in structures:
        if not isinstance(one, str) and one.inchikey14 in wanted:
            spellings.setdefault(one.inchikey14, {})[one.smiles] = None
    several = [smiles for of in spellings.values() if len(of) > 1 for smiles in of]
    keys = [key for part in workers.map(full_keys, chunks(several, 500)) for key in part]
    groups: dict[str, dict[str, str]] = {}
    for smiles, key in zip(several, keys, strict=True):
        groups.setdefault(key[:14], {}).setdefault(key, smiles)
    return {first: group for first, group in groups.items() if len(group) > 1 and first in wanted}


def full_keys(smiles: list[str]) -> list[str]:
    """Worker task: canonical SMILES -> InChIKeys, 27 letters."""
    from acml_search.chem import molecule

    return [molecule.describe(*molecule.parse(text)).inchikey for text in smiles]


def rank_in_group(query: Float32s, vectors: Float32s, truth: int) -> int:
    """Rank of row `truth` among `vectors` (n, d) for one query (d,); rows without a vector are left out."""
    scores: Any = vectors @ query
    others = np.delete(scores, truth)
    with np.errstate(invalid="ignore"):
        return 1 + int(np.count_nonzero(others >= scores[truth] - metrics.TIE_TOLERANCE))
