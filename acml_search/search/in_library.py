"""Is the compound that was observed among the molecules of the index at all?

A softmax shares certainty out among the candidates, and gives all of it to one where there is one: whether
any of them is the compound it cannot say. That is a probability of its own, a logistic regression on how well
the best candidate fits, by its own measure and against the others. It is fitted on spectra with their
molecule in the pool and the same with it left out (`python -m benchmarks.in_library`), and multiplied with
the softmax.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from acml_search.core.typing import Floats

if TYPE_CHECKING:
    from acml_search.encoders.card import ModelCard
    from acml_search.modalities import Observation
    from acml_search.search.pipeline import Shortlist

NEIGHBOURS = 10
"""candidates after the best whose cosine it is compared with"""
MAX_MARGIN = 12.0
"""of the best candidate's logit over the second's"""
LOWEST_EVIDENCE = -20.0
"""a peak; what is compared worse is no worse"""
MAX_LOGIT = 4.6
SHARED = ("margin", "alone", "candidates", "by mass", "signals")
"""features of a query as a whole: the logit of the best over that of the second; is there but one candidate;
the logarithm of their number; were they limited; does a 1H spectrum state its hydrogens"""
OF_SPACE = ("cosine", "nearness", "evidence", "peaks")
"""features of a space: the best candidate's cosine, by how much that exceeds the next ones', its
log-likelihood per observed peak, and the logarithm of the number of these"""


class InLibrary(NamedTuple):
    """What was fitted for a set of spaces; features are in the order of `feature_names`."""

    means: Floats
    scales: Floats
    weights: Floats
    intercept: float
    temperature: float
    """the softmax is of logits over this, where the compound is in the library"""

    def probability(self, features: Floats) -> float:
        """That the compound is in the library, from features (f,); from 0.01 to 0.99, for the few hundred
        spectra behind the fit tell no more."""
        logit = float(self.weights @ ((features - self.means) / self.scales) + self.intercept)
        return float(1 / (1 + np.exp(-np.clip(logit, -MAX_LOGIT, MAX_LOGIT))))


def feature_names(spaces: Sequence[str]) -> list[str]:
    """The names of `features` for these spaces."""
    return [*SHARED, *(f"{name} {space}" for space in sorted(spaces) for name in OF_SPACE)]


def features(
    found: Shortlist, observations: Sequence[Observation], n_candidates: int, limited: bool
) -> Floats:
    """(f,) of a shortlist in the order of its totals, which holds one candidate at least.

    n_candidates: molecules that could have been found. limited: by a mass, a formula or another filter.
    """
    alone = len(found.totals) == 1
    margin = 0.0 if alone else min(float(found.totals[0] - found.totals[1]), MAX_MARGIN)
    signals = any(peak.count for one in observations if one.modality == "h_nmr" for peak in one.peaks or ())
    values = [margin, float(alone), np.log(max(n_candidates, 1)), float(limited), float(signals)]
    for space in sorted(found.cosines):
        cosines = found.cosines[space]
        rest = np.sort(cosines[1 : 1 + 10 * NEIGHBOURS])[::-1][:NEIGHBOURS]
        first = next(one for one in observations if one.modality == space)
        n = len(first.peaks) if first.peaks else 1
        scores = found.evidence.get(space)
        evidence = 0.0 if scores is None or np.isnan(scores[0]) else max(scores[0] / n, LOWEST_EVIDENCE)
        values += [cosines[0], cosines[0] - rest.mean() if len(rest) else 0.0, evidence, np.log(n)]
    return np.array(values, np.float64)


def fitted(card: ModelCard, spaces: Sequence[str]) -> InLibrary | None:
    """What was fitted for these spaces of a model; None where nothing was."""
    stored: Mapping[str, Mapping[str, Any]] = card.data.get("in_library", {})
    if (found := stored.get("+".join(sorted(spaces)))) is None:
        return None
    return read(found)


def read(found: Mapping[str, Any]) -> InLibrary:
    """What was fitted, from JSON."""
    means, scales, weights = (np.array(found[name], np.float64) for name in ("means", "scales", "weights"))
    return InLibrary(means, scales, weights, float(found["intercept"]), float(found["temperature"]))
