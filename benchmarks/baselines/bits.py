"""Morgan bits of many molecules, packed, worked out once per molecule and kept in the cache."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from acml_search.core.progress import progress
from acml_search.evaluation.data.feature_store import FeatureStore
from acml_search.evaluation.measures.classes import BITS, fingerprints
from acml_search.evaluation.workers import Workers, chunks

CHUNK = 2_000
PART = 65_536
"""molecules kept in one go; pools of one library share theirs"""


def packed_bits(smiles: Sequence[str], workers: Workers, cache: Path) -> npt.NDArray[np.uint8]:
    """(n, BITS / 8) uint8: Morgan bits of radius 2 of canonical SMILES. Raises ConfigError for a damaged file
    of the cache.
    """
    import rdkit

    store = FeatureStore.of(cache, "bits", {"bits": BITS, "radius": 2, "rdkit": rdkit.__version__})
    missing = store.missing(smiles)
    with progress(total=len(missing), desc="Morgan bits", unit="mol") as bar:
        for part in chunks(missing, PART):
            found = []
            for block in workers.map(fingerprints, chunks(part, CHUNK)):
                found.append(block)
                bar.update(len(block))
            store.add(part, np.concatenate(found))
    return store.take_as(np.uint8, smiles)


def unpacked(packed: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """(n, BITS) float32 of 0 and 1."""
    return np.unpackbits(packed, axis=1).astype(np.float32)
