"""Pretraining of an encoder of measured spectra against the molecules they were measured of.

Mass spectra know the mass, so the molecules that a search must tell apart have the same mass, exactly or to
the unit. Every record meets its molecule among others of that mass (within `tolerance_ppm`, isomers
preferred), drawn from the whole corpus (`negatives` a molecule), and among all molecules of the batch; and it
must tell the molecule's Morgan bits. The molecule's side is the modality's own head, which reads Morgan bits
in place of a graph trunk, cheap enough for many negatives; it is thrown away, because alignment brings the
trunk. A head that predicts a spectrum is taught the measured one, too.

Molecules that were measured are not like molecules of a library, so part of what is gained this way is a
prior: what kind of molecule gets measured. `dev_prior_*` in the log says how far that alone goes, with the
mean vector of all records in place of the record's own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acml_search import modalities
from acml_search.networks import Projection, tensors, width_of
from acml_search.networks.ei import EISpectrumEncoder, SpectrumPredictor
from acml_search.training.config import SpectraPlan
from acml_search.training.corpus import BITS, Corpus, corpus_of
from acml_search.training.loop import Task, train
from acml_search.training.losses import ContrastiveLoss
from acml_search.training.pretrain import save_result
from acml_search.training.records import MeasuredRecords, read_records
from acml_search.training.sampling import MassPool

DEV_PPM = 10.0
"""what counts as the same mass when the dev split is ranked"""
GROUP_WIDTH = 0.05
"""Da: molecules of one batch that stand side by side"""


class MoleculeFeatures(nn.Module):
    """Stands for a graph trunk: Morgan bits of a molecule, some of them hidden in training."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.width = BITS
        self.dropout = nn.Dropout(dropout)

    def forward(self, bits: Tensor) -> Tensor:
        hidden: Tensor = self.dropout(bits)
        return hidden


class SpectrumPretrainer(nn.Module):
    """Encoder, projection and fingerprint head of a modality, and the molecule's side."""

    def __init__(self, plan: SpectraPlan) -> None:
        super().__init__()
        modality = modalities.get(plan.modality)
        self.encoder = modality.encoder(**plan.tower)
        width = width_of(self.encoder)
        self.dropout = nn.Dropout(plan.training.dropout)
        self.projection = Projection(width, **plan.head)
        self.bits = nn.Linear(width, BITS)
        self.trunk = MoleculeFeatures(plan.training.dropout)
        self.head = modality.head(self.trunk, self, **plan.molecule_head)
        self.contrast = ContrastiveLoss()

    def records(self, batch: Any) -> tuple[Tensor, Tensor]:
        """Unit vectors (n, d) of a batch, and logits of its molecules' Morgan bits."""
        features = self.dropout(self.encoder(batch))
        return self.projection(features), self.bits(features)

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

    def __init__(
        self, corpus: Corpus, measured: MeasuredRecords, plan: SpectraPlan, model: SpectrumPretrainer
    ) -> None:
        self.corpus, self.measured, self.model = corpus, measured, model
        self.modality = modalities.get(plan.modality)
        self.settings = plan.training
        self.take_batches_of(plan.training)
        in_dev = corpus.is_dev[measured.molecules]
        self.rows, self.dev = measured.molecules[~in_dev], measured.molecules[in_dev]
        self.same_mass = MassPool(corpus, corpus.train_rows, plan.training.tolerance_ppm)
        used = np.flatnonzero(~np.isin(corpus.sources, corpus.skip))
        self.dev_pool = MassPool(corpus, used, DEV_PPM)
        # Molecules of one mass stand side by side in a batch as isomers do elsewhere.
        self.formulas = np.round(self.same_mass.masses / GROUP_WIDTH).astype(np.int64)

    def loss(self, rows: np.ndarray, rng: np.random.Generator) -> dict[str, Tensor]:
        settings = self.settings
        drawn = self.measured.draw(rows, rng)
        items = [self.modality.augment(self.measured.items[i], rng) for i in drawn]
        vectors, bits = self.model.records(tensors(self.modality.collate(items), self.model))
        negatives = [self.same_mass.draw(int(row), settings.negatives, rng) for row in rows]
        everything = np.concatenate([rows, *negatives])
        molecules, predicted = self.model.molecules(self.corpus, everything)
        logits = self.model.contrast.scale * vectors @ molecules.T
        truth = torch.arange(len(rows), device=self.device)
        hashes = self.tensor(self.corpus.inchikey_hashes[everything])
        duplicate = hashes[: len(rows), None] == hashes[None]
        duplicate[truth, truth] = False
        logits = logits.masked_fill(duplicate, -torch.inf)
        masses = self.same_mass.masses[everything]
        apart = np.abs(masses[: len(rows), None] - masses[None]) / masses[None]
        other_mass = self.tensor(apart > 2e-6 * settings.tolerance_ppm)
        same_mass = F.cross_entropy(logits.masked_fill(other_mass, -torch.inf), truth)
        back = logits[:, : len(rows)].T
        in_batch = (F.cross_entropy(logits, truth) + F.cross_entropy(back, truth)) / 2
        fingerprint = F.binary_cross_entropy_with_logits(bits, self.tensor(self.corpus.bits(rows)))
        terms = {
            "same_mass": settings.same_mass_weight * same_mass,
            "all": settings.batch_weight * in_batch,
            "fingerprint": settings.fingerprint_weight * fingerprint,
        }
        if predicted is not None:
            batch = tensors(self.modality.collate([self.measured.items[i] for i in drawn]), self.model)
            observed = cast("EISpectrumEncoder", self.model.encoder).binned(batch)
            off = 1 - F.cosine_similarity(predicted[: len(rows)], observed, dim=1).mean()
            terms["spectrum"] = settings.spectrum_weight * off
        return terms

    @torch.inference_mode()
    def evaluate(self, model: SpectrumPretrainer) -> dict[str, float]:
        """A record of each molecule of the dev split against the corpus's molecules of its mass; a tie is a
        miss.
        """
        if not len(self.dev):
            return {}
        items = [self.measured.items[i] for i in self.measured.draw(self.dev, np.random.default_rng(0))]
        vectors = torch.cat(
            [
                model.records(tensors(self.modality.collate(items[at : at + 256]), model))[0]
                for at in range(0, len(items), 256)
            ]
        )
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


def run(plan: SpectraPlan, device: torch.device) -> Path:
    """Pretrain on measured spectra and return the folder with `encoder.safetensors`."""
    corpus = corpus_of(plan)
    measured = read_records(plan.modality, plan.records, corpus, plan.root_folder)
    torch.manual_seed(plan.seed)
    model = SpectrumPretrainer(plan).to(device)
    averaged = train(SpectraTask(corpus, measured, plan, model), plan.training, plan.seed, plan.out_folder)
    return save_result(plan, averaged.state_dict())
