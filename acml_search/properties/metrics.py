"""Metrics over several targets with missing labels: the mean of the targets' own values.

`y` and `predicted` (n, t) float64, `y` NaN where there is no label. Targets without labels, and for
classes those with labels of one class only, do not count; where no target counts, the result is NaN.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from acml_search.core.typing import Floats

Metric = Callable[[Floats, Floats], float]


def auroc(y: Floats, predicted: Floats) -> float:
    """Area under the ROC curve."""
    from sklearn.metrics import roc_auc_score

    return _mean(y, predicted, roc_auc_score, classes=True)


def auprc(y: Floats, predicted: Floats) -> float:
    """Average precision, the area under the precision-recall curve; by chance it is the share of class 1."""
    from sklearn.metrics import average_precision_score

    return _mean(y, predicted, average_precision_score, classes=True)


def rmse(y: Floats, predicted: Floats) -> float:
    """Root mean squared error, in the labels' unit."""
    return _mean(y, predicted, lambda a, b: float(np.sqrt(np.mean((a - b) ** 2))))


def mae(y: Floats, predicted: Floats) -> float:
    """Mean absolute error, in the labels' unit."""
    return _mean(y, predicted, lambda a, b: float(np.mean(np.abs(a - b))))


def spearman(y: Floats, predicted: Floats) -> float:
    """Spearman's rank correlation; 0 where all labels or all predictions are the same."""
    from scipy.stats import spearmanr

    def one(a: Floats, b: Floats) -> float:
        return 0.0 if np.ptp(a) == 0 or np.ptp(b) == 0 else float(spearmanr(a, b).statistic)

    return _mean(y, predicted, one)


def r2(y: Floats, predicted: Floats) -> float:
    """Share of the variance that is explained; negative for predictions worse than the mean."""

    def one(a: Floats, b: Floats) -> float:
        variance = float(((a - a.mean()) ** 2).sum())
        return float("nan") if variance == 0 else 1 - float(((a - b) ** 2).sum()) / variance

    return _mean(y, predicted, one)


def selection_score(task: str, y: Floats, predicted: Floats) -> float:
    """What heads, strengths and epochs are chosen by: AUROC of classes, R2 of numbers. Higher is better."""
    return auroc(y, predicted) if task == "classification" else r2(y, predicted)


def _mean(y: Floats, predicted: Floats, metric: Metric, *, classes: bool = False) -> float:
    if y.shape != predicted.shape:
        raise ValueError(f"labels of shape {y.shape} and predictions of shape {predicted.shape}")
    values = []
    for labels, answers in zip(y.T, predicted.T, strict=True):
        known = np.isfinite(labels)
        if len(np.unique(labels[known])) > (1 if classes else 0):
            values.append(float(metric(labels[known], answers[known])))
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else float("nan")
