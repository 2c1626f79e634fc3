"""The encoder of tandem mass spectra."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acml_search.chem.masses import PROTON

LONGEST, SHORTEST = 2000.0, 0.004  # Da, periods of the Fourier features
BIN, BINS = 0.02, 4093
"""Da of a bin, and how many: a prime, so that what wraps round falls apart"""
KERNEL_SCALE = 8.0  # brings the kernel part to the size of the rest


class Fourier(nn.Module):
    """Sine and cosine of a mass at periods from `LONGEST` to `SHORTEST` Da, evenly spaced in their logarithm:
    (...,) -> (..., 2 n)."""

    def __init__(self, n: int) -> None:
        super().__init__()
        periods = torch.logspace(math.log10(LONGEST), math.log10(SHORTEST), n, dtype=torch.float64)
        self.rates: Tensor
        self.register_buffer("rates", (2 * math.pi / periods).float(), persistent=False)

    def forward(self, mass: Tensor) -> Tensor:
        phase = mass.unsqueeze(-1) * self.rates
        return torch.cat([phase.sin(), phase.cos()], dim=-1)


class AttentionBlock(nn.Module):
    """Pre-norm transformer block over a set."""

    def __init__(self, width: int, hidden: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, width)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor, bias: Tensor) -> Tensor:
        """x: (T, width), the T members of n sets. mask: (n, p) bool, True for members. bias: (n, 1, 1, p)
        float, -inf for padding. Only attention sees the padding.
        """
        spread = x.new_zeros(*mask.shape, 3 * x.shape[1])
        spread[mask] = self.qkv(self.norm1(x))
        q, k, v = spread.view(*mask.shape, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        x = x + self.dropout(self.out(mixed.transpose(1, 2).flatten(2)[mask]))
        return x + self.dropout(self.mlp(self.norm2(x)))


class MassKernel(nn.Module):
    """Random Fourier features of masses (Rahimi and Recht 2007): the inner product of two weighted sets
    counts the masses they share to within a few mDa, and more loosely to within 0.05 and 0.4 Da.

    The rates are drawn once, from `seed`, and kept with the weights.
    """

    def __init__(self, n: int, spreads: Sequence[float] = (0.006, 0.006, 0.05, 0.4), seed: int = 7) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        spread = torch.tensor([spreads[i % len(spreads)] for i in range(n)])
        self.rates: Tensor
        self.register_buffer("rates", torch.randn(n, generator=generator) / spread)

    def forward(self, mass: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine and sine, each (..., n)."""
        phase = mass.unsqueeze(-1) * self.rates
        return phase.cos(), phase.sin()


class PeakTower(nn.Module):
    """Set transformer over the peaks of a mass spectrum.

    A peak is its m/z and the neutral loss that leads to it as Fourier features, and its intensity; a further
    token stands for the precursor and how it was measured. The vector is that token, the mean peak, and
    (`kernel` > 0) the kernel features of the spectrum, each peak weighted by a learned gate.

    `forward`: tensors of a `PeakBatch` -> (n, 2 * width + 2 * kernel) float32.
    """

    def __init__(
        self,
        tokens: Sequence[int],
        width: int,
        hidden: int,
        layers: int,
        heads: int = 4,
        dropout: float = 0.1,
        waves: int = 40,
        kernel: int = 128,
        charged: bool = True,
    ) -> None:
        super().__init__()
        self.fourier = Fourier(waves)
        self.peaks = nn.Sequential(
            nn.Linear(4 * waves + 3, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, width)
        )
        self.ion = nn.Linear(2 * waves + 3, width)
        self.tokens = nn.ModuleList(nn.Embedding(n, width) for n in tokens)
        self.blocks = nn.ModuleList(AttentionBlock(width, hidden, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(2 * width)
        self.charged = charged
        self.kernel = MassKernel(kernel) if kernel else None
        self.gate = nn.Linear(width, 1)
        self.direct = 2 * width
        self.width = 2 * width + 2 * kernel
        self.n_bins = 2 * BINS

    def binned(self, batch: Any) -> Tensor:
        """Root intensities by m/z and by neutral loss, each peak shared by the two bins it lies between:
        (n, 2 * BINS)."""
        mask = batch.mzs > 0
        known = (batch.precursor > 0)[:, None] & mask
        loss = batch.precursor[:, None] - batch.mzs
        binned = batch.mzs.new_zeros(len(mask), 2 * BINS)
        for masses, counted, first in ((batch.mzs, mask, 0), (loss, known & (loss >= 0), BINS)):
            place = masses.clamp(min=0) / BIN
            left = place.floor()
            for bins, share in ((left, 1 - (place - left)), (left + 1, place - left)):
                binned.scatter_add_(1, first + bins.long() % BINS, batch.intensities * share * counted)
        return binned

    def forward(self, batch: Any) -> Tensor:
        mask = batch.mzs > 0
        sample = torch.arange(len(mask), device=mask.device).repeat_interleave(mask.sum(dim=1))
        mzs, intensities, precursor = batch.mzs[mask], batch.intensities[mask], batch.precursor
        known = (precursor > 0).to(mzs.dtype)
        loss = (precursor[sample] - mzs) * known[sample]
        scalars = torch.stack([intensities, intensities.square(), known[sample]], dim=-1)
        peaks = self.peaks(torch.cat([self.fourier(mzs), self.fourier(loss), scalars], dim=-1))
        energy = torch.stack([batch.energy / 50, (batch.energy + 1).log() / 4, known], dim=-1)
        ion = self.ion(torch.cat([self.fourier(precursor), energy], dim=-1))
        for column, embed in enumerate(self.tokens):
            ion = ion + embed(batch.tokens[:, column])
        # The ion stands first in each set, its peaks after it.
        mask = F.pad(mask, (1, 0), value=True)
        is_ion = torch.zeros_like(mask)
        is_ion[:, 0] = True
        is_ion = is_ion[mask]
        x = peaks.new_empty(len(is_ion), peaks.shape[1])
        x[is_ion], x[~is_ion] = ion, peaks
        bias = x.new_zeros(mask.shape).masked_fill_(~mask, -torch.inf)[:, None, None]
        for block in self.blocks:
            x = block(x, mask, bias)
        ion, peaks = x[is_ion], x[~is_ion]
        share = intensities / _sum_by_set(intensities, sample, len(mask))[sample]
        out = self.norm(torch.cat([ion, _sum_by_set(share[:, None] * peaks, sample, len(mask))], dim=1))
        if self.kernel is None:
            return out
        weights = F.softplus(self.gate(peaks)) * intensities[:, None]
        if self.charged:  # positive ions carry a proton more than the neutral fragment, negative ones less
            mzs = mzs - PROTON * (1.0 - 2.0 * (batch.tokens[:, 1] == 2).to(mzs.dtype))[sample]
        cosines, sines = self.kernel(mzs)
        seen = _sum_by_set(weights * torch.cat([cosines, sines], dim=1), sample, len(mask))
        return torch.cat([out, KERNEL_SCALE * F.normalize(seen, dim=1)], dim=1)


def _sum_by_set(x: Tensor, of: Tensor, n: int) -> Tensor:
    """Sum of the rows of `x` that belong to each of `n` sets."""
    return x.new_zeros(n, *x.shape[1:]).index_add(0, of, x)
