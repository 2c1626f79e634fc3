"""A head of gradient-boosted trees (LightGBM), some for each target; labels may be missing.

How many trees are grown is chosen on the valid part by log-loss or squared error, which move with every tree;
the area under the ROC curve of a small valid part is a staircase that can be highest after two. Few labels
leave much to the draw of rows and features, so there several forests are grown and their answers averaged.
That, 15 leaves and the L2 penalty were chosen on TDC sets, grown and stopped inside their training part and
scored on the valid one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from acml_search.properties.fitted import Features, FittedHead, Floats, score, tell

TREES = {
    "learning_rate": 0.05,
    "num_leaves": 15,
    "min_data_in_leaf": 20,
    "lambda_l2": 5.0,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "max_bin": 63,
    "num_threads": 1,
    "verbosity": -1,
    "deterministic": True,
    "force_row_wise": True,
}
ROUNDS, PATIENCE = 400, 40
UNSTOPPED = 100
"""trees where the valid part cannot say when to stop"""
FEATURES = 256
"""features that a tree may choose from, at least, or a fifth of all: what many features cost"""
DRAWS, FEW = 3, 1_000
"""forests per target with fewer than that many labels; one with more"""


class Boosted(FittedHead):
    """`forests`: of each target, none where it has one class only; it is answered with its constant then."""

    kind = "boosted"

    def __init__(
        self, task: str, forests: list[list[Any]], constants: list[float], valid_score: float
    ) -> None:
        self.task, self.forests, self.constants, self.valid_score = task, forests, constants, valid_score

    @classmethod
    def fit(
        cls,
        task: str,
        x: Features,
        y: Floats,
        valid_x: Features,
        valid_y: Floats,
        seed: int,
        class_weight: bool,
    ) -> Boosted:
        forests: list[list[Any]] = []
        constants: list[float] = []
        balanced = class_weight and task == "classification"
        for target in range(y.shape[1]):
            known, judged = np.isfinite(y[:, target]), np.isfinite(valid_y[:, target])
            labels = y[known, target]
            constants.append(float(labels.mean()) if len(labels) else 0.0)
            if len(np.unique(labels)) < 2:
                forests.append([])
                continue
            parts = (x[known], labels, valid_x[judged], valid_y[judged, target])
            draws = DRAWS if len(labels) < FEW else 1
            forests.append([_grown(task, *parts, DRAWS * seed + draw, balanced) for draw in range(draws)])
        head = cls(task, forests, constants, float("nan"))
        head.valid_score = score(task, valid_y, head.predict(valid_x))
        return head

    def predict(self, x: Features) -> Floats:
        out = np.empty((len(x), len(self.forests)))
        for target, (forests, constant) in enumerate(zip(self.forests, self.constants, strict=True)):
            found = [forest.predict(x, num_threads=1) for forest in forests]
            out[:, target] = np.mean(found, axis=0) if found else constant
        return out

    def save(self, directory: Path) -> None:
        for target, forests in enumerate(self.forests):
            for draw, forest in enumerate(forests):
                text = forest.model_to_string(num_iteration=forest.best_iteration)
                (directory / f"trees-{target}-{draw}.txt").write_text(text, encoding="utf-8")
        grown = [len(forests) for forests in self.forests]
        told = {"kind": self.kind, "task": self.task, "valid_score": self.valid_score}
        tell(directory, {**told, "constants": self.constants, "grown": grown})

    @classmethod
    def load(cls, directory: Path, told: dict[str, Any]) -> Boosted:
        import lightgbm

        forests = [
            [
                lightgbm.Booster(model_str=(directory / f"trees-{i}-{j}.txt").read_text(encoding="utf-8"))
                for j in range(n)
            ]
            for i, n in enumerate(told["grown"])
        ]
        return cls(told["task"], forests, list(map(float, told["constants"])), float(told["valid_score"]))


def _grown(
    task: str, x: Features, labels: Floats, valid_x: Features, held: Floats, seed: int, balanced: bool
) -> Any:
    """One forest of one target, LightGBM's Booster."""
    import lightgbm

    classes = task == "classification"
    options = {
        **TREES,
        "objective": "binary" if classes else "regression",
        "metric": "binary_logloss" if classes else "l2",
        "feature_fraction": min(1.0, max(0.2, FEATURES / x.shape[1])),
        "min_data_in_leaf": max(1, min(int(TREES["min_data_in_leaf"]), len(labels) // 20)),
        "seed": seed,
    }
    data = lightgbm.Dataset(x, labels, weight=_weights(labels, balanced), params=options)
    if len(np.unique(held)) < 2:
        return lightgbm.train(options, data, num_boost_round=UNSTOPPED)
    return lightgbm.train(
        options,
        data,
        num_boost_round=ROUNDS,
        valid_sets=[data.create_valid(valid_x, held, weight=_weights(held, balanced))],
        callbacks=[lightgbm.early_stopping(PATIENCE, verbose=False)],
    )


def _weights(labels: Floats, balanced: bool) -> Floats | None:
    """(n,) weights under which both classes weigh the same; None for none."""
    if not balanced:
        return None
    ones = float(np.mean(labels == 1))
    return np.where(labels == 1, 0.5 / ones, 0.5 / (1 - ones))
