"""Baselines that look at no spectrum: by chance, and by the formula alone."""

from __future__ import annotations

import numpy as np

from benchmarks.baselines.base import Baseline, Ints, Material, Score, Scores, register


@register
class Random(Baseline):
    """Scores drawn at random, from a seed."""

    name = "random"
    about = "Scores drawn at random."

    def prepare(self, material: Material) -> Score:
        n = len(material.items)

        def score(positions: Ints) -> Scores:
            # By position, so that a molecule has one score however the pool is cut into blocks.
            columns = [
                np.random.default_rng([material.seed, i]).random(n, np.float32) for i in positions.tolist()
            ]
            return np.stack(columns, axis=1)

        return score


@register
class Formula(Baseline):
    """All molecules of the truth's formula tie, and a tie is a miss: what is left are formulas that only one
    molecule of the pool has. `expected_at_1`: what a random choice among them would reach.
    """

    name = "formula"
    about = "The molecular formula alone: all molecules that have it tie, and a tie is a miss."

    def prepare(self, material: Material) -> Score:
        codes = material.pool.formula_codes()
        mine = codes[material.truths]
        sizes = np.bincount(codes)[codes[np.unique(material.truths)]]  # a molecule weighs as one
        material.told["expected_at_1"] = float((1 / sizes).mean()) if len(sizes) else None

        def score(positions: Ints) -> Scores:
            return (mine[:, None] == codes[None, positions]).astype(np.float32)

        return score
