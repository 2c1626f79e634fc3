"""Pretraining of a peak-list encoder on simulated spectra, finished with measured ones.

The shift predictor says what every molecule of the corpus shows. A simulated spectrum is that prediction with
the errors the predictor itself expects: every peak moves by its spread (Laplace), is missing as often as
spectra leave such atoms out, now and then one more is lost, peaks that fall together merge, and a foreign
peak (solvent, impurity) may join.

A molecule's predicted peaks, seen through the encoder as distributions, must meet a spectrum of it - a
simulated or a measured one - and differ from the predictions of every other molecule in the batch, isomers
among them. The encoder learns which differences between peak lists mean another molecule and which are only
error. A second head tells Morgan bits from the spectrum, so that similarity of molecules is in the vectors.
No graph encoder takes part.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from acml_search import modalities
from acml_search.core.io import atomic
from acml_search.core.progress import progress
from acml_search.modalities.nmr import ShiftArrays, ShiftModality
from acml_search.networks import current_names, tensors
from acml_search.networks.nmr import Peaks, ShiftHead, ShiftTower, expected_features
from acml_search.training.config import ShiftPlan, SimulatedPlan, read_plan
from acml_search.training.corpus import Corpus, corpus_of
from acml_search.training.loop import Task, train
from acml_search.training.losses import pair_recall
from acml_search.training.pretrain import FINGERPRINT_SCALE, POOL, Pretrainer, save_result
from acml_search.training.records import MeasuredRecords, read_records
from acml_search.training.sampling import isomer_batches
from acml_search.training.shifts import ShiftNet

LOST, FOREIGN = 0.03, 0.03
"""chance that a listed peak is lost, and that a spectrum shows a peak that is not the molecule's"""
_ARRAYS = ("position", "spread", "present")


@dataclass
class SimulatedPeaks:
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


class SimulatedTask(Task[Pretrainer]):
    """A batch holds simulated spectra of any molecules, and measured ones."""

    def __init__(
        self, corpus: Corpus, plan: SimulatedPlan, simulated: SimulatedPeaks, measured: MeasuredRecords,
        model: Pretrainer,
    ) -> None:  # fmt: skip
        self.corpus, self.simulated, self.measured, self.model = corpus, simulated, measured, model
        self.take_batches_of(plan.training)
        self.kind = cast("ShiftModality", modalities.get(plan.modality))
        self.width = self.kind.head_defaults["scale"] / 400
        self.rows = corpus.train_rows[simulated.has(corpus.train_rows)]
        self.formulas = corpus.formulas
        self.fingerprint_weight = plan.training.fingerprint_weight
        self.measured_share = plan.training.measured_share
        self.measured_rows = np.intersect1d(measured.molecules, self.rows)
        dev = corpus.dev_rows[simulated.has(corpus.dev_rows)]
        self.dev = np.intersect1d(measured.molecules, dev)
        self.pool = np.concatenate([self.dev, np.setdiff1d(dev, self.dev)])[:POOL]

    def batches(self, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """Simulated molecules first, then measured ones, each with their isomers."""
        n = int(self.batch_size * self.measured_share)
        real: Iterator[np.ndarray] = iter(())
        for rows in isomer_batches(self.rows, self.formulas, self.batch_size - n, self.group_size, rng):
            found = next(real, None)
            if found is None:
                real = isomer_batches(self.measured_rows, self.formulas, n, self.group_size, rng)
                found = next(real)
            yield np.concatenate([rows, found])

    def loss(self, rows: np.ndarray, rng: np.random.Generator) -> dict[str, Tensor]:
        model = self.model
        n = int(len(rows) * self.measured_share)
        simulated = self._encoded(self.simulated.draw(rows[:-n], rng))
        drawn = self.measured.draw(rows[-n:], rng)
        items = [self.kind.augment(self.measured.items[i], rng) for i in drawn]
        records = torch.cat([simulated, self._encoded(self.kind.collate(items))])
        same = self.tensor(self.corpus.inchikey_hashes[rows])
        bits = self.tensor(self.corpus.bits(rows))
        predicted = self._predicted(model, rows)
        return {
            "contrastive": model.contrast(predicted, model.projection(records), same),
            "fingerprint": FINGERPRINT_SCALE
            * self.fingerprint_weight
            * F.binary_cross_entropy_with_logits(model.bits(records), bits),
        }

    @torch.inference_mode()
    def evaluate(self, model: Pretrainer) -> dict[str, float]:
        """Measured spectra of the dev split against the predictions of all its molecules.

        The predictor has not seen them, so this is what the encoder is worth with its errors.
        """
        parts = [self.pool[i : i + 1024] for i in range(0, len(self.pool), 1024)]
        predicted = torch.cat([self._predicted(model, part) for part in parts])
        drawn = self.measured.draw(self.dev, np.random.default_rng(0))
        batch = tensors(self.kind.collate([self.measured.items[i] for i in drawn]), model)
        records = model.projection(model.encoder(batch))
        same = self.tensor(self.corpus.inchikey_hashes[self.pool])
        return {
            "dev_to_molecule_at_1": pair_recall(records, predicted, same),
            "dev_queries": float(len(self.dev)),
            "dev_pool": float(len(self.pool)),
            "scale": model.contrast.scale.item(),
        }

    def _encoded(self, batch: Any) -> Tensor:
        features: Tensor = self.model.encoder(tensors(batch, self.model))
        return features

    def _predicted(self, model: Pretrainer, rows: np.ndarray) -> Tensor:
        """Unit vectors (len(rows), d) of predicted peaks."""
        peaks = Peaks(*(tensor.to(self.device) for tensor in self.simulated.peaks(rows)))
        encoder = cast("ShiftTower", model.encoder)
        vectors: Tensor = model.projection(expected_features(peaks, len(rows), encoder, self.width))
        return vectors


def run(plan: SimulatedPlan, device: torch.device) -> Path:
    """Simulate the spectra, pretrain, and return the folder with `encoder.safetensors`."""
    predictor = read_plan(plan.path.parent / plan.simulator, ShiftPlan)
    simulated = open_simulated(simulate(predictor, device), plan.modality)
    corpus = corpus_of(plan)
    torch.manual_seed(plan.seed)
    measured = read_records(plan.modality, plan.records, corpus, plan.root_folder)
    model = Pretrainer(plan).to(device)
    averaged = train(
        SimulatedTask(corpus, plan, simulated, measured, model), plan.training, plan.seed, plan.out_folder
    )
    return save_result(plan, averaged.state_dict())


def open_simulated(directory: Path, modality: str) -> SimulatedPeaks:
    """What `simulate` left for one modality."""
    arrays = {
        name: np.load(directory / f"{modality}-{name}.npy", mmap_mode="r") for name in ("starts", *_ARRAYS)
    }
    return SimulatedPeaks(cast("ShiftModality", modalities.get(modality)), **arrays)


@torch.inference_mode()
def simulate(plan: ShiftPlan, device: torch.device | str = "cpu") -> Path:
    """Predict the peaks of the corpus of a trained shift predictor; its folder's `simulated` holds them."""
    out = plan.out_folder / "simulated"
    if out.exists():
        return out
    corpus = corpus_of(plan)
    torch.set_num_threads(1)
    model = ShiftNet(plan.trunk, plan.head)
    model.load_state_dict(current_names(load_file(plan.out_folder / "shifts.safetensors")))
    model.to(device).eval().trunk.fold()
    found: dict[str, dict[str, list[np.ndarray]]] = {
        name: {k: [] for k in ("counts", *_ARRAYS)} for name in model.heads
    }
    for start in progress(range(0, len(corpus), 64), desc="simulating", unit="batch"):
        rows = np.arange(start, min(start + 64, len(corpus)))
        for name, peaks in model.peaks(corpus.graph_batch(rows, device)).items():
            for key, values in _distinct(peaks, len(rows), cast("ShiftHead", model.heads[name])).items():
                found[name][key].append(values)
    with atomic(out) as folder:
        folder.mkdir(parents=True)
        for name, parts in found.items():
            counts = np.concatenate(parts.pop("counts"))
            np.save(folder / f"{name}-starts.npy", np.concatenate([[0], counts.cumsum()]))
            for key, values in parts.items():
                np.save(folder / f"{name}-{key}.npy", np.concatenate(values))
    return out


def _distinct(peaks: Peaks, n: int, head: ShiftHead) -> dict[str, Any]:
    """One peak for each class of equivalent atoms, and how many each molecule has."""
    position, graph_of = peaks.position.cpu().numpy(), peaks.graph_of.cpu().numpy()
    order = np.lexsort((position, graph_of))
    first = np.ones(len(order), bool)
    first[1:] = (np.diff(graph_of[order]) > 0) | (np.diff(position[order]) > head.scale / 5e4)
    kept = order[first]
    arrays = {k: getattr(peaks, k).cpu().numpy()[kept].astype(np.float32) for k in _ARRAYS}
    return {"counts": np.bincount(graph_of[kept], minlength=n), **arrays}
