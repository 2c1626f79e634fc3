"""Predicted against observed shifts, without any learned space."""

from __future__ import annotations

import numpy as np

from acml_search.core.errors import ConfigError
from acml_search.evaluation.vectors.peaks import PeakLists
from benchmarks.baselines.base import Baseline, Ints, Material, Score, Scores, register
from benchmarks.baselines.observed import SHIFTS, Floats, grid, smooth, unit

WIDTH = {"c_nmr": 4.5, "h_nmr": 0.25}
"""ppm, of the Gaussians in the histograms that make the shortlist: the mean reciprocal rank of inner
molecules among 6,000 of the pool was best here, of 0.5 to 11 ppm (13C) and 0.05 to 0.4 ppm (1H)
"""


@register
class ShiftMatching(Baseline):
    """The model's predicted peaks in a fixed histogram against the observed ones make a shortlist, and the
    optimal matching of peaks alone ranks it: what the shift predictor is worth without a learned space.
    """

    name = "shifts"
    about = "Predicted against observed shifts: a fixed histogram makes the shortlist, matching ranks it."
    matches_peaks = True

    def why_not(self, modality: str) -> str | None:
        return None if modality in SHIFTS else f"atoms show no shifts in {modality}"

    def prepare(self, material: Material) -> Score:
        """Raises ConfigError where no predicted peaks of the pool are kept."""
        modality, vectors = material.modality, material.vectors
        if not vectors.has_peaks(modality):
            raise ConfigError(
                f"the model predicts no peaks in the space {modality}; leave the baseline {self.name!r} "
                "out of the question, or name another model"
            )
        width = WIDTH[modality]
        material.told["histogram_width_ppm"] = width
        items = [np.zeros(0) if one is None else one for one in material.items]
        queries = smooth(modality, items, width)
        smiles = [one.smiles for one in material.pool.structures]

        def score(positions: Ints) -> Scores:
            lists = vectors.peaks(modality, (smiles[i] for i in positions.tolist()))
            return np.asarray(queries @ histograms(modality, lists, width).T, np.float32)

        return score


def histograms(modality: str, lists: PeakLists, width: float) -> Floats:
    """(n, bins) float32, unit length: predicted peaks as Gaussians of `width` ppm, the wider the less sure;
    zeros for a molecule without a peak.
    """
    low, high = SHIFTS[modality]
    bins, peaks = grid(modality, width), lists.peaks
    spread = np.hypot(np.float32(width), peaks["spread"])
    distance = (np.clip(peaks["position"], low, high)[:, None] - bins[None, :]) / spread[:, None]
    shown = (peaks["present"] * np.float32(width) / spread)[:, None] * np.exp(-0.5 * distance**2)
    out = np.zeros((len(lists.ends), len(bins)), np.float32)
    there = lists.sizes > 0
    if there.any():
        out[there] = np.add.reduceat(shown, (lists.ends - lists.sizes)[there], axis=0)
    return unit(out)
