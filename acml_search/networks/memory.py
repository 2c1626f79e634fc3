"""What molecules with spectra like this one look like: library search inside a tower.

A network that has learned from a few thousand spectra finds little in molecules unlike these; the nearest
training spectra say more, for they belong to molecules of one family. A memory keeps a short key of every
training record and a vector of each molecule that one was measured of. Asked with a record, it gives the
vectors of the molecules behind the nearest keys, added up by likeness (neural nearest neighbours: Plötz and
Roth 2018; spectra as a way to analogues: Moorthy et al. 2017), and beside them a guess that is made from the
key alone. The graph side tells how much alike molecules are, in the same space (`Kin`). A space puts both
beside what it has of its own, so that one inner product adds the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acml_search.networks.heads import Head
from acml_search.networks.trunk import TensorBatch

_DROPOUT = 0.2
"""of the guess's hidden units: it has a few thousand molecules to learn from"""


class Laid(Protocol):
    """An encoder whose records can be laid out plainly, as a memory is asked by them."""

    n_lines: int

    def lines(self, batch: object) -> Tensor:
        """(n, n_lines): records that have much in common have a large inner product."""


class Memory(nn.Module):
    """Keys of length `key` of `records` records, and vectors of length `d` of the `molecules` they were
    measured of; the `nearest` records answer. `guess`: hidden units of what answers without them.

    A neighbour counts by a power of its cosine, less that of the first one that is left out: which ones are
    near may then change without a leap.
    """

    def __init__(
        self, n_lines: int, records: int, molecules: int, key: int, d: int, nearest: int, guess: int
    ) -> None:
        super().__init__()
        self.nearest = nearest
        self.key = nn.Linear(n_lines, key, bias=False)
        self.power = nn.Parameter(torch.tensor(4.0))
        self.guess = nn.Sequential(
            nn.Linear(key, guess), nn.ReLU(), nn.Dropout(_DROPOUT), nn.Linear(guess, d)
        )
        self.trust = nn.Parameter(torch.tensor(0.3))  # length of the guess
        self.keys: Tensor
        self.molecule: Tensor
        self.values: Tensor
        self.balance: Tensor
        self.register_buffer("keys", torch.zeros(records, key))
        self.register_buffer("molecule", torch.zeros(records, dtype=torch.int64))
        """which row of `values` a record belongs to"""
        self.register_buffer("values", torch.zeros(molecules, d))
        self.register_buffer("balance", torch.tensor(1.0))
        """length of what a space says of its own, where a neighbour that is alike in all counts 1"""

    def asked(self, lines: Tensor) -> Tensor:
        """Keys of unit length: (n, n_lines) -> (n, key)."""
        return F.normalize(self.key(lines), dim=1)

    def counted(self, cosines: Tensor) -> tuple[Tensor, Tensor]:
        """What the nearest count, and which they are, of cosines (n, records): (n, nearest) each."""
        top, which = cosines.topk(self.nearest + 1, dim=1)
        power = top.clamp(min=1e-3) ** self.power
        return power[:, :-1] - power[:, -1:], which[:, :-1]

    def answer(self, asked: Tensor, counts: Tensor, neighbours: Tensor) -> Tensor:
        """The neighbours' vectors (n, nearest, d) added up, and the guess: (n, d)."""
        return (counts[:, :, None] * neighbours).sum(dim=1) + self.trust * F.normalize(
            self.guess(asked), dim=1
        )

    def forward(self, lines: Tensor) -> Tensor:
        """What molecules with records like these look like: (n, n_lines) -> (n, d)."""
        asked = self.asked(lines)
        counts, which = self.counted(asked @ self.keys.T)
        return self.answer(asked, counts, self.values[self.molecule[which]])

    def beside(self, vectors: Tensor, lines: Tensor) -> Tensor:
        """Unit vectors (n, own + d): what the space says of its own, (n, own), and what is remembered."""
        return F.normalize(torch.cat([self.balance * vectors, self(lines)], dim=1), dim=1)


class Kin(nn.Module):
    """Unit vectors of molecules, whose inner products say how much alike these are: (n, width) -> (n, d)."""

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


class RememberingHead(Head):
    """The graph side of a space with a memory: the head it had, and beside it, as long, the molecule's
    `Kin`.
    """

    def __init__(self, head: nn.Module, kin: Kin) -> None:
        super().__init__()
        self.head, self.kin = cast("Head", head), kin

    def taken(self, states: Sequence[Tensor], pooled: Tensor, batch: TensorBatch) -> tuple[Tensor, ...]:
        return self.head.taken(states, pooled, batch)

    def made(self, taken: tuple[Tensor, ...], pooled: Tensor, tower: nn.Module) -> Tensor:
        own = self.head.made(taken, pooled, tower)
        return F.normalize(torch.cat([own, self.kin(pooled)], dim=1), dim=1)
