"""The graph network: trunk of every model, and encoder of modalities that are graphs themselves.

It trains on torch_geometric's `GINEConv`. Inference runs the same layers with the same parameters in a fused
pass, about half as long, and needs no torch_geometric.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acml_search.chem.graph import GraphBatch

T = TypeVar("T")


class TensorBatch(NamedTuple):
    """A `GraphBatch` as tensors: b graphs, N nodes, M directed edges. Fields as in torch_geometric's `Batch`,
    which may stand in its place."""

    x: Tensor
    """(N, c) int64 categorical columns"""
    edge_index: Tensor
    """(2, M) int64, source and target"""
    edge_attr: Tensor
    """(M,) int64 edge codes"""
    batch: Tensor
    """(N,) int64, the graph each node belongs to"""
    ptr: Tensor
    """(b + 1,) int64, first node of each graph, then N"""

    @classmethod
    def of(cls, batch: GraphBatch, device: torch.device | str = "cpu") -> TensorBatch:
        """The arrays as tensors on `device`."""
        x, edge_index, edge_attr, ptr = (torch.from_numpy(array).to(device) for array in batch)
        graphs = torch.arange(len(ptr) - 1, device=ptr.device)
        return cls(x.long(), edge_index, edge_attr, graphs.repeat_interleave(ptr.diff()), ptr)


class GraphNet(nn.Module):
    """GIN with edge features (GINE; Xu et al. 2019, Hu et al. 2020), residual, all layers kept.

    One layer: x <- x + MLP(norm(x + sum over edges of relu(x_source + e_edge))). The output concatenates
    every layer's node sum over sqrt(n) (jumping knowledge, Xu et al. 2018), so size counts but does not swamp
    the rest.

    columns: number of values of each node column. n_links: number of edge codes.
    `TensorBatch` (or torch_geometric's `Batch`) of b graphs -> (b, layers * width).
    """

    def __init__(self, columns: Sequence[int], n_links: int, width: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.offsets: Tensor
        self.register_buffer("offsets", torch.tensor([0, *columns[:-1]]).cumsum(0), persistent=False)
        self.embed = nn.EmbeddingBag(sum(columns), width, mode="sum")
        self.links = nn.ModuleList(nn.Embedding(n_links, width) for _ in range(layers))
        self.convs = nn.ModuleList(_Convolution(width, hidden) for _ in range(layers))
        self.width = layers * width

    def forward(self, batch: Any) -> Tensor:
        return self.states_and_pooled(batch)[1]

    def states_and_pooled(self, batch: Any) -> tuple[list[Tensor], Tensor]:
        """Node states by layer, each (N, width), and their pooled vectors (b, layers * width)."""
        states = self.node_states(batch)
        return states, self.pool(states, batch)

    def node_states(self, batch: Any) -> list[Tensor]:
        """Every layer's node states, each (N, width): by `GINEConv` in training, else by the fused pass."""
        return self.message_passing(batch) if self.training else self.fused(batch)

    def message_passing(self, batch: Any) -> list[Tensor]:
        """Node states by torch_geometric's `GINEConv`."""
        if isinstance(self.convs[0], _Convolution):
            self.convs = nn.ModuleList(_gine_conv(cast("nn.Module", conv.nn)) for conv in self.convs)
        x = self.embed(batch.x + self.offsets)
        states = []
        for link, conv in zip(self.links, self.convs, strict=True):
            x = x + conv(x, batch.edge_index, link(batch.edge_attr))
            states.append(x)
        return states

    def fused(self, batch: Any) -> list[Tensor]:
        """Node states. The edges of an atom that have one code carry one message, which is made once: the two
        rows of it (its source's state, the code's embedding) are read from one table and added in one step,
        and so are those that an atom receives, after its own state."""
        x = self.embed(batch.x + self.offsets)
        source, target = batch.edge_index
        n, n_links = len(x), cast("nn.Embedding", self.links[0]).num_embeddings
        pairs, of = torch.unique(source * n_links + batch.edge_attr, return_inverse=True)
        rows = torch.stack([pairs // n_links, pairs % n_links + n], dim=1)
        own = torch.arange(n, device=x.device)
        ends, order = torch.cat([own, target]).sort(stable=True)
        inside = torch.cat([own + len(pairs), of])[order]
        starts = torch.searchsorted(ends, own)
        states = []
        for link, conv in zip(self.links, self.convs, strict=True):
            table = torch.cat([x, cast("nn.Embedding", link).weight])
            messages = torch.relu_(F.embedding_bag(rows, table, mode="sum"))
            received = F.embedding_bag(inside, torch.cat([messages, x]), starts, mode="sum")
            x = x + cast("nn.Module", conv.nn)(received)
            states.append(x)
        return states

    def pool(self, states: Sequence[Tensor], batch: Any) -> Tensor:
        """Sum of the nodes of each graph over sqrt(n), layers side by side: (b, layers * width)."""
        stacked = torch.cat(list(states), dim=1)
        sizes = batch.ptr.diff()
        summed = stacked.new_zeros(len(sizes), stacked.shape[1]).index_add_(0, batch.batch, stacked)
        return summed / sizes.to(stacked.dtype).sqrt().unsqueeze(1)

    def fold(self) -> None:
        """Merge each normalisation into the linear map after it: same numbers, less work. Inference only."""
        for conv in self.convs:
            layers = cast("nn.Sequential", conv.nn)
            norm, first = layers[0], cast("nn.Linear", layers[1])
            if not isinstance(norm, nn.BatchNorm1d):
                continue
            mean, variance = cast("Tensor", norm.running_mean), cast("Tensor", norm.running_var)
            with torch.no_grad():
                gain = norm.weight / torch.sqrt(variance + norm.eps)
                first.bias.add_(first.weight @ (norm.bias - mean * gain))
                first.weight.mul_(gain)
            layers[0], layers[2] = nn.Identity(), nn.ReLU(inplace=True)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        renamed = current_names({k: state_dict.pop(k) for k in list(state_dict) if k.startswith(prefix)})
        state_dict.update(renamed)
        super()._load_from_state_dict(state_dict, prefix, *arguments)


class _Convolution(nn.Module):
    """The parameters of a `GINEConv`, under its names, without torch_geometric."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.nn = nn.Sequential(
            nn.BatchNorm1d(width), nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width)
        )


def _gine_conv(layers: nn.Module) -> nn.Module:
    """torch_geometric's `GINEConv` with eps 0 over `layers`."""
    from torch_geometric.nn import GINEConv

    conv: nn.Module = GINEConv(nn.Identity())  # it would initialise the layers it is given
    conv.nn = layers
    del conv.eps  # a number, not a buffer: checkpoints are the same with and without torch_geometric
    setattr(conv, "eps", 0.0)  # noqa: B010
    return conv


_EARLIER_NAMES = (
    (re.compile(r"(^|\.)norms\.(\d+)\."), r"\1convs.\2.nn.0."),
    (re.compile(r"(^|\.)mlps\.(\d+)\.0\."), r"\1convs.\2.nn.1."),
    (re.compile(r"(^|\.)mlps\.(\d+)\.2\."), r"\1convs.\2.nn.3."),
    (re.compile(r"(^|\.)recogniser\."), r"\1detector."),
    (re.compile(r"(^|\.)ruler\."), r"\1estimator."),
    (re.compile(r"(^|\.)kin\."), r"\1similarity."),
    (re.compile(r"(^|\.)trust$"), r"\1guess_length"),
)


def current_names(weights: Mapping[str, T]) -> dict[str, T]:
    """Weights of a checkpoint under today's parameter names; those of version 0.1 are renamed."""
    renamed = {}
    for name, value in weights.items():
        for earlier, now in _EARLIER_NAMES:
            name = earlier.sub(now, name)
        renamed[name] = value
    return renamed
