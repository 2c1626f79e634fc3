"""A head on likeness to known molecules: kernel ridge or kernel logistic regression, labels may be missing.

The kernel is Gaussian. Up to 1,500 training molecules stand for all (Nyström: Williams and Seeger, NIPS
2000), so that its cost grows with their number alone; where some class is rare, half of them hold one. Width
and strength are chosen together on the valid part. That there is such a head, its widths and strengths were
chosen on BACE, BBBP and SIDER, inside their training part and scored on the valid one. Of very many targets
some stand for all in the choice of width and strength, which is most of the work.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from acml_search.properties.fitted import Features, FittedHead, Floats, answer, score, spread_of, tell
from acml_search.properties.logistic import logistic_path
from acml_search.properties.ridge import ridge_path

LANDMARKS = 1_500
WIDTHS = (2.0, 1.0, 0.5, 0.25)
"""of the kernel: what squared distances are divided by, in mean squared distances of the landmarks"""
STRENGTHS = {
    "classification": (0.01, 0.03, 0.1, 0.3, 1.0, 3.0),
    "regression": (0.03, 0.1, 0.3, 1.0, 3.0, 10.0),
}
"""L2 penalties, where a molecule's likeness to itself is 1"""
JUDGES = 64
"""targets that width and strength are chosen on, at most"""
_JITTER = 1e-5
_CHUNK = 8_192


class Kernel(FittedHead):
    """`landmarks` (m, f): scaled features; `width`: what squared distances to them are divided by."""

    kind = "kernel"

    def __init__(
        self,
        task: str,
        mean: Features,
        scale: Features,
        landmarks: Features,
        width: float,
        weights: Features,
        bias: Features,
        valid_score: float,
    ) -> None:
        self.task, self.mean, self.scale, self.landmarks = task, mean, scale, landmarks
        self.width, self.weights, self.bias, self.valid_score = width, weights, bias, valid_score

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
    ) -> Kernel:
        mean, scale = _scaling(x)
        scaled, judged = (x - mean) / scale, (valid_x - mean) / scale
        landmarks = scaled[_landmarks(task, y, seed)]
        between = _squared(landmarks.astype(np.float64), landmarks.astype(np.float64))
        far, valid_far = _squared(scaled, landmarks), _squared(judged, landmarks)
        usual = float(between.mean()) or 1.0
        judges = np.unique(np.linspace(0, y.shape[1] - 1, JUDGES).astype(int))
        best, strength = None, 0
        for width in (usual * one for one in WIDTHS):
            known, asked, whiten = _likenesses(between, far, valid_far, width)
            for number, (weights, bias) in enumerate(_path(task, known, y[:, judges], class_weight)):
                worth = score(task, valid_y[:, judges], answer(task, asked, weights, bias))
                if best is None or worth > best.valid_score or np.isnan(best.valid_score):
                    best = cls(task, mean, scale, landmarks, width, whiten @ weights, bias, worth)
                    strength = number
        assert best is not None
        if len(judges) == y.shape[1]:
            return best
        known, asked, whiten = _likenesses(between, far, valid_far, best.width)
        weights, bias = _path(task, known, y, class_weight, STRENGTHS[task][strength:])[0]
        worth = score(task, valid_y, answer(task, asked, weights, bias))
        return cls(task, mean, scale, landmarks, best.width, whiten @ weights, bias, worth)

    def predict(self, x: Features) -> Floats:
        out = np.empty((len(x), self.weights.shape[1]))
        for start in range(0, len(x), _CHUNK):
            scaled = (x[start : start + _CHUNK] - self.mean) / self.scale
            near = np.exp(-_squared(scaled, self.landmarks) / self.width)
            out[start : start + _CHUNK] = answer(self.task, near, self.weights, self.bias)
        return out

    def save(self, directory: Path) -> None:
        from safetensors.numpy import save_file

        arrays = {
            "mean": self.mean,
            "scale": self.scale,
            "landmarks": self.landmarks,
            "weights": self.weights,
            "bias": self.bias,
        }
        save_file(
            {name: np.ascontiguousarray(one, np.float32) for name, one in arrays.items()},
            directory / "kernel.safetensors",
        )
        told = {"kind": self.kind, "task": self.task, "width": self.width}
        tell(directory, {**told, "valid_score": self.valid_score})

    @classmethod
    def load(cls, directory: Path, told: dict[str, Any]) -> Kernel:
        from safetensors.numpy import load_file

        a = load_file(directory / "kernel.safetensors")
        return cls(
            told["task"], a["mean"], a["scale"], a["landmarks"], float(told["width"]),
            a["weights"], a["bias"], float(told["valid_score"]),
        )  # fmt: skip


def _likenesses(
    between: Floats, far: Features, valid_far: Features, width: float
) -> tuple[Features, Features, Features]:
    """Of the training and the valid rows what a head reads, (n, m) each, and the matrix (m, m) that made it
    of their kernels with the landmarks. Inner products of rows are likenesses: a penalty on weights is one on
    the function.
    """
    near = np.exp(-between / width) + _JITTER * np.eye(len(between))
    whiten = np.linalg.inv(np.linalg.cholesky(near)).T.astype(np.float32)
    return np.exp(-far / width) @ whiten, np.exp(-valid_far / width) @ whiten, whiten


def _path(
    task: str, x: Features, y: Floats, class_weight: bool, strengths: Sequence[float] | None = None
) -> list[tuple[Features, Features]]:
    """Weights and bias at every strength, all of the task's unless some are named. The two paths count per
    row, ridge in hundredths.
    """
    wanted = STRENGTHS[task] if strengths is None else strengths
    if task == "classification":
        return logistic_path(x, y, [one / len(x) for one in wanted], class_weight)
    return ridge_path(x, y, tuple(one / len(x) / 100 for one in wanted), class_weight)


def _scaling(x: Features) -> tuple[Features, Features]:
    """Bits stay as they are: a rare one that is set would be far from everything."""
    if ((x == 0) | (x == 1)).all():
        return np.zeros(x.shape[1], np.float32), np.ones(x.shape[1], np.float32)
    return spread_of(x)


def _landmarks(task: str, y: Floats, seed: int) -> npt.NDArray[np.int64]:
    """Rows (m,) that stand for all: drawn, up to half of them among such as hold a target's rarer class."""
    rng = np.random.default_rng([seed, len(y)])
    order = rng.permutation(len(y))
    if len(y) <= LANDMARKS or task != "classification":
        return np.sort(order[:LANDMARKS])
    rarer = np.nanmean(y, axis=0) < 0.5
    holds = ((y == 1) & rarer | (y == 0) & ~rarer).any(axis=1)
    first = order[holds[order]][: LANDMARKS // 2]
    others = order[~np.isin(order, first)]
    return np.sort(np.concatenate([first, others[: LANDMARKS - len(first)]]))


def _squared(a: Any, b: Any) -> Any:
    """(n, m) squared distances."""
    found = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1)[None] - 2 * (a @ b.T)
    return np.maximum(found, 0, out=found)
