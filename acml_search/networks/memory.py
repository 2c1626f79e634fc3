"""kNN memory of a mass-spectral encoder: training spectra like this one, and the molecules they belong to.

A network that has learned from a few thousand spectra generalises poorly to molecules unlike these; the
nearest training spectra say more, for they belong to molecules of one family. The memory keeps a short key of
every training record and a vector of its molecule. For a query it sums the vectors of the molecules behind
the nearest keys by similarity (neural nearest neighbours: Plötz and Roth 2018; spectra as a way to analogues:
Moorthy et al. 2017) and adds a guess made from the key alone. `SimilarityHead` gives the graph side's vectors
in the same space. A space concatenates both to its own vectors, so that one inner product adds the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acml_search.networks.heads import Head

_DROPOUT = 0.2
"""of the guess's hidden units: it has a few thousand molecules to learn from"""


class BinnedSpectrum(Protocol):
    """An encoder whose records can be binned: the input of a memory."""

    n_bins: int

    def binned(self, batch: object) -> Tensor:
        """(n, n_bins): records that have much in common have a large inner product."""


class KNNMemory(nn.Module):
    """Keys of length `key` of `records` records, vectors of length `d` of the `molecules` they were measured
    of, and the number of neighbours `nearest`. guess: hidden units of the guess.

    A neighbour's weight is a power of its cosine, less that of the first neighbour left out, so that weights
    change continuously when neighbours change places.
    """

    def __init__(
        self, n_bins: int, records: int, molecules: int, key: int, d: int, nearest: int, guess: int
    ) -> None:
        super().__init__()
        self.nearest = nearest
        self.key = nn.Linear(n_bins, key, bias=False)
        self.power = nn.Parameter(torch.tensor(4.0))
        self.guess = nn.Sequential(
            nn.Linear(key, guess), nn.ReLU(), nn.Dropout(_DROPOUT), nn.Linear(guess, d)
        )
        self.guess_length = nn.Parameter(torch.tensor(0.3))
        self.keys: Tensor
        self.molecule: Tensor
        self.values: Tensor
        self.balance: Tensor
        self.register_buffer("keys", torch.zeros(records, key))
        self.register_buffer("molecule", torch.zeros(records, dtype=torch.int64))
        """row of `values` that a record belongs to"""
        self.register_buffer("values", torch.zeros(molecules, d))
        self.register_buffer("balance", torch.tensor(1.0))
        """length of a space's own vector, where a neighbour of cosine 1 has weight 1"""

    def query_key(self, binned: Tensor) -> Tensor:
        """Keys of unit length: (n, n_bins) -> (n, key)."""
        return F.normalize(self.key(binned), dim=1)

    def neighbour_weights(self, cosines: Tensor) -> tuple[Tensor, Tensor]:
        """Weights and records of the nearest neighbours, of cosines (n, records): (n, nearest) each."""
        top, which = cosines.topk(self.nearest + 1, dim=1)
        power = top.clamp(min=1e-3) ** self.power
        return power[:, :-1] - power[:, -1:], which[:, :-1]

    def retrieve(self, keys: Tensor, weights: Tensor, neighbours: Tensor) -> Tensor:
        """Weighted sum of the neighbours' vectors (n, nearest, d), plus the guess: (n, d)."""
        guess = self.guess_length * F.normalize(self.guess(keys), dim=1)
        return (weights[:, :, None] * neighbours).sum(dim=1) + guess

    def forward(self, binned: Tensor) -> Tensor:
        """Vectors of the molecules behind similar records: (n, n_bins) -> (n, d)."""
        keys = self.query_key(binned)
        weights, which = self.neighbour_weights(keys @ self.keys.T)
        return self.retrieve(keys, weights, self.values[self.molecule[which]])

    def concat(self, vectors: Tensor, binned: Tensor) -> Tensor:
        """Unit vectors (n, own + d): the space's own, (n, own), and the memory's."""
        return F.normalize(torch.cat([self.balance * vectors, self(binned)], dim=1), dim=1)


class SimilarityHead(nn.Module):
    """Unit vectors of molecules whose inner products are structural similarities: (n, width) -> (n, d)."""

    def __init__(self, trunk_width: int, hidden: int, d: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm1d(trunk_width, affine=False),
            nn.Linear(trunk_width, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, d),
        )

    def forward(self, pooled: Tensor) -> Tensor:
        return F.normalize(self.layers(pooled), dim=1)


class MemoryAugmentedHead(Head):
    """Its head's vector, and beside it, of equal length, the molecule's `SimilarityHead` vector."""

    def __init__(self, head: nn.Module, similarity: SimilarityHead) -> None:
        super().__init__()
        self.head, self.similarity = cast("Head", head), similarity

    def node_stage(self, states: Sequence[Tensor], pooled: Tensor, batch: Any) -> tuple[Tensor, ...]:
        return self.head.node_stage(states, pooled, batch)

    def graph_stage(self, nodes: tuple[Tensor, ...], pooled: Tensor, tower: nn.Module) -> Tensor:
        own = self.head.graph_stage(nodes, pooled, tower)
        return F.normalize(torch.cat([own, self.similarity(pooled)], dim=1), dim=1)
