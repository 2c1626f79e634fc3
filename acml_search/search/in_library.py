"""Is the compound that was observed among the molecules of the index at all?

A softmax shares certainty out among the candidates, and gives all of it to one where there is one: whether
any of them is the compound it cannot say. That is a probability of its own, a logistic regression on how well
the best candidate fits, by its own measure and against the others. It is fitted on spectra with their
molecule in the pool and the same with it left out (`python -m benchmarks.in_library`), and multiplied with
the softmax. Where nothing was fitted it is not known, and the softmax is multiplied with `UNKNOWN`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from acml_search import modalities
from acml_search.core.typing import Floats

if TYPE_CHECKING:
    from acml_search.encoders.card import ModelCard
    from acml_search.modalities import Observation
    from acml_search.modalities.base import Reading
    from acml_search.search.pipeline import Shortlist

NEIGHBOURS = 10
"""candidates after the best whose cosine it is compared with"""
MAX_MARGIN = 12.0
"""of the best candidate's logit over the second's"""
LOWEST_EVIDENCE = -20.0
"""a peak; what is compared worse is no worse"""
NEAREST = 1e-4
"""of 1 less a cosine, which half precision tells apart"""
MAX_LOGIT = 4.6
UNKNOWN = 0.5
"""of the compounds are in the library where nothing says how many, as in what the rest is fitted on"""


class InLibrary(NamedTuple):
    """What was fitted for a set of spaces: weights of `features`, by name; 0 of what was not compared."""

    names: tuple[str, ...]
    means: Floats
    scales: Floats
    weights: Floats
    intercept: float
    temperature: float
    """the softmax is of logits over this, where the compound is in the library"""
    spaces: tuple[str, ...] = ()

    def probability(self, features: Mapping[str, float]) -> float:
        """That the compound is in the library; from 0.01 to 0.99, for the few hundred spectra behind the fit
        tell no more."""
        x = np.array([features.get(name, 0.0) for name in self.names])
        logit = float(self.weights @ ((x - self.means) / self.scales) + self.intercept)
        return float(1 / (1 + np.exp(-np.clip(logit, -MAX_LOGIT, MAX_LOGIT))))


def features(
    found: Shortlist,
    observations: Sequence[Observation],
    readings: Sequence[Reading],
    n_candidates: int,
    limited: bool,
) -> dict[str, float]:
    """What tells, of a shortlist in the order of its totals, which holds one candidate at least.

    Of a query as a whole: the logit of the best over that of the second ("margin"); is there but one
    candidate; the logarithm of their number; were they limited; does a 1H spectrum state its hydrogens. Of
    each space: the best candidate's cosine, by how much that exceeds the next ones', its log-likelihood per
    observed peak and by how much that exceeds the next ones' (the "lead"), the logarithm of the number of
    peaks, and what its `Reranker.quality` says. Of a structure that was stated or read: the logarithm of how
    far the best candidate is from it, and how probably the reading is right.

    n_candidates: molecules that could have been found. limited: by a mass, a formula or another filter.
    """
    alone = len(found.totals) == 1
    margin = 0.0 if alone else min(float(found.totals[0] - found.totals[1]), MAX_MARGIN)
    signals = any(peak.count for one in observations if one.modality == "h_nmr" for peak in one.peaks or ())
    values = {
        "margin": margin,
        "alone": float(alone),
        "candidates": float(np.log(max(n_candidates, 1))),
        "by mass": float(limited),
        "signals": float(signals),
    }
    for space, cosines in found.cosines.items():
        rest = np.sort(cosines[1 : 1 + 10 * NEIGHBOURS])[::-1][:NEIGHBOURS]
        first = next(one for one in observations if one.modality == space)
        n = len(first.peaks) if first.peaks else 1
        own = {
            "cosine": cosines[0],
            "nearness": cosines[0] - rest.mean() if len(rest) else 0.0,
            "peaks": np.log(n),
        }
        if modalities.get(space).from_structure:
            own["distance"] = np.log(max(1 - cosines[0], NEAREST))
            read = [one.probability for one in readings if one.modality == space]
            own["reading"] = read[0] if read else 1.0
        scores = found.evidence.get(space, np.full(len(cosines), np.nan))
        if not np.isnan(scores[0]):
            others = scores[1 : 1 + NEIGHBOURS][~np.isnan(scores[1 : 1 + NEIGHBOURS])]
            lead = scores[0] - others.mean() if len(others) else 0.0
            own |= {
                "evidence": max(scores[0] / n, LOWEST_EVIDENCE),
                "lead": np.clip(lead, -MAX_MARGIN, MAX_MARGIN),
            }
            one = found.compared[space]
            best = one.of(int(found.keys[0]))
            own |= one.reranker.quality(one.model, one.observed, best, scores[0])
        values |= {f"{name} {space}": float(value) for name, value in own.items()}
    return values


def fitted(card: ModelCard, spaces: Sequence[str]) -> InLibrary | None:
    """What was fitted for most of these spaces of a model, of as many for those that the card lists first;
    None where nothing was."""
    stored: Mapping[str, Mapping[str, Any]] = card.data.get("in_library", {})
    sets = [names for names in (tuple(one.split("+")) for one in stored) if set(names) <= set(spaces)]
    if not sets:
        return None
    most = max(sets, key=len)
    return read(stored["+".join(most)])._replace(spaces=most)


def read(found: Mapping[str, Any]) -> InLibrary:
    """What was fitted, from JSON."""
    means, scales, weights = (np.array(found[name], np.float64) for name in ("means", "scales", "weights"))
    numbers = float(found["intercept"]), float(found["temperature"])
    return InLibrary(tuple(found["features"]), means, scales, weights, *numbers)
