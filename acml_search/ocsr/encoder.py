"""From a picture to a vector: the structures that it may show, written as SMILES, read by the SMILES encoder.

One letter misread is another molecule, far away. Where the picture leaves a choice, the vectors of the likely
readings are averaged by their probabilities: the right one stays near. And a picture that is not read surely
is read again a little smaller, larger, paler and darker: what misleads the network in one view is seldom
there in all (test-time augmentation).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
import torch

from acml_search.chem.graph import MolGraph, collate
from acml_search.chem.smiles import N_LINK_CODES, SYMBOL_COLUMNS, linked_symbols
from acml_search.core.errors import InvalidRecord
from acml_search.networks.heads import Hypotheses, MixtureEncoder, placement
from acml_search.networks.trunk import GraphNet, TensorBatch
from acml_search.ocsr.assemble import assemble
from acml_search.ocsr.detector import (
    BOND,
    RULER_SIDE,
    SHARP,
    Recogniser,
    Ruler,
    look,
    measure,
    padded,
)
from acml_search.ocsr.hypotheses import Read, Seen, best, readings
from acml_search.ocsr.image import resized
from acml_search.ocsr.prior import doubt

_MAX_PIXELS = 2_000_000
"""pixels that a picture may have once its bonds are 16 pixels long"""


_TRUSTED = 0.93
"""mean probability above which a reading is not questioned"""
_OTHER_SCALES = (1.5, 0.67, 2.2, 0.45)
_SURE = 0.96
"""mean probability above which one view is enough"""
_VIEWS = ((0.9, 1.0), (1.12, 1.0), (1.0, 1.4), (1.0, 0.7))
"""further views: factor on the scale, and exponent on the ink (0 to 1). They and the threshold
were chosen by exact readings of inner molecules in training styles (benchmarks/pictures.py --styles training)
"""
_FOR_TRUST = 20
"""a view counts by its mean probability to this power; chosen by recall at 1 of such molecules' pictures"""
_LEAST = 0.1
"""share below which another reading is left out"""
_KEPT = 64
"""pictures whose readings are kept: a search embeds a picture and then says what it was read as"""


class Reading(NamedTuple):
    """A recognised structure."""

    smiles: str
    """the likeliest, standardised; "" where no atom was found"""
    read: Read
    """the reading of least cost, before it was asked which one is a molecule"""
    scale: float
    """pixels of the network's map per pixel of ink"""
    shares: tuple[tuple[str, float], ...] = ()
    """SMILES that the picture may show and their probabilities, the likeliest first"""


class PictureReader(MixtureEncoder):
    """The frozen encoder of pictures: ruler, recogniser and a copy of the SMILES encoder.

    `hypotheses` takes a batch as `modalities.image.Image.collate` makes it: `pixels` (P,) uint8, all pictures
    end to end, and `shapes` (n, 2) int64. A picture's vector does not depend on the
    others of its batch.
    """

    def __init__(
        self,
        width: int,
        hidden: int,
        layers: int,
        fine: int = 64,
        coarse: int = 128,
        blocks: int = 2,
        refine: int = 1,
        ruler: int = 48,
    ) -> None:
        super().__init__()
        self.recogniser = Recogniser(fine, coarse, blocks, refine)
        self.ruler = Ruler(ruler)
        self.smiles = GraphNet(list(SYMBOL_COLUMNS.values()), N_LINK_CODES, width, hidden, layers)
        self.width = self.smiles.width
        self._kept = OrderedDict[bytes, Reading]()

    def train(self, mode: bool = True) -> PictureReader:
        """As `nn.Module.train`. Other weights may be next, so nothing that was read is kept."""
        self._kept = OrderedDict[bytes, Reading]()
        return super().train(mode)

    def hypotheses(self, batch: Any) -> Hypotheses:
        """The likely readings of each picture; zeros where no atom was found."""
        graphs, places = [], []
        records: list[int] = []
        shares: list[float] = []
        for row, ink in enumerate(pictures(batch)):
            readable = [(self._graph(smiles), share) for smiles, share in self.read(ink).shares]
            known = [(graph, share) for graph, share in readable if graph is not None]
            total = sum(share for _, share in known)
            for graph, share in known:
                places.append(len(records))
                graphs.append(graph)
                records.append(row)
                shares.append(share / total)
            if not known:
                records.append(row)
                shares.append(1.0)
        device, dtype = placement(self)
        features = torch.zeros(len(records), self.width, device=device, dtype=dtype)
        if graphs:
            features[places] = self.smiles(TensorBatch.of(collate(graphs), device))
        return Hypotheses(
            features,
            torch.tensor(records, dtype=torch.int64, device=device),
            torch.tensor(shares, device=device, dtype=dtype),
        )

    @staticmethod
    def _graph(smiles: str) -> MolGraph | None:
        try:
            return linked_symbols(smiles)
        except InvalidRecord:  # no atom was found, or more than a SMILES may have
            return None

    def recognise(self, inks: Sequence[np.ndarray]) -> list[str]:
        """SMILES without configuration of pictures as `read` gave them, "" where no atom was found."""
        return [self.read(ink).smiles for ink in inks]

    def read(self, ink: np.ndarray) -> Reading:
        """Recognise one picture, ink (h, w) uint8 of any scale. The last pictures' readings are kept.

        The ruler may err: where the reading is doubtful at the scale it gave, others are tried, and the least
        doubtful reading is kept.
        """
        name = blake2b(f"{ink.shape}".encode() + ink.tobytes(), digest_size=16).digest()
        reading = self._kept.get(name)
        if reading is None:
            reading = self._kept[name] = self._recognised(ink)
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return reading

    def _recognised(self, ink: np.ndarray) -> Reading:
        scale = BOND / bond_length(self.ruler, ink)
        seen, read, scale = self._at(ink, scale)
        first = scale
        for factor in _OTHER_SCALES:
            if read.trust > _TRUSTED:
                break
            # Not where the search has been already.
            if not 0.87 < first * factor / scale < 1.15:
                other = self._at(ink, first * factor)
                if other[1].trust > read.trust:
                    seen, read, scale = other
        views = [(read.trust, weighed(seen))]
        if read.trust < _SURE:
            for factor, power in _VIEWS:
                other_seen, other_read, _ = self._at(toned(ink, power), scale * factor)
                views.append((other_read.trust, weighed(other_seen)))
        shares = agreed(views)
        return Reading(shares[0][0], read, scale, shares)

    def _at(self, ink: np.ndarray, scale: float) -> tuple[Seen, Read, float]:
        """Read at a scale, and again where the bonds that are found turn out longer or shorter."""
        for again in (True, False):
            scale = float(np.clip(scale, 0.02, min(np.sqrt(_MAX_PIXELS / ink.size), 12)))
            seen = look(self.recogniser, resized(ink, SHARP * scale))
            read = best(seen)
            if not read.bonds or not again:
                break
            ends = np.array(read.bonds)[:, :2]
            length = float(np.median(np.linalg.norm(read.xy[ends[:, 0]] - read.xy[ends[:, 1]], axis=1)))
            if 0.87 < length / BOND < 1.15:
                break
            scale *= BOND / length
        return seen, read, scale


def weighed(seen: Seen) -> tuple[tuple[str, float], ...]:
    """Standardised SMILES that a picture may show and their probabilities, the likeliest first: by what the
    network saw, and by how likely each is as a molecule."""
    against: dict[str, float] = {}
    for cost, read in readings(seen):
        # Costs rise: what costs this much more cannot come to a share that counts.
        if against and cost > min(against.values()) - np.log(_LEAST):
            break
        found = assemble(read.symbols, read.hydrogens, read.charges, read.bonds)
        smiles = found.standardised()
        # Doubt is about all that was drawn: several pieces, and charges as they stand.
        against[smiles] = min(against.get(smiles, np.inf), cost + doubt(found.mol, found.smiles))
    odds = np.exp(min(against.values()) - np.array(list(against.values())))
    odds[odds < _LEAST * odds.sum()] = 0
    order = np.argsort(-odds, kind="stable")
    names = list(against)
    return tuple((names[i], float(odds[i] / odds.sum())) for i in order if odds[i])


def agreed(
    views: Sequence[tuple[float, Sequence[tuple[str, float]]]],
) -> tuple[tuple[str, float], ...]:
    """Readings and shares of several views of one picture, each with its trust, as those of one."""
    most = max(trust for trust, _ in views)
    shares: dict[str, float] = {}
    for trust, found in views:
        counts = (trust / most) ** _FOR_TRUST if most > 0 else 1.0
        for smiles, share in found:
            shares[smiles] = shares.get(smiles, 0.0) + counts * share
    least = _LEAST * sum(shares.values())
    # The likeliest stays, however many there are. Ties: the first view's first.
    ordered = sorted(shares.items(), key=lambda one: -one[1])
    kept = [one for i, one in enumerate(ordered) if i == 0 or one[1] >= least]
    total = sum(share for _, share in kept)
    return tuple((smiles, share / total) for smiles, share in kept)


def toned(ink: np.ndarray, power: float) -> np.ndarray:
    """The ink (h, w) uint8, paler for a power above 1, darker below."""
    if power == 1.0:
        return ink
    return np.rint((np.arange(256) / 255) ** power * 255).astype(np.uint8)[ink]


@torch.inference_mode()
def bond_length(ruler: Ruler, ink: np.ndarray) -> float:
    """Length of the bonds of a picture in pixels."""
    h, w = ink.shape
    scale = min(RULER_SIDE / np.sqrt(h * w), 640 / max(h, w))
    length, say = ruler(padded(resized(ink, scale)).to(*placement(ruler)))
    return 8.0 * float(measure(length[0], say[0]).exp()) / scale


def pictures(batch: Any) -> list[np.ndarray]:
    """The pictures of a batch, each (h, w) uint8."""
    shapes = np.asarray(batch.shapes.cpu() if isinstance(batch.shapes, torch.Tensor) else batch.shapes)
    ends = np.concatenate([[0], np.cumsum(shapes[:, 0] * shapes[:, 1])])
    pixels = np.asarray(batch.pixels.cpu() if isinstance(batch.pixels, torch.Tensor) else batch.pixels)
    return [pixels[a:b].reshape(h, w) for a, b, (h, w) in zip(ends, ends[1:], shapes, strict=False)]
