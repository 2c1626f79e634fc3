"""What brings an encoder's vectors into a joint space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acml_search.chem.graph import GraphBatch
from acml_search.modalities.blocks.graph import TensorBatch


def tensors(batch: Any) -> Any:
    """What a modality's `collate` gave, as tensors: a graph batch as `TensorBatch`, any other named tuple of
    arrays as the same tuple of tensors.
    """
    if isinstance(batch, GraphBatch):
        return TensorBatch.of(batch)
    return type(batch)(*(torch.from_numpy(x) if isinstance(x, np.ndarray) else x for x in batch))


def width_of(encoder: nn.Module) -> int:
    """Length of the vectors an encoder gives: its attribute `width`."""
    return cast("int", encoder.width)


class Projection(nn.Module):
    """Two linear maps with a ReLU between, then unit length: (n, d_in) -> (n, d)."""

    def __init__(self, d_in: int, hidden: int, d: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(d_in, hidden), nn.ReLU(), nn.Linear(hidden, d))

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(self.layers(x), dim=1)


class PooledHead(Projection):
    """ACML's graph side: a projection of the pooled trunk."""

    def forward(  # type: ignore[override]
        self, states: Sequence[Tensor], pooled: Tensor, batch: TensorBatch, tower: nn.Module
    ) -> Tensor:
        return super().forward(pooled)
