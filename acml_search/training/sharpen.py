"""Sharpen one space of an aligned model: trunk and encoder stay, the two projections learn to tell neighbours
apart.

Random isomers are rarely the ones that are mixed up; the positional isomer next door is. So every epoch the
records of all molecules are embedded, each is put into a batch with its nearest neighbours among them (hard
negatives as in ANCE, Xiong et al. 2021), and contrast goes on from there. What trunk and encoder say of a
molecule is computed once: an epoch costs two small matrices per molecule.

A reading of a picture is seldom far off, but the space of exact structures puts it there: with `misread`,
a share of the records are structures as a reader may get them wrong, and the space learns to forgive that.

The result is a whole model again. Spaces that are copies of the sharpened one (`copies`) get its projections,
and `encoders` names newer frozen encoders to put into the model on the way.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch
from torch import Tensor, nn

from acml_search.core.errors import ConfigError
from acml_search.encoders.card import ModelCard, model_below, read_card
from acml_search.encoders.model import DualEncoder, save_model
from acml_search.encoders.seen import training_list, write_training_list
from acml_search.training.config import TrainingConfig, read_config
from acml_search.training.corpus import Corpus
from acml_search.training.frozen import Derived, Frozen, frozen_features
from acml_search.training.further import ABOUT, started, steps_before
from acml_search.training.known import pooled_trunk
from acml_search.training.loop import Task, train
from acml_search.training.losses import ContrastiveLoss, pair_recall
from acml_search.training.spaces import commit_of, derived_rows, encoder_stamp
from acml_search.training.synth import ocsr_noise as misread

NEIGHBOURS = 8
_PROBE = 8
"""lists of the inverted file that are searched: neighbours need not be exact"""


class Sides(nn.Module):
    """The two projections of a space and its loss."""

    def __init__(self, head: nn.Module, projection: nn.Module, scale: float, closeness: float) -> None:
        super().__init__()
        self.head, self.projection = head, projection
        self.contrast = ContrastiveLoss(scale, closeness)

    def graphs(self, pooled: Tensor) -> Tensor:
        """(n, width of the trunk) to (n, d)."""
        vectors: Tensor = self.head([], pooled, None, None)
        return vectors


class SharpenTask(Task[Sides]):
    """`pooled` (n, width) float16: the trunk's view of the molecules in `rows`; `frozen`: their records', the
    first `right` of each those of the structure itself, the others misread. Of these comes the share
    `misread` of what a step is taught.
    """

    def __init__(
        self,
        corpus: Corpus,
        rows: np.ndarray,
        pooled: np.ndarray,
        frozen: Frozen,
        model: Sides,
        right: int,
        misread: float = 0.5,
    ) -> None:
        self.model, self.pooled, self.right, self.misread = model, pooled, right, misread
        self.features = frozen.features
        readable = frozen.readable
        self.blocks = corpus.blocks[rows]
        self.formulas = corpus.formulas[rows]
        # Places in `rows`, which are what a step is given; none of a source that is skipped.
        self.rows = readable[np.isin(rows[readable], corpus.learned)]
        self.kept = readable[np.isin(rows[readable], corpus.kept)]

    def batches(self, settings: dict[str, Any], rng: np.random.Generator) -> Iterator[np.ndarray]:
        """Groups of near neighbours, mixed anew with every call."""
        near = self._neighbours()
        groups = settings["batch"] // NEIGHBOURS
        order = rng.permutation(len(self.rows))
        for start in range(0, len(order) - groups + 1, groups):
            yield self.rows[near[order[start : start + groups]].ravel()]

    @torch.inference_mode()
    def _neighbours(self) -> np.ndarray:
        """(n, NEIGHBOURS) int64, positions in `self.rows`: each record's nearest, itself among them."""
        return nearest(self._records(self.model, self.rows, 0).numpy())

    def loss(self, rows: np.ndarray, rng: np.random.Generator) -> dict[str, Tensor]:
        rows = np.unique(rows)
        records = self.model.projection(_tensor(self.features[rows, self._views(len(rows), rng)]))
        graphs = self.model.graphs(_tensor(self.pooled[rows]))
        return {"contrast": self.model.contrast(graphs, records, torch.from_numpy(self.blocks[rows]))}

    def _views(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """(n,) a variation each: a share of them misread, where there are such."""
        views = rng.integers(0, self.right, n)
        spoilt = self.features.shape[1] - self.right
        if not spoilt:
            return views
        wrong = rng.random(n) < self.misread
        return np.where(wrong, self.right + rng.integers(0, spoilt, n), views)

    @torch.inference_mode()
    def evaluate(self, model: Sides) -> dict[str, float]:
        """Recall of the inner records among the graphs of all molecules, the inner ones first: at 1, and at
        10 of those that are misread.
        """
        order = np.concatenate([self.kept, self.rows])
        graphs = torch.cat(
            [model.graphs(_tensor(self.pooled[order[i : i + 4096]])) for i in range(0, len(order), 4096)]
        )
        records = self._records(model, self.kept, 0)
        same = torch.from_numpy(self.blocks[order])
        found = {
            "inner": float(len(records)),
            "inner_pool": float(len(order)),
            "inner_at_1": pair_recall(records, graphs, same, block=256),
            "scale": model.contrast.scale.item(),
        }
        if self.features.shape[1] > self.right:
            wrong = self._records(model, self.kept, self.right)
            found["misread_at_10"] = pair_recall(wrong, graphs, same, block=256, k=10)
        return found

    def _records(self, model: Sides, places: np.ndarray, view: int) -> Tensor:
        parts = range(0, len(places), 4096)
        return torch.cat(
            [model.projection(_tensor(self.features[places[i : i + 4096], view])) for i in parts]
        )


def nearest(vectors: np.ndarray) -> np.ndarray:
    """(n, NEIGHBOURS) int64: rows of the nearest of `vectors` (n, d) to each, itself nearly always among
    them.
    """
    lists = max(1, int(math.sqrt(len(vectors))))
    index = faiss.index_factory(vectors.shape[1], f"IVF{lists},Flat", faiss.METRIC_INNER_PRODUCT)
    index.cp.min_points_per_centroid = 1
    index.train(vectors[:: max(1, len(vectors) // (40 * lists))])
    index.add(vectors)
    index.nprobe = _PROBE
    near: np.ndarray = index.search(vectors, NEIGHBOURS)[1]
    return np.where(near < 0, np.arange(len(near))[:, None], near)


def run(path: Path | str) -> ModelCard:
    """Sharpen as the configuration file says and write the model directory, `out/model`.

    Raises `ConfigError` for a configuration that cannot be followed, `CheckpointError` for a model that is
    not there.
    """
    config = read_config(path, ("name", "start", "space", "corpus", "training"))
    torch.manual_seed(config.seed)
    torch.set_num_threads(1)
    card = read_card(model_below(config.root, config.data["start"]))
    hyper, network = started(config, card)
    space = config.data["space"]
    if space["name"] not in card.spaces:
        raise ConfigError(f"{path}: {card.name} has no space {space['name']!r} to sharpen")
    model = Sides(
        network.heads[space["name"]],
        network.tower(space["name"]).projection,
        card.spaces[space["name"]].scale,
        space.get("closeness", 0.0),
    )
    task = _task(config, network, model)
    averaged = train(task, config.data["training"], config.seed, config.out)
    scales = {name: one.scale for name, one in card.spaces.items()}
    for name in (space["name"], *space.get("copies", ())):
        network.heads[name].load_state_dict(averaged.head.state_dict())
        network.tower(name).projection.load_state_dict(averaged.projection.state_dict())
        scales[name] = averaged.contrast.scale.item()
    log = [json.loads(line) for line in (config.out / "log.jsonl").read_text().splitlines()]
    about = {
        **{key: value for key, value in (card.data | card.measurements).items() if key in ABOUT},
        "seed": config.seed,
        "commit": commit_of(config.root),
        "sharpened": [*steps_before(card), {"config": config.data, "start": card.digest, "log": log}],
    }
    made = save_model(
        config.out / "model",
        config.data["name"],
        network,
        hyper,
        scales,
        about,
        half=config.data.get("half", False),
    )
    seen = training_list(card)  # no molecule is new here
    if seen is None:
        return made
    return write_training_list(made.directory, seen, card.data["training_list"]["made_by"])


def _task(config: TrainingConfig, network: DualEncoder, model: Sides) -> SharpenTask:
    space = config.data["space"]
    # The reader of pictures hands what it read to the SMILES encoder: its space is trained on that.
    through = space.get("through", space["name"])
    corpus, tower = config.corpus(), network.tower(through)
    rows = derived_rows(config.seed, corpus, space)
    stamp = encoder_stamp(config.root / space["pretrained"] / "encoder.safetensors", config.seed, rows)
    wrong = space.get("misread", 0)
    records = Derived(through, corpus, rows, right=space["views"])
    if wrong:
        stamp["misread"] = wrong
        stamp["misread_by"] = sha256(Path(misread.__file__).read_bytes()).hexdigest()
    frozen = frozen_features(config.root / space["features"], stamp, records, tower, space["views"] + wrong)
    pooled = pooled_trunk(network, corpus, rows)
    share = space.get("misread_share", 0.5)
    return SharpenTask(corpus, rows, pooled, frozen, model, space["views"], share)


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.astype(np.float32))
