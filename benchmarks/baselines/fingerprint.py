"""Fingerprint regression: Morgan bits told from the spectrum, candidates ranked by how likely theirs are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from benchmarks.baselines.base import Baseline, Ints, Material, Score, Scores, register
from benchmarks.baselines.bits import packed_bits, unpacked
from benchmarks.baselines.observed import MASSES, SHIFTS, dense

EPOCHS, BATCH, HIDDEN = 24, 256, 1024
SHARES = (0.0, 0.5, 0.75, 0.9, 1.0)
"""of a bit's usual log-odds that are taken off; without, molecules of few bits always lead"""
OTHERS = 20_000
"""molecules of the pool, a seeded choice, among which the inner part's are ranked to choose the share"""

Floats = npt.NDArray[np.float32]


@register
class Fingerprint(Baseline):
    """A network of two hidden layers from the binned spectrum to 1,024 Morgan bits (radius 2). A candidate
    scores by the log-likelihood of its bits (as CSI:FingerID's Platt score, Duehrkop et al. 2015), less a
    share of what they would have whatever was observed. Epoch and share are chosen on the inner part.
    """

    name = "fingerprint"
    about = "A network tells Morgan bits from the binned spectrum; candidates rank by their likelihood."

    def why_not(self, modality: str) -> str | None:
        if modality in (*SHIFTS, *MASSES):
            return None
        return f"a record of {modality} holds the structure itself; its bits need no regression"

    def prepare(self, material: Material) -> Score:
        from benchmarks.baselines.networks import fit_bits

        train, inner = material.train, material.inner
        x, inner_x = _scaled(material.modality, train.items), _scaled(material.modality, inner.items)
        y = unpacked(packed_bits(train.smiles, material.workers, material.cache))
        inner_y = unpacked(packed_bits(inner.smiles, material.workers, material.cache))
        items = [train.items[0] if one is None else one for one in material.items]  # unread ones fail anyway
        asked = np.concatenate([inner_x, _scaled(material.modality, items)])
        found, told = fit_bits(
            x, y, inner_x, inner_y, asked, hidden=HIDDEN, epochs=EPOCHS, batch=BATCH, seed=material.seed
        )
        usual = _log_odds(y)
        mrr = _by_share(found[: len(inner)], usual, inner_y, _others(material))
        share = max(mrr, key=lambda one: mrr[one])
        material.told["chosen_on_inner"] = {
            **told,
            "share_of_usual_odds": share,
            "mrr_by_share": {f"{each:g}": round(x, 5) for each, x in mrr.items()},
        }
        logits = found[len(inner) :] - np.float32(share) * usual

        def score(positions: Ints) -> Scores:
            # The log-likelihood of bits b under logits z is b z and what all candidates have in common.
            return np.asarray(logits @ unpacked(material.bits[positions]).T, np.float32)

        return score


def _scaled(modality: str, items: list[object]) -> Floats:
    """Binned spectra of mean square one a bin: at unit length a network hardly begins to learn."""
    table = dense(modality, items)
    return table * np.float32(np.sqrt(table.shape[1]))


def _log_odds(bits: Floats) -> Floats:
    """(f,) of every bit in the training rows, one molecule added that has half of each."""
    rate = (bits.sum(axis=0) + 0.5) / (len(bits) + 1)
    return np.log(rate / (1 - rate)).astype(np.float32)


def _others(material: Material) -> Floats:
    """(n, f) bits of molecules drawn from the pool, none of the inner part."""
    inner, structures = set(material.inner.blocks), material.pool.structures
    order = np.random.default_rng(material.seed).permutation(len(structures))[:OTHERS]
    rows = [i for i in np.sort(order).tolist() if structures[i].block not in inner]
    return unpacked(material.bits[rows])


def _by_share(logits: Floats, usual: Floats, truths: Floats, others: Floats) -> dict[float, float]:
    """Share -> mean reciprocal rank of the inner molecules among one another and the others; ties lose."""
    candidates = np.concatenate([truths, others])
    plain, common = logits @ candidates.T, candidates @ usual
    found = {}
    for share in SHARES:
        scores = plain - np.float32(share) * common
        own = np.diagonal(scores)[:, None]
        ranks = (scores >= own - 1e-6).sum(axis=1)
        found[share] = float(np.mean(1 / ranks)) if len(ranks) else 0.0
    return found
