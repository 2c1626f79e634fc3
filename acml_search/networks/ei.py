"""Electron-ionisation spectra: their encoder, and a graph side that predicts a spectrum and embeds it with
that encoder."""

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

ISOTOPES = 3  # nominal masses above the molecule's own at which its isotopes show
INPUT_LENGTH = 3.0  # length of the vector of binned intensities
DECAY_ABOVE = 4.0  # how quickly intensity above a peak makes it unlikely as the spectrum's end


class EISpectrumEncoder(nn.Module):
    """Residual network over a spectrum binned by nominal mass.

    Its input: the root intensities by m/z (up to `masses`), by distance from the peaks that may be the
    molecular ion, and by distance between any two peaks (both up to `losses`; the autocorrelation is what
    stays when the molecular ion is absent). All three are smooth in the intensities, so that a predicted
    spectrum can be embedded and the prediction learned from the result.

    `forward`: tensors of a `PeakBatch` -> (n, width).
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
        self.width, self.n_bins = width, masses

    def forward(self, batch: Any) -> Tensor:
        return self.embed(self.binned(batch))

    def binned(self, batch: Any) -> Tensor:
        """Root intensities by nominal mass: (n, masses)."""
        places = batch.mzs.round().long()
        inside = (places > 0) & (places < self.masses)
        bins = batch.intensities.new_zeros(len(places), self.masses)
        return bins.scatter_add_(1, places.where(inside, 0), batch.intensities * inside)

    def embed(self, binned: Tensor) -> Tensor:
        """Vectors of binned spectra: (n, masses) -> (n, width)."""
        binned = INPUT_LENGTH * F.normalize(binned, dim=1)
        span = 2 * self.masses  # long enough that nothing wraps round
        spectrum = torch.fft.rfft(binned, n=span)
        distances = torch.fft.irfft(spectrum.abs().square(), n=span)[:, : self.losses]
        distances = distances / distances[:, :1].clamp(min=1e-6)
        at_or_above = binned.flip(1).cumsum(dim=1).flip(1)
        ends = torch.fft.rfft(torch.exp(-DECAY_ABOVE * at_or_above) * binned, n=span)
        losses = torch.fft.irfft(ends * spectrum.conj(), n=span)[:, : self.losses]
        x = self.into(self.dropout(torch.cat([binned, losses, distances], dim=1)))
        for block in self.blocks:
            x = x + block(x)
        out: Tensor = self.norm(x)
        return out


class SpectrumPredictor(Head):
    """Graph side by way of a predicted spectrum: intensities by mass and by loss from the molecule's mass,
    and a gate between the two (bidirectional prediction of NEIMS, Wei et al. 2019), through the same frozen
    encoder and projection as a measured spectrum.

    Of the graphs it reads the nominal masses only; the rest comes from the pooled trunk.
    """

    def __init__(self, trunk_width: int, tower: nn.Module, hidden: int = 512) -> None:
        super().__init__()
        self.masses = cast("EISpectrumEncoder", tower.encoder).masses
        self.layers = nn.Sequential(
            nn.Linear(trunk_width, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU()
        )
        self.by_mass, self.by_loss = nn.Linear(hidden, self.masses), nn.Linear(hidden, self.masses)
        self.gate = nn.Linear(hidden, self.masses)
        for layer in (self.by_mass, self.by_loss):
            nn.init.constant_(layer.bias, -3.0)  # most bins are empty

    def node_stage(self, states: Sequence[Tensor], pooled: Tensor, batch: Any) -> tuple[Tensor, ...]:
        return (nominal_masses(batch),)

    def graph_stage(self, nodes: tuple[Tensor, ...], pooled: Tensor, tower: nn.Module) -> Tensor:
        return self.embed(self.spectrum(pooled, *nodes), tower)

    @staticmethod
    def embed(binned: Tensor, tower: nn.Module) -> Tensor:
        """Unit vectors (b, d) of predicted spectra (b, masses)."""
        encoder, projection = cast("EISpectrumEncoder", tower.encoder), cast("nn.Module", tower.projection)
        vectors: Tensor = projection(encoder.embed(binned))
        return vectors

    def binned(self, pooled: Tensor, batch: Any) -> Tensor:
        """Predicted root intensities of a batch's molecules by nominal mass: (b, masses)."""
        return self.spectrum(pooled, nominal_masses(batch))

    def spectrum(self, pooled: Tensor, masses: Tensor) -> Tensor:
        """As `binned`, of molecules of nominal masses (b,). Nothing above the molecule's isotopes."""
        hidden = self.layers(pooled)
        loss = masses[:, None] + ISOTOPES - torch.arange(self.masses, device=masses.device)
        possible = (loss >= 0) & (loss < self.masses)
        by_loss = self.by_loss(hidden).gather(1, loss.clamp(0, self.masses - 1))
        share = torch.sigmoid(self.gate(hidden))
        return F.softplus(share * self.by_mass(hidden) + (1 - share) * by_loss) * possible


def nominal_masses(batch: Any) -> Tensor:
    """(b,) int64, the mass of each molecule as a unit-resolution spectrum would give it."""
    elements, hydrogens = batch.x[:, 0].cpu().numpy(), batch.x[:, 3].cpu().numpy()
    totals = np.bincount(
        batch.batch.cpu().numpy(), atom_masses(elements, hydrogens), minlength=len(batch.ptr) - 1
    )
    return torch.from_numpy(nominal(totals)).to(batch.x.device)
