"""Observations as long vectors, the plain way: binned shifts and binned mass spectra."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

SHIFTS = {"c_nmr": (-20.0, 260.0), "h_nmr": (-2.0, 16.0)}
"""ppm that the bins span"""
MASSES = ("lc_ms", "gc_ms")
HIGHEST = 1_000.0
"""m/z, where the bins of mass spectra end"""

Floats = npt.NDArray[np.float32]


def smooth(modality: str, items: Sequence[Any], width: float) -> Floats:
    """(n, bins) float32, unit length: a Gaussian of `width` ppm at every shift, bins of half a width."""
    low, high = SHIFTS[modality]
    bins = grid(modality, width)
    out = np.zeros((len(items), len(bins)), np.float32)
    for row, shifts in enumerate(items):
        distance = (np.clip(shifts, low, high)[:, None] - bins[None, :]) / width
        out[row] = np.exp(-0.5 * distance**2).sum(axis=0)
    return unit(out)


def grid(modality: str, width: float) -> Floats:
    """(bins,) ppm, half a width apart."""
    low, high = SHIFTS[modality]
    return np.arange(low, high + width / 2, width / 2).astype(np.float32)


def masses(items: Sequence[Any], bin_width: float) -> Any:
    """(n, bins) CSR float32, unit length: square roots of the intensities, each peak shared by the two bins
    it lies between, and, where the precursor is known, the same for the neutral losses.
    """
    n_bins = int(HIGHEST / bin_width) + 2
    rows, columns, values = [], [], []
    for row, item in enumerate(items):
        parts = [(np.asarray(item.mzs, np.float64), 0)]
        if getattr(item, "precursor", 0):
            losses = item.precursor - parts[0][0]
            parts.append((losses, n_bins))
        for positions, offset in parts:
            kept = (positions >= 0) & (positions < HIGHEST)
            place = positions[kept] / bin_width
            at = np.floor(place).astype(np.int64)
            share = place - at
            size = np.sqrt(np.asarray(item.intensities, np.float64)[kept])
            for bins, weight in ((at, 1 - share), (at + 1, share)):
                rows.append(np.full(len(bins), row))
                columns.append(bins + offset)
                values.append(size * weight)
    shape = (len(items), 2 * n_bins)
    if not rows:
        return sparse.csr_matrix(shape, dtype=np.float32)
    data = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    table = sparse.csr_matrix(data, shape=shape, dtype=np.float32)
    length = np.sqrt(np.asarray(table.multiply(table).sum(axis=1))).ravel()
    return sparse.diags(1 / np.maximum(length, 1e-12)).dot(table).tocsr().astype(np.float32)


def dense(modality: str, items: Sequence[Any]) -> Floats:
    """(n, bins) float32 for networks: shifts in Gaussians (13C 1 ppm, 1H 0.05 ppm), masses in bins of 1."""
    if modality in SHIFTS:
        return smooth(modality, items, 1.0 if modality == "c_nmr" else 0.06)
    return np.asarray(masses(items, 1.0).todense(), np.float32)


def unit(table: Floats) -> Floats:
    """Rows of length one; rows of zeros stay."""
    length = np.linalg.norm(table, axis=1, keepdims=True)
    return (table / np.maximum(length, 1e-12)).astype(np.float32)
