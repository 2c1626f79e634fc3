"""The training loop every task shares: schedule, averaged weights, JSON log, resume.

A task says what one batch costs (`loss`) and how good the averaged model is (`evaluate`). The loop is a
function of its configuration and seed: batches of epoch e are drawn from `(seed, e)`, so a run that was
stopped goes on as if it had not been.
"""

from __future__ import annotations

import copy
import json
import math
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from acml_search.core.progress import progress
from acml_search.training.batches import isomer_batches

M = TypeVar("M", bound=nn.Module)


class Task(ABC, Generic[M]):
    """What is trained. `model` holds every parameter; `rows` and `formulas` say what there is to visit."""

    model: M
    rows: np.ndarray
    formulas: np.ndarray

    def to_training(self) -> None:
        """Put the model into training mode; what is frozen stays as it is."""
        self.model.train()

    def batches(self, settings: dict[str, Any], rng: np.random.Generator) -> Iterator[np.ndarray]:
        """Batches of rows, until every row has been seen once; isomers side by side."""
        return isomer_batches(self.rows, self.formulas, settings["batch"], settings["isomers"], rng)

    @abstractmethod
    def loss(self, rows: np.ndarray, rng: np.random.Generator) -> dict[str, Tensor]:
        """Loss terms of one batch; their sum is minimised."""

    @abstractmethod
    def evaluate(self, model: M) -> dict[str, float]:
        """Measures of `model` on the inner part."""


def train(task: Task[M], settings: dict[str, Any], seed: int, out: Path) -> M:
    """Train, or go on training, and return the averaged model.

    `settings`: epochs, epoch_size (molecules), batch, isomers, lr, weight_decay, optional average (0.999).
    Writes `out/log.jsonl` (a line per epoch) and `out/state.pt`.
    """
    torch.set_num_threads(1)  # two threads in each of two processes are slower than one
    out.mkdir(parents=True, exist_ok=True)
    averaged = copy.deepcopy(task.model)
    decay = [p for p in task.model.parameters() if p.ndim > 1]
    rest = [p for p in task.model.parameters() if p.ndim <= 1]
    groups = [
        {"params": decay, "weight_decay": settings["weight_decay"]},
        {"params": rest, "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=settings["lr"])
    state = out / "state.pt"
    first, step = 0, 0
    if state.exists():
        saved = torch.load(state, weights_only=True)
        task.model.load_state_dict(saved["model"])
        averaged.load_state_dict(saved["averaged"])
        optimiser.load_state_dict(saved["optimiser"])
        first, step = saved["epoch"], saved["step"]
    else:
        (out / "log.jsonl").unlink(missing_ok=True)
    steps = settings["epochs"] * (settings["epoch_size"] // settings["batch"])
    for epoch in range(first, settings["epochs"]):
        step = _epoch(task, averaged, optimiser, settings, [seed, epoch], step, steps, out)
        saved = {
            "model": task.model.state_dict(),
            "averaged": averaged.state_dict(),
            "optimiser": optimiser.state_dict(),
            "epoch": epoch + 1,
            "step": step,
        }
        torch.save(saved, state.with_suffix(".writing"))
        os.replace(state.with_suffix(".writing"), state)
    return averaged.eval()


def _epoch(
    task: Task[M],
    averaged: M,
    optimiser: torch.optim.Optimizer,
    settings: dict[str, Any],
    seed: list[int],
    step: int,
    steps: int,
    out: Path,
) -> int:
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed[0] * 1_000_003 + seed[1])
    started = time.perf_counter()
    sums: dict[str, float] = {}
    task.to_training()
    size, batch = settings["epoch_size"], settings["batch"]
    n = size // batch
    bar = progress(total=n, desc=f"epoch {seed[1] + 1}/{settings['epochs']}", unit="batch")
    done = 0
    while done < n:
        for rows in task.batches(settings, rng):
            if done == n:
                break
            rate = _one_cycle(step, steps) * settings["lr"]
            for group in optimiser.param_groups:
                group["lr"] = rate
            terms = task.loss(rows, rng)
            optimiser.zero_grad(set_to_none=True)
            torch.stack(list(terms.values())).sum().backward()
            nn.utils.clip_grad_norm_(task.model.parameters(), 1.0)
            optimiser.step()
            # The average follows closely at first, so that a short run is not weighed down by its start.
            _average(averaged, task.model, min(settings.get("average", 0.999), (1 + step) / (10 + step)))
            for name, term in terms.items():
                sums[name] = sums.get(name, 0.0) + float(term.detach())
            step += 1
            done += 1
            bar.update()
    bar.close()
    spent = time.perf_counter() - started
    line = {
        "epoch": seed[1] + 1,
        "step": step,
        "lr": round(rate, 6),
        **{k: round(v / n, 5) for k, v in sums.items()},
        **{k: round(v, 5) for k, v in task.evaluate(averaged.eval()).items()},
        "molecules_per_second": round(n * batch / spent, 1),
        "seconds": round(time.perf_counter() - started, 1),
    }
    with (out / "log.jsonl").open("a") as log:
        log.write(json.dumps(line) + "\n")
    return step


def _one_cycle(step: int, steps: int, warm: float = 0.05) -> float:
    """Share of the full learning rate: a linear start, then half a cosine down to 1 %."""
    at = step / max(steps, 1)
    if at < warm:
        return max(at / warm, 0.01)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (at - warm) / (1 - warm)))


@torch.no_grad()
def _average(averaged: nn.Module, model: nn.Module, decay: float) -> None:
    for mean, value in zip(averaged.parameters(), model.parameters(), strict=True):
        mean.lerp_(value, 1 - decay)
    for kept, current in zip(averaged.buffers(), model.buffers(), strict=True):
        kept.copy_(current)
