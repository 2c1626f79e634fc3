"""Morgan bits of many molecules, packed, kept in the cache."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from acml_search.errors import ConfigError
from acml_search.evaluation.measures.classes import BITS, fingerprints
from acml_search.evaluation.workers import Workers, chunks
from acml_search.progress import progress

CHUNK = 2_000


def packed_bits(smiles: Sequence[str], workers: Workers, cache: Path) -> npt.NDArray[np.uint8]:
    """(n, BITS / 8) uint8: Morgan bits of radius 2 of canonical SMILES. Raises ConfigError for a damaged file
    of the cache.
    """
    import rdkit

    sha = hashlib.sha256(json.dumps([BITS, rdkit.__version__]).encode())
    sha.update("\n".join(smiles).encode())
    path = cache / "bits" / f"{sha.hexdigest()[:24]}.npy"
    if not path.exists():
        out = np.empty((len(smiles), BITS // 8), np.uint8)
        low = 0
        with progress(total=len(smiles), desc="Morgan bits", unit="mol") as bar:
            for part in workers.map(fingerprints, chunks(smiles, CHUNK)):
                out[low : low + len(part)] = part
                low += len(part)
                bar.update(len(part))
        path.parent.mkdir(parents=True, exist_ok=True)
        writing = path.with_name(f"{path.name}.{os.getpid()}.writing")
        with writing.open("wb") as file:
            np.save(file, out, allow_pickle=False)
        os.replace(writing, path)
    try:
        kept: npt.NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ConfigError(f"{path}: the kept bits cannot be read ({error}); remove the file") from error
    if kept.shape != (len(smiles), BITS // 8):
        raise ConfigError(f"{path}: the kept bits have another shape; remove the file")
    return kept


def unpacked(packed: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """(n, BITS) float32 of 0 and 1."""
    return np.unpackbits(packed, axis=1).astype(np.float32)
