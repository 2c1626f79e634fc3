"""Isomer groups: how large they are, and how accuracy depends on their size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from acml_search.evaluation.measures import metrics

SIZES = (
    (2, 2),
    (3, 5),
    (6, 10),
    (11, 20),
    (21, 50),
    (51, 100),
    (101, 200),
    (201, 500),
    (501, 1000),
    (1001, None),
)
"""smallest and largest number of molecules of one formula, the truth included"""


def sizes_of(sizes: npt.NDArray[Any]) -> dict[str, Any]:
    """What is told of the sizes of molecules' groups, each molecule once: (n,) integers."""
    return {
        "median": float(np.median(sizes)),
        "mean": float(sizes.mean()),
        "p90": float(np.quantile(sizes, 0.9)),
        "max": int(sizes.max()),
    }


def by_size(
    ranks: Sequence[float], molecules: Sequence[int], sizes: Sequence[int], *, seed: int = 0
) -> list[dict[str, Any]]:
    """Accuracy and MRR of the molecules whose group has such a size; sizes that none has are left out.

    All three are a value per query; a molecule's queries have groups of one size. Each entry: `{"size": [low,
    high or None], "n_molecules", "accuracy", "ci95", "chance", "mrr", "mrr_ci95"}`.
    """
    of = np.asarray(sizes)
    found = []
    for low, high in SIZES:
        mine = np.flatnonzero((of >= low) & (of <= (high or of.max(initial=0)))).tolist()
        if not mine:
            continue
        labels = [molecules[i] for i in mine]
        told: Any = metrics.summarise([ranks[i] for i in mine], labels, of[mine], ks=(1,), seed=seed)
        found.append(
            {
                "size": [low, high],
                "n_molecules": len(set(labels)),
                "accuracy": told["recall"]["1"],
                "ci95": told["ci95"]["1"],
                "chance": told["chance"]["1"],
                "mrr": told["mrr"],
                "mrr_ci95": told["ci95"]["mrr"],
            }
        )
    return found
