"""Which molecules meet in a batch: isomers together, because they are what must be told apart."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def isomer_batches(
    rows: np.ndarray, formulas: np.ndarray, batch: int, together: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Every row once, in batches of `batch`, `together` rows of one formula side by side where there are as
    many.

    `rows` (n,) int64 are the molecules to visit, `formulas` (all molecules,) int. The last, short batch is
    left out: a contrastive loss over few molecules is another loss.
    """
    shuffled = rng.permutation(rows)
    by_formula = shuffled[np.argsort(formulas[shuffled], kind="stable")]
    cut = len(by_formula) - len(by_formula) % together
    groups = rng.permutation(by_formula[:cut].reshape(-1, together))
    flat = np.concatenate([groups.ravel(), by_formula[cut:]])
    for start in range(0, len(flat) - batch + 1, batch):
        yield flat[start : start + batch]


def endless_batches(
    rows: np.ndarray, formulas: np.ndarray, batch: int, together: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """`isomer_batches` again and again."""
    while True:
        yield from isomer_batches(rows, formulas, batch, together, rng)
