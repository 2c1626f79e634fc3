"""Is the true stereoisomer told from the others of its constitution?

The group of a query: all distinct full InChIKeys of its first block among the rows of the questions' files. A
pool holds one molecule of each block, so this is asked beside it. The tie rule is that of every ranking: a
model that reads no configuration gives all of a group one vector, and never has the truth first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from acml_search.evaluation.data.structures import Described
from acml_search.evaluation.measures import metrics
from acml_search.evaluation.measures.groups import by_size, sizes_of
from acml_search.evaluation.ranks.answers import TIE_RULE, molecules_of
from acml_search.evaluation.ranks.ranking import Ranker
from acml_search.evaluation.ranks.retrieval import Asked
from acml_search.evaluation.workers import Workers, chunks
from benchmarks.suite.asking import Asking

_ROWS: dict[str, pa.DataType] = {
    "row": pa.int64(),
    "molecule": pa.string(),
    "inchikey": pa.string(),
    "smiles": pa.string(),
    "rank": pa.int64(),
    "n_candidates": pa.int64(),
    "error": pa.string(),
}


def stereoisomers(asking: Asking) -> list[dict[str, Any]]:
    """The result, or none where no query has a stereoisomer in the files."""
    bench, question = asking.bench, asking.question
    wanted = {one.query.structure.block for one in asking.asked if one.query.structure is not None}
    paths = (question.queries, *question.library)
    groups = groups_of((one for path in paths for one in bench.structures[path]), wanted, bench.workers)
    at = [
        i
        for i, one in enumerate(asking.readable)
        if one.query.structure is not None and one.query.structure.block in groups
    ]
    if not at:
        return asking.skip("stereoisomers", "no query has a stereoisomer in the files")
    rows = rank_groups(asking, at, groups)
    counted = [asking.readable[i] for i in at]
    molecules = molecules_of(counted)
    n = [row["n_candidates"] for row in rows]
    ranks = [metrics.FAILED if row["rank"] is None else row["rank"] for row in rows]
    found = metrics.summarise(ranks, molecules, n, ks=(1,), seed=bench.suite.seed)
    recall, interval, chance = (dict(found[key]) for key in ("recall", "ci95", "chance"))  # type: ignore[call-overload]
    size_of = dict(zip(molecules, n, strict=True))
    result = {
        "accuracy": recall["1"],
        "ci95": interval["1"],
        "chance": chance["1"],
        "mrr": found["mrr"],
        "mrr_ci95": interval["mrr"],
        "mrr_chance": chance["mrr"],
        "n_queries": len(rows),
        "n_molecules": len(size_of),
        "n_groups": len(size_of),
        "n_failed": sum(row["error"] is not None for row in rows),
        "group_size": sizes_of(np.array(list(size_of.values()))),
        "by_group_size": by_size(ranks, molecules, n, seed=bench.suite.seed),
        "reads_stereo": bool(bench.card.data["hyper"].get("reads_stereo", True)),
        "tie_rule": TIE_RULE,
        "tie_tolerance": metrics.TIE_TOLERANCE,
        "seed": bench.suite.seed,
    }
    written = asking.write(".stereoisomers", result, kind="stereoisomers", asks="stereoisomers")
    path = bench.out / f"{question.name}.stereoisomers.queries.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema(_ROWS)), path, compression="zstd")
    return [written]


def groups_of(found: Any, wanted: set[str], workers: Workers) -> dict[str, dict[str, str]]:
    """Blocks of `wanted` that have stereoisomers among the structures: {block: {full InChIKey: SMILES}}."""
    spelled: dict[str, dict[str, None]] = {}
    one: Described
    for one in found:
        if not isinstance(one, str) and one.block in wanted:
            spelled.setdefault(one.block, {})[one.smiles] = None
    several = [smiles for of in spelled.values() if len(of) > 1 for smiles in of]
    keys = [key for part in workers.map(full_keys, chunks(several, 500)) for key in part]
    groups: dict[str, dict[str, str]] = {}
    for smiles, key in zip(several, keys, strict=True):
        groups.setdefault(key[:14], {}).setdefault(key, smiles)
    return {block: group for block, group in groups.items() if len(group) > 1 and block in wanted}


def full_keys(smiles: list[str]) -> list[str]:
    """Task: canonical SMILES -> InChIKeys, 27 letters."""
    from acml_search.chem import molecule

    return [molecule.describe(*molecule.parse(text)).inchikey for text in smiles]


def rank_groups(asking: Asking, at: Sequence[int], groups: dict[str, dict[str, str]]) -> list[dict[str, Any]]:
    """A row per query at these places of `readable`: the rank of its own stereoisomer in its group."""
    readable: Sequence[Asked] = asking.readable
    rows = []
    spelled = [readable[i].query.structure for i in at]
    keys = [
        key
        for part in asking.bench.workers.map(full_keys, chunks([s.smiles for s in spelled if s], 500))
        for key in part
    ]
    for i, key in zip(at, keys, strict=True):
        one, group = readable[i], groups[key[:14]]
        names = list(group)
        vectors = asking.bench.vectors.take(asking.question.modality, group.values())
        row: dict[str, Any] = {
            "row": one.query.row, "molecule": key[:14], "inchikey": key, "smiles": group[key],
            "rank": None, "n_candidates": len(group), "error": one.error,
        }  # fmt: skip
        truth = names.index(key)
        if one.error is None and not np.isfinite(vectors[truth]).all():
            row["error"] = "the true molecule has no vector in the pool"
        if row["error"] is None:
            row["rank"] = rank_in(asking.queries[i], vectors, truth)
        rows.append(row)
    return rows


def rank_in(query: npt.NDArray[np.float32], vectors: npt.NDArray[np.float32], truth: int) -> int:
    """Rank of row `truth` among `vectors` (n, d) for one query (d,); rows without a vector are left out."""
    score = np.array([query @ vectors[truth]], np.float64)
    ranker = Ranker(query[None, :], score, np.array([truth]))
    good = np.flatnonzero(np.isfinite(vectors).all(axis=1))
    ranker.add(vectors[good], good)
    return int(ranker.ranks[0])
