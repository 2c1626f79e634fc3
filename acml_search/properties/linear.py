"""A linear head: ridge or logistic regression of any number of targets, labels may be missing.

How strongly it is held back is chosen on the valid part, target by target; features are scaled by the
training part.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from acml_search.properties.fitted import Features, FittedHead, Floats, answer, score, spread_of, tell
from acml_search.properties.logistic import logistic_path
from acml_search.properties.ridge import ridge_path

STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""L2 penalties per row of the training part, the scaled features' weights squared"""


class Linear(FittedHead):
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
    ) -> Linear:
        mean, scale = spread_of(x)
        scaled, judged = (x - mean) / scale, (valid_x - mean) / scale
        path = logistic_path if task == "classification" else ridge_path
        tried = path(scaled, y, STRENGTHS, class_weight)
        found = [answer(task, judged, w, b) for w, b in tried]
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
        return answer(self.task, (x - self.mean) / self.scale, self.weights, self.bias)

    def save(self, directory: Path) -> None:
        from safetensors.numpy import save_file

        arrays = {"mean": self.mean, "scale": self.scale, "weights": self.weights, "bias": self.bias}
        save_file(
            {k: np.ascontiguousarray(v, np.float32) for k, v in arrays.items()},
            directory / "linear.safetensors",
        )
        tell(directory, {"kind": self.kind, "task": self.task, "valid_score": self.valid_score})

    @classmethod
    def load(cls, directory: Path, told: dict[str, Any]) -> Linear:
        from safetensors.numpy import load_file

        a = load_file(directory / "linear.safetensors")
        return cls(told["task"], a["mean"], a["scale"], a["weights"], a["bias"], float(told["valid_score"]))
