"""What every head on frozen features is: fitted, judged on the valid part, saved and loaded."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from acml_search.properties import metrics

Floats = npt.NDArray[np.float64]
Features = npt.NDArray[np.float32]

TASKS = ("regression", "classification")


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


def score(task: str, y: Floats, predicted: Floats) -> float:
    """What heads are chosen by: area under the ROC curve, or R2."""
    return metrics.auroc(y, predicted) if task == "classification" else metrics.r2(y, predicted)


def spread_of(x: Features) -> tuple[Features, Features]:
    """Mean and standard deviation (f,) of the columns, 1 for such as do not vary."""
    spread = x.std(axis=0, dtype=np.float64)
    mean = x.mean(axis=0, dtype=np.float64).astype(np.float32)
    return mean, np.where(spread > 1e-8, spread, 1.0).astype(np.float32)


def answer(task: str, x: Features, weights: Features, bias: Features) -> Floats:
    """(n, t): what a linear function of (n, f) says, as a probability where the task is classes."""
    found = (x @ weights + bias).astype(np.float64)
    return 1 / (1 + np.exp(-np.clip(found, -60, 60))) if task == "classification" else found


def tell(directory: Path, told: dict[str, Any]) -> None:
    """Write what a saved head says of itself."""
    (directory / "head.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
