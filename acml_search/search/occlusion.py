"""Which peaks of a mass spectrum speak for a hit: each of the strongest is left out in turn.

What a peak is worth is by how much the space's logit (scale x cosine) falls without it. It is what the
encoder made of the peak among the others, not a claim about chemistry: two peaks that say the same may each
be worth nothing alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from acml_search.encoders.model import Model
    from acml_search.ms.peaks import Spectrum

STRONGEST = 20  # peaks that are left out, one at a time


class Worth(NamedTuple):
    """A peak, and by how much it raises the logit."""

    mz: float
    """Th"""
    change: float
    """logit with it minus logit without it: positive speaks for the hit"""


def occlusion(
    model: Model,
    modality: str,
    item: Spectrum,
    graph_vector: npt.NDArray[np.float32],
    strongest: int = STRONGEST,
) -> list[Worth]:
    """The strongest peaks of `item`, the most telling first.

    `graph_vector` (d,): the hit's unit vector in the space of `modality`. Intensities stay as they are in
    the item, so leaving one out changes no other. Empty for a spectrum of one peak: nothing would be left.
    Raises `ConfigError` when the model has no such space.
    """
    return occlusions(model, modality, item, graph_vector[None], strongest)[0]


def occlusions(
    model: Model,
    modality: str,
    item: Spectrum,
    graph_vectors: npt.NDArray[np.float32],
    strongest: int = STRONGEST,
) -> list[list[Worth]]:
    """As `occlusion`, for several hits (n, d): the spectra are encoded once for all of them."""
    n = len(item.mzs)
    if n < 2:
        return [[] for _ in graph_vectors]
    chosen = np.argsort(-item.intensities, kind="stable")[:strongest]
    lighter = [
        item._replace(mzs=np.delete(item.mzs, at), intensities=np.delete(item.intensities, at))
        for at in chosen.tolist()
    ]
    vectors = model.encode_items(modality, [item, *lighter]).astype(np.float64)
    logits = model.spaces[modality].scale * (graph_vectors.astype(np.float64) @ vectors.T)
    changes = logits[:, :1] - logits[:, 1:]
    mzs = item.mzs[chosen].astype(float).tolist()
    return [
        sorted((Worth(mz, float(x)) for mz, x in zip(mzs, row, strict=True)), key=lambda w: -abs(w.change))
        for row in changes.tolist()
    ]
