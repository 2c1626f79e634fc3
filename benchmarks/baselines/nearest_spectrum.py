"""Library search: the nearest training spectra, and the molecules most like theirs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from scipy import sparse

from benchmarks.baselines.base import Baseline, Ints, Material, Score, Scores, register
from benchmarks.baselines.bits import packed_bits, unpacked
from benchmarks.baselines.observed import MASSES, SHIFTS, masses, smooth

WIDTHS = {
    "c_nmr": (1.0, 2.0, 4.0, 8.0),
    "h_nmr": (0.03, 0.06, 0.12, 0.24),
    "lc_ms": (0.02, 0.1, 1.0),
    "gc_ms": (0.5, 1.0),
}
NEIGHBOURS, POWERS = (1, 3, 5), (1, 4)
BLOCK = 512


@register
class NearestSpectrum(Baseline):
    """The query's nearest training spectra by cosine of binned spectra; a candidate scores by the Tanimoto
    similarity (Morgan bits, radius 2) to their molecules, weighted by a power of the cosine. Width of the
    bins, number of neighbours and power are chosen on the inner part, by how far up its molecules come among
    one another.
    """

    name = "nearest_spectrum"
    about = (
        "Molecules most like those of the nearest training spectra (cosine of binned spectra). These are in "
        "the pool themselves and come first, so that recall at 1 without a filter is nil by construction."
    )

    def why_not(self, modality: str) -> str | None:
        if modality in (*SHIFTS, *MASSES):
            return None
        return f"the records of {modality} are made from the structure; a nearest one says nothing new"

    def prepare(self, material: Material) -> Score:
        train = material.train
        bits = unpacked(packed_bits(train.smiles, material.workers, material.cache))
        truth = unpacked(packed_bits(material.inner.smiles, material.workers, material.cache))
        tried: dict[tuple[float, int, int], float] = {}
        for width in WIDTHS[material.modality]:
            known = _table(material.modality, train.items, width)
            found, weight = _nearest(_table(material.modality, material.inner.items, width), known)
            likeness = [_tanimoto(truth, bits[found[:, i]]) for i in range(found.shape[1])]
            for k, power in product((k for k in NEIGHBOURS if k <= len(train)), POWERS):
                scores = np.sum([likeness[i] * weight[None, :, i] ** power for i in range(k)], axis=0)
                ranks = (scores >= np.diagonal(scores)[None, :] - 1e-6).sum(axis=0)
                tried[width, k, power] = float(np.mean(1 / ranks))
        width, k, power = max(tried, key=lambda one: tried[one])
        material.told["chosen_on_inner"] = {
            "width": width,
            "neighbours": k,
            "power": power,
            "mrr_among_inner": {f"width {w}, {n}, power {p}": round(x, 4) for (w, n, p), x in tried.items()},
        }
        items = [train.items[0] if one is None else one for one in material.items]  # unread ones fail anyway
        found, weight = _nearest(
            _table(material.modality, items, width), _table(material.modality, train.items, width)
        )
        # Queries share neighbours: a row is compared with the pool once, however many it is near to.
        near, at = np.unique(found[:, :k], return_inverse=True)
        starts = np.arange(0, k * len(found) + 1, k)
        weights = sparse.csr_array(
            ((weight[:, :k] ** power).ravel(), at.ravel(), starts), shape=(len(found), len(near))
        )
        chosen = bits[near]

        def score(positions: Ints) -> Scores:
            return np.asarray(weights @ _tanimoto(chosen, unpacked(material.bits[positions])), np.float32)

        return score


def _table(modality: str, items: Sequence[Any], width: float) -> Any:
    return smooth(modality, items, width) if modality in SHIFTS else masses(items, width)


def _nearest(queries: Any, known: Any) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the nearest of `known` for each query, (nq, k) int64, and their cosines (nq, k) float32."""
    k = min(max(NEIGHBOURS), known.shape[0])
    found, weight = [], []
    for low in range(0, queries.shape[0], BLOCK):
        cosines = queries[low : low + BLOCK] @ known.T
        scores = np.asarray(cosines.todense() if hasattr(cosines, "todense") else cosines)
        at = np.argpartition(scores, -k, axis=1)[:, -k:]
        value = np.take_along_axis(scores, at, axis=1)
        order = np.argsort(-value, axis=1)
        found.append(np.take_along_axis(at, order, axis=1))
        weight.append(np.take_along_axis(value, order, axis=1))
    return np.concatenate(found), np.concatenate(weight).astype(np.float32)


def _tanimoto(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n, m) Tanimoto similarities of bits (n, f) and (m, f)."""
    common = a @ b.T
    union = a.sum(axis=1)[:, None] + b.sum(axis=1)[None, :] - common
    return np.asarray(common / np.maximum(union, 1), np.float32)
