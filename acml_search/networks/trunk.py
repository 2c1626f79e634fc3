"""The graph network: trunk of every model, and tower of modalities that are graphs themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acml_search.chem.graph import GraphBatch


class TensorBatch(NamedTuple):
    """A `GraphBatch` as tensors, plus what pooling needs: b graphs, N nodes, M directed links."""

    nodes: Tensor
    """(N, c) int64 categorical columns"""
    source: Tensor
    """(M,) int64"""
    target: Tensor
    """(M,) int64"""
    links: Tensor
    """(M,) int64 link codes"""
    graph_of: Tensor
    """(N,) int64, the graph each node belongs to"""
    sizes: Tensor
    """(b,) int64, nodes per graph"""

    @classmethod
    def of(cls, batch: GraphBatch) -> TensorBatch:
        sizes = torch.from_numpy(batch.atom_offsets[1:] - batch.atom_offsets[:-1])
        return cls(
            nodes=torch.from_numpy(batch.atoms).long(),
            source=torch.from_numpy(batch.edges[0]),
            target=torch.from_numpy(batch.edges[1]),
            links=torch.from_numpy(batch.bonds),
            graph_of=torch.repeat_interleave(torch.arange(len(sizes)), sizes),
            sizes=sizes,
        )

    def part(self, first: int, last: int) -> TensorBatch:
        """Graphs `first` to `last` (not included) as a batch; nodes and links must be in graph order."""
        ends = self.sizes.cumsum(0)
        a = int(ends[first - 1]) if first else 0
        b = int(ends[last - 1]) if last else 0
        links = (self.target >= a) & (self.target < b)
        return TensorBatch(
            nodes=self.nodes[a:b],
            source=self.source[links] - a,
            target=self.target[links] - a,
            links=self.links[links],
            graph_of=self.graph_of[a:b] - first,
            sizes=self.sizes[first:last],
        )


class GraphNet(nn.Module):
    """GIN with link features (GINE; Xu et al. 2019, Hu et al. 2020), residual, all layers kept.

    One layer: h = x + sum over links of relu(x_source + e_link); x <- x + MLP(norm(h)). The output
    concatenates every layer's node sum over sqrt(n) (jumping knowledge, Xu et al. 2018), so size is seen
    but does not swamp the rest. Shapes: `TensorBatch` -> (b, layers * width).
    """

    def __init__(self, columns: Sequence[int], n_links: int, width: int, hidden: int, layers: int) -> None:
        super().__init__()
        offsets = torch.tensor([0, *columns[:-1]]).cumsum(0)
        self.offsets: Tensor
        self.register_buffer("offsets", offsets, persistent=False)
        self.embed = nn.EmbeddingBag(sum(columns), width, mode="sum")
        self.links = nn.ModuleList(nn.Embedding(n_links, width) for _ in range(layers))
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(layers))
        self.mlps = nn.ModuleList(
            nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))
            for _ in range(layers)
        )
        self.width = layers * width

    def forward(self, batch: TensorBatch) -> Tensor:
        return self.pool(self.node_states(batch), batch)

    def node_states(self, batch: TensorBatch) -> list[Tensor]:
        """Every layer's node states, each (N, width)."""
        x = self.embed(batch.nodes + self.offsets)
        # A message's two rows, of one table, are added as they are read: the many messages are written once.
        rows = torch.stack([batch.source, batch.links + len(x)], dim=1)
        states = []
        for link, norm, mlp in zip(self.links, self.norms, self.mlps, strict=True):
            table = torch.cat([x, cast("nn.Embedding", link).weight])
            message = torch.relu_(F.embedding_bag(rows, table, mode="sum"))
            h = x.index_add(0, batch.target, message)
            x = x + mlp(norm(h))
            states.append(x)
        return states

    def pool(self, states: Sequence[Tensor], batch: TensorBatch) -> Tensor:
        """Sum of the nodes of each graph over sqrt(n), layers side by side: (b, layers * width)."""
        stacked = torch.cat(list(states), dim=1)
        summed = stacked.new_zeros(len(batch.sizes), stacked.shape[1])
        summed.index_add_(0, batch.graph_of, stacked)
        return summed / batch.sizes.to(stacked.dtype).sqrt().unsqueeze(1)

    def fold(self) -> None:
        """Merge each normalisation into the linear map after it. For inference only: same result, less
        work."""
        for i, (norm, mlp) in enumerate(zip(self.norms, self.mlps, strict=True)):
            if not isinstance(norm, nn.BatchNorm1d):
                continue
            first = cast("nn.Linear", cast("nn.Sequential", mlp)[0])
            mean, variance = cast("Tensor", norm.running_mean), cast("Tensor", norm.running_var)
            with torch.no_grad():
                gain = norm.weight / torch.sqrt(variance + norm.eps)
                shift = norm.bias - mean * gain
                first.bias.add_(first.weight @ shift)
                first.weight.mul_(gain)
            self.norms[i] = nn.Identity()
