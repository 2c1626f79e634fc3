"""What brings an encoder's vectors into a joint space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acml_search.chem.graph import GraphBatch
from acml_search.networks.trunk import TensorBatch


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


class Choices(NamedTuple):
    """What each record of a batch may be, end to end: m choices of n records."""

    features: Tensor
    """(m, width) float32"""
    records: Tensor
    """(m,) int64, which record a choice is of; every record has one"""
    shares: Tensor
    """(m,) float32, how likely a choice is; those of a record sum to 1"""


class Undecided(nn.Module):
    """An encoder that takes one record for several things, each by its share. A space averages their unit
    vectors, not their features: what stands between two of them is itself like neither.
    """

    def choices(self, batch: Any) -> Choices:
        """What the records of a batch may be."""
        raise NotImplementedError

    def forward(self, batch: Any) -> Tensor:
        """The mean features: (n, width)."""
        features, records, shares = self.choices(batch)
        return averaged(features, records, shares)


def averaged(vectors: Tensor, records: Tensor, shares: Tensor) -> Tensor:
    """Means by record of the vectors (m, d) of `Choices`: (n, d)."""
    n = int(records.max()) + 1 if len(records) else 0
    return vectors.new_zeros(n, vectors.shape[1]).index_add_(0, records, vectors * shares[:, None])


class Head(nn.Module):
    """The graph side of a space, in two steps: what it takes from the atoms of a few molecules, while their
    states are in the processor's cache, and what it makes of that for many, while its weights are.
    """

    def taken(self, states: Sequence[Tensor], pooled: Tensor, batch: TensorBatch) -> tuple[Tensor, ...]:
        """All that the second step needs besides the pooled vectors (b, trunk width). `states`: the trunk's,
        by layer, each (N, width). What was taken from several batches, laid end to end, is what would be
        taken from all their molecules at once.
        """
        return ()

    def made(self, taken: tuple[Tensor, ...], pooled: Tensor, tower: nn.Module) -> Tensor:
        """Unit vectors (b, d) of any number of molecules; `tower`: the space's `Tower`."""
        raise NotImplementedError

    def forward(
        self, states: Sequence[Tensor], pooled: Tensor, batch: TensorBatch, tower: nn.Module
    ) -> Tensor:
        return self.made(self.taken(states, pooled, batch), pooled, tower)


class PooledHead(Head):
    """ACML's graph side: a projection of the pooled trunk."""

    def __init__(self, d_in: int, hidden: int, d: int) -> None:
        super().__init__()
        self.layers = Projection(d_in, hidden, d).layers

    def made(self, taken: tuple[Tensor, ...], pooled: Tensor, tower: nn.Module) -> Tensor:
        return F.normalize(self.layers(pooled), dim=1)
