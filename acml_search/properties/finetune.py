"""The trunk, trained further for a property: a small head on the pooled trunk, both learning together.

The trunk is pooled as `features` does it, by its own sum over atoms and by its greatest values, and both are
brought to one scale by batch statistics. It learns slower than the head, so that it does not forget before
the head has learned to use it. What is kept is the epoch that was best on the valid part. All this was chosen
by scores on valid parts of MoleculeNet.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from acml_search.core.errors import ConfigError
from acml_search.core.progress import progress
from acml_search.properties.fitted import TASKS, score

if TYPE_CHECKING:
    from rdkit import Chem

    from acml_search.encoders.model import Model

Floats = npt.NDArray[np.float64]

BATCH = 64
EPOCHS, PATIENCE = 50, 12
TRUNK_RATE, HEAD_RATE = 3e-4, 1e-3
HIDDEN, DROPOUT = 256, 0.4


@dataclass
class FineTuned:
    """A trunk that was fine-tuned, with its head. `mean`, `spread` (t,): of the training labels, where they
    are numbers.
    """

    network: Any
    """torch module: batch of graphs -> (b, t)"""
    task: str
    mean: Floats
    spread: Floats
    valid_score: float
    epochs: int
    """epochs that were trained, of which the best was kept"""
    base: Model

    def predict(self, mols: Sequence[Chem.Mol]) -> Floats:
        """(n, t): the value, or the probability of class 1."""
        graphs = [self.base.featurise(mol) for mol in mols]
        return self._predict(graphs)

    def _predict(self, graphs: Sequence[Any]) -> Floats:
        import torch

        self.network.eval()
        out = np.empty((len(graphs), len(self.mean)))
        with torch.inference_mode():
            for start in range(0, len(graphs), BATCH):
                found = self.network(_batch(graphs[start : start + BATCH])).double().numpy()
                out[start : start + len(found)] = found
        if self.task == "classification":
            return 1 / (1 + np.exp(-np.clip(out, -60, 60)))
        return out * self.spread + self.mean

    def save(self, directory: Path) -> None:
        """Write the network to a folder, as safetensors."""
        from safetensors.torch import save_file

        state = {k: v.contiguous() for k, v in self.network.state_dict().items()}
        save_file(state, directory / "finetuned.safetensors")
        told = {
            "kind": "finetuned",
            "task": self.task,
            "mean": self.mean.tolist(),
            "spread": self.spread.tolist(),
            "valid_score": self.valid_score,
            "epochs": self.epochs,
        }
        (directory / "head.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def load_finetuned(directory: Path, base: Model) -> FineTuned:
    """What `save` wrote; `base` is the model it was tuned from. Raises ConfigError for a damaged folder."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        told = json.loads((directory / "head.json").read_text(encoding="utf-8"))
        network = _network(base, len(told["mean"]))
        network.load_state_dict(load_file(directory / "finetuned.safetensors"))
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ConfigError(
            f"{directory}: the network cannot be read ({error}); fit the model again"
        ) from error
    network.eval()
    return FineTuned(
        network,
        told["task"],
        np.array(told["mean"]),
        np.array(told["spread"]),
        float(told["valid_score"]),
        int(told["epochs"]),
        base,
    )


def finetune(
    model: Model,
    mols: Sequence[Chem.Mol],
    y: Floats,
    valid_mols: Sequence[Chem.Mol],
    valid_y: Floats,
    task: str,
    seed: int,
    epochs: int = EPOCHS,
    class_weight: bool = False,
) -> FineTuned:
    """Train a copy of the model's trunk with a head: labels `y` (n, t), NaN where missing, 0 and 1 for
    classes.

    Training ends when `PATIENCE` epochs brought nothing on the valid part. Raises ConfigError for an unknown
    task or fewer than two molecules.
    """
    import torch

    if task not in TASKS:
        raise ConfigError(f"the task is {' or '.join(TASKS)}, not {task!r}")
    if len(mols) < 2:
        raise ConfigError(f"{len(mols)} molecules are too few to train on")
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    graphs = [model.featurise(mol) for mol in mols]
    judged = [model.featurise(mol) for mol in valid_mols]
    known = np.isfinite(y)
    n_known = np.maximum(known.sum(axis=0), 1)
    mean, spread = np.zeros(y.shape[1]), np.ones(y.shape[1])
    if task == "regression":
        mean = np.where(known, y, 0).sum(axis=0) / n_known
        spread = np.sqrt((np.where(known, y - mean, 0) ** 2).sum(axis=0) / n_known)
        spread = np.where(spread > 0, spread, 1.0)
    network = _network(model, y.shape[1])
    tuned = FineTuned(network, task, mean, spread, -math.inf, 0, model)
    optimiser = torch.optim.AdamW(
        [
            {"params": network.trunk.parameters(), "lr": TRUNK_RATE},
            {"params": network.head.parameters(), "lr": HEAD_RATE},
        ],
        weight_decay=1e-4,
    )
    steps = epochs * math.ceil(len(graphs) / BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, steps))
    positive = _positive(y, class_weight)
    best: tuple[float, dict[str, Any]] = (-math.inf, copy.deepcopy(network.state_dict()))
    since = 0
    with progress(total=epochs, desc="fine-tuning", unit="epoch") as bar:
        for _ in range(epochs):
            _epoch(network, graphs, (y - mean) / spread, task, positive, optimiser, schedule, rng)
            tuned.epochs += 1
            bar.update()
            found = _judge(task, valid_y, tuned._predict(judged), spread)
            if found > best[0]:
                best, since = (found, copy.deepcopy(network.state_dict())), 0
            else:
                since += 1
                if since >= PATIENCE:
                    break
    network.load_state_dict(best[1])
    network.eval()
    tuned.valid_score = score(task, valid_y, tuned._predict(judged))
    return tuned


def _judge(task: str, valid_y: Floats, predicted: Floats, spread: Floats) -> float:
    """What epochs are chosen by: as heads are; where that cannot be had, minus the mean squared error."""
    found = score(task, valid_y, predicted)
    if math.isfinite(found):
        return found
    error = (predicted - valid_y) / spread
    return -float(np.nanmean(error**2)) if np.isfinite(error).any() else 0.0


def _epoch(
    network: Any,
    graphs: Sequence[Any],
    y: Floats,
    task: str,
    positive: Floats,
    optimiser: Any,
    schedule: Any,
    rng: np.random.Generator,
) -> None:
    import torch
    from torch.nn import functional as F

    network.train()
    order = rng.permutation(len(graphs))
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        if len(rows) < 2:  # one molecule has no batch statistics
            continue
        labels = y[rows]
        mask = torch.from_numpy(np.isfinite(labels).astype(np.float32))
        truth = torch.from_numpy(np.nan_to_num(labels).astype(np.float32))
        found = network(_batch([graphs[i] for i in rows.tolist()]))
        if task == "classification":
            weight = torch.from_numpy(positive.astype(np.float32))
            terms = F.binary_cross_entropy_with_logits(found, truth, pos_weight=weight, reduction="none")
        else:
            terms = (found - truth) ** 2
        loss = (terms * mask).sum() / mask.sum().clamp(min=1)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()


def _positive(y: Floats, class_weight: bool) -> Floats:
    """(t,) how much class 1 weighs."""
    if not class_weight:
        return np.ones(y.shape[1])
    ones, zeros = (y == 1).sum(axis=0), (y == 0).sum(axis=0)
    return np.where((ones > 0) & (zeros > 0), zeros / np.maximum(ones, 1), 1.0).astype(np.float64)


def _rate(step: int, steps: int, warm: float = 0.1) -> float:
    """Share of the learning rate: a linear start, then half a cosine."""
    at = step / max(steps, 1)
    return (
        max(at / warm, 0.02)
        if at < warm
        else 0.02 + 0.49 * (1 + math.cos(math.pi * (at - warm) / (1 - warm)))
    )


def _batch(graphs: Sequence[Any]) -> Any:
    from acml_search.chem.graph import collate
    from acml_search.networks import TensorBatch

    return TensorBatch.of(collate(graphs))


def _network(model: Model, n_targets: int) -> Any:
    """A trunk as it was trained, with its normalisation (`load_model` merges it), and a new head."""
    import torch
    from safetensors.torch import load_file
    from torch import nn

    from acml_search.encoders.model import DualEncoder
    from acml_search.properties.features import maxima

    whole = DualEncoder(model.card.data["hyper"])
    weights = {k: v.float() for k, v in load_file(model.card.weights).items() if k.startswith("trunk.")}
    whole.load_state_dict(weights, strict=False)

    class Tuned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk = whole.trunk
            width = 2 * self.trunk.width
            self.head = nn.Sequential(
                nn.BatchNorm1d(width),
                nn.Dropout(DROPOUT),
                nn.Linear(width, HIDDEN),
                nn.ReLU(),
                nn.Dropout(DROPOUT),
                nn.Linear(HIDDEN, n_targets),
            )

        def forward(self, batch: Any) -> torch.Tensor:
            states = self.trunk.node_states(batch)
            pooled = torch.cat([self.trunk.pool(states, batch), maxima(states, batch)], dim=1)
            found: torch.Tensor = self.head(pooled)
            return found

    return Tuned()
