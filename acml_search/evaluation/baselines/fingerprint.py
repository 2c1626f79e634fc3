"""Fingerprint regression: Morgan bits told from the spectrum, candidates ranked by how likely theirs are."""

from __future__ import annotations

import numpy as np

from acml_search.evaluation.baselines.base import Baseline, Material, Score, Scores, register
from acml_search.evaluation.baselines.bits import packed_bits, unpacked
from acml_search.evaluation.baselines.observed import MASSES, SHIFTS, dense

EPOCHS, BATCH, HIDDEN = 24, 256, 1024


@register
class Fingerprint(Baseline):
    """A network of two hidden layers from the binned spectrum to 1,024 Morgan bits (radius 2); a candidate
    scores by the log-likelihood of its bits (as CSI:FingerID's Platt score, Duehrkop et al. 2015). The epoch
    is chosen on the inner part.
    """

    name = "fingerprint"
    about = "A network tells Morgan bits from the binned spectrum; candidates rank by their likelihood."

    def why_not(self, modality: str) -> str | None:
        if modality in (*SHIFTS, *MASSES):
            return None
        return f"a record of {modality} holds the structure itself; its bits need no regression"

    def prepare(self, material: Material) -> Score:
        from acml_search.evaluation.baselines.networks import fit_bits

        train, inner = material.train, material.inner
        x, inner_x = dense(material.modality, train.items), dense(material.modality, inner.items)
        y = unpacked(packed_bits(train.smiles, material.workers, material.cache))
        inner_y = unpacked(packed_bits(inner.smiles, material.workers, material.cache))
        items = [train.items[0] if one is None else one for one in material.items]  # unread ones fail anyway
        asked = dense(material.modality, items)
        logits, told = fit_bits(
            x, y, inner_x, inner_y, asked, hidden=HIDDEN, epochs=EPOCHS, batch=BATCH, seed=material.seed
        )
        material.told["chosen_on_inner"] = told
        constant = -np.logaddexp(0, logits).sum(axis=1, keepdims=True)

        def score(low: int, high: int) -> Scores:
            # log-likelihood of bits b under logits z: b z - log(1 + exp z), summed
            return np.asarray(logits @ unpacked(material.bits[low:high]).T + constant, np.float32)

        return score
