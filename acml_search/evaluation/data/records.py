"""What a benchmark offers as the record of a molecule.

A derived modality's record is made from the structure. It must not be the very string or picture that an
index of the same structures holds, or the benchmark would measure copying: it is a *varied* one, for SMILES
the same molecule spelled in a random order. The record of a recorded modality (a spectrum) is the row's own
columns.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from acml_search.modalities import get

TRIES = 20


def record_of(
    modality: str, smiles: str, molecule: str, metadata: Mapping[str, Any] | None, seed: int
) -> Any:
    """The record that stands for a molecule, ready for `Model.encode_records`.

    `smiles` is canonical, `molecule` its InChIKey block, `metadata` the row's columns (recorded modalities).
    A derived record depends on `seed` and the molecule, nothing else. A spelling differs from the canonical
    one unless the molecule has no other (methane is always "C"); a picture is drawn in a style that training
    did not use, so it is no other's copy. Raises InvalidRecord where there is none.
    """
    kind = get(modality)
    if not kind.derived:
        return metadata
    digest = hashlib.sha256(molecule.encode()).digest()
    rng = np.random.default_rng([seed, int.from_bytes(digest[:8], "big")])
    record = kind.derive(smiles, rng)
    tries = 1
    while isinstance(record, str) and tries < TRIES and record == kind.derive(smiles):
        record = kind.derive(smiles, rng)
        tries += 1
    return record
