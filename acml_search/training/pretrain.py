"""Pretraining of a unimodal encoder whose records are made from structures, without any graph encoder.

Two random variations of one molecule's record (two walks over its SMILES, say) must meet, and differ from
those of every other molecule in the batch, isomers among them (SimCLR, Chen et al. 2020, with SMILES
randomisation as the augmentation, Arus-Pous et al. 2019); and each must tell the molecule's Morgan bits, a
dense signal in which chemical likeness shows. Both signals come from the molecules themselves: no label is
used. What is kept is the encoder, with the projection as a start for alignment.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from acml_search import modalities
from acml_search.core.errors import InvalidRecord
from acml_search.networks import Projection, tensors, width_of
from acml_search.training.config import read_config
from acml_search.training.corpus import BITS, Corpus
from acml_search.training.loop import Task, train
from acml_search.training.losses import ContrastiveLoss, pair_recall


class Pretrainer(nn.Module):
    """Encoder, projection and fingerprint head of one modality."""

    def __init__(self, modality: modalities.Modality, tower: dict[str, Any], head: dict[str, Any]) -> None:
        super().__init__()
        self.encoder = modality.tower(**tower)
        width = width_of(self.encoder)
        self.projection = Projection(width, **head)
        self.bits = nn.Linear(width, BITS)
        self.contrast = ContrastiveLoss()


class PretrainTask(Task[Pretrainer]):
    """Two views of each molecule, drawn from the corpus."""

    def __init__(self, corpus: Corpus, modality: modalities.Modality, config: dict[str, Any]) -> None:
        self.corpus = corpus
        self.modality = modality
        self.model = Pretrainer(modality, config["tower"], config["head"])
        self.rows = corpus.learned
        self.formulas = corpus.formulas
        self.bits_weight = float(config["training"]["fingerprint_weight"])
        self.inner = corpus.kept[:10_000]

    def loss(self, rows: np.ndarray, rng: np.random.Generator) -> dict[str, Tensor]:
        model = self.model
        drawn = np.argsort(rng.random((len(rows), self.corpus.n_views)), axis=1)[:, :2]
        items = [self._items(rows, drawn[:, view]) for view in (0, 1)]
        both = [i for i, pair in enumerate(zip(*items, strict=True)) if None not in pair]
        rows = rows[both]
        # Both views in one batch, so that normalisation sees them together.
        pooled = model.encoder(self._collate([side[i] for side in items for i in both]))
        vectors = model.projection(pooled)
        same = torch.from_numpy(self.corpus.blocks[rows])
        target = torch.from_numpy(self.corpus.bits(rows)).repeat(2, 1)
        bits = F.binary_cross_entropy_with_logits(model.bits(pooled), target)
        return {
            "contrastive": model.contrast(vectors[: len(rows)], vectors[len(rows) :], same),
            # The mean over 1,024 bits is near 0.05; 20 times it weighs like the contrastive term.
            "fingerprint": 20 * self.bits_weight * bits,
        }

    @torch.inference_mode()
    def evaluate(self, model: Pretrainer) -> dict[str, float]:
        items = [self._items(self.inner, np.full(len(self.inner), view)) for view in (0, 1)]
        both = [i for i, pair in enumerate(zip(*items, strict=True)) if None not in pair]
        a, b = (self._vectors(model, [side[i] for i in both]) for side in items)
        same = torch.from_numpy(self.corpus.blocks[self.inner[both]])
        return {"inner_recall_at_1": pair_recall(a, b, same), "inner_pool": float(len(both))}

    def _vectors(self, model: Pretrainer, items: list[Any]) -> Tensor:
        parts = [
            model.projection(model.encoder(self._collate(items[at : at + 256])))
            for at in range(0, len(items), 256)
        ]
        return torch.cat(parts)

    def _items(self, rows: np.ndarray, views: np.ndarray) -> list[Any]:
        """What the modality reads of one view of each row, None where it cannot."""
        items: list[Any] = []
        for row, view in zip(rows, views, strict=True):
            try:
                items.append(self.modality.read(self.corpus.view(int(row), int(view))))
            except InvalidRecord:
                items.append(None)
        return items

    def _collate(self, items: list[Any]) -> Any:
        return tensors(self.modality.collate(items))


def run(path: Path | str) -> Path:
    """Pretrain as the configuration says and return the directory with `encoder.safetensors`.

    Raises `ConfigError` for a configuration that cannot be followed.
    """
    config = read_config(path, ("modality", "corpus", "tower", "head", "training"))
    modality = modalities.get(config.data["modality"])
    torch.manual_seed(config.seed)
    task = PretrainTask(config.corpus(), modality, config.data)
    model = train(task, config.data["training"], config.seed, config.out)
    kept = {
        k: v.contiguous() for k, v in model.state_dict().items() if k.startswith(("encoder.", "projection."))
    }
    save_file(kept, config.out / "encoder.safetensors")
    (config.out / "config.json").write_text(json.dumps(config.data, indent=1))
    return config.out
