"""Mass spectra as sets of peaks: reading, cleaning, varying and batching them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from acml_search.core.errors import InvalidRecord

MAX_MZ = 3000.0
MAX_PEAKS = 100_000  # of a record; one with more is a profile, not a peak list


class Spectrum(NamedTuple):
    """A cleaned spectrum of p peaks, with what is known of its measurement."""

    mzs: np.ndarray
    """(p,) float32 ascending, Th"""
    intensities: np.ndarray
    """(p,) float32, square root of the intensity over the largest"""
    precursor: float = 0.0
    """m/z of the ion that was fragmented, 0 = not known"""
    tokens: tuple[int, ...] = ()
    """codes of the modality's own categories, 0 = not known"""
    energy: float = 0.0
    """collision energy as a number, 0 = not known"""


class PeakBatch(NamedTuple):
    """n spectra, padded to the most peaks among them."""

    mzs: np.ndarray
    """(n, p) float32, 0 where there is no peak"""
    intensities: np.ndarray
    """(n, p) float32, 0 where there is no peak"""
    precursor: np.ndarray
    """(n,) float32, 0 = not known"""
    tokens: np.ndarray
    """(n, t) int64"""
    energy: np.ndarray
    """(n,) float32"""


def read_peaks(
    record: Any, modality: str, keep: int, highest: float = MAX_MZ
) -> tuple[np.ndarray, np.ndarray]:
    """The `keep` strongest peaks of a record with `mzs` and `intensities`, ascending, as in `Spectrum`.

    Peaks without intensity, and those above `highest` (Th), are left out. Raises `InvalidRecord`.
    """
    if not isinstance(record, Mapping):
        raise InvalidRecord("it is not a set of named columns; give mzs and intensities", modality=modality)
    columns = []
    for name in ("mzs", "intensities"):
        try:
            values = np.asarray(record.get(name), np.float64)
        except (TypeError, ValueError):
            raise InvalidRecord(f"{name} is not a list of numbers", modality=modality) from None
        if values.ndim != 1 or not len(values):
            raise InvalidRecord(f"{name} is missing or empty; a spectrum needs a peak", modality=modality)
        if len(values) > MAX_PEAKS:
            raise InvalidRecord(f"it lists {len(values)} peaks, more than {MAX_PEAKS}", modality=modality)
        if not np.isfinite(values).all():
            raise InvalidRecord(f"{name} holds a value that is not a finite number", modality=modality)
        columns.append(values)
    mzs, intensities = columns
    if len(mzs) != len(intensities):
        reason = f"it has {len(mzs)} m/z values but {len(intensities)} intensities"
        raise InvalidRecord(reason, modality=modality)
    if (mzs <= 0).any() or (intensities < 0).any():
        raise InvalidRecord(
            "an m/z value is not positive or an intensity is negative; remove such peaks", modality=modality
        )
    if not (intensities > 0).any():
        raise InvalidRecord("every intensity is 0; give the intensities of its peaks", modality=modality)
    used = np.flatnonzero((intensities > 0) & (mzs <= min(highest, MAX_MZ)))
    if not len(used):
        limit = min(highest, MAX_MZ)
        raise InvalidRecord(
            f"no peak with an intensity lies at or below m/z {limit:.1f}; check the precursor m/z",
            modality=modality,
        )
    used = used[np.argsort(-intensities[used], kind="stable")[:keep]]
    used = used[np.argsort(mzs[used], kind="stable")]
    strengths = np.sqrt(intensities[used] / intensities[used].max())
    return mzs[used].astype(np.float32), np.maximum(strengths, 1e-3).astype(np.float32)


def number_or_none(record: Mapping[str, Any], name: str, modality: str) -> float | None:
    """A column that may be missing or null. Raises `InvalidRecord` where it is neither null nor >= 0."""
    value = record.get(name)
    if value is None or value == "":
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise InvalidRecord(f"{name} is {value!r}, not a number", modality=modality) from None
    if np.isnan(number):  # how tables write null
        return None
    if not np.isfinite(number) or number < 0:
        raise InvalidRecord(f"{name} is {value!r}, not a number of zero or more", modality=modality)
    return number


def vary_peaks(
    mzs: np.ndarray, intensities: np.ndarray, rng: np.random.Generator, ppm: float, drop: float
) -> tuple[np.ndarray, np.ndarray]:
    """Another measurement: weak peaks lost (at most `drop` of them), intensities and m/z (`ppm`) varied.

    The strongest peak stays.
    """
    lost = rng.random(len(mzs)) < rng.random() * drop * (1.2 - intensities)
    lost[np.argmax(intensities)] = False
    mzs, intensities = mzs[~lost], intensities[~lost]
    intensities = intensities * np.exp(0.25 * rng.standard_normal(len(mzs)))
    mzs = mzs * (1 + ppm * 1e-6 * (rng.standard_normal(len(mzs)) + rng.standard_normal()))
    return mzs.astype(np.float32), (intensities / intensities.max()).astype(np.float32)


def nominal(masses: np.ndarray) -> np.ndarray:
    """Exact masses as a unit-resolution spectrum gives them, int64.

    Mass defects grow with the hydrogens, about half a Da at 1000 Da: uncorrected, 500.5 would become 501.
    """
    return np.asarray(np.round(masses * (1 - 0.0005)), np.int64)


def collate_peaks(items: Sequence[Spectrum]) -> PeakBatch:
    """Pad spectra to one batch."""
    longest = max(len(item.mzs) for item in items)
    mzs = np.zeros((len(items), longest), np.float32)
    intensities = np.zeros((len(items), longest), np.float32)
    for i, item in enumerate(items):
        mzs[i, : len(item.mzs)] = item.mzs
        intensities[i, : len(item.mzs)] = item.intensities
    return PeakBatch(
        mzs,
        intensities,
        np.array([item.precursor for item in items], np.float32),
        np.array([item.tokens for item in items], np.int64).reshape(len(items), -1),
        np.array([item.energy for item in items], np.float32),
    )
