"""Predicted against observed shifts, without any learned space."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from acml_search.chem import molecule
from acml_search.encoders.card import read_card
from acml_search.errors import InvalidMolecule
from acml_search.evaluation import workers as processes
from acml_search.evaluation.baselines.base import Baseline, Material, Score, Scores, register
from acml_search.evaluation.baselines.observed import SHIFTS, smooth, unit
from acml_search.evaluation.vectors.depends import side_key
from acml_search.evaluation.workers import chunks
from acml_search.progress import progress

WIDTH = {"c_nmr": 4.5, "h_nmr": 0.25}
"""ppm, of the Gaussians in the histograms that make the shortlist: the mean reciprocal rank of inner
molecules among 6,000 of the pool was best here, of 0.5 to 11 ppm (13C) and 0.05 to 0.4 ppm (1H)
"""
CHUNK = 512


class _Task(NamedTuple):
    modality: str
    smiles: list[str]


@register
class ShiftMatching(Baseline):
    """The model's predicted peaks in a fixed histogram against the observed ones make a shortlist, and the
    optimal matching of peaks alone ranks it: what the shift predictor is worth without a learned space.
    """

    name = "shifts"
    about = "Predicted against observed shifts: a fixed histogram makes the shortlist, matching ranks it."
    matches_peaks = True

    def why_not(self, modality: str) -> str | None:
        return None if modality in SHIFTS else f"atoms show no shifts in {modality}"

    def prepare(self, material: Material) -> Score:
        width = WIDTH[material.modality]
        material.told["histogram_width_ppm"] = width
        items = [np.zeros(0) if one is None else one for one in material.items]
        queries = smooth(material.modality, items, width)
        table = _histograms(material, queries.shape[1])

        def score(low: int, high: int) -> Scores:
            return np.asarray(queries @ table[low:high].astype(np.float32).T, np.float32)

        return score


def _histograms(material: Material, n_bins: int) -> Any:
    """(n_pool, bins) float16 of the predicted peaks, kept in the cache."""
    smiles = [one.smiles for one in material.pool.structures]
    key = side_key(read_card(material.model), material.modality, "graph")
    sha = hashlib.sha256(f"{key} {WIDTH[material.modality]} {n_bins} ".encode())
    sha.update("\n".join(smiles).encode())
    path = material.cache / "histograms" / f"{sha.hexdigest()[:24]}.npy"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        writing = path.with_name(f"{path.name}.{os.getpid()}.writing")
        table = np.lib.format.open_memmap(writing, "w+", np.float16, (len(smiles), n_bins))
        tasks = (_Task(material.modality, part) for part in chunks(smiles, CHUNK))
        low = 0
        with progress(total=len(smiles), desc="predicted peaks", unit="mol") as bar:
            for part in material.workers.map(histograms, tasks):
                table[low : low + len(part)] = part
                low += len(part)
                bar.update(len(part))
        table.flush()
        os.replace(writing, path)
    return np.load(path, mmap_mode="r", allow_pickle=False)


def histograms(task: _Task) -> np.ndarray:
    """Task: canonical SMILES -> (n, bins) float16 histograms of predicted peaks, as sharp as they are sure;
    zeros for a molecule that is refused or has no atom of the nucleus.
    """
    from acml_search.encoders.predict import predicted_peaks

    model = processes.model()
    graphs, where = [], []
    for i, text in enumerate(task.smiles):
        try:
            graphs.append(model.featurise(molecule.parse(text)[0]))
            where.append(i)
        except InvalidMolecule:  # RDKit wrote this SMILES and refuses it
            continue
    found = predicted_peaks(model, task.modality, graphs)
    return _spread(task.modality, len(task.smiles), where, found)


def _spread(modality: str, n: int, where: Sequence[int], found: Sequence[Any]) -> np.ndarray:
    low, high = SHIFTS[modality]
    width = WIDTH[modality]
    grid = np.arange(low, high + width / 2, width / 2)
    out = np.zeros((n, len(grid)), np.float32)
    for row, one in zip(where, found, strict=True):
        # Equivalent atoms show one peak.
        _, first = np.unique(one.position.round(2), return_index=True)
        position, spread = one.position[first], np.hypot(width, one.spread[first])
        distance = (np.clip(position, low, high)[:, None] - grid[None, :]) / spread[:, None]
        weight = (one.present[first] * width / spread)[:, None]
        out[row] = (weight * np.exp(-0.5 * distance**2)).sum(axis=0)
    return unit(out).astype(np.float16)
