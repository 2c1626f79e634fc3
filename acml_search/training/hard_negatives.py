"""Hard-negative fine-tuning of one space of a model: trunk and encoder stay, head and projection learn to
tell neighbours apart.

Random isomers are rarely the ones that are mixed up; the positional isomer next door is. So every epoch the
records of all molecules are embedded, each is put into a batch with its nearest neighbours among them (hard
negatives as in ANCE, Xiong et al. 2021), and contrast goes on from there. Trunk and encoder features of a
molecule are computed once: an epoch costs two small matrices per molecule.

A reading of a picture is seldom far off, but the space of exact structures puts it there: with `noisy_views`,
a share of the records are structures as a reader may get them wrong, and the space learns to forgive that.

The result is a whole model again. Spaces that are copies of the trained one (`copy_to`) get its head and
projection, and `encoders` names newer frozen encoders to put into the model on the way.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import faiss
import numpy as np
import torch
from torch import Tensor, nn

from acml_search.encoders.card import ModelCard
from acml_search.encoders.checkpoint import device_of
from acml_search.training.config import HardNegativesPlan, read_plan
from acml_search.training.contrast import ContrastiveLoss, pair_recall
from acml_search.training.corpus import Corpus, corpus_of
from acml_search.training.finetune import finetune_from, pooled_vectors, save_finetuned
from acml_search.training.loop import Task, train
from acml_search.training.records import FrozenFeatures, frozen_features

NEIGHBOURS = 8
N_PROBE = 8
"""lists of the inverted file that are searched: neighbours need not be exact"""
_CHUNK = 4096


def run(path: Path | str, root: Path | None = None, device: str = "auto") -> ModelCard:
    """Fine-tune as the plan says and write `out/model`. Raises `ConfigError` or `CheckpointError`."""
    plan = read_plan(path, HardNegativesPlan, root)
    torch.manual_seed(plan.seed)
    torch.set_num_threads(1)
    space = plan.space
    start, hyper, network = finetune_from(plan, space.name)
    network.to(device_of(device))
    scale = start.spaces[space.name].scale
    tower = network.tower(space.name)
    model = ProjectionPair(network.heads[space.name], tower.projection, scale, space.alignment_weight)
    corpus = corpus_of(plan)
    # The reader of pictures hands what it read to the SMILES encoder: its space is trained on that.
    encoder = network.tower(space.encoder_of or space.name)
    frozen = frozen_features(plan, corpus, space.name, space, encoder, space.noisy_views)
    pooled, _ = pooled_vectors(network, corpus, frozen.rows, space.name)
    model.to(device_of(device))
    task = HardNegativesTask(corpus, pooled, frozen, model, space.views, space.noise_share)
    averaged = train(task, plan)
    scales = {name: one.scale for name, one in start.spaces.items()}
    for name in (space.name, *space.copy_to):
        network.heads[name].load_state_dict(averaged.head.state_dict())
        network.tower(name).projection.load_state_dict(averaged.projection.state_dict())
        scales[name] = averaged.contrast.scale.item()
    return save_finetuned(plan, start, network, hyper, scales)


class ProjectionPair(nn.Module):
    """Head and projection of a space, and its loss."""

    def __init__(self, head: nn.Module, projection: nn.Module, scale: float, alignment_weight: float) -> None:
        super().__init__()
        self.head, self.projection = head, projection
        self.contrast = ContrastiveLoss(scale, alignment_weight)

    def graphs(self, pooled: Tensor) -> Tensor:
        """(n, width of the trunk) to (n, d)."""
        vectors: Tensor = self.head([], pooled, None, None)
        return vectors


class HardNegativesTask(Task[ProjectionPair]):
    """pooled: the trunk's vectors (n, width) float16 of the molecules. frozen: features of their
    records, the first `views` of each those of the structure itself, the others of misread ones, which are
    the share `noise_share` of a step's records.
    """

    def __init__(
        self,
        corpus: Corpus,
        pooled: np.ndarray,
        frozen: FrozenFeatures,
        model: ProjectionPair,
        views: int,
        noise_share: float = 0.5,
    ) -> None:
        self.model, self.pooled, self.views, self.noise_share = model, pooled, views, noise_share
        self.features, rows, readable = frozen.features, frozen.rows, frozen.readable
        self.inchikey_hashes = corpus.inchikey_hashes[rows]
        self.formulas = corpus.formulas[rows]
        # Places in `rows`, which are what a step is given; none of a source that is skipped.
        self.rows = readable[np.isin(rows[readable], corpus.train_rows)]
        self.dev = readable[np.isin(rows[readable], corpus.dev_rows)]

    def batches(self, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """Groups of nearest neighbours, searched anew with every call."""
        near = self._neighbours()
        groups = self.batch_size // NEIGHBOURS
        order = rng.permutation(len(self.rows))
        for start in range(0, len(order) - groups + 1, groups):
            yield self.rows[near[order[start : start + groups]].ravel()]

    @torch.inference_mode()
    def _neighbours(self) -> np.ndarray:
        """(n, NEIGHBOURS) int64, places in `self.rows`: each record's nearest, itself among them."""
        return nearest_neighbours(self._records(self.model, self.rows, 0).cpu().numpy())

    def loss(self, rows: np.ndarray, rng: np.random.Generator) -> dict[str, Tensor]:
        rows = np.unique(rows)
        views = self.draw_views(len(rows), rng)
        records = self.model.projection(self.floats(self.features[rows, views]))
        graphs = self.model.graphs(self.floats(self.pooled[rows]))
        return {"contrast": self.model.contrast(graphs, records, self.tensor(self.inchikey_hashes[rows]))}

    def draw_views(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """(n,) a variation each: a share of them misread, where there are such."""
        views = rng.integers(0, self.views, n)
        noisy = self.features.shape[1] - self.views
        if not noisy:
            return views
        misread = rng.random(n) < self.noise_share
        return np.where(misread, self.views + rng.integers(0, noisy, n), views)

    @torch.inference_mode()
    def evaluate(self, model: ProjectionPair) -> dict[str, float]:
        """Recall of dev records among all molecules: at 1, and of misread ones at 10."""
        order = np.concatenate([self.dev, self.rows])
        parts = [self.pooled[order[i : i + _CHUNK]] for i in range(0, len(order), _CHUNK)]
        graphs = torch.cat([model.graphs(self.floats(part)) for part in parts])
        records = self._records(model, self.dev, 0)
        same = self.tensor(self.inchikey_hashes[order])
        found = {
            "dev": float(len(records)),
            "dev_pool": float(len(order)),
            "dev_at_1": pair_recall(records, graphs, same, block=256),
            "scale": model.contrast.scale.item(),
        }
        if self.features.shape[1] > self.views:
            misread = self._records(model, self.dev, self.views)
            found["misread_at_10"] = pair_recall(misread, graphs, same, block=256, k=10)
        return found

    def _records(self, model: ProjectionPair, places: np.ndarray, view: int) -> Tensor:
        parts = [self.features[places[i : i + _CHUNK], view] for i in range(0, len(places), _CHUNK)]
        return torch.cat([model.projection(self.floats(part)) for part in parts])


def nearest_neighbours(vectors: np.ndarray) -> np.ndarray:
    """(n, NEIGHBOURS) int64: rows of the nearest of `vectors` (n, d), itself nearly always among them."""
    lists = max(1, int(math.sqrt(len(vectors))))
    index = faiss.index_factory(vectors.shape[1], f"IVF{lists},Flat", faiss.METRIC_INNER_PRODUCT)
    index.cp.min_points_per_centroid = 1
    index.train(vectors[:: max(1, len(vectors) // (40 * lists))])
    index.add(vectors)
    index.nprobe = N_PROBE
    near: np.ndarray = index.search(vectors, NEIGHBOURS)[1]
    return np.where(near < 0, np.arange(len(near))[:, None], near)
