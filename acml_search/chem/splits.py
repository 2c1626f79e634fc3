"""The inner part of the molecules one may train on: kept out of every training step, for choices.

It is fixed by a hash of the InChIKey's first block, about one molecule in fifty, the same for every file and
modality: hyper-parameters, checkpoints and temperatures are chosen on it, so that `valid` stays unseen.
"""

from __future__ import annotations

import hashlib

INNER_ONE_IN = 50


def block_hash(inchikey14: str) -> int:
    """A 63-bit number for an InChIKey block, the same everywhere."""
    return int.from_bytes(hashlib.sha256(inchikey14.encode()).digest()[:8], "big") >> 1


def is_inner(inchikey14: str) -> bool:
    """Is the molecule kept out of every training step, for choices?"""
    return block_hash(inchikey14) % INNER_ONE_IN == 0
