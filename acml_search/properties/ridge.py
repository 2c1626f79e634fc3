"""Ridge regression of many targets with missing labels, at several strengths at once."""

from __future__ import annotations

import numpy as np

from acml_search.properties.fitted import Features, Floats


def ridge_path(
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
