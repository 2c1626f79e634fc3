"""Measures of predictions over several targets with missing labels: the mean of the targets' own measures.

`y` and `predicted` (n, t) float64, NaN where there is no label. A target that cannot be judged (no labels, or
one class only) does not count; where none can, the result is NaN.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Measure = Callable[[Floats, Floats], float]


def auroc(y: Floats, predicted: Floats) -> float:
    """Area under the ROC curve."""
    from sklearn.metrics import roc_auc_score

    return _mean(y, predicted, lambda a, b: float(roc_auc_score(a, b)), classes=True)


def auprc(y: Floats, predicted: Floats) -> float:
    """Average precision, the area under the precision-recall curve; at random it is the share of class 1."""
    from sklearn.metrics import average_precision_score

    return _mean(y, predicted, lambda a, b: float(average_precision_score(a, b)), classes=True)


def rmse(y: Floats, predicted: Floats) -> float:
    """Root of the mean squared error, in the labels' unit."""
    return _mean(y, predicted, lambda a, b: float(np.sqrt(np.mean((a - b) ** 2))))


def mae(y: Floats, predicted: Floats) -> float:
    """Mean absolute error, in the labels' unit."""
    return _mean(y, predicted, lambda a, b: float(np.mean(np.abs(a - b))))


def spearman(y: Floats, predicted: Floats) -> float:
    """Spearman's rank correlation; 0 where all predictions are the same."""
    from scipy.stats import spearmanr

    def one(a: Floats, b: Floats) -> float:
        return 0.0 if np.ptp(b) == 0 or np.ptp(a) == 0 else float(spearmanr(a, b).statistic)

    return _mean(y, predicted, one)


def r2(y: Floats, predicted: Floats) -> float:
    """Share of the variance that is explained; negative for worse than the mean."""

    def one(a: Floats, b: Floats) -> float:
        spread = float(((a - a.mean()) ** 2).sum())
        return float("nan") if spread == 0 else 1 - float(((a - b) ** 2).sum()) / spread

    return _mean(y, predicted, one)


def _mean(y: Floats, predicted: Floats, one: Measure, *, classes: bool = False) -> float:
    if y.shape != predicted.shape:
        raise ValueError(f"labels of shape {y.shape} and predictions of shape {predicted.shape}")
    found = []
    for target in range(y.shape[1]):
        known = np.isfinite(y[:, target])
        labels = y[known, target]
        if len(labels) == 0 or (classes and len(np.unique(labels)) < 2):
            continue
        found.append(one(labels, predicted[known, target]))
    good = [value for value in found if np.isfinite(value)]
    return float(np.mean(good)) if good else float("nan")
