"""Alignment: the graph trunk and its heads learn to meet frozen unimodal encoders (ACML, arXiv 2311.06456).

The encoders never change here, so their features are computed once, for several random variations of each
molecule's record, and kept on disk; an epoch then costs only the graph side and two small projections.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from acml_search.chem.graph import collate
from acml_search.encoders.card import ModelCard
from acml_search.encoders.model import DualEncoder, save_model
from acml_search.errors import ConfigError
from acml_search.modalities.blocks import TensorBatch
from acml_search.training.config import TrainingConfig, read_config
from acml_search.training.corpus import Corpus
from acml_search.training.frozen import FrozenSpace, frozen_features
from acml_search.training.loop import Task, train
from acml_search.training.losses import ContrastiveLoss, pair_recall


class Aligner(nn.Module):
    """The whole model, and a loss with its own scale per space."""

    def __init__(self, hyper: dict[str, Any], closeness: float = 0.0) -> None:
        super().__init__()
        self.network = DualEncoder(hyper)
        self.losses = nn.ModuleDict({name: ContrastiveLoss(closeness=closeness) for name in hyper["spaces"]})

    def contrast(self, name: str) -> ContrastiveLoss:
        """The loss of one space."""
        return cast("ContrastiveLoss", self.losses[name])


class AlignTask(Task[Aligner]):
    """Every batch meets every space whose records the corpus can derive."""

    def __init__(
        self,
        corpus: Corpus,
        model: Aligner,
        frozen: dict[str, FrozenSpace],
        repeat: dict[str, int] | None = None,
    ) -> None:
        self.corpus = corpus
        self.model = model
        self.frozen = frozen
        self.at = {name: np.full(len(corpus), -1) for name in frozen}
        for name, space in frozen.items():
            self.at[name][space.rows[space.readable]] = space.readable
        rows = np.flatnonzero(np.logical_and.reduce([at >= 0 for at in self.at.values()]))
        # Small, chemically diverse sources are visited more often than their size says.
        times = np.array([(repeat or {}).get(source, 1) for source in corpus.sources])
        self.rows = np.repeat(rows, times[rows])[~np.repeat(corpus.inner[rows], times[rows])]
        self.inner = rows[corpus.inner[rows]][:10_000]
        self.formulas = corpus.formulas

    def to_training(self) -> None:
        self.model.train()
        for name in self.frozen:
            self.model.network.tower(name).encoder.eval()  # frozen means its normalisation statistics, too

    def loss(self, rows: np.ndarray, rng: np.random.Generator) -> dict[str, Tensor]:
        graphs = self.model.network.graphs(self._batch(rows))
        same = torch.from_numpy(self.corpus.blocks[rows])
        terms = {}
        for name, vectors in graphs.items():
            features = self._features(
                name, rows, rng.integers(0, self.frozen[name].features.shape[1], len(rows))
            )
            records = self.model.network.tower(name).projection(features)
            terms[name] = self.model.contrast(name)(vectors, records, same)
        return terms

    @torch.inference_mode()
    def evaluate(self, model: Aligner) -> dict[str, float]:
        same = torch.from_numpy(self.corpus.blocks[self.inner])
        graphs: dict[str, list[Tensor]] = {name: [] for name in self.frozen}
        records: dict[str, list[Tensor]] = {name: [] for name in self.frozen}
        for start in range(0, len(self.inner), 256):
            rows = self.inner[start : start + 256]
            for name, vectors in model.network.graphs(self._batch(rows)).items():
                graphs[name].append(vectors)
                features = self._features(name, rows, np.zeros(len(rows), np.int64))
                records[name].append(model.network.tower(name).projection(features))
        out: dict[str, float] = {"inner_pool": float(len(self.inner))}
        for name in self.frozen:
            a, b = torch.cat(graphs[name]), torch.cat(records[name])
            out[f"{name}_inner_to_record_at_1"] = pair_recall(a, b, same)
            out[f"{name}_inner_to_molecule_at_1"] = pair_recall(b, a, same)
            out[f"{name}_scale"] = model.contrast(name).scale.item()
        return out

    def _features(self, name: str, rows: np.ndarray, views: np.ndarray) -> Tensor:
        return torch.from_numpy(self.frozen[name].features[self.at[name][rows], views].astype(np.float32))

    def _batch(self, rows: np.ndarray) -> TensorBatch:
        return TensorBatch.of(collate([self.corpus.graph(int(i)) for i in rows]))


def run(path: Path | str) -> ModelCard:
    """Align as the configuration says and write the model directory.

    Raises `ConfigError` for a configuration that cannot be followed or an encoder that is not there.
    """
    config = read_config(path, ("name", "corpus", "trunk", "space", "training"))
    corpus = config.corpus()
    torch.manual_seed(config.seed)
    torch.set_num_threads(1)
    hyper: dict[str, Any] = {
        "trunk": config.data["trunk"],
        "spaces": {},
        "reads_stereo": config.data.get("reads_stereo", True),
    }
    for name, space in config.data["space"].items():
        pretrained = _pretrained(config, space)
        hyper["spaces"][name] = {
            "head": space["head"],
            "encoder": pretrained["tower"],
            "projection": pretrained["head"],
        }
    training = config.data["training"]
    model = Aligner(hyper, training.get("closeness", 0.0))
    frozen = {}
    for name, space in config.data["space"].items():
        tower = model.network.tower(name)
        tower.load_state_dict(load_file(config.root / space["pretrained"] / "encoder.safetensors"))
        tower.encoder.requires_grad_(False).eval()
        frozen[name] = frozen_features(config, corpus, name, tower, space)
    task = AlignTask(corpus, model, frozen, training.get("repeat", {}))
    averaged = train(task, training, config.seed, config.out)
    scales = {name: averaged.contrast(name).scale.item() for name in frozen}
    log = [json.loads(line) for line in (config.out / "log.jsonl").read_text().splitlines()]
    about = {
        "training": config.data,
        "molecules": json.loads((corpus.directory / "corpus.json").read_text())["report"],
        "split": "spectral sets: train; inner part (choices) = 1 InChIKey block in 50, by hash",
        "seed": config.seed,
        "commit": _commit(config.root),
        "log": log,
        **config.data.get("card", {}),
    }
    return save_model(config.out / "model", config.data["name"], averaged.network, hyper, scales, about)


def _pretrained(config: TrainingConfig, space: dict[str, Any]) -> dict[str, Any]:
    file = config.root / space["pretrained"] / "config.json"
    if not file.exists():
        raise ConfigError(
            f"{file} does not exist; pretrain this encoder first (`acml-search train pretrain`)"
        )
    loaded: dict[str, Any] = json.loads(file.read_text())
    return loaded


def _commit(root: Path) -> str:
    found = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or "not in a git checkout"
