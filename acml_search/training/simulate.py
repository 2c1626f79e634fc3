"""Simulated spectra: what the shift predictor says of every molecule of a corpus, and draws from it.

A drawn spectrum is the prediction with the errors the predictor itself expects: every peak moves by its
spread (Laplace), is missing as often as spectra leave such atoms out, now and then one more is lost, peaks
that fall together merge, and a foreign peak (solvent, impurity) may join.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors.torch import load_file

from acml_search import modalities
from acml_search.core.progress import progress
from acml_search.modalities.shift_list import ShiftArrays, ShiftModality
from acml_search.networks.nmr import Peaks, ShiftHead
from acml_search.training.config import read_config
from acml_search.training.shifts import ShiftNet, graph_batch

LOST, FOREIGN = 0.03, 0.03
"""chance that a listed peak is lost, and that a spectrum shows a peak that is not the molecule's"""
_ARRAYS = ("position", "spread", "present")


@dataclass
class Simulated:
    """Predicted peaks of all corpus molecules, one per class of equivalent atoms."""

    kind: ShiftModality
    starts: np.ndarray
    """(n + 1,) int64"""
    position: np.ndarray
    """(P,) float32, ppm"""
    spread: np.ndarray
    """(P,) float32, ppm"""
    present: np.ndarray
    """(P,) float32, logit"""

    def has(self, rows: np.ndarray) -> np.ndarray:
        """(len(rows),) bool: does the molecule show any peak?"""
        return self.starts[rows + 1] > self.starts[rows]

    def peaks(self, rows: np.ndarray) -> Peaks:
        """The predictions themselves, as a head gives them, of corpus rows."""
        at, graph_of = self._places(rows)
        position, spread, present = (
            torch.from_numpy(np.ascontiguousarray(a[at])) for a in (self.position, self.spread, self.present)
        )
        return Peaks(torch.from_numpy(at), torch.from_numpy(graph_of), position, spread, present)

    def draw(self, rows: np.ndarray, rng: np.random.Generator) -> ShiftArrays:
        """A spectrum of each corpus row; every row must have a peak."""
        at, graph_of = self._places(rows)
        moved = self.position[at] + self.spread[at] * rng.laplace(size=len(at))
        moved += rng.normal(0, self.kind.jitter, len(rows))[graph_of]
        seen = rng.random(len(at)) < (1 - LOST) / (1 + np.exp(-self.present[at]))
        # A spectrum without a peak is no spectrum: the first one stays.
        seen[np.searchsorted(graph_of, np.setdiff1d(np.arange(len(rows)), graph_of[seen]))] = True
        foreign = np.flatnonzero(rng.random(len(rows)) < FOREIGN)
        graph_of = np.concatenate([graph_of[seen], foreign])
        moved = np.concatenate([moved[seen], rng.uniform(*self.kind.typical, len(foreign))])
        order = np.lexsort((moved, graph_of))
        graph_of, moved = graph_of[order], moved[order]
        merged = np.zeros(len(moved), bool)
        merged[1:] = (np.diff(graph_of) == 0) & (np.diff(moved) < self.kind.jitter / 3)
        graph_of, moved = graph_of[~merged], moved[~merged]
        return ShiftArrays(moved.astype(np.float32), graph_of, np.bincount(graph_of, minlength=len(rows)))

    def _places(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where the peaks of the rows stand, (p,) int64, and whose they are, (p,) int64."""
        counts = self.starts[rows + 1] - self.starts[rows]
        graph_of = np.repeat(np.arange(len(rows)), counts)
        before = np.cumsum(counts) - counts
        return np.arange(len(graph_of)) - before[graph_of] + self.starts[rows][graph_of], graph_of


def open_simulated(directory: Path, modality: str) -> Simulated:
    """What `run` left for one modality."""
    arrays = {
        name: np.load(directory / f"{modality}-{name}.npy", mmap_mode="r") for name in ("starts", *_ARRAYS)
    }
    return Simulated(cast("ShiftModality", modalities.get(modality)), **arrays)


@torch.inference_mode()
def run(path: Path | str) -> Path:
    """Predict the peaks of the corpus of the shift predictor's configuration `path`; `out/simulated` holds
    them. Raises `ConfigError`.
    """
    config = read_config(path, ("corpus", "trunk", "head"))
    out = config.out / "simulated"
    if out.exists():
        return out
    corpus = config.corpus()
    torch.set_num_threads(1)
    model = ShiftNet(config.data["trunk"], config.data["head"])
    model.load_state_dict(load_file(config.out / "shifts.safetensors"))
    model.eval().trunk.fold()
    found: dict[str, dict[str, list[np.ndarray]]] = {
        name: {k: [] for k in ("counts", *_ARRAYS)} for name in model.heads
    }
    for start in progress(range(0, len(corpus), 64), desc="simulating", unit="batch"):
        rows = np.arange(start, min(start + 64, len(corpus)))
        for name, peaks in model.peaks(graph_batch(corpus, rows)).items():
            for key, values in _distinct(peaks, len(rows), cast("ShiftHead", model.heads[name])).items():
                found[name][key].append(values)
    building = out.with_suffix(".writing")
    building.mkdir(parents=True, exist_ok=True)
    for name, parts in found.items():
        counts = np.concatenate(parts.pop("counts"))
        np.save(building / f"{name}-starts.npy", np.concatenate([[0], counts.cumsum()]))
        for key, values in parts.items():
            np.save(building / f"{name}-{key}.npy", np.concatenate(values))
    os.replace(building, out)
    return out


def _distinct(peaks: Peaks, n: int, head: ShiftHead) -> dict[str, Any]:
    """One peak for each class of equivalent atoms, and how many each molecule has."""
    position, graph_of = peaks.position.numpy(), peaks.graph_of.numpy()
    order = np.lexsort((position, graph_of))
    first = np.ones(len(order), bool)
    first[1:] = (np.diff(graph_of[order]) > 0) | (np.diff(position[order]) > head.scale / 5e4)
    kept = order[first]
    arrays = {k: getattr(peaks, k).numpy()[kept].astype(np.float32) for k in _ARRAYS}
    return {"counts": np.bincount(graph_of[kept], minlength=n), **arrays}
