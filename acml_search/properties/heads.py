"""Heads on frozen features: ridge or logistic regression, or boosted trees, for any number of targets.

Labels may be missing. How strongly a linear head is held back, and how many trees are grown, is chosen on the
valid part, target by target; features are scaled by the training part.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from acml_search.errors import ConfigError
from acml_search.properties import metrics
from acml_search.properties.logistic import logistic_path

Floats = npt.NDArray[np.float64]
Features = npt.NDArray[np.float32]

TASKS = ("regression", "classification")
KINDS = ("linear", "boosted")
STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""L2 penalties per row of the training part, the scaled features' weights squared"""
TREES = {
    "learning_rate": 0.05,
    "num_leaves": 31,
    "min_data_in_leaf": 20,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "max_bin": 63,
    "num_threads": 1,
    "verbosity": -1,
    "deterministic": True,
    "force_row_wise": True,
}
ROUNDS, PATIENCE = 400, 40
FEATURES = 256
"""features that a tree may choose from, at least, or a fifth of all: what many features cost"""


class FittedHead(ABC):
    """A head that was fitted. `valid_score`: mean over targets on the valid part, higher is better: the area
    under the ROC curve, or R2; NaN where it cannot be judged.
    """

    kind: str
    valid_score: float

    @abstractmethod
    def predict(self, x: Features) -> Floats:
        """(n, t): the value, or the probability of class 1."""

    @abstractmethod
    def save(self, directory: Path) -> None:
        """Write the head to an empty folder: arrays as safetensors, trees as LightGBM's text."""


def fit_head(
    kind: str,
    task: str,
    x: Features,
    y: Floats,
    valid_x: Features,
    valid_y: Floats,
    seed: int,
    class_weight: bool = False,
) -> FittedHead:
    """Fit a head: `x` (n, f), `y` (n, t) with NaN for missing labels, the same for the valid part.

    `class_weight`: both classes weigh the same. Raises ConfigError for an unknown kind or task.
    """
    if task not in TASKS or kind not in KINDS:
        raise ConfigError(
            f"a head is one of {', '.join(KINDS)} for {' or '.join(TASKS)}, not {kind} for {task}"
        )
    if kind == "boosted":
        return _Boosted.fit(task, x, y, valid_x, valid_y, seed, class_weight)
    return _Linear.fit(task, x, y, valid_x, valid_y, class_weight)


def load_head(directory: Path) -> FittedHead:
    """What `save` wrote. Raises ConfigError where the folder is damaged."""
    try:
        told = json.loads((directory / "head.json").read_text(encoding="utf-8"))
        return (_Boosted if told["kind"] == "boosted" else _Linear).load(directory, told)
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"{directory}: the head cannot be read ({error}); fit the model again") from error


def score(task: str, y: Floats, predicted: Floats) -> float:
    """What heads are chosen by: area under the ROC curve, or R2."""
    return metrics.auroc(y, predicted) if task == "classification" else metrics.r2(y, predicted)


class _Linear(FittedHead):
    kind = "linear"

    def __init__(
        self,
        task: str,
        mean: Features,
        scale: Features,
        weights: Features,
        bias: Features,
        valid_score: float,
    ) -> None:
        self.task, self.mean, self.scale = task, mean, scale
        self.weights, self.bias, self.valid_score = weights, bias, valid_score

    @classmethod
    def fit(
        cls, task: str, x: Features, y: Floats, valid_x: Features, valid_y: Floats, class_weight: bool
    ) -> _Linear:
        mean = x.mean(axis=0, dtype=np.float64).astype(np.float32)
        spread = x.std(axis=0, dtype=np.float64)
        scale = np.where(spread > 1e-8, spread, 1.0).astype(np.float32)
        scaled, judged = (x - mean) / scale, (valid_x - mean) / scale
        path = logistic_path if task == "classification" else _ridge_path
        tried = path(scaled, y, STRENGTHS, class_weight)
        found = [_answer(task, judged, w, b) for w, b in tried]
        whole = [score(task, valid_y, one) for one in found]
        overall = int(np.nanargmax(whole)) if np.isfinite(whole).any() else len(tried) // 2
        weights, bias = (np.array(part) for part in tried[overall])
        for target in range(y.shape[1]):
            own = [score(task, valid_y[:, [target]], one[:, [target]]) for one in found]
            if np.isfinite(own).any():  # else there is nothing to choose by: as the others do
                best = int(np.nanargmax(own))
                weights[:, target], bias[target] = tried[best][0][:, target], tried[best][1][target]
        head = cls(task, mean, scale, weights, bias, float("nan"))
        head.valid_score = score(task, valid_y, head.predict(valid_x))
        return head

    def predict(self, x: Features) -> Floats:
        return _answer(self.task, (x - self.mean) / self.scale, self.weights, self.bias)

    def save(self, directory: Path) -> None:
        from safetensors.numpy import save_file

        arrays = {"mean": self.mean, "scale": self.scale, "weights": self.weights, "bias": self.bias}
        save_file(
            {k: np.ascontiguousarray(v, np.float32) for k, v in arrays.items()},
            directory / "linear.safetensors",
        )
        _tell(directory, {"kind": self.kind, "task": self.task, "valid_score": self.valid_score})

    @classmethod
    def load(cls, directory: Path, told: dict[str, Any]) -> _Linear:
        from safetensors.numpy import load_file

        a = load_file(directory / "linear.safetensors")
        return cls(told["task"], a["mean"], a["scale"], a["weights"], a["bias"], float(told["valid_score"]))


class _Boosted(FittedHead):
    """Trees per target; a target with one class only is answered with it."""

    kind = "boosted"

    def __init__(self, task: str, trees: list[Any], constants: list[float], valid_score: float) -> None:
        self.task, self.trees, self.constants, self.valid_score = task, trees, constants, valid_score

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
    ) -> _Boosted:
        import lightgbm

        trees: list[Any] = []
        constants: list[float] = []
        classes = task == "classification"
        options = {**TREES, "objective": "binary" if classes else "regression", "seed": seed}
        options["metric"] = "auc" if classes else "l2"
        options["feature_fraction"] = min(1.0, max(0.2, FEATURES / x.shape[1]))
        if class_weight and classes:
            options["is_unbalance"] = True
        for target in range(y.shape[1]):
            known, judged = np.isfinite(y[:, target]), np.isfinite(valid_y[:, target])
            labels, held = y[known, target], valid_y[judged, target]
            constants.append(float(labels.mean()) if len(labels) else 0.0)
            if len(np.unique(labels)) < 2:
                trees.append(None)
                continue
            few = {"min_data_in_leaf": max(1, min(20, len(labels) // 20))}
            data = lightgbm.Dataset(
                x[known], labels, free_raw_data=True, params={"max_bin": 63, **few, "verbosity": -1}
            )
            stop = len(np.unique(held)) > 1
            trees.append(
                lightgbm.train(
                    {**options, **few},
                    data,
                    num_boost_round=ROUNDS if stop else 100,
                    valid_sets=[data.create_valid(valid_x[judged], held)] if stop else None,
                    callbacks=[lightgbm.early_stopping(PATIENCE, verbose=False)] if stop else None,
                )
            )
        head = cls(task, trees, constants, float("nan"))
        head.valid_score = score(task, valid_y, head.predict(valid_x))
        return head

    def predict(self, x: Features) -> Floats:
        out = np.empty((len(x), len(self.trees)))
        for target, (tree, constant) in enumerate(zip(self.trees, self.constants, strict=True)):
            out[:, target] = constant if tree is None else tree.predict(x, num_threads=1)
        return out

    def save(self, directory: Path) -> None:
        for target, tree in enumerate(self.trees):
            if tree is not None:
                text = tree.model_to_string(num_iteration=tree.best_iteration)
                (directory / f"trees-{target}.txt").write_text(text, encoding="utf-8")
        grown = [tree is not None for tree in self.trees]
        told = {"kind": self.kind, "task": self.task, "valid_score": self.valid_score}
        _tell(directory, {**told, "constants": self.constants, "grown": grown})

    @classmethod
    def load(cls, directory: Path, told: dict[str, Any]) -> _Boosted:
        import lightgbm

        trees = [
            lightgbm.Booster(model_str=(directory / f"trees-{i}.txt").read_text(encoding="utf-8"))
            if there
            else None
            for i, there in enumerate(told["grown"])
        ]
        return cls(told["task"], trees, list(map(float, told["constants"])), float(told["valid_score"]))


def _answer(task: str, scaled: Features, weights: Features, bias: Features) -> Floats:
    found = (scaled @ weights + bias).astype(np.float64)
    return 1 / (1 + np.exp(-np.clip(found, -60, 60))) if task == "classification" else found


def _ridge_path(
    x: Features, y: Floats, strengths: tuple[float, ...], class_weight: bool
) -> list[tuple[Features, Features]]:
    """Ridge regression at each strength: weights (f, t) and bias (t,) each. One decomposition serves all
    strengths, and all targets that have the same labels missing.
    """
    n_features, n_targets = x.shape[1], y.shape[1]
    out = [
        (np.zeros((n_features, n_targets), np.float32), np.zeros(n_targets, np.float32)) for _ in strengths
    ]
    known = np.isfinite(y)
    for pattern in np.unique(known, axis=1).T:
        targets = np.flatnonzero((known == pattern[:, None]).all(axis=0))
        if not pattern.any():
            continue
        rows, labels = x[pattern].astype(np.float64), y[np.ix_(pattern, targets)]
        centre, mean = rows.mean(axis=0), labels.mean(axis=0)
        rows -= centre
        values, axes = np.linalg.eigh(rows.T @ rows)
        along = axes.T @ (rows.T @ (labels - mean))
        for strength, (weights, bias) in zip(strengths, out, strict=True):
            # Strengths are per row and for features of spread one; 100 spans what is useful from there.
            solved = axes @ (along / (np.maximum(values, 0) + 100 * strength * len(rows))[:, None])
            weights[:, targets] = solved
            bias[targets] = mean - centre @ solved
    return out


def _tell(directory: Path, told: dict[str, Any]) -> None:
    (directory / "head.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
