"""Morgan fingerprints (Rogers and Hahn, J. Chem. Inf. Model. 2010, 50, 742), the package's one generator."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator

RADIUS = 2

Bits = npt.NDArray[np.uint8]


@cache
def morgan_generator(n_bits: int, radius: int = RADIUS) -> Any:
    """RDKit's generator of folded Morgan bits without chirality; made once per process and size."""
    return rdFingerprintGenerator.GetMorganGenerator(radius=radius, fpSize=n_bits)


def morgan(mols: Iterable[Chem.Mol], n_bits: int, radius: int = RADIUS) -> Bits:
    """(n, n_bits) uint8 of 0 and 1, one row per molecule."""
    generator = morgan_generator(n_bits, radius)
    rows = [generator.GetFingerprintAsNumPy(mol) for mol in mols]
    return np.array(rows, np.uint8).reshape(len(rows), n_bits)


def packed_morgan(mols: Iterable[Chem.Mol], n_bits: int, radius: int = RADIUS) -> Bits:
    """(n, n_bits / 8) uint8: `morgan` packed by `np.packbits`."""
    return np.packbits(morgan(mols, n_bits, radius), axis=1)


def morgan_counts(mols: Iterable[Chem.Mol], radius: int = RADIUS) -> list[Any]:
    """All environments with their counts, unfolded, as RDKit's `BulkTanimotoSimilarity` takes them."""
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=radius)
    return list(map(generator.GetSparseCountFingerprint, mols))


def on_bits(mol: Chem.Mol, n_bits: int, radius: int = RADIUS) -> list[int]:
    """Indices of the bits that are set, ascending."""
    return list(morgan_generator(n_bits, radius).GetFingerprint(mol).GetOnBits())
