"""What generates candidates best at the same bytes per molecule: predicted peaks put through the spectrum
tower, ACML's pooled vector, or both end to end?

    python -m benchmarks.candidates --predicted runs/ablations/full-3x40000/model \\
        --pooled runs/ablations/pooled-3x40000/model --out benchmarks/results/candidates.json

The two models come of benchmarks/ablations.py: the same short training, one thing changed. Both vectors of a
space have 256 dimensions. "Both, 512" puts them end to end (inner products add), "both, 256" halves each
first by the principal axes of the pool's vectors. How much the pooled one weighs in the sum is chosen on the
inner part of `train` by recall at 100. Queries are the `valid` molecules; ties lose.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from acml_search.chem.splits import is_dev
from acml_search.cli.output import command_line
from acml_search.core.io import write_json
from acml_search.core.workers import Workers, chunks
from acml_search.encoders.card import read_card
from acml_search.evaluation import metrics
from acml_search.evaluation.embedding import BLOCK, embed, graph_vectors
from acml_search.evaluation.pool import LibraryStructures, make_pool, read_queries
from acml_search.evaluation.ranking import Ranker, truth_scores
from acml_search.evaluation.rescoring import source_of
from acml_search.evaluation.results import QueryOutcome, molecule_labels
from acml_search.evaluation.retrieval import to_outcomes
from acml_search.evaluation.workers import model_workers

KS = (1, 10, 100, 500)
SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
COUNTED = 8_192
Vectors = np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--predicted", required=True)
    parser.add_argument("--pooled", required=True)
    parser.add_argument("--modality", default="c_nmr")
    parser.add_argument("--queries", type=Path, default=Path("../shared/data/nmr_c13.parquet"))
    parser.add_argument("--library", type=Path, default=Path("../shared/data/library_chembl_500k.parquet"))
    parser.add_argument("--cache", type=Path, default=Path("benchmarks/results/cache"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    asked: dict[str, list[QueryOutcome]] = {}
    sides: dict[str, tuple[Vectors, dict[str, Vectors]]] = {}
    for name in ("predicted", "pooled"):
        model = getattr(arguments, name)
        with model_workers(arguments.workers, model=model) as workers:
            file = read_queries(arguments.queries, workers, cache=arguments.cache)
            library = LibraryStructures([arguments.library], workers, cache=arguments.cache)
            valid = file.select(where="split = 'valid' AND spectrum_rank = 0")
            inner = [
                one
                for one in file.select(where="split = 'train' AND spectrum_rank = 0")
                if one.structure is not None and is_dev(one.structure.inchikey14)
            ]
            pool = make_pool([*valid, *inner], file.queries, library, seed=arguments.seed)
            asked = {
                part: [one for one in to_outcomes(rows, pool, once=False) if one.truth >= 0]
                for part, rows in (("valid", valid), ("inner", inner))
            }
            kept = graph_vectors(
                [pool.structures], read_card(model), workers, arguments.cache, spaces=[arguments.modality]
            )
            table = kept.take(arguments.modality, (one.smiles for one in pool.structures))
            sides[name] = (
                np.nan_to_num(table),
                {
                    part: _records(rows, arguments.modality, workers, arguments.seed)
                    for part, rows in asked.items()
                },
            )
    ways: dict[str, Any] = {}
    for name, (table, queries) in sides.items():
        ways[name] = _measure(asked["valid"], queries["valid"], table, arguments.seed) | {"d": table.shape[1]}
    halved = {name: _halved(*side) for name, side in sides.items()}
    for d, parts in ((512, sides), (256, halved)):
        tried = {share: _found(asked["inner"], *_joined(parts, "inner", share)).get(100) for share in SHARES}
        share = max(SHARES, key=lambda one: tried[one] or 0.0)
        found = _measure(asked["valid"], *_joined(parts, "valid", share), arguments.seed)
        ways[f"both, {d}"] = found | {"d": d, "pooled_share": share, "inner_recall_at_100": tried}
    result = {
        "kind": "candidates",
        "modality": arguments.modality,
        "n_pool": len(pool),
        "n_queries": len(asked["valid"]),
        "models": {name: getattr(arguments, name) for name in sides},
        "ways": ways,
        "seed": arguments.seed,
        "command": command_line(),
    }
    write_json(result, arguments.out)
    print(f"pool {len(pool):,}, {len(asked['valid']):,} spectra")
    print("| vector | d | " + " | ".join(f"R@{k}" for k in KS) + " |")
    print("|---" * (2 + len(KS)) + "|")
    for name, one in ways.items():
        values = [f"{one['recall'][k]:.3f} ({one['ci95'][k][0]:.3f} to {one['ci95'][k][1]:.3f})" for k in KS]
        print(f"| {name} | {one['d']} | " + " | ".join(values) + " |")


def _records(asked: list[QueryOutcome], modality: str, workers: Workers, seed: int) -> Vectors:
    sources = [source_of(one.query, "record", False) for one in asked]
    blocks = list(embed("record", modality, chunks(sources, BLOCK), workers, seed))
    for one, error in zip(asked, (error for block in blocks for error in block.errors), strict=True):
        one.error = error
    return np.nan_to_num(np.concatenate([block.vectors for block in blocks]))


def _halved(table: Vectors, queries: dict[str, Vectors]) -> tuple[Vectors, dict[str, Vectors]]:
    """The first half of the principal axes of the pool, not centred: inner products are what is kept."""
    sample = table[:: max(1, len(table) // 100_000)].astype(np.float64)
    _, axes = np.linalg.eigh(sample.T @ sample)
    half = axes[:, ::-1][:, : table.shape[1] // 2].astype(np.float32)
    return table @ half, {part: one @ half for part, one in queries.items()}


def _joined(
    sides: dict[str, tuple[Vectors, dict[str, Vectors]]], part: str, share: float
) -> tuple[Vectors, Vectors]:
    """Queries and table end to end; `share` of the sum of cosines is the pooled vector's."""
    weigh = {"predicted": np.float32(np.sqrt(1 - share)), "pooled": np.float32(np.sqrt(share))}
    return (
        np.concatenate([weigh[name] * queries[part] for name, (_, queries) in sides.items()], axis=1),
        np.concatenate([weigh[name] * table for name, (table, _) in sides.items()], axis=1),
    )


def _ranks(asked: list[QueryOutcome], queries: Vectors, table: Vectors) -> list[float]:
    truths, places = np.array([one.truth for one in asked], np.int64), np.arange(len(table))
    ranker = Ranker(queries, truth_scores(queries, truths, places, table), truths)
    for low in range(0, len(table), COUNTED):
        ranker.add(table[low : low + COUNTED], places[low : low + COUNTED])
    return [
        metrics.FAILED if one.error else float(rank) for one, rank in zip(asked, ranker.ranks, strict=True)
    ]


def _found(asked: list[QueryOutcome], queries: Vectors, table: Vectors) -> dict[int, float]:
    ranks = np.array(_ranks(asked, queries, table))
    return {k: float((ranks <= k).mean()) for k in KS}


def _measure(asked: list[QueryOutcome], queries: Vectors, table: Vectors, seed: int) -> dict[str, Any]:
    ranks = _ranks(asked, queries, table)
    n = [len(table)] * len(asked)
    found = metrics.summarise(ranks, molecule_labels(asked), n, ks=KS, seed=seed)
    return {"recall": _by_k(found["recall"]), "ci95": _by_k(found["ci95"])}


def _by_k(values: Any) -> dict[int, Any]:
    return {k: values[k] if k in values else values[str(k)] for k in KS}


if __name__ == "__main__":
    main()
