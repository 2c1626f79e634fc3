"""The training loop that every step shares: schedule, averaged weights, JSON log, resume.

A task says what one batch costs (`loss`) and how good the averaged model is (`evaluate`). The loop is a
function of its plan and seed: batches of epoch e are drawn from `(seed, e)`, so a run that was stopped goes
on as if it had not been.
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from acml_search.core.errors import ConfigError
from acml_search.core.io import atomic
from acml_search.core.progress import progress
from acml_search.networks import placement
from acml_search.training.config import BatchSchedule, Plan, PretrainPlan, TaskPlan
from acml_search.training.contrast import isomer_batches

WARM_UP = 0.05
"""share of the steps in which the learning rate rises"""
MAX_GRADIENT_NORM = 1.0
M = TypeVar("M", bound=nn.Module)


class Task(ABC, Generic[M]):
    """What is trained. `model` holds every parameter, on the device where it is to be trained; `rows` (n,)
    int64 and `formulas` say which molecules there are to visit.
    """

    model: M
    rows: np.ndarray
    formulas: np.ndarray
    batch_size: int
    group_size: int = 1

    def set_train_mode(self) -> None:
        """Put the model into training mode; what is frozen stays as it is."""
        self.model.train()

    def batches(self, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """Batches of rows, until every row was visited once; isomers side by side."""
        return isomer_batches(self.rows, self.formulas, self.batch_size, self.group_size, rng)

    @abstractmethod
    def loss(self, rows: np.ndarray, rng: np.random.Generator) -> dict[str, Tensor]:
        """Loss terms of one batch; their sum is minimised."""

    @abstractmethod
    def evaluate(self, model: M) -> dict[str, float]:
        """Measures of `model` on the dev split."""

    @property
    def device(self) -> torch.device:
        return placement(self.model)[0]

    def tensor(self, array: np.ndarray | Sequence[int]) -> Tensor:
        """An array on the model's device."""
        return torch.as_tensor(array, device=self.device)

    def floats(self, array: np.ndarray) -> Tensor:
        """An array of half precision as float32 on the model's device."""
        return self.tensor(array.astype(np.float32))


def train(task: Task[M], plan: TaskPlan) -> M:
    """Train, or go on; the averaged model. Writes `log.jsonl` and `state.pt`. Raises `ConfigError`."""
    schedule, seed, out = plan.training, plan.seed, plan.out_folder
    if isinstance(schedule, BatchSchedule):
        task.batch_size, task.group_size = schedule.batch_size, schedule.group_size
    if task.device.type == "cpu":
        torch.set_num_threads(1)  # two threads in each of two processes are slower than one
    out.mkdir(parents=True, exist_ok=True)
    averaged = AveragedModel(task.model, multi_avg_fn=_moving_average(schedule.ema_decay))
    optimiser = torch.optim.AdamW(parameter_groups(task.model, schedule.weight_decay), lr=schedule.lr)
    steps = schedule.epoch_size // task.batch_size
    if not steps:
        raise ConfigError(f"epoch_size {schedule.epoch_size} is less than one batch of {task.batch_size}")
    scheduler = one_cycle(optimiser, schedule.lr, schedule.epochs * steps)
    parts: dict[str, Any] = {
        "model": task.model, "averaged": averaged, "optimiser": optimiser, "scheduler": scheduler
    }  # fmt: skip
    state, first = out / "state.pt", 0
    if state.exists():
        saved = torch.load(state, map_location="cpu", weights_only=True)
        try:
            for name, part in parts.items():
                part.load_state_dict(saved[name])
        except (KeyError, RuntimeError, ValueError) as error:
            raise ConfigError(
                f"{state}: it was written by another version or for another plan; remove it to start anew"
            ) from error
        first = saved["epoch"]
    else:
        (out / "log.jsonl").unlink(missing_ok=True)
    for epoch in range(first, schedule.epochs):
        rng, started = np.random.default_rng([seed, epoch]), time.perf_counter()
        torch.manual_seed(seed * 1_000_003 + epoch)
        sums: dict[str, float] = defaultdict(float)
        task.set_train_mode()
        batches = _endless(task, rng)
        for _ in progress(range(steps), desc=f"epoch {epoch + 1}/{schedule.epochs}", unit="batch"):
            terms = task.loss(next(batches), rng)
            optimiser.zero_grad(set_to_none=True)
            torch.stack(list(terms.values())).sum().backward()
            nn.utils.clip_grad_norm_(task.model.parameters(), MAX_GRADIENT_NORM)
            optimiser.step()
            rate = float(scheduler.get_last_lr()[0])
            scheduler.step()
            averaged.update_parameters(task.model)
            for name, term in terms.items():
                sums[name] += float(term.detach())
        spent = time.perf_counter() - started
        measured = task.evaluate(cast("M", averaged.module.eval()))
        line = {
            "epoch": epoch + 1,
            "step": (epoch + 1) * steps,
            "lr": round(rate, 6),
            **{name: round(value / steps, 5) for name, value in sums.items()},
            **{name: round(value, 5) for name, value in measured.items()},
            "molecules_per_second": round(steps * task.batch_size / spent, 1),
            "seconds": round(time.perf_counter() - started, 1),
        }
        with (out / "log.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")
        with atomic(state) as file:
            torch.save({**{k: part.state_dict() for k, part in parts.items()}, "epoch": epoch + 1}, file)
    return cast("M", averaged.module.eval())


def _endless(task: Task[M], rng: np.random.Generator) -> Iterator[np.ndarray]:
    while True:
        empty = True
        for rows in task.batches(rng):
            empty = False
            yield rows
        if empty:
            raise ConfigError(f"{len(task.rows)} molecules do not fill a batch of {task.batch_size}")


def one_cycle(optimiser: torch.optim.Optimizer, lr: float, steps: int) -> OneCycleLR:
    """From 1 % of `lr` up to `lr` in the first steps, then down to 1 % again, both along a cosine."""
    # Its first phase ends at share * steps - 1, which must be neither the first step nor the last.
    warm_up = max(WARM_UP, 2 / steps) if steps > 2 else 0.75
    return OneCycleLR(
        optimiser, lr, steps, pct_start=warm_up, div_factor=100, final_div_factor=1, cycle_momentum=False
    )


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameters with weight decay, and those without: biases, scales and the like."""
    with_decay = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    return [
        {"params": with_decay, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]


def _moving_average(decay: float) -> Any:
    """Exponential, following closely at first, so that a short run is not weighed down by its start."""

    def update(averaged: Any, current: Any, n_averaged: Any) -> None:
        n = int(n_averaged)
        get_ema_multi_avg_fn(min(decay, (1 + n) / (10 + n)))(averaged, current, n_averaged)

    return update


def read_log(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def encoder_file(folder: Path) -> Path:
    """The weights that the pretraining of an encoder leaves in its folder."""
    return folder / "encoder.safetensors"


def save_result(plan: Plan, weights: Mapping[str, Tensor], file: str = "encoder.safetensors") -> Path:
    """Write weights and plan into the plan's folder; of an encoder's model, encoder and projection alone."""
    if isinstance(plan, PretrainPlan):
        weights = {k: v for k, v in weights.items() if k.startswith(("encoder.", "projection."))}
    save_file({k: v.cpu().contiguous() for k, v in weights.items()}, plan.out_folder / file)
    (plan.out_folder / "config.json").write_text(json.dumps(plan.written(), indent=1))
    return plan.out_folder
