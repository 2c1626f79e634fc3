"""Boosted trees that earlier versions fitted, read only: as arrays, or in LightGBM's text of version 0.1.

Inside training parts they gained nothing over the other heads, and took several times as long.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from acml_search.core.typing import Float32s, Floats
from acml_search.properties.metrics import linked


@dataclass
class Forest:
    """Decision trees of one target as arrays: every node of every tree is a row.

    feature, left, right (nodes,) int32, threshold, value (nodes,) float64; a leaf is its own child. roots
    (trees,) int32. The answer is `base` plus the sum of the leaves' values.
    """

    feature: Any
    threshold: Any
    left: Any
    right: Any
    value: Any
    roots: Any
    base: Any = field(default_factory=lambda: np.zeros(1))

    def __call__(self, x: Float32s) -> Floats:
        """(n, f) -> (n,): numbers, or logits."""
        node = np.tile(self.roots, (len(x), 1))
        rows = np.arange(len(x))[:, None]
        while True:
            goes_left = x[rows, self.feature[node]] <= self.threshold[node]
            below = np.where(goes_left, self.left[node], self.right[node])
            if np.array_equal(below, node):
                return np.asarray(self.base[0] + self.value[node].sum(axis=1), np.float64)
            node = below


@dataclass
class BoostedHead:
    """`forests`: of each target; none where its labels are of one value, `constants` (t,) then answers."""

    task: str
    forests: list[list[Forest]]
    constants: list[float]
    valid_score: float

    def predict(self, x: Float32s) -> Floats:
        """(n, f) -> (n, t): the value, or the probability of class 1."""
        out = np.tile(np.array(self.constants), (len(x), 1))
        for target, forests in enumerate(self.forests):
            for start in range(0, len(x) if forests else 0, 512):
                rows = x[start : start + 512]
                answers = [linked(self.task, forest(rows)) for forest in forests]
                out[start : start + 512, target] = np.mean(answers, axis=0)
        return out

    @classmethod
    def load(cls, directory: Path, about: dict[str, Any]) -> BoostedHead:
        from safetensors.numpy import load_file

        path = directory / "boosted.safetensors"
        arrays = load_file(path) if path.exists() else None

        def forest(target: int, i: int) -> Forest:
            if arrays is None:  # written by version 0.1
                return _lightgbm_forest((directory / f"trees-{target}-{i}.txt").read_text())
            return Forest(**{name: arrays[f"{target}.{i}.{name}"] for name in Forest.__dataclass_fields__})

        forests = [[forest(target, i) for i in range(n)] for target, n in enumerate(about["grown"])]
        return cls(about["task"], forests, list(map(float, about["constants"])), float(about["valid_score"]))


def _lightgbm_forest(text: str) -> Forest:
    """The trees of a model file of LightGBM, as version 0.1 wrote them."""
    trees: list[list[Any]] = []
    roots = [0]
    for block in text.split("\nTree=")[1:]:
        lines = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        names = ("split_feature", "threshold", "left_child", "right_child", "leaf_value")
        split, threshold, *children, leaves = (
            np.array(lines.get(name, "").split(), np.float64) for name in names
        )
        n, none = len(split), np.zeros(len(leaves))
        own = n + np.arange(len(leaves))  # LightGBM numbers leaf i as child -(i + 1)
        left, right = (roots[-1] + np.append(np.where(of < 0, n - of - 1, of), own) for of in children)
        value = np.append(np.zeros(n), leaves)
        trees.append([np.append(split, none), np.append(threshold, none), left, right, value])
        roots.append(roots[-1] + len(value))
    whole = [np.concatenate(of) for of in zip(*trees, strict=True)]
    feature, left, right = (whole[i].astype(np.int32) for i in (0, 2, 3))
    return Forest(feature, whole[1], left, right, whole[4], np.array(roots[:-1], np.int32))
