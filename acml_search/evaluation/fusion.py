"""Weights of cosine and peak comparison in a shortlist's logits, and of several observations together.

Both are fitted by maximum likelihood of the softmax over shortlists that hold the truth: a conditional logit
model (McFadden 1974), whose likelihood has one peak. Weights are not negative.

*Re-ranking*: a candidate's logit is a x cosine + b x score of its peaks.

*Several observations of one compound*: the logits of the spaces are added, each multiplied by a factor, a
logarithmic opinion pool (Genest and Zidek 1986, doi 10.1214/ss/1177013825). Scale and weights of a space are
fitted on its own shortlists; among molecules that another observation likes as well, a space may be less sure
than it says, and the plain sum (a product of experts) would trust it too much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from acml_search.chem.splits import dev_fold
from acml_search.core.errors import ConfigError
from acml_search.core.typing import Bools, Floats, Ints
from acml_search.evaluation import metrics

FOLDS = 5
TIE = 1e-4
"""logits closer than this are equal: rounding of equal molecules"""
KINDS = ("plain", "rerank")
"""factors of scale x cosine, and of the logits of re-ranking"""


class Weights(NamedTuple):
    """A candidate's logit is `cosine` x its cosine + `evidence` x its score."""

    cosine: float
    evidence: float

    def logits(self, cosines: Floats, scores: Floats) -> Floats:
        """As the arguments in shape; minus infinity where there is no candidate."""
        known = np.isfinite(cosines)
        cosines, scores = np.where(known, cosines, 0.0), np.where(known, scores, 0.0)
        return np.where(known, self.cosine * cosines + self.evidence * scores, -np.inf)


@dataclass(frozen=True)
class Shortlists:
    """The truth (column 0) and the best other candidates of nq queries.

    `cosines`, `scores` (nq, k) of the vectors and of the peaks, -inf where there is no candidate; `places`
    (nq, k) in the pool, -1 there; `listed` (nq,): is the truth among the k best? `inchikeys` (nq,): first
    blocks of the molecules asked for. `prior` (nq, k): what the number of hydrogens adds to a logit.
    """

    cosines: Floats
    scores: Floats
    places: Ints
    listed: Bools
    inchikeys: list[str]
    prior: Floats | None = None

    def __len__(self) -> int:
        return len(self.inchikeys)

    def some(self, chosen: Bools) -> Shortlists:
        """Those of the chosen queries (nq,)."""
        inchikeys = [key for key, wanted in zip(self.inchikeys, chosen.tolist(), strict=True) if wanted]
        arrays = (self.cosines[chosen], self.scores[chosen], self.places[chosen], self.listed[chosen])
        return Shortlists(*arrays, inchikeys, None if self.prior is None else self.prior[chosen])

    def logits(self, weights: Weights) -> Floats:
        """(nq, k) with the prior; minus infinity where there is no candidate."""
        found = weights.logits(self.cosines, self.scores)
        return found if self.prior is None else found + self.prior

    @property
    def molecule_weights(self) -> Floats:
        """(nq,) those of one molecule add up to 1."""
        _, group, sizes = np.unique(np.array(self.inchikeys), return_inverse=True, return_counts=True)
        return np.asarray(1.0 / sizes[group], np.float64)

    @property
    def folds(self) -> Ints:
        """(nq,) the fold of each query's molecule, for cross-fitting on the dev split."""
        return np.array([dev_fold(key, FOLDS) for key in self.inchikeys], np.int64)


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
    top = logits.max(axis=1)
    share = np.exp(logits - top[:, None])
    total = share.sum(axis=1)
    weights = weights / weights.sum()
    mean = np.einsum("qk,qkf->qf", share / total[:, None], features)
    return float(weights @ (np.log(total) + top)), weights @ mean


def most_likely(
    features: Floats, known: Bools, weights: Floats, start: npt.ArrayLike, prior: Floats | None = None
) -> Floats:
    """(f,) the coefficients of greatest likelihood, none below zero; see `negative_log_likelihood`."""
    from scipy.optimize import minimize  # half a second that `bench recall` need not spend

    # Coefficients differ by orders of magnitude (20 per cosine, 0.5 per log-likelihood): bring them to one.
    unit = np.maximum(np.abs(np.asarray(start, np.float64)), 1e-3)

    def loss(x: Floats) -> tuple[float, Floats]:
        value, slope = negative_log_likelihood(features, known, weights, x * unit, prior)
        return value, slope * unit

    bounds = [(0.0, None)] * len(unit)
    options = {"ftol": 1e-14, "gtol": 1e-8, "maxiter": 500}
    found = minimize(loss, start / unit, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return np.asarray(found.x * unit, np.float64)


def fit_weights(lists: Shortlists, start: Weights) -> Weights:
    """The weights of greatest likelihood. Raises ConfigError where no shortlist holds its truth."""
    lists = lists.some(lists.listed)
    if not len(lists):
        raise ConfigError("there is no shortlist with its truth to fit the weights of re-ranking on")
    features = np.stack([lists.cosines, lists.scores], axis=2)
    known = np.isfinite(lists.cosines)
    at = most_likely(features, known, lists.molecule_weights, start, lists.prior)
    return Weights(float(at[0]), float(at[1]))


def cross_fitted(lists: Shortlists, start: Weights) -> Floats:
    """Logits (nq, k) of each query by weights that were fitted on the other folds of molecules."""
    folds, out = lists.folds, np.empty_like(lists.cosines)
    for number in np.unique(folds).tolist():
        here = folds == number
        others = lists.some(~here)
        own = fit_weights(others if others.listed.any() else lists, start)
        out[here] = lists.some(here).logits(own)
    return out


def weighted_sum(logits: Sequence[Floats], factors: Sequence[float], prior: Floats | None = None) -> Floats:
    """The sum of factor x logits, each (nq, k), and of the prior; minus infinity where no candidate is."""
    known = np.logical_and.reduce([np.isfinite(one) for one in logits])
    total = sum(factor * np.where(known, one, 0.0) for factor, one in zip(factors, logits, strict=True))
    total = total if prior is None else total + prior
    return np.where(known, total, -np.inf)


def fit_factors(lists: Shortlists, logits: Sequence[Floats]) -> list[float] | None:
    """The factors of greatest likelihood, one for each of `logits` (nq, k), truths in column 0; None where no
    shortlist holds its truth. `lists`: the queries, and which shortlists hold their truth.
    """
    if not lists.listed.any():
        return None
    features = np.stack([one[lists.listed] for one in logits], axis=2)
    known = np.asarray(np.isfinite(features).all(axis=2), np.bool_)
    some = lists.some(lists.listed)
    found = most_likely(features, known, some.molecule_weights, np.ones(len(logits)), some.prior)
    return [float(x) for x in found]


def summarise_factors(lists: Shortlists, logits: Sequence[Floats], seed: int) -> dict[str, Any]:
    """Recall within shortlists of the dev split: `sum`, of plain logits, and `factors`, of logits with
    factors that were fitted on the other folds of molecules.
    """
    folds, crossed = lists.folds, np.empty_like(logits[0])
    for number in np.unique(folds).tolist():
        here = folds == number
        factors = fit_factors(lists.some(~here), [one[~here] for one in logits]) or [1.0] * len(logits)
        crossed[here] = weighted_sum([one[here] for one in logits], factors, lists.some(here).prior)
    beyond = np.full(len(lists), np.inf)
    n = np.isfinite(logits[0]).sum(axis=1)
    totals = {"sum": weighted_sum(logits, [1.0] * len(logits), lists.prior), "factors": crossed}
    return {name: summary(ranks(lists, total, beyond), lists, n, seed) for name, total in totals.items()}


def ranks(lists: Shortlists, logits: Floats, before: npt.ArrayLike) -> Floats:
    """(nq,) ranks by `logits` (nq, k) of truths that are listed; `before` (nq,) of the others: nothing is
    gained by a truth that candidate generation missed. Ties lose.
    """
    again = 1.0 + np.count_nonzero(logits[:, 1:] >= logits[:, :1] - TIE, axis=1)
    return np.where(lists.listed, again, np.asarray(before, np.float64))


def summary(
    found: npt.ArrayLike, lists: Shortlists, n_candidates: npt.ArrayLike, seed: int
) -> dict[str, Any]:
    """Recall at 1, 5, 10, 20 and 100 with intervals, over molecules."""
    return metrics.summarise(found, lists.inchikeys, n_candidates, ks=(1, 5, 10, 20, 100), seed=seed)
