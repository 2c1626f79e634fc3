"""What cosine and evidence weigh in the sum that re-ranks a shortlist.

Maximum likelihood of the softmax over shortlists that hold the truth, as `measures.calibration` fits one
factor: a conditional logit model (McFadden 1974), whose likelihood has one peak. NumPy only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from acml_search.chem.splits import INNER_ONE_IN, block_hash
from acml_search.core.errors import ConfigError
from acml_search.evaluation.measures import metrics
from acml_search.evaluation.measures.calibration import FOLDS

TIE = 1e-4
"""logits closer than this are the same: what rounding makes of equal molecules"""

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Weights(NamedTuple):
    """A candidate's logit is `cosine` x its cosine + `evidence` x its score."""

    cosine: float
    evidence: float

    def total(self, cosines: Floats, scores: Floats) -> Floats:
        """Logits; minus infinity where there is no candidate."""
        there = np.isfinite(cosines)
        cosines, scores = np.where(there, cosines, 0.0), np.where(there, scores, 0.0)
        return np.where(there, self.cosine * cosines + self.evidence * scores, -np.inf)


@dataclass(frozen=True)
class Lists:
    """Shortlists of nq queries with both scores, the truth in column 0: (nq, k), -inf where there is none.

    `listed` (nq,): is the truth among the candidates? `places` (nq, k) in the pool; `blocks` (nq,) the
    InChIKey blocks of the molecules asked for.
    """

    cosines: Floats
    scores: Floats
    places: Ints
    listed: npt.NDArray[np.bool_]
    blocks: list[str]

    def some(self, chosen: npt.NDArray[np.bool_]) -> Lists:
        """Those of the chosen queries (nq,)."""
        blocks = [block for block, wanted in zip(self.blocks, chosen.tolist(), strict=True) if wanted]
        return Lists(
            self.cosines[chosen], self.scores[chosen], self.places[chosen], self.listed[chosen], blocks
        )

    @property
    def molecule_weights(self) -> Floats:
        """(nq,) those of one molecule add up to 1."""
        _, group, sizes = np.unique(np.array(self.blocks), return_inverse=True, return_counts=True)
        return np.asarray(1.0 / sizes[group], np.float64)


def negative_log_likelihood(
    features: Floats, there: npt.NDArray[np.bool_], weigh: Floats, at: Floats
) -> tuple[float, Floats, Floats]:
    """Weighted mean over queries of -log softmax(truth), its gradient (f,) and Hessian (f, f) at the weights
    `at` (f,). `features` (nq, k, f), the truth's in column 0; `there` (nq, k): is there a candidate?
    `weigh` (nq,): what a query counts for. Every shortlist must hold the truth.
    """
    features = np.where(there[:, :, None], features, 0.0)
    features = features - features[:, :1]
    logits = np.where(there, features @ at, -np.inf)
    top = logits.max(axis=1)
    share = np.exp(logits - top[:, None])
    total = share.sum(axis=1)
    share /= total[:, None]
    weigh = weigh / weigh.sum()
    mean = np.einsum("qk,qkf->qf", share, features)
    second = np.einsum("q,qk,qkf,qkg->fg", weigh, share, features, features, optimize=True)
    hessian = second - np.einsum("q,qf,qg->fg", weigh, mean, mean)
    return float(weigh @ (np.log(total) + top)), weigh @ mean, hessian


def most_likely(
    features: Floats, there: npt.NDArray[np.bool_], weigh: Floats, start: npt.ArrayLike
) -> Floats:
    """(f,) the weights of greatest likelihood, none below zero: Newton's method with halved steps. Arguments
    as `negative_log_likelihood` takes them.
    """
    at = np.array(start, np.float64)
    value, slope, bend = negative_log_likelihood(features, there, weigh, at)
    for _ in range(100):
        free = ~((at <= 0) & (slope > 0))  # a weight that would go below zero stays there
        if not free.any():
            break
        step = np.zeros(len(at))
        part = bend[np.ix_(free, free)] + 1e-12 * np.eye(int(free.sum()))
        step[free] = np.linalg.solve(part, slope[free])
        for _ in range(30):
            tried = np.maximum(at - step, 0.0)
            better, new_slope, new_bend = negative_log_likelihood(features, there, weigh, tried)
            if better <= value:
                break
            step /= 2
        else:
            break
        gained = value - better
        at, value, slope, bend = tried, better, new_slope, new_bend
        if gained < 1e-10:
            break
    return at


def fit_weights(lists: Lists, start: Weights) -> Weights:
    """The weights of greatest likelihood, neither below zero.

    Raises ConfigError where no shortlist holds its truth.
    """
    lists = lists.some(lists.listed)
    if not len(lists.blocks):
        raise ConfigError("there is no shortlist with its truth to fit the weights of re-ranking on")
    features = np.stack([lists.cosines, lists.scores], axis=2)
    at = most_likely(features, np.isfinite(lists.cosines), lists.molecule_weights, start)
    return Weights(float(at[0]), float(at[1]))


def cross_fitted(lists: Lists, start: Weights) -> Floats:
    """Logits (nq, k) of each query by weights that were fitted on the other folds of molecules."""
    fold = np.array([block_hash(block) // INNER_ONE_IN % FOLDS for block in lists.blocks])
    out = np.empty_like(lists.cosines)
    for number in np.unique(fold).tolist():
        here = fold == number
        others = lists.some(~here)
        own = fit_weights(others if others.listed.any() else lists, start)
        out[here] = own.total(lists.cosines[here], lists.scores[here])
    return out


def ranks(lists: Lists, totals: Floats, before: npt.ArrayLike) -> Floats:
    """(nq,) ranks by the logits `totals` (nq, k) of truths that are listed; `before` (nq,) of others."""
    again = 1.0 + np.count_nonzero(totals[:, 1:] >= totals[:, :1] - TIE, axis=1)
    return np.where(lists.listed, again, np.asarray(before, np.float64))


def summary(found: npt.ArrayLike, lists: Lists, n_candidates: npt.ArrayLike, seed: int) -> dict[str, object]:
    """Recall at 1, 5, 10, 20 and 100 with intervals, over molecules."""
    return metrics.summarise(found, lists.blocks, n_candidates, ks=(1, 5, 10, 20, 100), seed=seed)
