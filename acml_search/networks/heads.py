"""Projections, and the graph side of a space: what brings an encoder's vectors into a joint space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acml_search.chem.graph import GraphBatch
from acml_search.networks.trunk import TensorBatch


def tensors(batch: Any, like: nn.Module | None = None) -> Any:
    """What a modality's `collate` returned as tensors: a graph batch as `TensorBatch`, one array as a
    tensor, a named tuple of arrays as the same tuple of tensors.

    like: the module that will read them; its device, and floats of its precision. Default: CPU, as they are.
    """
    device, dtype = placement(like) if like is not None else (torch.device("cpu"), None)
    if isinstance(batch, GraphBatch):
        return TensorBatch.of(batch, device)
    if isinstance(batch, np.ndarray):
        return _tensor(batch, device, dtype)
    return type(batch)(*(_tensor(x, device, dtype) if isinstance(x, np.ndarray) else x for x in batch))


def _tensor(array: np.ndarray, device: torch.device, dtype: torch.dtype | None) -> Tensor:
    tensor = torch.from_numpy(array)
    return tensor.to(device, dtype if tensor.is_floating_point() else None)


def placement(module: nn.Module) -> tuple[torch.device, torch.dtype]:
    """Device and precision of a module's parameters."""
    parameter = next(module.parameters())
    return parameter.device, parameter.dtype


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


class Hypotheses(NamedTuple):
    """What the n records of a batch may be: m hypotheses, end to end."""

    features: Tensor
    """(m, width)"""
    records: Tensor
    """(m,) int64, the record of each hypothesis; every record has one"""
    probabilities: Tensor
    """(m,); those of a record sum to 1"""


class MixtureEncoder(nn.Module):
    """An encoder that reads a record as several weighted hypotheses. A space averages their unit vectors, not
    their features: a point between two structures is like neither.
    """

    def hypotheses(self, batch: Any) -> Hypotheses:
        """The hypotheses of a batch's records."""
        raise NotImplementedError

    def forward(self, batch: Any) -> Tensor:
        """The mean features: (n, width)."""
        return weighted_mean(*self.hypotheses(batch))


def weighted_mean(vectors: Tensor, records: Tensor, probabilities: Tensor) -> Tensor:
    """Means by record of the vectors (m, d) of hypotheses: (n, d)."""
    n = int(records.max()) + 1 if len(records) else 0
    weighted = vectors * probabilities[:, None]
    return vectors.new_zeros(n, vectors.shape[1]).index_add_(0, records, weighted)


class Head(nn.Module):
    """The graph side of a space, in two stages: one reads the atoms of a few molecules while their states are
    in the processor's cache, one makes the vectors of many while its weights are.
    """

    def node_stage(self, states: Sequence[Tensor], pooled: Tensor, batch: Any) -> tuple[Tensor, ...]:
        """Per-atom inputs of `graph_stage`; concatenating the outputs of several batches equals the output of
        the concatenated batch.

        states: the trunk's by layer, each (N, width). pooled: (b, trunk width).
        """
        return ()

    def graph_stage(self, nodes: tuple[Tensor, ...], pooled: Tensor, tower: nn.Module) -> Tensor:
        """Unit vectors (b, d) of any number of molecules.

        nodes: what `node_stage` returned. tower: the space's `Tower`.
        """
        raise NotImplementedError

    def forward(self, states: Sequence[Tensor], pooled: Tensor, batch: Any, tower: nn.Module) -> Tensor:
        return self.graph_stage(self.node_stage(states, pooled, batch), pooled, tower)


class PooledHead(Head):
    """ACML's graph side: a projection of the pooled trunk."""

    def __init__(self, d_in: int, hidden: int, d: int) -> None:
        super().__init__()
        self.layers = Projection(d_in, hidden, d).layers

    def graph_stage(self, nodes: tuple[Tensor, ...], pooled: Tensor, tower: nn.Module) -> Tensor:
        return F.normalize(self.layers(pooled), dim=1)
