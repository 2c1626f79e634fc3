"""Metrics over several targets with missing labels: the mean of the targets' own values.

`y` and `predicted` (n, t) float64, `y` NaN where there is no label. Targets without labels, and for
classes those with labels of one class only, do not count; where no target counts, the result is NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from acml_search.core.typing import Floats

Metric = Callable[[Floats, Floats], Any]


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
    return _mean(y, predicted, lambda a, b: np.sqrt(np.mean((a - b) ** 2)))


def mae(y: Floats, predicted: Floats) -> float:
    """Mean absolute error, in the labels' unit."""
    return _mean(y, predicted, lambda a, b: np.mean(np.abs(a - b)))


def spearman(y: Floats, predicted: Floats) -> float:
    """Spearman's rank correlation; 0 where all labels or all predictions are the same."""
    from scipy.stats import spearmanr

    return _mean(y, predicted, lambda a, b: spearmanr(a, b).statistic if np.ptp(a) and np.ptp(b) else 0.0)


def r2(y: Floats, predicted: Floats) -> float:
    """Share of the variance that is explained; negative for predictions worse than the mean."""
    return _mean(y, predicted, lambda a, b: 1 - np.mean((a - b) ** 2) / a.var() if np.ptp(a) else np.nan)


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


def linked(task: str, values: Any) -> Floats:
    """Values as they are, or logits as probabilities."""
    values = np.asarray(values, np.float64)
    return 1 / (1 + np.exp(-np.clip(values, -60, 60))) if task == "classification" else values
