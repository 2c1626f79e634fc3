"""Is a logit worth what it says? One temperature per space, and how far the probabilities are off.

A hit's probability is the softmax of scale x cosine over a shortlist. With the temperature T the logits
become logit / T, so that 1 / T is a *factor* on the space's scale. It is fitted by maximum likelihood (Guo et
al. 2017, arXiv 1706.04599) over queries whose shortlist holds the truth: a softmax over the shortlist can say
which of its molecules it is, not that it is none of them. So the probability is a conditional one, given that
the molecule is listed, and `truth_in_shortlist` says how often it is. (With missing truths added to the
list, the likelihood is best at no confidence at all as soon as many are missing.) What is reported is the
first hit's probability against how often it is the truth, over the same queries:

- **ECE**, the expected calibration error: queries in 15 bins of equal weight by probability; the mean
  distance between a bin's mean probability and its accuracy.
- **Brier**: the mean squared distance between the first hit's probability and 1 (truth) or 0.

Several records of one molecule weigh together as one, as everywhere. NumPy only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from acml_search.chem.splits import INNER_ONE_IN, block_hash
from acml_search.core.errors import ConfigError
from acml_search.evaluation.measures.metrics import TIE_TOLERANCE

BINS = 15
FOLDS = 5
LOG_FACTOR = 6.0  # factors between exp(-6) and exp(6) are looked at

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Shortlists:
    """The best candidates of each query.

    `scores` (nq, k) cosines, best first; `truth_scores` (nq,) the truth's cosine, whether listed or not;
    `truth_at` (nq,) its place in the list, -1 where it is not; `blocks` (nq,) the InChIKey blocks of the
    molecules asked for.
    """

    scores: Floats
    truth_scores: Floats
    truth_at: npt.NDArray[np.int64]
    blocks: list[str]

    def __len__(self) -> int:
        return len(self.blocks)

    @property
    def weights(self) -> Floats:
        """(nq,) the queries' weights: those of one molecule add up to 1."""
        _, group, sizes = np.unique(np.array(self.blocks), return_inverse=True, return_counts=True)
        return np.asarray(1.0 / sizes[group], np.float64)

    @property
    def correct(self) -> npt.NDArray[np.bool_]:
        """(nq,) is the truth strictly first? A tie is not."""
        first = self.truth_at == 0
        if self.scores.shape[1] > 1:
            first &= self.scores[:, 0] - self.scores[:, 1] > TIE_TOLERANCE
        return first

    def some(self, chosen: npt.NDArray[np.bool_]) -> Shortlists:
        """Those of the chosen queries (nq,)."""
        blocks = [block for block, wanted in zip(self.blocks, chosen.tolist(), strict=True) if wanted]
        return Shortlists(self.scores[chosen], self.truth_scores[chosen], self.truth_at[chosen], blocks)


def first_probability(lists: Shortlists, scale: float) -> Floats:
    """(nq,) probability of the first hit: the softmax of scale x cosine over the shortlist."""
    logits = scale * lists.scores
    return np.asarray(1.0 / np.exp(logits - logits[:, :1]).sum(axis=1), np.float64)


def negative_log_likelihood(lists: Shortlists, scale: float) -> float:
    """Weighted mean over queries of -log softmax(truth); every shortlist must hold the truth."""
    logits = scale * lists.scores
    top = logits.max(axis=1)
    log_sum = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
    return float(np.average(log_sum - scale * lists.truth_scores, weights=lists.weights))


def fit_factor(lists: Shortlists, scale: float) -> float:
    """The factor on `scale` of the greatest likelihood: golden-section search in its logarithm.

    The likelihood has one peak: its logarithm is concave in the factor. Raises ConfigError without a query.
    """
    if not len(lists):
        raise ConfigError("there is no query to fit a temperature on")
    ratio = (np.sqrt(5.0) - 1) / 2
    low, high = -LOG_FACTOR, LOG_FACTOR
    a, b = high - ratio * (high - low), low + ratio * (high - low)
    at_a, at_b = (negative_log_likelihood(lists, scale * float(np.exp(x))) for x in (a, b))
    while high - low > 1e-4:
        if at_a <= at_b:
            high, b, at_b = b, a, at_a
            a = high - ratio * (high - low)
            at_a = negative_log_likelihood(lists, scale * float(np.exp(a)))
        else:
            low, a, at_a = a, b, at_b
            b = low + ratio * (high - low)
            at_b = negative_log_likelihood(lists, scale * float(np.exp(b)))
    return float(np.exp((low + high) / 2))


def reliability(
    probabilities: npt.ArrayLike, correct: npt.ArrayLike, weights: npt.ArrayLike, bins: int = BINS
) -> list[dict[str, float]]:
    """Bins of equal weight by probability: `{"weight", "probability", "accuracy"}` (means) of each."""
    p, right, w = (np.asarray(x, np.float64) for x in (probabilities, correct, weights))
    order = np.argsort(p, kind="stable")
    p, right, w = p[order], right[order], w[order]
    middle = (np.cumsum(w) - w / 2) / w.sum()
    bin_of = np.minimum((middle * bins).astype(np.int64), bins - 1)
    found = []
    for number in np.unique(bin_of).tolist():
        here = bin_of == number
        found.append(
            {
                "weight": float(w[here].sum() / w.sum()),
                "probability": float(np.average(p[here], weights=w[here])),
                "accuracy": float(np.average(right[here], weights=w[here])),
            }
        )
    return found


def judge(probabilities: Floats, lists: Shortlists) -> dict[str, Any]:
    """`{"ece", "brier", "mean_probability", "accuracy", "bins"}` of first hits' probabilities (nq,)."""
    weights, correct = lists.weights, lists.correct
    bins = reliability(probabilities, correct, weights)
    return {
        "ece": sum(one["weight"] * abs(one["probability"] - one["accuracy"]) for one in bins),
        "brier": float(np.average((probabilities - correct) ** 2, weights=weights)),
        "mean_probability": float(np.average(probabilities, weights=weights)),
        "accuracy": float(np.average(correct, weights=weights)),
        "bins": bins,
    }


def calibrate(inner: Shortlists, valid: Shortlists | None, scale: float) -> dict[str, Any]:
    """Fit on the inner part; report there by cross-fitting (5 folds of molecules) and on `valid`, both before
    and after. Queries whose shortlist lacks the truth are counted, and left out of the rest.
    """
    of_all = {
        name: float(np.average(part.truth_at >= 0, weights=part.weights))
        for name, part in (("inner", inner), ("valid", valid))
        if part is not None and len(part)
    }
    inner = inner.some(inner.truth_at >= 0)
    valid = None if valid is None else valid.some(valid.truth_at >= 0)
    factor = fit_factor(inner, scale)
    fold = np.array([block_hash(block) // INNER_ONE_IN % FOLDS for block in inner.blocks])
    crossed = np.empty(len(inner))
    for number in np.unique(fold).tolist():
        out = fold == number
        others = inner.some(~out)
        own = fit_factor(others, scale) if len(others) else factor
        crossed[out] = first_probability(inner.some(out), scale * own)
    result: dict[str, Any] = {
        "scale_before": scale,
        "factor": factor,
        "scale": scale * factor,
        "temperature": 1 / factor,
        "shortlist": inner.scores.shape[1],
        "inner": {
            "n_queries": len(inner),
            "n_molecules": len(set(inner.blocks)),
            "truth_in_shortlist": of_all["inner"],
            "before": judge(first_probability(inner, scale), inner),
            "after": judge(crossed, inner),
            "folds": FOLDS,
        },
    }
    if valid is not None and len(valid):
        result["valid"] = {
            "n_queries": len(valid),
            "n_molecules": len(set(valid.blocks)),
            "truth_in_shortlist": of_all["valid"],
            "before": judge(first_probability(valid, scale), valid),
            "after": judge(first_probability(valid, scale * factor), valid),
        }
    return result
