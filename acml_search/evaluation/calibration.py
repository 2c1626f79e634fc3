"""Probabilities of hits: one temperature per space, and how far the probabilities are off.

A hit's probability is the softmax of scale x cosine over a shortlist; a temperature T divides the logits.
It is fitted by maximum likelihood (Guo et al. 2017, arXiv 1706.04599) over queries whose shortlist holds the
truth: the probability is conditional on that, and `truth_in_shortlist` says how often it is so. (With missing
truths added to the list, the likelihood is best at no confidence at all as soon as many are missing.) What is
reported is the first hit's probability against how often it is the truth, over the same queries:

- **ECE**, the expected calibration error: queries in 15 bins of equal weight by probability; the mean
  distance between a bin's mean probability and its accuracy.
- **Brier**: the mean squared distance between the first hit's probability and 1 (truth) or 0.

Several records of one molecule weigh together as one, as everywhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from acml_search.core.errors import ConfigError
from acml_search.core.typing import Bools, Floats
from acml_search.evaluation.fusion import FOLDS, Shortlists, Weights
from acml_search.evaluation.metrics import TIE_TOLERANCE

SHORTLIST = 100
"""candidates that share out probability, as in a search's answer (`search.engine.SHORTLIST`)"""
BINS = 15
MAX_LOG_FACTOR = 6.0


def first_probability(lists: Shortlists, scale: float) -> Floats:
    """(nq,) probability of the first hit: the largest softmax of scale x cosine over the shortlist."""
    logits = lists.logits(Weights(scale, 0.0))
    return np.exp(logits.max(axis=1) - logsumexp(logits, axis=1))


def is_first(lists: Shortlists, scale: float = 1.0) -> Bools:
    """(nq,) is the truth strictly first? A tie is not."""
    scores = lists.logits(Weights(scale, 0.0)) / scale
    return np.asarray(scores[:, 0] - scores[:, 1:].max(axis=1, initial=-np.inf) > TIE_TOLERANCE)


def negative_log_likelihood(lists: Shortlists, scale: float) -> float:
    """Weighted mean over queries of -log softmax(truth); every shortlist must hold the truth."""
    logits = lists.logits(Weights(scale, 0.0))
    return float(np.average(logsumexp(logits, axis=1) - logits[:, 0], weights=lists.molecule_weights))


def fit_factor(lists: Shortlists, scale: float) -> float:
    """The factor on `scale` of the greatest likelihood, between exp(-6) and exp(6): there is one peak.

    Raises ConfigError without a query.
    """
    if not len(lists):
        raise ConfigError("there is no query to fit a temperature on")
    found = minimize_scalar(
        lambda x: negative_log_likelihood(lists, scale * float(np.exp(x))),
        bounds=(-MAX_LOG_FACTOR, MAX_LOG_FACTOR),
        method="bounded",
        options={"xatol": 1e-5},
    )
    return float(np.exp(found.x))


def reliability(
    probabilities: npt.ArrayLike, correct: npt.ArrayLike, weights: npt.ArrayLike, bins: int = BINS
) -> list[dict[str, float]]:
    """Bins of equal weight by probability: `{"weight", "probability", "accuracy"}` (means) of each.

    (scikit-learn's `calibration_curve` knows no weights.)
    """
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


def calibration_errors(probabilities: Floats, lists: Shortlists, scale: float = 1.0) -> dict[str, Any]:
    """`{"ece", "brier", "mean_probability", "accuracy", "bins"}` of first hits' probabilities (nq,)."""
    weights, correct = lists.molecule_weights, is_first(lists, scale)
    bins = reliability(probabilities, correct, weights)
    return {
        "ece": expected_error(bins),
        "brier": float(np.average((probabilities - correct) ** 2, weights=weights)),
        "mean_probability": float(np.average(probabilities, weights=weights)),
        "accuracy": float(np.average(correct, weights=weights)),
        "bins": bins,
    }


def calibrate(dev: Shortlists, valid: Shortlists | None, scale: float) -> dict[str, Any]:
    """Fit on the dev split; report there by cross-fitting (5 folds of molecules) and on `valid`, both before
    and after. Queries whose shortlist lacks the truth are counted, and left out of the rest.
    """
    listed = dev.some(dev.listed)
    factor = fit_factor(listed, scale)
    crossed = np.empty(len(listed))
    for number in np.unique(listed.folds).tolist():
        here = listed.folds == number
        others = listed.some(~here)
        own = fit_factor(others, scale) if len(others) else factor
        crossed[here] = first_probability(listed.some(here), scale * own)
    result = {
        "scale_before": scale,
        "factor": factor,
        "scale": scale * factor,
        "temperature": 1 / factor,
        "inner": {**_part(dev, scale, crossed), "folds": FOLDS},
    }
    if valid is not None and valid.listed.any():
        after = first_probability(valid.some(valid.listed), scale * factor)
        result["valid"] = _part(valid, scale, after)
    return result


def _part(lists: Shortlists, scale: float, after: Floats) -> dict[str, Any]:
    listed = lists.some(lists.listed)
    return {
        "n_queries": len(listed),
        "n_molecules": len(set(listed.inchikeys)),
        "truth_in_shortlist": float(np.average(lists.listed, weights=lists.molecule_weights)),
        "before": calibration_errors(first_probability(listed, scale), listed, scale),
        "after": calibration_errors(after, listed, scale),
    }
