"""What each observation's logit counts for where those of one compound are added.

Scale and weights of a space are fitted on its own shortlists. Among molecules that another observation likes
as well, which is what is ranked when several are asked, a space may be less sure than it says: the plain sum
of logits (a product of experts) then trusts it too much. So each space's logit is multiplied by a factor, a
logarithmic opinion pool (Genest and Zidek 1986, doi 10.1214/ss/1177013825), of greatest likelihood over inner
molecules that have all the observations. One set of factors is for scale x cosine (`plain`), one for the
logits after peaks were compared (`rerank`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from acml_search.chem.splits import INNER_ONE_IN, block_hash
from acml_search.evaluation.measures.calibration import FOLDS
from acml_search.evaluation.rerank.weights import Lists, most_likely, ranks, summary

Floats = npt.NDArray[np.float64]
KINDS = ("plain", "rerank")


def added(logits: Sequence[Floats], factors: Sequence[float]) -> Floats:
    """The sum of factor x logits, each (nq, k); minus infinity where there is no candidate."""
    there = np.logical_and.reduce([np.isfinite(one) for one in logits])
    total = sum(factor * np.where(there, one, 0.0) for factor, one in zip(factors, logits, strict=True))
    return np.where(there, total, -np.inf)


def fit_factors(lists: Lists, logits: Sequence[Floats]) -> list[float] | None:
    """The factors of greatest likelihood, one for each of `logits` (nq, k), truths in column 0; None where no
    shortlist holds its truth.

    `lists`: which shortlists those are, and which hold it.
    """
    if not lists.listed.any():
        return None
    features = np.stack([one[lists.listed] for one in logits], axis=2)
    there = np.asarray(np.isfinite(features).all(axis=2), np.bool_)
    weigh = lists.some(lists.listed).molecule_weights
    found = most_likely(features, there, weigh, np.ones(len(logits)))
    return [float(x) for x in found]


def told(lists: Lists, logits: Sequence[Floats], seed: int) -> dict[str, Any]:
    """Recall within the shortlists of the inner part: as a plain sum, and with factors that were fitted on
    the other folds of molecules.
    """
    fold = np.array([block_hash(block) // INNER_ONE_IN % FOLDS for block in lists.blocks])
    crossed = np.empty_like(logits[0])
    for number in np.unique(fold).tolist():
        here = fold == number
        factors = fit_factors(lists.some(~here), [one[~here] for one in logits]) or [1.0] * len(logits)
        crossed[here] = added([one[here] for one in logits], factors)
    beyond = np.full(len(lists.blocks), np.inf)
    n = np.isfinite(logits[0]).sum(axis=1)
    ways = {"sum": added(logits, [1.0] * len(logits)), "factors": crossed}
    return {name: summary(ranks(lists, totals, beyond), lists, n, seed) for name, totals in ways.items()}
