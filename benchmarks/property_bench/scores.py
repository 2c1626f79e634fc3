"""The metric of a set: the mean over its targets of those that can be scored."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def score(metric: str, y: Floats, predicted: Floats) -> float | None:
    """`y` (n, t) with NaN for no label, `predicted` (n, t). None where no target can be scored.

    ROC-AUC, PRC-AUC (average precision) and Spearman's correlation need two classes or three values: a target
    of fewer is left out, as MoleculeNet does.
    """
    from acml_search.properties import metrics

    measures = {
        "rmse": metrics.rmse,
        "mae": metrics.mae,
        "spearman": metrics.spearman,
        "roc-auc": metrics.auroc,
        "pr-auc": metrics.auprc,
    }
    if not len(y):
        return None
    value = float(measures[metric](y, predicted))
    return value if np.isfinite(value) else None
