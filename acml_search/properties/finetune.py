"""Fine-tuning: the graph trunk, trained on for a property together with a small head.

The head reads the trunk's sum and maxima over atoms, standardised by batch statistics. The trunk learns
slower than the head, so that it does not forget before the head has learned to use it. The epoch that was
best on the valid part is kept. Rates, sizes and epochs were chosen by scores on valid parts of MoleculeNet.
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
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acml_search.core.errors import ConfigError
from acml_search.core.io import write_json
from acml_search.core.progress import progress
from acml_search.core.typing import Floats
from acml_search.properties.features import max_pool
from acml_search.properties.heads import TASKS
from acml_search.properties.metrics import linked, selection_score

if TYPE_CHECKING:
    from rdkit import Chem

    from acml_search.encoders.checkpoint import Model
    from acml_search.networks import TensorBatch

BATCH = 64
EPOCHS, PATIENCE = 50, 12
TRUNK_RATE, HEAD_RATE = 3e-4, 1e-3
HIDDEN, DROPOUT = 256, 0.4


class TunedNetwork(nn.Module):
    """The model's trunk as it was trained, with its normalisation (`load_model` folds it), and a new head."""

    def __init__(self, model: Model, n_targets: int) -> None:
        from safetensors.torch import load_file

        from acml_search.encoders.checkpoint import DualEncoder

        super().__init__()
        whole = DualEncoder(model.card.data["hyper"])
        weights = load_file(model.card.weights).items()
        trunk = {name: value.float() for name, value in weights if name.startswith("trunk.")}
        whole.load_state_dict(trunk, strict=False)
        self.trunk = whole.trunk
        width = 2 * self.trunk.width
        layers = [nn.BatchNorm1d(width), nn.Dropout(DROPOUT), nn.Linear(width, HIDDEN), nn.ReLU()]
        self.head = nn.Sequential(*layers, nn.Dropout(DROPOUT), nn.Linear(HIDDEN, n_targets))
        self.to(model.device)

    def forward(self, batch: TensorBatch) -> Tensor:
        """(b, t): standardised values, or logits."""
        states, pooled = self.trunk.states_and_pooled(batch)
        found: Tensor = self.head(torch.cat([pooled, max_pool(states, batch)], dim=1))
        return found


@dataclass
class FineTuned:
    """A fine-tuned trunk with its head. `mean`, `spread` (t,): of the training labels; 0, 1 for classes."""

    network: TunedNetwork
    task: str
    mean: Floats
    spread: Floats
    base: Model
    valid_score: float = -math.inf
    epochs: int = 0
    """epochs that were trained, of which the best was kept"""

    def predict(self, mols: Sequence[Chem.Mol]) -> Floats:
        """(n, t): the value, or the probability of class 1."""
        return self.predict_graphs([self.base.featurise(mol) for mol in mols])

    def predict_graphs(self, graphs: Sequence[Any]) -> Floats:
        """The same of featurised molecules."""
        self.network.eval()
        out = np.empty((len(graphs), len(self.mean)))
        with torch.inference_mode():
            for start in range(0, len(graphs), BATCH):
                batch = self.base.graph_batch(graphs[start : start + BATCH])
                out[start : start + BATCH] = self.network(batch).double().cpu().numpy()
        return linked(self.task, out) * self.spread + self.mean

    def save(self, directory: Path) -> None:
        """Write the network to a folder: safetensors and JSON."""
        from safetensors.torch import save_file

        state = {name: value.contiguous() for name, value in self.network.state_dict().items()}
        save_file(state, directory / "finetuned.safetensors")
        about = {"kind": "finetuned", "mean": self.mean.tolist(), "spread": self.spread.tolist()}
        about |= {name: getattr(self, name) for name in ("task", "valid_score", "epochs")}
        write_json(about, directory / "head.json")


def load_finetuned(directory: Path, base: Model) -> FineTuned:
    """Read what `save` wrote, trained from `base`. Raises ConfigError when the folder is damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        about = json.loads((directory / "head.json").read_text(encoding="utf-8"))
        network = TunedNetwork(base, len(about["mean"]))
        network.load_state_dict(load_file(directory / "finetuned.safetensors"))
        mean, spread = np.array(about["mean"]), np.array(about["spread"])
        counts = float(about["valid_score"]), int(about["epochs"])
        return FineTuned(network, about["task"], mean, spread, base, *counts)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ConfigError(
            f"{directory}: the network cannot be read ({error}); fit the model again"
        ) from error


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
    classes; `class_weight`: both classes weigh the same.

    Training stops after `PATIENCE` epochs without progress on the valid part. Raises ConfigError for an
    unknown task or fewer than two molecules.
    """
    if task not in TASKS:
        raise ConfigError(f"the task is {' or '.join(TASKS)}, not {task!r}")
    if len(mols) < 2:
        raise ConfigError(f"{len(mols)} molecules are too few to train on")
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    graphs, valid_graphs = ([model.featurise(mol) for mol in some] for some in (mols, valid_mols))
    mean, spread = np.zeros(y.shape[1]), np.ones(y.shape[1])
    if task == "regression":
        known = np.ma.masked_invalid(y)
        mean, spread = known.mean(axis=0).filled(0.0), known.std(axis=0).filled(1.0)
        spread[spread == 0] = 1.0
    network = TunedNetwork(model, y.shape[1])
    tuned = FineTuned(network, task, mean, spread, model)
    rates = {network.trunk: TRUNK_RATE, network.head: HEAD_RATE}
    optimiser = torch.optim.AdamW(
        [{"params": part.parameters(), "lr": rate} for part, rate in rates.items()], weight_decay=1e-4
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser,
        max_lr=list(rates.values()),
        total_steps=max(2, epochs * math.ceil(len(graphs) / BATCH)),
        pct_start=0.1,
        div_factor=50,
        final_div_factor=1,
        cycle_momentum=False,
    )
    ones, zeros = (y == 1).sum(axis=0), (y == 0).sum(axis=0)
    balanced = class_weight & (ones > 0) & (zeros > 0)
    weight = torch.from_numpy(np.where(balanced, zeros / np.maximum(ones, 1), 1.0))
    labels = torch.from_numpy((y - mean) / spread)
    best_score, best_state, stale = -math.inf, copy.deepcopy(network.state_dict()), 0
    for _ in progress(range(epochs), desc="fine-tuning", unit="epoch"):
        network.train()
        order = rng.permutation(len(graphs))
        for rows in np.split(order, range(BATCH, len(order), BATCH)):
            if len(rows) > 1:  # batch statistics need two molecules
                found = network(model.graph_batch([graphs[i] for i in rows]))
                optimiser.zero_grad(set_to_none=True)
                _loss(found, labels[rows].to(found), task, weight.to(found)).backward()
                nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimiser.step()
                schedule.step()
        tuned.epochs += 1
        score = _epoch_score(task, valid_y, tuned.predict_graphs(valid_graphs), spread)
        stale += 1
        if score > best_score:
            best_score, best_state, stale = score, copy.deepcopy(network.state_dict()), 0
        if stale >= PATIENCE:
            break
    network.load_state_dict(best_state)
    tuned.valid_score = selection_score(task, valid_y, tuned.predict_graphs(valid_graphs))
    return tuned


def _loss(found: Tensor, labels: Tensor, task: str, weight: Tensor) -> Tensor:
    """Mean cross-entropy or squared error of answers (b, t) over the known labels (b, t)."""
    known, truth = torch.isfinite(labels), torch.nan_to_num(labels)
    if task == "classification":
        terms = F.binary_cross_entropy_with_logits(found, truth, pos_weight=weight, reduction="none")
    else:
        terms = (found - truth) ** 2
    return (terms * known).sum() / known.sum().clamp(min=1)


def _epoch_score(task: str, y: Floats, predicted: Floats, spread: Floats) -> float:
    """What epochs are chosen by; where AUROC or R2 is undefined, minus the mean squared error."""
    score = selection_score(task, y, predicted)
    if math.isfinite(score):
        return score
    error = (predicted - y) / spread
    return -float(np.nanmean(error**2)) if np.isfinite(error).any() else 0.0
