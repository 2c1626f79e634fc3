"""Small results as the benchmarks write them, made of given ranks: for the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from acml_search.evaluation.metrics import by_group_size, group_size_summary, summarise

SMILES = ["CCO", "CCCO", "CCCCO", "CCCCCO", "c1ccccc1O", "CC(=O)O", "CCN", "CCCN", "CCCCCCCCCCCC", "CCOCC"]
DIGEST = "0123456789abcdef" * 4
TIE_RULE = "a tie is a miss: a candidate within tie_tolerance of the truth's score counts as better"


def write_recall(
    folder: Path,
    name: str,
    ranks: list[int | None],
    *,
    question: str = "c_nmr",
    modality: str = "c_nmr",
    baseline: str | None = None,
    asks: str = "none",
    pools: tuple[int, ...] = (),
    n_pool: int = 5_000,
    n_candidates: list[int] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """A result of the kind recall and its queries; `None` is a query that failed."""
    folder.mkdir(parents=True, exist_ok=True)
    among = n_candidates or [n_pool] * len(ranks)
    rows = _rows(ranks, among)
    molecules = [row["molecule"] for row in rows]
    found = summarise([np.inf if rank is None else rank for rank in ranks], molecules, among)
    filtered = {"none": None, "formula": "same formula"}.get(asks.removeprefix("rerank "))
    if asks.endswith(("Da", "ppm")):
        filtered = f"neutral exact mass within {asks.removeprefix('rerank ')}"
    by_pool = []
    for size in pools:
        # as in a smaller pool: the rank shrinks with it
        smaller = [np.inf if rank is None else max(1, round(rank * size / n_pool)) for rank in ranks]
        by_pool.append({"n_pool": size, **summarise(smaller, molecules, [size] * len(ranks))})
    result: dict[str, Any] = {
        "question": question, "kind": "recall", "asks": asks, "modality": modality,
        "direction": "to-molecule", "n_queries": len(ranks), "n_molecules": len(set(molecules)),
        "n_pool": n_pool, "n_failed": sum(rank is None for rank in ranks), **found, "filter": filtered,
        "candidates_per_query": {"median": float(np.median(among)), "max": max(among)},
        "rerank": asks.startswith("rerank "), "tie_rule": TIE_RULE, "seed": 0,
        "leakage": {"n_seen": 0, "n_seen_structures": 3, "checked": True}, "by_pool": by_pool,
        "model": "toy", "model_digest": DIGEST, "queries": "data/spectra.parquet",
        "library": ["data/library.parquet"], "where": "split = 'valid'", "must": {},
        "command": f"python -m benchmarks suite benchmarks/{question}.toml --out results",
        "result": f"{name}.json", "per_query": f"{name}.queries.parquet",
    }  # fmt: skip
    if baseline is not None:
        result |= {"baseline": baseline, "about": "a toy"}
    return _write(folder, name, {**result, **more}, rows)


def write_isomers(
    folder: Path, name: str, ranks: list[int | None], sizes: list[int], **more: Any
) -> dict[str, Any]:
    """A result of the kind isomers."""
    rows = _rows(ranks, sizes)
    molecules = [row["molecule"] for row in rows]
    labels = np.unique(molecules, return_inverse=True)[1].tolist()
    as_numbers = [np.inf if rank is None else float(rank) for rank in ranks]
    found: Any = summarise(as_numbers, molecules, sizes, ks=(1,))
    result = {
        "question": "c_nmr", "kind": "isomers", "asks": "isomers", "modality": "c_nmr",
        "recall": found["recall"], "accuracy": found["recall"]["1"], "ci95": found["ci95"]["1"],
        "chance": found["chance"]["1"], "mrr": found["mrr"],
        "mrr_ci95": found["ci95"]["mrr"], "mrr_chance": found["chance"]["mrr"],
        "n_queries": len(ranks), "n_molecules": len(set(molecules)), "n_groups": len(set(sizes)),
        "n_failed": sum(rank is None for rank in ranks), "n_pool": 5_000,
        "group_size": group_size_summary(np.array(sizes)), "tie_rule": TIE_RULE, "rerank": False, "seed": 0,
        "model": "toy", "model_digest": DIGEST, "must": {"isomers": 0.99},
        "command": "python -m benchmarks suite benchmarks/c_nmr.toml --out results",
        "result": f"{name}.json", "per_query": f"{name}.queries.parquet",
    }  # fmt: skip
    result["by_group_size"] = by_group_size(as_numbers, labels, sizes)
    return _write(folder, name, {**result, **more}, rows)


def write_calibration(folder: Path, name: str = "c_nmr.calibration", **more: Any) -> dict[str, Any]:
    """A result of the kind calibration: overconfident before, right after."""
    x = np.linspace(0.1, 0.95, 15)

    def part(accuracy: Any) -> dict[str, Any]:
        bins = [
            {"weight": 1 / 15, "probability": float(p), "accuracy": float(a)}
            for p, a in zip(x, accuracy, strict=True)
        ]
        ece = float(np.abs(x - accuracy).mean())
        return {"ece": ece, "brier": 0.1, "mean_probability": 0.5, "accuracy": 0.5, "bins": bins}

    inner = {"n_queries": 90, "truth_in_shortlist": 0.9, "before": part(x**2), "after": part(x)}
    result = {
        "question": "c_nmr", "kind": "calibration", "modality": "c_nmr", "scale_before": 30.0, "scale": 20.0,
        "shortlist": 100, "temperature": 0.1, "inner": inner, "model": "toy", "model_digest": DIGEST,
    }  # fmt: skip
    return _write(folder, name, {**result, **more})


def write_index(folder: Path) -> dict[str, Any]:
    """Five engines; the fourth is beaten by others in everything."""
    engines = [
        ("flat", "Flat", 1.0, 90.0, 512.0),
        ("acml-search auto", "IVF4096,SQ8", 0.99, 2.0, 264.0),
        ("ivf-pq", "IVF4096,PQ64", 0.62, 1.1, 72.0),
        ("hnsw", "HNSW32", 0.97, 2.5, 780.0),
        ("usearch", "HNSW, f16", 0.98, 0.9, 400.0),
    ]
    result = {
        "kind": "index", "n": 1_936_577, "d": 256, "n_queries": 1_000, "k": 10, "space": "c_nmr", "rounds": 3,
        "engines": [
            {
                "name": name, "factory": how, "recall_at_k": recall,
                "ci95": [recall - 0.01, min(1.0, recall + 0.01)],
                "p50_ms": ms, "p95_ms": 1.5 * ms, "build_seconds": 12.5, "bytes_in_memory": size,
                "bytes_per_vector": size,
            }
            for name, how, recall, ms, size in engines
        ],
        "command": "python -m benchmarks index --out index.json",
    }  # fmt: skip
    return _write(folder, "index", result)


def write_properties(folder: Path) -> dict[str, Any]:
    """Two sets: in one lower is better, and one system has no value there."""
    result = {
        "kind": "properties", "benchmark": "toynet",
        "sets": [
            {
                "set": "esol", "task": "regression", "metric": "rmse", "split": "scaffold", "n": 1_117,
                "n_seen_in_training": 12,
                "systems": {
                    "acml": {"mean": 0.9, "sd": 0.02, "values": [0.88, 0.92], "unseen": 0.95},
                    "morgan": {"mean": 1.2, "sd": 0.03, "values": [1.17, 1.23], "unseen": 1.25},
                    "chemprop": {"mean": None, "sd": None, "values": [], "unseen": None,
                                 "why_not": "no time"},
                },
            },
            {
                "set": "bbbp", "task": "classification", "metric": "roc-auc", "split": "scaffold", "n": 2_000,
                "n_seen_in_training": 0,
                "systems": {
                    "acml": {"mean": 0.7, "sd": 0.01, "values": [0.7, 0.7], "unseen": None},
                    "morgan": {"mean": 0.72, "sd": 0.01, "values": [0.72, 0.72], "unseen": None},
                    "chemprop": {"mean": 0.73, "sd": 0.0, "values": [0.73, None], "unseen": None},
                },
            },
        ],
        "groups": {"features": {"ranks": {"acml": 1.5, "morgan": 1.75}, "sets": ["esol", "bbbp"]}},
        "wins": {
            "fingerprints": {
                "a": "acml", "b": "morgan", "ahead": ["esol"], "within": [], "behind": ["bbbp"],
                "not_answered": [],
            }
        },
        "command": "python -m benchmarks properties benchmarks/toynet.toml", "seconds": 3.0,
    }  # fmt: skip
    return _write(folder, "toynet", result)


def _rows(ranks: list[int | None], among: list[int]) -> list[dict[str, Any]]:
    return [
        {
            "row": i,
            "molecule": f"MOLECULE{i:06}",
            "smiles": SMILES[i % len(SMILES)],
            "rank": rank,
            "n_candidates": n,
            "error": "unreadable" if rank is None else None,
        }
        for i, (rank, n) in enumerate(zip(ranks, among, strict=True))
    ]


def _write(
    folder: Path, name: str, result: dict[str, Any], rows: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(result))
    if rows is not None:
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{name}.queries.parquet")
    return result
