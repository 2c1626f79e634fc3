"""The tower of unit-resolution spectra, and a graph side that predicts such a spectrum and embeds it with
that tower."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acml_search.chem.masses import atom_masses
from acml_search.ms.peaks import nominal
from acml_search.networks.heads import Head
from acml_search.networks.trunk import TensorBatch

ISOTOPES = 3  # nominal masses above the molecule's own at which its isotopes show
LOUDNESS = 3.0  # length of the vector of lines
ABOVE = 4.0  # how quickly intensity above a peak makes it unlikely as the spectrum's end


class LineTower(nn.Module):
    """Residual network over a spectrum laid out by nominal mass.

    It sees the root intensities by m/z (up to `masses`), by distance from the peaks that may be the
    spectrum's end, and by distance between any two peaks (both up to `losses`): the last is what
    stays when the molecular ion is not seen. All three are smooth in the intensities, so that a predicted
    spectrum can be embedded and the prediction learned from the result.

    `forward`: tensors of a `PeakBatch` -> (n, width) float32.
    """

    def __init__(
        self,
        width: int,
        hidden: int,
        layers: int,
        dropout: float = 0.15,
        masses: int = 700,
        losses: int = 160,
    ) -> None:
        super().__init__()
        self.masses, self.losses = masses, losses
        self.dropout = nn.Dropout(dropout)
        self.into = nn.Linear(masses + 2 * losses, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(width),
                nn.Linear(width, hidden),
                nn.ReLU(),
                nn.Dropout(dropout),
                nn.Linear(hidden, width),
            )
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.width, self.n_lines = width, masses

    def forward(self, batch: Any) -> Tensor:
        return self.embed(self.lines(batch))

    def lines(self, batch: Any) -> Tensor:
        """Root intensities by nominal mass: (n, masses)."""
        places = batch.mzs.round().long()
        there = (places > 0) & (places < self.masses)
        laid = batch.intensities.new_zeros(len(places), self.masses)
        return laid.scatter_add_(1, places.where(there, 0), batch.intensities * there)

    def embed(self, lines: Tensor) -> Tensor:
        """Vectors of spectra laid out: (n, masses) -> (n, width)."""
        lines = LOUDNESS * F.normalize(lines, dim=1)
        span = 2 * self.masses  # long enough that nothing wraps round
        spectrum = torch.fft.rfft(lines, n=span)
        apart = torch.fft.irfft(spectrum.abs().square(), n=span)[:, : self.losses]
        apart = apart / apart[:, :1].clamp(min=1e-6)
        at_or_above = lines.flip(1).cumsum(dim=1).flip(1)
        ends = torch.fft.rfft(torch.exp(-ABOVE * at_or_above) * lines, n=span)
        lost = torch.fft.irfft(ends * spectrum.conj(), n=span)[:, : self.losses]
        x = self.into(self.dropout(torch.cat([lines, lost, apart], dim=1)))
        for block in self.blocks:
            x = x + block(x)
        out: Tensor = self.norm(x)
        return out


class LineHead(Head):
    """Graph side by way of a predicted spectrum: intensities by mass and by loss from the molecule's mass,
    and a gate between the two (bidirectional prediction of NEIMS, Wei et al. 2019), through the same frozen
    tower and the same projection as a measured spectrum.

    Of the graphs it reads the nominal masses only; the rest comes from the pooled trunk.
    """

    def __init__(self, trunk_width: int, tower: nn.Module, hidden: int = 512) -> None:
        super().__init__()
        self.masses = cast("LineTower", tower.encoder).masses
        self.layers = nn.Sequential(
            nn.Linear(trunk_width, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU()
        )
        self.by_mass, self.by_loss = nn.Linear(hidden, self.masses), nn.Linear(hidden, self.masses)
        self.gate = nn.Linear(hidden, self.masses)
        for layer in (self.by_mass, self.by_loss):
            nn.init.constant_(layer.bias, -3.0)  # most lines are empty

    def taken(self, states: Sequence[Tensor], pooled: Tensor, batch: TensorBatch) -> tuple[Tensor, ...]:
        return (nominal_masses(batch),)

    def made(self, taken: tuple[Tensor, ...], pooled: Tensor, tower: nn.Module) -> Tensor:
        (masses,) = taken
        return self.embed(self._lines(pooled, masses), tower)

    @staticmethod
    def embed(lines: Tensor, tower: nn.Module) -> Tensor:
        """Unit vectors (b, d) of predicted lines."""
        encoder, projection = cast("LineTower", tower.encoder), cast("nn.Module", tower.projection)
        vectors: Tensor = projection(encoder.embed(lines))
        return vectors

    def lines(self, pooled: Tensor, batch: TensorBatch) -> Tensor:
        """Predicted root intensities by nominal mass, none above the molecule's isotopes: (b, masses)."""
        return self._lines(pooled, nominal_masses(batch))

    def _lines(self, pooled: Tensor, masses: Tensor) -> Tensor:
        hidden = self.layers(pooled)
        loss = masses[:, None] + ISOTOPES - torch.arange(self.masses)
        possible = (loss >= 0) & (loss < self.masses)
        by_loss = self.by_loss(hidden).gather(1, loss.clamp(0, self.masses - 1))
        share = torch.sigmoid(self.gate(hidden))
        return F.softplus(share * self.by_mass(hidden) + (1 - share) * by_loss) * possible


def nominal_masses(batch: TensorBatch) -> Tensor:
    """(b,) int64, the mass of each molecule as a unit-resolution spectrum would give it."""
    nodes = batch.nodes.numpy()
    masses = atom_masses(nodes[:, 0], nodes[:, 3])
    totals = np.bincount(batch.graph_of.numpy(), masses, minlength=len(batch.sizes))
    return torch.from_numpy(nominal(totals))
