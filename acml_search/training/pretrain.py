"""Pretraining: what a model is aligned from. The plan's `method` says which way.

Here stands the way `views`, for encoders whose records are made from structures: two random variations of one
molecule's record (two walks over its SMILES, say) must meet, and differ from those of every other molecule in
the batch, isomers among them (SimCLR, Chen et al. 2020, with SMILES randomisation as the augmentation,
Arus-Pous et al. 2019); and each must tell the molecule's Morgan bits, a dense signal in which chemical
similarity shows. Both signals come from the molecules themselves: no label is used. What is written is the
encoder, with the projection as a start for alignment.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from acml_search import modalities
from acml_search.core.errors import ConfigError, InvalidRecord
from acml_search.core.toml import read_toml
from acml_search.encoders.checkpoint import device_of
from acml_search.networks import Projection, tensors, width_of
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
from acml_search.training.corpus import BITS, Corpus, corpus_of
from acml_search.training.loop import Task, train
from acml_search.training.losses import ContrastiveLoss, pair_recall

METHODS: dict[str, tuple[type[Plan], str]] = {
    "views": (ViewsPlan, "pretrain"),
    "shifts": (ShiftPlan, "shifts"),
    "simulated": (SimulatedPlan, "simulated"),
    "spectra": (SpectraPlan, "spectra"),
    "detector": (DetectorPlan, "detector"),
    "fragmentation": (FragmentationPlan, "fragmentation"),
}
"""method -> its plan, and the module of this package whose `run` follows it"""
POOL = 10_000
"""molecules of the dev split among which records are searched after each epoch"""
FINGERPRINT_SCALE = 20
"""the mean over 1,024 bits is near 0.05; this many times it weighs like the contrastive term"""


def pretrain(path: Path | str, root: Path | None = None, device: str = "auto") -> Path:
    """Pretrain as the plan says; returns the folder of the result. Raises `ConfigError`.

    `root` replaces the plan's own; `device`: auto, cpu, cuda or mps.
    """
    method = read_toml(Path(path), "plan").get("method")
    if method not in METHODS:
        raise ConfigError(f"{path}: unknown method {method!r}; there are {', '.join(METHODS)}")
    plan_type, module = METHODS[method]
    plan = read_plan(path, plan_type, root)
    result: Path = importlib.import_module(f"acml_search.training.{module}").run(plan, device_of(device))
    return result


class Pretrainer(nn.Module):
    """Encoder, projection and fingerprint head of one modality."""

    def __init__(self, plan: PretrainPlan) -> None:
        super().__init__()
        self.encoder = modalities.get(plan.modality).encoder(**plan.tower)
        width = width_of(self.encoder)
        self.projection = Projection(width, **plan.head)
        self.bits = nn.Linear(width, BITS)
        self.contrast = ContrastiveLoss()


class ViewsTask(Task[Pretrainer]):
    """Two views of each molecule, drawn from the corpus."""

    def __init__(self, corpus: Corpus, plan: ViewsPlan, model: Pretrainer) -> None:
        self.corpus, self.model = corpus, model
        self.modality = modalities.get(plan.modality)
        self.take_batches_of(plan.training)
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
        bits = F.binary_cross_entropy_with_logits(
            model.bits(pooled), self.tensor(self.corpus.bits(rows)).repeat(2, 1)
        )
        return {
            "contrastive": model.contrast(vectors[: len(rows)], vectors[len(rows) :], same),
            "fingerprint": FINGERPRINT_SCALE * self.fingerprint_weight * bits,
        }

    @torch.inference_mode()
    def evaluate(self, model: Pretrainer) -> dict[str, float]:
        """Recall at 1 of one view among the others."""
        first, second, readable = self._pairs(self.dev, np.array([[0, 1]] * len(self.dev)))
        a, b = (
            torch.cat(
                [
                    model.projection(
                        model.encoder(tensors(self.modality.collate(items[at : at + 256]), model))
                    )
                    for at in range(0, len(items), 256)
                ]
            )
            for items in (first, second)
        )
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


def run(plan: ViewsPlan, device: torch.device) -> Path:
    """Pretrain from two views and return the folder with `encoder.safetensors`."""
    torch.manual_seed(plan.seed)
    corpus = corpus_of(plan)
    model = Pretrainer(plan).to(device)
    averaged = train(ViewsTask(corpus, plan, model), plan.training, plan.seed, plan.out_folder)
    return save_result(plan, averaged.state_dict())


def save_result(plan: Plan, weights: Mapping[str, Tensor], file: str = "encoder.safetensors") -> Path:
    """Write weights and plan into the plan's folder; of an encoder's model, encoder and projection alone."""
    if isinstance(plan, PretrainPlan):
        weights = {k: v for k, v in weights.items() if k.startswith(("encoder.", "projection."))}
    save_file({k: v.cpu().contiguous() for k, v in weights.items()}, plan.out_folder / file)
    (plan.out_folder / "config.json").write_text(json.dumps(plan.written(), indent=1))
    return plan.out_folder
