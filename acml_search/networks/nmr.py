"""NMR peak lists: the encoder of a set of shifts, and the graph side that predicts the set first.

A peak list is embedded by a learned curve phi through the ppm axis: the sum of phi over the peaks, then an
MLP (deep sets, Zaheer et al. 2017). The curve is kept as a table, read by linear interpolation, so that a
peak costs a look-up whatever the width. A *predicted* peak is a distribution, not a point: the table is also
kept blurred to several widths, and the expected phi of a peak of spread s is read between two of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acml_search.networks.heads import Head

ELEMENT, HYDROGENS = 0, 3  # columns of a graph's atoms
CARBON = 6
BLURS = 4
"""blurred copies of the table, of 1, 2, 4 and 8 times the tower's `blur`"""


class ShiftBatch(NamedTuple):
    """Peak lists end to end: b spectra, P peaks."""

    positions: Tensor
    """(P,) float32, ppm"""
    spectrum_of: Tensor
    """(P,) int64"""
    sizes: Tensor
    """(b,) int64, peaks per spectrum"""


class Peaks(NamedTuple):
    """Predicted peaks of b molecules, an atom each: A atoms of the nucleus."""

    atoms: Tensor
    """(A,) int64, rows of the batch's nodes"""
    graph_of: Tensor
    """(A,) int64"""
    position: Tensor
    """(A,) float32, ppm"""
    spread: Tensor
    """(A,) float32, ppm: scale of a Laplace distribution"""
    present: Tensor
    """(A,) float32, logit that a spectrum lists the peak"""


class ShiftTower(nn.Module):
    """Peak list -> (n, width) float32. `low`, `high`, `step`, `blur` in ppm; positions outside are moved to
    the edge. `curve`: channels of phi; `hidden`: of the MLP after the sum.
    """

    def __init__(
        self, low: float, high: float, step: float, blur: float, curve: int, hidden: int, width: int
    ) -> None:
        super().__init__()
        self.low, self.step, self.blur = low, step, blur
        self.n_grid = round((high - low) / step) + 1
        grid = low + step * torch.arange(self.n_grid)
        bumps = []
        for scale in (blur, 4 * blur, 16 * blur):
            centres = torch.arange(low, high + scale, scale)
            bumps.append(torch.exp(-0.5 * ((grid[:, None] - centres[None, :]) / scale) ** 2))
        self.features: Tensor
        self.register_buffer("features", torch.cat(bumps, dim=1), persistent=False)
        mixing = [torch.eye(self.n_grid)]
        for level in range(BLURS):
            weight = torch.exp(-0.5 * ((grid[:, None] - grid[None, :]) / (blur * 2**level)) ** 2)
            mixing.append(weight / weight.sum(dim=1, keepdim=True))
        self.mixing: Tensor
        self.register_buffer("mixing", torch.stack(mixing), persistent=False)
        self.phi = nn.Sequential(nn.Linear(self.features.shape[1], 256), nn.ReLU(), nn.Linear(256, curve))
        self.mlp = nn.Sequential(nn.Linear(curve + 1, hidden), nn.ReLU(), nn.Linear(hidden, width))
        self.width = width
        self._cached: Tensor | None = None

    def table(self) -> Tensor:
        """(1 + BLURS, n_grid, curve): phi over the grid, sharp and blurred. Cached while frozen."""
        if self._cached is not None:
            return self._cached
        table = self.mixing @ self.phi(self.features)
        learning = torch.is_grad_enabled() and table.requires_grad
        if not learning and not self.training:
            self._cached = table.detach().clone()
        return table

    def train(self, mode: bool = True) -> ShiftTower:
        """As in torch; the cached table is dropped, for the weights may change."""
        self._cached = None
        super().train(mode)
        return self

    def _apply(self, *arguments: Any, **named: Any) -> ShiftTower:
        self._cached = None  # it belongs to the device and precision that the weights leave
        return cast("ShiftTower", super()._apply(*arguments, **named))

    def forward(self, batch: ShiftBatch) -> Tensor:
        at, part = self._split(self._place(batch.positions))
        rows, weights = torch.stack([at, at + 1], dim=1), torch.stack([1 - part, part], dim=1)
        return self.finish(self._total(rows, weights, batch.sizes), batch.sizes.to(weights.dtype))

    def expected(self, position: Tensor, spread: Tensor, weight: Tensor, sizes: Tensor) -> Tensor:
        """Sum of the expected phi of predicted peaks: positions and spreads (A,) in ppm, weights (A,), peaks
        per molecule `sizes` (b,), molecule by molecule -> (b, curve).
        """
        ratio = spread / self.blur
        level = torch.where(ratio < 1, ratio, 1 + torch.log2(ratio.clamp(min=1))).clamp(max=BLURS - 1e-3)
        at, part = self._split(self._place(position))
        sheet = level.detach().floor().long()
        up = level - sheet
        first = sheet * self.n_grid + at
        second = first + self.n_grid
        rows = torch.stack([first, first + 1, second, second + 1], dim=1)
        low, high = weight * (1 - up), weight * up
        weights = torch.stack([low * (1 - part), low * part, high * (1 - part), high * part], dim=1)
        return self._total(rows, weights, sizes)

    def _total(self, rows: Tensor, weights: Tensor, sizes: Tensor) -> Tensor:
        """Weighted sum of rows of the flat table for each of b groups: rows, weights (P, k) -> (b, curve)."""
        table = self.table()
        starts = rows.shape[1] * (sizes.cumsum(0) - sizes)
        return F.embedding_bag(
            rows.reshape(-1),
            table.reshape(-1, table.shape[2]),
            starts,
            mode="sum",
            per_sample_weights=weights.reshape(-1),
        )

    def _split(self, place: Tensor) -> tuple[Tensor, Tensor]:
        """Grid point below, int64, and the share of the way to the next."""
        at = place.detach().floor().long().clamp(max=self.n_grid - 2)
        return at, place - at

    def finish(self, summed: Tensor, n_peaks: Tensor) -> Tensor:
        """MLP over the sum of phi (b, curve) of spectra with `n_peaks` (b,) peaks each."""
        n = n_peaks.unsqueeze(1)
        return self.mlp(torch.cat([summed / (4 + n).sqrt(), n / 20], dim=1))

    def _place(self, positions: Tensor) -> Tensor:
        return ((positions - self.low) / self.step).clamp(0, self.n_grid - 1)


class ShiftHead(Head):
    """Graph side of an NMR space: predict the peaks, then embed them as the tower embeds an observed list.

    `nucleus` "C": a peak per carbon; "H": a peak per atom that carries hydrogen. To the embedded peaks a
    direct projection of the pooled trunk is added.
    """

    def __init__(
        self,
        trunk_width: int,
        nucleus: str,
        hidden: int,
        d: int,
        centre: float,
        scale: float,
        direct: bool = True,
    ) -> None:
        super().__init__()
        self.nucleus, self.centre, self.scale = nucleus, centre, scale
        self.local = nn.Linear(trunk_width, hidden)
        self.context = nn.Linear(trunk_width, hidden, bias=False)
        self.out = nn.Linear(hidden, 3)
        self.direct: nn.Sequential | None = None
        if direct:
            last = nn.Linear(hidden, d)
            # Zero at first: this part learns what the predicted peaks do not explain.
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
            self.direct = nn.Sequential(nn.Linear(trunk_width, hidden), nn.ReLU(), last)

    def peaks(self, states: Sequence[Tensor], pooled: Tensor, batch: Any) -> Peaks:
        """The predicted peak of each atom of the nucleus."""
        chosen = (
            batch.x[:, ELEMENT] == CARBON if self.nucleus == "C" else batch.x[:, HYDROGENS] > 0
        ).nonzero()[:, 0]
        graph_of = batch.batch[chosen]
        # The pooled sum over sqrt(n), once more over sqrt(n), is the mean.
        mean = pooled / batch.ptr.diff().to(pooled.dtype).sqrt().unsqueeze(1)
        hidden = F.linear(mean, self.context.weight, self.local.bias).index_select(0, graph_of)
        # `local` of the layers side by side is a sum over layers; laying them so would cost a fifth of it.
        parts = self.local.weight.split([state.shape[1] for state in states], dim=1)
        for state, part in zip(states, parts, strict=True):
            hidden.addmm_(state.index_select(0, chosen), part.t())
        position, spread, present = self.out(hidden.relu_()).unbind(1)
        return Peaks(
            atoms=chosen,
            graph_of=graph_of,
            position=self.centre + self.scale * position,
            spread=self.scale / 20 * F.softplus(spread) + self.scale / 200,
            present=present + 2,
        )

    def node_stage(self, states: Sequence[Tensor], pooled: Tensor, batch: Any) -> tuple[Tensor, ...]:
        peaks = self.peaks(states, pooled, batch)
        sizes = torch.bincount(peaks.graph_of, minlength=len(pooled))
        return peaks.position, peaks.spread, peaks.present, sizes

    def graph_stage(self, nodes: tuple[Tensor, ...], pooled: Tensor, tower: nn.Module) -> Tensor:
        position, spread, present, sizes = nodes
        atoms = torch.arange(len(position), device=position.device)
        graph_of = torch.arange(len(sizes), device=position.device).repeat_interleave(sizes)
        return self.embed(Peaks(atoms, graph_of, position, spread, present), pooled, tower)

    def embed(self, peaks: Peaks, pooled: Tensor, tower: nn.Module) -> Tensor:
        """(b, d) unit vectors of predicted peaks through the space's tower, and the direct part."""
        shown = tower.projection.layers(  # type: ignore[union-attr, operator]
            expected_features(peaks, len(pooled), cast("ShiftTower", tower.encoder), self.scale / 400)
        )
        return F.normalize(shown if self.direct is None else shown + self.direct(pooled), dim=1)


def expected_features(peaks: Peaks, n_graphs: int, encoder: ShiftTower, width: float) -> Tensor:
    """Features (n_graphs, encoder.width) of predicted peaks; those within about `width` ppm count as one."""
    weight = torch.sigmoid(peaks.present) / coincident_peaks(peaks, width)
    sizes = torch.bincount(peaks.graph_of, minlength=n_graphs)
    summed = encoder.expected(peaks.position, peaks.spread, weight, sizes)
    n_peaks = weight.new_zeros(n_graphs).index_add(0, peaks.graph_of, weight)
    return encoder.finish(summed, n_peaks)


def coincident_peaks(peaks: Peaks, width: float, reach: int = 5) -> Tensor:
    """How many of a molecule's peaks coincide with each one, itself included: (A,) >= 1.

    A spectrum shows equivalent atoms once. Smooth in the distance (Gaussian of `width` ppm), so that the
    vector does not depend on rounding; no gradient. Counts up to `reach` neighbours on either side.
    """
    with torch.no_grad():
        # In double, so that molecules far apart on one axis leave the positions as they are; MPS has none.
        device = peaks.position.device
        wide = "cpu" if device.type == "mps" else device
        key, order = (peaks.graph_of.to(wide).double() * 1e6 + peaks.position.to(wide).double()).sort()
        # The padding holds a window too many: there may be no peaks at all.
        beside = F.pad(key, (reach, reach + 1), value=torch.inf).unfold(0, 2 * reach + 1, 1)
        apart = (beside[: len(key)] - key.unsqueeze(1)).to(peaks.position.dtype) / width
        count = torch.exp(-apart.square()).sum(dim=1)
        return torch.empty_like(count).index_copy_(0, order, count).to(device)
