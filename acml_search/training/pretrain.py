"""Pretraining: what a model is aligned from. The plan's `method` says which way.

Here stand the three ways that an encoder is pretrained so that records of one molecule meet. In each of them
the encoder must also tell the molecule's Morgan bits, so that chemical similarity is in the vectors; no graph
trunk takes part. What is written is the encoder, with the projection as a start for alignment.

`views`, for records that are made from structures: two random variations of one molecule's record (two walks
over its SMILES, say) must meet, and differ from those of every other molecule in the batch, isomers among
them (SimCLR, Chen et al. 2020, with SMILES randomisation as the augmentation, Arus-Pous et al. 2019).

`simulated`, for peak lists: a molecule's predicted peaks (`training.shifts`), seen through the encoder as
distributions, must meet a simulated or measured spectrum of it. The encoder learns which differences between
peak lists mean another molecule and which are only error.

`spectra`, for measured mass spectra: the molecules that a search must tell apart have the same mass, exactly
or to the unit. Every record meets its molecule among others of that mass (within `tolerance_ppm`, isomers
preferred), drawn from the whole corpus, and among all molecules of the batch. The molecule's side is the
modality's own head, which reads Morgan bits in place of a trunk, cheap enough for many negatives, and is
thrown away; a head that predicts a spectrum is taught the measured one, too. Molecules that were measured are
not like molecules of a library, so part of what is gained this way is a prior: what kind of molecule gets
measured. `dev_prior_*` in the log says how far that alone goes, with the mean vector of all records in place
of the record's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acml_search import modalities
from acml_search.core.errors import ConfigError, InvalidRecord
from acml_search.core.toml import read_toml
from acml_search.encoders.checkpoint import device_of
from acml_search.modalities.nmr import ShiftModality
from acml_search.networks import Projection, tensors, width_of
from acml_search.networks.ei import EISpectrumEncoder, SpectrumPredictor
from acml_search.networks.nmr import Peaks, ShiftTower, expected_features
from acml_search.training import detector, fragmentation, shifts
from acml_search.training.config import (
    DetectorPlan,
    FragmentationPlan,
    Plan,
    PretrainPlan,
    ShiftPlan,
    SimulatedPlan,
    SpectraPlan,
    ViewsPlan,
    read_plan,
)
from acml_search.training.contrast import (
    ContrastiveLoss,
    MassPool,
    isomer_batches,
    pair_recall,
    same_molecules,
)
from acml_search.training.corpus import BITS, Corpus, corpus_of
from acml_search.training.loop import Task, save_result, train
from acml_search.training.records import encoded, read_records
from acml_search.training.shifts import open_simulated, simulate

POOL = 10_000
"""molecules of the dev split among which records are searched after each epoch"""
FINGERPRINT_SCALE = 20
"""the mean over 1,024 bits is near 0.05; this many times it weighs like the contrastive term"""
DEV_PPM = 10.0
"""what counts as the same mass when the dev split is ranked"""
GROUP_WIDTH = 0.05
"""Da: molecules of one batch that stand side by side"""


def pretrain(path: Path | str, root: Path | None = None, device: str = "auto") -> Path:
    """Pretrain; the folder of the result. `root` replaces the plan's. Raises `ConfigError`."""
    method = read_toml(Path(path), "plan").get("method")
    if method not in METHODS:
        raise ConfigError(f"{path}: unknown method {method!r}; there are {', '.join(METHODS)}")
    plan_type, run = METHODS[method]
    return run(read_plan(path, plan_type, root), device_of(device))


class Pretrainer(nn.Module):
    """Encoder, projection and fingerprint head of one modality."""

    def __init__(self, plan: PretrainPlan) -> None:
        super().__init__()
        self.encoder = modalities.get(plan.modality).encoder(**plan.tower)
        width = width_of(self.encoder)
        self.projection = Projection(width, **plan.head)
        self.bits = nn.Linear(width, BITS)
        self.contrast = ContrastiveLoss()

    def features(self, batch: Any) -> Tensor:
        """What projection and fingerprint head see of a batch of records."""
        found: Tensor = self.encoder(batch)
        return found

    def vectors(self, batch: Any) -> Tensor:
        """Unit vectors (n, d) of a batch of records."""
        found: Tensor = self.projection(self.features(batch))
        return found

    def fingerprint_loss(self, features: Tensor, bits: np.ndarray) -> Tensor:
        """How badly Morgan bits (n, BITS) are told from the features (n, width) of records."""
        truth = torch.from_numpy(bits).to(features.device)
        return F.binary_cross_entropy_with_logits(self.bits(features), truth)


N = TypeVar("N", bound=Pretrainer)


def seeded(kind: Callable[[Any], N], plan: PretrainPlan, device: torch.device) -> N:
    """A new network, with the weights that the plan's seed gives."""
    torch.manual_seed(plan.seed)
    return kind(plan).to(device)


class ViewsTask(Task[Pretrainer]):
    """Two views of each molecule, drawn from the corpus."""

    def __init__(self, corpus: Corpus, plan: ViewsPlan, device: torch.device) -> None:
        self.corpus, self.model = corpus, seeded(Pretrainer, plan, device)
        self.modality = modalities.get(plan.modality)
        self.fingerprint_weight = plan.training.fingerprint_weight
        self.rows, self.formulas = corpus.train_rows, corpus.formulas
        self.dev = corpus.dev_rows[:POOL]

    def loss(self, rows: np.ndarray, rng: np.random.Generator) -> dict[str, Tensor]:
        model = self.model
        drawn = np.argsort(rng.random((len(rows), self.corpus.n_views)), axis=1)[:, :2]
        first, second, readable = self._pairs(rows, drawn)
        rows = rows[readable]
        # Both views in one batch, so that normalisation sees them together.
        pooled = model.encoder(tensors(self.modality.collate([*first, *second]), model))
        vectors = model.projection(pooled)
        same = self.tensor(self.corpus.inchikey_hashes[rows])
        fingerprint = model.fingerprint_loss(pooled, np.tile(self.corpus.bits(rows), (2, 1)))
        return {
            "contrastive": model.contrast(vectors[: len(rows)], vectors[len(rows) :], same),
            "fingerprint": FINGERPRINT_SCALE * self.fingerprint_weight * fingerprint,
        }

    @torch.inference_mode()
    def evaluate(self, model: Pretrainer) -> dict[str, float]:
        """Recall at 1 of one view among the others."""
        first, second, readable = self._pairs(self.dev, np.array([[0, 1]] * len(self.dev)))
        a, b = (encoded(self.modality, items, model, model.vectors) for items in (first, second))
        same = self.tensor(self.corpus.inchikey_hashes[self.dev[readable]])
        return {"dev_recall_at_1": pair_recall(a, b, same), "dev_pool": float(len(readable))}

    def _pairs(self, rows: np.ndarray, views: np.ndarray) -> tuple[list[Any], list[Any], list[int]]:
        """What the modality reads of two views (n, 2) of each row, and the places of those it can read."""
        pairs, readable = [], []
        for place, (row, (a, b)) in enumerate(zip(rows.tolist(), views.tolist(), strict=True)):
            try:
                pairs.append([self.modality.read(self.corpus.view(row, view)) for view in (a, b)])
                readable.append(place)
            except InvalidRecord:
                continue
        return [a for a, _ in pairs], [b for _, b in pairs], readable


class SimulatedTask(Task[Pretrainer]):
    """A batch holds simulated spectra of any molecules, and measured ones."""

    def __init__(self, corpus: Corpus, plan: SimulatedPlan, device: torch.device) -> None:
        predictor = read_plan(plan.path.parent / plan.simulator, ShiftPlan)
        self.simulated = simulated = open_simulated(simulate(predictor, device), plan.modality)
        self.measured = measured = read_records(plan.modality, plan.records, corpus, plan.root_folder)
        self.corpus, self.model = corpus, seeded(Pretrainer, plan, device)
        self.settings = plan.training
        self.kind = cast("ShiftModality", modalities.get(plan.modality))
        self.width = self.kind.head_defaults["scale"] / 400
        self.rows = corpus.train_rows[simulated.has(corpus.train_rows)]
        self.formulas = corpus.formulas
        self.measured_rows = np.intersect1d(measured.molecules, self.rows)
        dev = corpus.dev_rows[simulated.has(corpus.dev_rows)]
        self.dev = np.intersect1d(measured.molecules, dev)
        self.pool = np.concatenate([self.dev, np.setdiff1d(dev, self.dev)])[:POOL]

    def batches(self, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """Simulated molecules first, then measured ones, each with their isomers."""
        n = int(self.batch_size * self.settings.measured_share)
        real: Iterator[np.ndarray] = iter(())
        for rows in isomer_batches(self.rows, self.formulas, self.batch_size - n, self.group_size, rng):
            found = next(real, None)
            if found is None:
                real = isomer_batches(self.measured_rows, self.formulas, n, self.group_size, rng)
                found = next(real)
            yield np.concatenate([rows, found])

    def loss(self, rows: np.ndarray, rng: np.random.Generator) -> dict[str, Tensor]:
        model = self.model
        n = int(len(rows) * self.settings.measured_share)
        simulated = self.simulated.draw(rows[:-n], rng)
        measured = [self.kind.augment(item, rng) for item in self.measured.drawn(rows[-n:], rng)]
        batches = (simulated, self.kind.collate(measured))
        records = torch.cat([model.encoder(tensors(batch, model)) for batch in batches])
        same = self.tensor(self.corpus.inchikey_hashes[rows])
        predicted = self._predicted(model, rows)
        fingerprint = model.fingerprint_loss(records, self.corpus.bits(rows))
        return {
            "contrastive": model.contrast(predicted, model.projection(records), same),
            "fingerprint": FINGERPRINT_SCALE * self.settings.fingerprint_weight * fingerprint,
        }

    @torch.inference_mode()
    def evaluate(self, model: Pretrainer) -> dict[str, float]:
        """Measured dev spectra against predictions that have not seen them, of all its molecules."""
        parts = [self.pool[i : i + 1024] for i in range(0, len(self.pool), 1024)]
        predicted = torch.cat([self._predicted(model, part) for part in parts])
        items = self.measured.drawn(self.dev, np.random.default_rng(0))
        records = encoded(self.kind, items, model, model.vectors)
        same = self.tensor(self.corpus.inchikey_hashes[self.pool])
        return {
            "dev_to_molecule_at_1": pair_recall(records, predicted, same),
            "dev_queries": float(len(self.dev)),
            "dev_pool": float(len(self.pool)),
            "scale": model.contrast.scale.item(),
        }

    def _predicted(self, model: Pretrainer, rows: np.ndarray) -> Tensor:
        """Unit vectors (len(rows), d) of predicted peaks."""
        peaks = Peaks(*(tensor.to(self.device) for tensor in self.simulated.peaks(rows)))
        encoder = cast("ShiftTower", model.encoder)
        vectors: Tensor = model.projection(expected_features(peaks, len(rows), encoder, self.width))
        return vectors


class MorganTrunk(nn.Dropout):
    """Stands for a graph trunk: Morgan bits of a molecule, some of them hidden in training."""

    width = BITS


class SpectrumPretrainer(Pretrainer):
    """The same with dropout, and the molecule's side."""

    def __init__(self, plan: SpectraPlan) -> None:
        super().__init__(plan)
        self.dropout = nn.Dropout(plan.training.dropout)
        self.trunk = MorganTrunk(plan.training.dropout)
        self.head = modalities.get(plan.modality).head(self.trunk, self, **plan.molecule_head)

    def features(self, batch: Any) -> Tensor:
        """What projection and fingerprint head see of a batch of records."""
        return self.dropout(super().features(batch))

    def molecules(self, corpus: Corpus, rows: np.ndarray) -> tuple[Tensor, Tensor | None]:
        """Unit vectors (n, d) of corpus rows, and the spectra predicted on the way, if any."""
        device = self.bits.weight.device
        features = self.trunk(torch.from_numpy(corpus.bits(rows)).to(device))
        if not isinstance(self.head, SpectrumPredictor):
            return self.head([], features, None, self), None
        predicted = self.head.binned(features, corpus.graph_batch(rows, device))
        return self.head.embed(predicted, self), predicted


class SpectraTask(Task[SpectrumPretrainer]):
    """A record of each molecule in the batch, and molecules of the same mass beside."""

    def __init__(self, corpus: Corpus, plan: SpectraPlan, device: torch.device) -> None:
        self.measured = measured = read_records(plan.modality, plan.records, corpus, plan.root_folder)
        self.corpus, self.model = corpus, seeded(SpectrumPretrainer, plan, device)
        self.modality = modalities.get(plan.modality)
        self.settings = plan.training
        in_dev = corpus.is_dev[measured.molecules]
        self.rows, self.dev = measured.molecules[~in_dev], measured.molecules[in_dev]
        self.same_mass = MassPool(corpus, corpus.train_rows, plan.training.tolerance_ppm)
        used = np.flatnonzero(~np.isin(corpus.sources, corpus.skip))
        self.dev_pool = MassPool(corpus, used, DEV_PPM)
        # Molecules of one mass stand side by side in a batch as isomers do elsewhere.
        self.formulas = np.round(self.same_mass.masses / GROUP_WIDTH).astype(np.int64)

    def loss(self, rows: np.ndarray, rng: np.random.Generator) -> dict[str, Tensor]:
        settings, model = self.settings, self.model
        drawn = self.measured.drawn(rows, rng)
        items = [self.modality.augment(item, rng) for item in drawn]
        features = model.features(tensors(self.modality.collate(items), model))
        negatives = [self.same_mass.draw(int(row), settings.negatives, rng) for row in rows]
        everything = np.concatenate([rows, *negatives])
        molecules, predicted = model.molecules(self.corpus, everything)
        logits = model.contrast.scale * model.projection(features) @ molecules.T
        truth = torch.arange(len(rows), device=self.device)
        hashes = self.tensor(self.corpus.inchikey_hashes[everything])
        logits = logits.masked_fill(same_molecules(hashes[: len(rows)], hashes), -torch.inf)
        masses = self.same_mass.masses[everything]
        apart = np.abs(masses[: len(rows), None] - masses[None]) / masses[None]
        other_mass = self.tensor(apart > 2e-6 * settings.tolerance_ppm)
        same_mass = F.cross_entropy(logits.masked_fill(other_mass, -torch.inf), truth)
        back = logits[:, : len(rows)].T
        in_batch = (F.cross_entropy(logits, truth) + F.cross_entropy(back, truth)) / 2
        fingerprint = model.fingerprint_loss(features, self.corpus.bits(rows))
        terms = {
            "same_mass": settings.same_mass_weight * same_mass,
            "all": settings.batch_weight * in_batch,
            "fingerprint": settings.fingerprint_weight * fingerprint,
        }
        if predicted is not None:
            batch = tensors(self.modality.collate(drawn), model)
            observed = cast("EISpectrumEncoder", model.encoder).binned(batch)
            off = 1 - F.cosine_similarity(predicted[: len(rows)], observed, dim=1).mean()
            terms["spectrum"] = settings.spectrum_weight * off
        return terms

    @torch.inference_mode()
    def evaluate(self, model: SpectrumPretrainer) -> dict[str, float]:
        """A dev record each against the corpus's molecules of its mass; a tie is a miss."""
        if not len(self.dev):
            return {}
        items = self.measured.drawn(self.dev, np.random.default_rng(0))
        vectors = encoded(self.modality, items, model, model.vectors)
        prior = vectors.mean(dim=0)
        better = []
        for row, vector in zip(self.dev.tolist(), vectors, strict=True):
            rivals = self.dev_pool.same_mass(row)
            if len(rivals):
                molecules, _ = model.molecules(self.corpus, np.concatenate([[row], rivals]))
                scores = molecules @ torch.stack([vector, prior], dim=1)
                better.append((scores[1:] >= scores[0]).sum(dim=0).tolist())
        if not better:
            return {}
        ranks = np.array(better)
        shares = {
            f"dev_{name}_at_{k}": float((ranks[:, column] < k).mean())
            for column, name in enumerate(("same_mass", "prior"))
            for k in (1, 5)
        }
        return {**shares, "dev_queries": float(len(ranks))}


def follow(task: Callable[[Corpus, Any, torch.device], Task[Any]], plan: Any, device: torch.device) -> Path:
    """Pretrain an encoder and return the folder with `encoder.safetensors`."""
    return save_result(plan, train(task(corpus_of(plan), plan, device), plan).state_dict())


METHODS: dict[str, tuple[type[Plan], Callable[[Any, torch.device], Path]]] = {
    "views": (ViewsPlan, partial(follow, ViewsTask)),
    "shifts": (ShiftPlan, shifts.run),
    "simulated": (SimulatedPlan, partial(follow, SimulatedTask)),
    "spectra": (SpectraPlan, partial(follow, SpectraTask)),
    "detector": (DetectorPlan, detector.run),
    "fragmentation": (FragmentationPlan, fragmentation.run),
}
"""method -> its plan, and what follows it"""
