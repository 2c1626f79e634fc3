"""What suites fit: scales of probabilities, weights of re-ranking, factors of several observations together.

All three are coefficients of a softmax over shortlists that hold the truth, those of greatest likelihood: a
conditional logit model (McFadden 1974), whose likelihood has one peak. None is below zero. (With missing
truths added to the lists, it is best at no confidence at all as soon as many are missing.) What is said of
the dev split is cross-fitted over folds of molecules; several records of one molecule weigh together as one.

*Calibration*: one scale of the cosine (Guo et al. 2017, arXiv 1706.04599). Reported is the first hit's
probability against how often it is the truth: **ECE**, the expected calibration error, over 15 bins of equal
weight by probability the mean distance between a bin's mean probability and its accuracy; **Brier**, the mean
squared distance between the probability and 1 (truth) or 0.

*Re-ranking*: a x cosine + b x score of the peaks.

*Several observations of one compound*: the logits of the spaces are added, each multiplied by a factor, a
logarithmic opinion pool (Genest and Zidek 1986, doi 10.1214/ss/1177013825). Among molecules that another
observation likes as well, a space may be less sure than on its own shortlists, and the plain sum (a product
of experts) would trust it too much.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import logsumexp

from acml_search.chem.splits import dev_fold
from acml_search.core.errors import ConfigError
from acml_search.core.typing import Bools, Floats
from acml_search.evaluation import metrics
from acml_search.evaluation.rescoring import Shortlists, ranks, weighted

FOLDS = 5
BINS = 15
LISTED = 100
"""candidates that share out probability"""


def molecule_weights(lists: Shortlists) -> Floats:
    """(nq,) those of one molecule add up to 1."""
    _, group, sizes = np.unique(np.array(lists.inchikeys), return_inverse=True, return_counts=True)
    return np.asarray(1.0 / sizes[group], np.float64)


def negative_log_likelihood(
    features: Floats, known: Bools, weights: Floats, at: Floats, prior: Floats | None = None
) -> tuple[float, Floats]:
    """Weighted mean over queries of -log softmax(truth), and its gradient (f,) at the coefficients `at` (f,).

    `features` (nq, k, f), the truth's in column 0; `known` (nq, k): is there a candidate? `weights` (nq,) of
    the queries; `prior` (nq, k) is added to the logits. Every shortlist must hold the truth.
    """
    features = np.where(known[:, :, None], features, 0.0)
    features = features - features[:, :1]
    logits = features @ at if prior is None else features @ at + prior - prior[:, :1]
    logits = np.where(known, logits, -np.inf)
    total = logsumexp(logits, axis=1)
    weights = weights / weights.sum()
    mean = np.einsum("qk,qkf->qf", np.exp(logits - total[:, None]), features)
    return float(weights @ total), weights @ mean


def fit(lists: Shortlists, features: Floats, start: npt.ArrayLike) -> Floats:
    """(f,) coefficients of `features` (nq, k, f). Raises ConfigError where no shortlist holds its truth."""
    if not lists.listed.any():
        raise ConfigError("there is no shortlist with its truth to fit on")
    features, lists = features[lists.listed], lists.some(lists.listed)
    known, weights = np.isfinite(features).all(axis=2), molecule_weights(lists)
    # Coefficients differ by orders of magnitude (20 per cosine, 0.5 per log-likelihood): bring them to one.
    unit = np.maximum(np.abs(np.asarray(start, np.float64)), 1e-3)

    def loss(x: Floats) -> tuple[float, Floats]:
        value, slope = negative_log_likelihood(features, known, weights, x * unit, lists.prior)
        return value, slope * unit

    options = {"ftol": 1e-14, "gtol": 1e-8, "maxiter": 500}
    bounds = [(0.0, None)] * len(unit)
    found = minimize(loss, start / unit, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return np.asarray(found.x * unit, np.float64)


def cross_fitted(lists: Shortlists, features: Floats, start: npt.ArrayLike) -> Floats:
    """Logits (nq, k) of each query by coefficients that were fitted on the other folds of molecules."""
    folds, out = np.array([dev_fold(key, FOLDS) for key in lists.inchikeys]), np.empty(features.shape[:2])
    for number in np.unique(folds).tolist():
        here = folds == number
        chosen = ~here if (lists.listed & ~here).any() else np.ones(len(lists), bool)
        at = fit(lists.some(chosen), features[chosen], start)
        out[here] = weighted(features[here], at, lists.some(here).prior)
    return out


def summary(found: npt.ArrayLike, lists: Shortlists, n_candidates: npt.ArrayLike) -> dict[str, Any]:
    """Recall at 1, 5, 10, 20 and 100 with intervals, over molecules."""
    return metrics.summarise(found, lists.inchikeys, n_candidates, ks=(1, 5, 10, 20, 100))


def summarise_factors(lists: Shortlists, logits: Floats) -> dict[str, Any]:
    """Recall within shortlists of the dev split: `sum`, of plain logits (nq, k, f), and `factors`."""
    ones, n = np.ones(logits.shape[2]), np.isfinite(logits[:, :, 0]).sum(axis=1)
    totals = {"sum": weighted(logits, ones, lists.prior), "factors": cross_fitted(lists, logits, ones)}
    return {name: summary(ranks(lists, total, np.inf), lists, n) for name, total in totals.items()}


def reliability(
    probabilities: npt.ArrayLike, correct: npt.ArrayLike, weights: npt.ArrayLike, bins: int = BINS
) -> list[dict[str, float]]:
    """Bins of equal weight: `{"weight", "probability", "accuracy"}` (means); scikit-learn has no weights."""
    p, right, w = (np.asarray(x, np.float64) for x in (probabilities, correct, weights))
    order = np.argsort(p, kind="stable")
    p, right, w = p[order], right[order], w[order]
    middle = (np.cumsum(w) - w / 2) / w.sum()
    bin_of = np.minimum((middle * bins).astype(np.int64), bins - 1)
    return [
        {
            "weight": float(w[here].sum() / w.sum()),
            "probability": float(np.average(p[here], weights=w[here])),
            "accuracy": float(np.average(right[here], weights=w[here])),
        }
        for here in (bin_of == number for number in np.unique(bin_of).tolist())
    ]


def expected_error(bins: list[dict[str, float]]) -> float:
    """The expected calibration error of `reliability`'s bins."""
    return sum(one["weight"] * abs(one["probability"] - one["accuracy"]) for one in bins)


def calibrate(dev: Shortlists, valid: Shortlists, scale: float) -> dict[str, Any]:
    """Fitted on the dev split; before and after, there and on `valid`, where shortlists hold the truth."""
    cosines = dev.cosines[:, :, None]
    (fitted,) = fit(dev, cosines, [scale]).tolist()
    crossed = cross_fitted(dev, cosines, [scale])
    result = {
        "scale_before": scale,
        "factor": fitted / scale,
        "scale": fitted,
        "temperature": scale / fitted,
        "inner": {**_calibrated(dev, scale, crossed), "folds": FOLDS},
    }
    if valid.listed.any():
        after = weighted(valid.cosines[:, :, None], [fitted], valid.prior)
        result["valid"] = _calibrated(valid, scale, after)
    return result


def _calibrated(lists: Shortlists, scale: float, after: Floats) -> dict[str, Any]:
    before, listed = weighted(lists.cosines[:, :, None], [scale], lists.prior), lists.some(lists.listed)
    return {
        "n_queries": len(listed),
        "n_molecules": len(set(listed.inchikeys)),
        "truth_in_shortlist": float(np.average(lists.listed, weights=molecule_weights(lists))),
        "before": calibration_errors(listed, before[lists.listed]),
        "after": calibration_errors(listed, after[lists.listed]),
    }


def calibration_errors(lists: Shortlists, logits: Floats) -> dict[str, Any]:
    """`{"ece", "brier", "mean_probability", "accuracy", "bins"}` of first hits by `logits` (nq, k)."""
    p, weights = np.exp(logits.max(axis=1) - logsumexp(logits, axis=1)), molecule_weights(lists)
    correct = ranks(lists, logits, np.inf) == 1
    bins = reliability(p, correct, weights)
    return {
        "ece": expected_error(bins),
        "brier": float(np.average((p - correct) ** 2, weights=weights)),
        "mean_probability": float(np.average(p, weights=weights)),
        "accuracy": float(np.average(correct, weights=weights)),
        "bins": bins,
    }
