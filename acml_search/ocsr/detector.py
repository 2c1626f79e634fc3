"""The networks that read a picture of a structure: atoms as points, bonds as pairs of points.

All pictures are brought to bonds of 32 pixels first; a smaller network estimates how long bonds are. A fully
convolutional network gives a map of features, four cells to a bond. One layer marks where atoms are (centres
as points: Zhou et al. 2019); the symbol of an atom is read from the features around its point and from the
pixels there, and the bond between two near points, if any, from the features along the line between them.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acml_search.networks import placement
from acml_search.ocsr.assemble import MAX_CHARGE, MAX_HYDROGENS, SYMBOLS
from acml_search.ocsr.hypotheses import MIN_ATOM_PROBABILITY, NO_DETECTIONS, Detections

BOND = 16.0
"""a bond in the unit of all positions"""
SHARP = 2
"""pixels of the input pictures per such unit"""
STRIDE = 4
REACH = 2.6
"""bonds of up to this many times the usual length are looked for"""
MARGIN = 8
"""units of white around a picture: positions are counted from its edge"""
ORDERS = 6
"""no bond, single, double, triple, aromatic, other"""
WEDGES = 6
"""plain, solid wedge with its narrow end at the first atom, at the second, hashed likewise, wavy"""
MAX_ATOMS = 300
_BESIDE = 0.4
"""probability from which a cell beside a likelier one may be another atom; chosen on scans"""
ESTIMATOR_SIDE = 144.0
"""side of a square of the area that the bond-length estimator reads a picture at"""
_WINDOW = (64, 96)
_ALONG = (0.0, 0.25, 0.5, 0.75, 1.0)
_AROUND = ((0.0, 0.0), (-7.0, 0.0), (7.0, 0.0))


def _layer(i: int, o: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU(inplace=True))


def _instance_layer(i: int, o: int, stride: int = 1) -> nn.Sequential:
    """As `_layer`, normalised over each picture alone."""
    return nn.Sequential(
        nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.InstanceNorm2d(o, affine=True), nn.ReLU(inplace=True)
    )


class _Residual(nn.Module):
    """Two convolutions, and the input added. Initially the identity on what is not negative, so that a
    network that is given more blocks goes on from where it was.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _layer(channels, channels)
        norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(norm.weight)
        self.second = nn.Sequential(nn.Conv2d(channels, channels, 3, 1, 1, bias=False), norm)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(self.first(x)))


class Detector(nn.Module):
    """Feature map, atom points, and the classifiers of atoms and bonds.

    fine, coarse: channels of a map with cells of four units and of one with cells of eight. blocks: residual
    blocks on the coarse one. refine: of them on the fine one after both are merged.
    """

    def __init__(self, fine: int = 64, coarse: int = 128, blocks: int = 2, refine: int = 1) -> None:
        super().__init__()
        cell = STRIDE * SHARP
        n_counts = MAX_HYDROGENS + 1 + 2 * MAX_CHARGE + 1
        self.stem = nn.Sequential(nn.PixelUnshuffle(cell), _layer(cell * cell, fine), _layer(fine, fine))
        self.down = nn.Sequential(_layer(fine, coarse, 2), *(_Residual(coarse) for _ in range(blocks)))
        self.up = nn.ConvTranspose2d(coarse, fine, 2, 2)
        self.merge = nn.Sequential(*_layer(fine, fine), *(_Residual(fine) for _ in range(refine)))
        self.points = nn.Conv2d(fine, 3, 1)  # logit of an atom, offset of its centre in x and y
        self.symbol = nn.Sequential(nn.Linear(3 * fine, 128), nn.ReLU(), nn.Linear(128, len(SYMBOLS)))
        self.extra = nn.Linear(3 * fine, n_counts)
        # Letters are small beside a cell of the map: they are read from the picture, centred on the atom.
        self.letters = nn.Sequential(
            _layer(1, 16, 2), _layer(16, 32, 2), _layer(32, 64),
            nn.Sequential(nn.MaxPool2d(2), _Residual(64)), _layer(64, 64),
            nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64 * (_WINDOW[0] // 16) * (_WINDOW[1] // 16), 128),
            nn.ReLU(), nn.Linear(128, len(SYMBOLS) + n_counts),
        )  # fmt: skip
        self.thin = nn.Linear(fine, 32)
        self.bond = nn.Sequential(
            nn.Linear(32 * len(_ALONG) + 1, 64),
            nn.ReLU(),
            nn.Linear(64, 64),
            nn.ReLU(),
            nn.Linear(64, ORDERS),
        )
        self.wedge: nn.Sequential | None = nn.Sequential(
            nn.Linear(32 * len(_ALONG) + 1, 64), nn.ReLU(), nn.Linear(64, 4)
        )
        with torch.no_grad():
            cast("Tensor", self.points.bias).copy_(torch.tensor([-4.0, 0.0, 0.0]))  # atoms are few

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        if not any(name.startswith(f"{prefix}wedge.") for name in state_dict):
            self.wedge = None  # weights from before wedges were told apart
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures (b, 1, H, W), ink 0 to 1, sides multiples of 16 -> features (b, H/8, W/8, c) and points
        (b, H/8, W/8, 3)."""
        with torch.autocast(pictures.device.type, torch.bfloat16):
            fine = self.stem(pictures.contiguous(memory_format=torch.channels_last))
            merged = self.merge(fine + self.up(self.down(fine)))
            points = self.points(merged)
        return merged.permute(0, 2, 3, 1).to(pictures.dtype), points.permute(0, 2, 3, 1).to(pictures.dtype)

    def letter_logits(self, pictures: Tensor, picture: Tensor, xy: Tensor) -> Tensor:
        """Logits of symbol, hydrogens and charge, side by side, from the pixels around points alone."""
        with torch.autocast(pictures.device.type, torch.bfloat16):
            near = windows(pictures, picture, xy * SHARP).contiguous(memory_format=torch.channels_last)
            logits: Tensor = self.letters(near)
        return logits.to(pictures.dtype)

    def atoms(
        self, features: Tensor, picture: Tensor, xy: Tensor, letters: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of symbol, hydrogens and charge of points: `picture` (n,) int64, `xy` (n, 2), `letters` from
        `letter_logits`.
        """
        around = torch.cat([sample(features, picture, xy + xy.new_tensor(step)) for step in _AROUND], dim=1)
        both = torch.cat([self.symbol(around), self.extra(around)], dim=1) + letters
        symbol, hydrogens, charge = both.split([len(SYMBOLS), MAX_HYDROGENS + 1, 2 * MAX_CHARGE + 1], dim=1)
        return symbol, hydrogens, charge

    def bonds(
        self, features: Tensor, picture: Tensor, start: Tensor, end: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Logits of the order (m, 6) of pairs of points, the same for either direction, and of what is drawn
        (m, 6), see `WEDGES`; None without weights for it.
        """
        thin = self.thin(features)
        steps = torch.cat([sample(thin, picture, start + (end - start) * t) for t in _ALONG], dim=1)
        back = steps.view(len(steps), len(_ALONG), thin.shape[3]).flip(1).reshape(steps.shape)
        length = (end - start).norm(dim=1, keepdim=True) / BOND
        ways = torch.cat([steps, length], 1), torch.cat([back, length], 1)
        orders: Tensor = self.bond(ways[0]) + self.bond(ways[1])
        if self.wedge is None:
            return orders, None
        ahead, behind = (self.wedge(way) for way in ways)
        wedges = [ahead[:, 0] + behind[:, 0], ahead[:, 1], behind[:, 1], ahead[:, 2], behind[:, 2]]
        return orders, torch.stack([*wedges, ahead[:, 3] + behind[:, 3]], dim=1)


class BondLengthEstimator(nn.Module):
    """Estimates the length of bonds in pictures of about 144 x 144 pixels.

    (b, 1, H, W), sides multiples of 8 -> (b, H/8, W/8) the logarithm of the bond length over 8 pixels, and
    (b, H/8, W/8) the logit of each place's weight.
    """

    def __init__(self, channels: int = 48) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.PixelUnshuffle(2),
            _instance_layer(4, 24, 2),
            _instance_layer(24, channels),
            _instance_layer(channels, channels, 2),
            _instance_layer(channels, channels),
            _instance_layer(channels, channels),
            nn.Conv2d(channels, 2, 1),
        )

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(pictures.device.type, torch.bfloat16):
            out = self.layers(pictures.contiguous(memory_format=torch.channels_last))
        return out[:, 0].to(pictures.dtype), out[:, 1].to(pictures.dtype)


def log_bond_length(length: Tensor, weight: Tensor) -> Tensor:
    """Logarithm of one picture's bond length over 8 pixels, from the estimator's two maps of it."""
    return (length.flatten() * weight.flatten().softmax(0)).sum()


def sample(features: Tensor, picture: Tensor, xy: Tensor) -> Tensor:
    """Features (b, h, w, c) at points, interpolated between the centres of cells: (n, c)."""
    _, h, w, c = features.shape
    at = xy / STRIDE - 0.5
    x = at[:, 0].clamp(0, w - 1.001)
    y = at[:, 1].clamp(0, h - 1.001)
    left, top = x.floor().long(), y.floor().long()
    right, bottom = (left + 1).clamp(max=w - 1), (top + 1).clamp(max=h - 1)
    fx, fy = (x - left).unsqueeze(1), (y - top).unsqueeze(1)
    flat = features.reshape(-1, c)
    row, under = (picture * h + top) * w, (picture * h + bottom) * w
    above = flat[row + left] * (1 - fx) + flat[row + right] * fx
    below = flat[under + left] * (1 - fx) + flat[under + right] * fx
    return above * (1 - fy) + below * fy


def windows(pictures: Tensor, picture: Tensor, xy: Tensor) -> Tensor:
    """Crops of the pictures around points in pixels: (n, 1, 64, 96)."""
    h, w = _WINDOW
    wide = F.pad(pictures[:, 0], (w // 2, w // 2, h // 2, h // 2))
    at = xy.round().long()
    down, across = torch.arange(h, device=at.device), torch.arange(w, device=at.device)
    rows = at[:, 1].clamp(0, pictures.shape[2]).view(-1, 1, 1) + down.view(1, -1, 1)
    columns = at[:, 0].clamp(0, pictures.shape[3]).view(-1, 1, 1) + across.view(1, 1, -1)
    return wide[picture.view(-1, 1, 1), rows, columns].unsqueeze(1)


def atom_points(points: Tensor, threshold: float = MIN_ATOM_PROBABILITY) -> tuple[np.ndarray, np.ndarray]:
    """Atom centres (n, 2) float32 from the points (h, w, 3) of one picture, and their probabilities (n,), the
    highest first.
    """
    probability = points[:, :, 0].sigmoid()
    top = F.max_pool2d(probability[None, None], 3, 1, 1)[0, 0]
    # Two atoms may be in cells side by side: where two rings nearly touch, say.
    atoms = (probability >= threshold) & ((probability == top) | (probability >= _BESIDE))
    rows, columns = torch.nonzero(atoms, as_tuple=True)
    offset = points[rows, columns, 1:]
    xy = (torch.stack([columns, rows], dim=1) + 0.5 + offset) * STRIDE
    order = torch.argsort(probability[rows, columns], descending=True)[:MAX_ATOMS]
    xy, probability = xy[order], probability[rows, columns][order]
    if len(xy) > 1:
        # Two peaks nearer than a quarter of a bond are one atom; the more certain one stays.
        near = torch.cdist(xy, xy) < BOND / 4
        first = near.float().argmax(dim=1) == torch.arange(len(xy), device=xy.device)
        xy, probability = xy[first], probability[first]
    return xy.float().cpu().numpy(), probability.float().cpu().numpy()


def near_pairs(xy: np.ndarray, reach: float = REACH * BOND) -> np.ndarray:
    """Pairs of points (m, 2) int64 that are no further apart than `reach`."""
    gaps = np.linalg.norm(xy[:, None] - xy[None, :], axis=2)
    first, second = np.nonzero(np.triu(gaps <= reach, 1))
    return np.stack([first, second], axis=1)


@torch.inference_mode()
def detect(network: Detector, ink: np.ndarray) -> Detections:
    """Atoms and bonds of one picture, ink (h, w) uint8 with bonds of about 32 pixels."""
    picture = padded(ink, margin=MARGIN * SHARP, multiple=8 * SHARP).to(*placement(network))
    features, points = network(picture)
    xy, probability = atom_points(points[0])
    if not len(xy):
        return NO_DETECTIONS
    here = torch.from_numpy(xy).to(picture)
    first = torch.zeros(len(xy), dtype=torch.long, device=here.device)
    letters = network.letter_logits(picture, first, here)
    symbols, hydrogens, charges = (
        _log_probabilities(logits) for logits in network.atoms(features, first, here, letters)
    )
    pairs = near_pairs(xy)
    start, end = here[torch.from_numpy(pairs[:, 0])], here[torch.from_numpy(pairs[:, 1])]
    bonds, shapes = network.bonds(features, first.new_zeros(len(pairs)), start, end)
    orders = _log_probabilities(bonds)
    # Of pairs that are clearly no bond there are many, and they carry little information.
    uncertain = orders[:, 0] < np.log(0.99)
    wedges = None if shapes is None else _log_probabilities(shapes)[uncertain]
    return Detections(
        xy, probability, symbols, hydrogens, charges, pairs[uncertain], orders[uncertain], wedges=wedges
    )


def _log_probabilities(logits: Tensor) -> np.ndarray:
    return np.asarray(logits.log_softmax(dim=1).float().cpu().numpy())


def padded(ink: np.ndarray, margin: int = 8, multiple: int = 8) -> Tensor:
    """Ink (h, w) uint8 as (1, 1, H, W) float32 of 0 to 1 with a margin, sides multiples of `multiple`."""
    h, w = (-(-(side + 2 * margin) // multiple) * multiple for side in ink.shape)
    out = np.zeros((1, 1, h, w), np.float32)
    h, w = ink.shape
    out[0, 0, margin : margin + h, margin : margin + w] = ink
    return torch.from_numpy(out / 255)
