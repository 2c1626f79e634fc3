"""From a picture to a vector: recognised structure, written as SMILES, read by the SMILES encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from acml_search.chem.graph import collate
from acml_search.errors import InvalidRecord
from acml_search.modalities.blocks.graph import GraphNet, TensorBatch
from acml_search.modalities.blocks.recogniser import (
    BOND,
    RULER_SIDE,
    SHARP,
    Read,
    Recogniser,
    Ruler,
    measure,
    padded,
    read_picture,
)
from acml_search.modalities.pictures.assemble import assemble
from acml_search.modalities.pictures.pixels import resized
from acml_search.modalities.smiles import N_LINK_CODES, SYMBOL_COLUMNS, Smiles

_MAX_PIXELS = 2_000_000
"""pixels that a picture may have once its bonds are 16 pixels long"""


_TRUSTED = 0.93
"""mean probability above which a reading is not questioned"""
_OTHER_SCALES = (1.5, 0.67, 2.2, 0.45)


class Reading(NamedTuple):
    """A recognised structure."""

    smiles: str
    """"" where no atom was found"""
    read: Read
    scale: float
    """pixels of the network's map per pixel of ink"""


class PictureReader(nn.Module):
    """The frozen encoder of pictures: ruler, recogniser and a copy of the SMILES encoder.

    `forward` takes a batch as `modalities.image.Image.collate` makes it, tensors in place of arrays: `pixels`
    (P,) uint8, all pictures end to end, and `shapes` (n, 2) int64; it gives (n, width) float32, zeros for a
    picture in which no atom was found. A picture's vector does not depend on the others of its batch.
    """

    def __init__(
        self,
        width: int,
        hidden: int,
        layers: int,
        fine: int = 64,
        coarse: int = 128,
        blocks: int = 2,
        ruler: int = 48,
    ) -> None:
        super().__init__()
        self.recogniser = Recogniser(fine, coarse, blocks)
        self.ruler = Ruler(ruler)
        self.smiles = GraphNet(list(SYMBOL_COLUMNS.values()), N_LINK_CODES, width, hidden, layers)
        self.width = self.smiles.width

    def forward(self, batch: Any) -> Tensor:
        reader = Smiles()
        out = torch.zeros(len(batch.shapes), self.width)
        graphs, rows = [], []
        for row, ink in enumerate(pictures(batch)):
            try:
                graphs.append(reader.read(self.read(ink).smiles))
            except InvalidRecord:  # no atom was found, or more than a SMILES may have
                continue
            rows.append(row)
        if rows:
            out[rows] = self.smiles(TensorBatch.of(collate(graphs)))
        return out

    def recognise(self, inks: Sequence[np.ndarray]) -> list[str]:
        """SMILES without configuration of pictures as `read` gave them, "" where no atom was found."""
        return [self.read(ink).smiles for ink in inks]

    def read(self, ink: np.ndarray) -> Reading:
        """Recognise one picture, ink (h, w) uint8 of any scale.

        The ruler may err: where the reading is doubtful at the scale it gave, others are tried, and the least
        doubtful reading is kept.
        """
        scale = BOND / bond_length(self.ruler, ink)
        best = self._at(ink, scale)
        for factor in _OTHER_SCALES:
            if best.read.trust > _TRUSTED:
                break
            # Not where the search has been already.
            if not 0.87 < scale * factor / best.scale < 1.15:
                best = max(best, self._at(ink, scale * factor), key=lambda reading: reading.read.trust)
        return best

    def _at(self, ink: np.ndarray, scale: float) -> Reading:
        """Read at a scale, and again where the bonds that are found turn out longer or shorter."""
        for again in (True, False):
            scale = float(np.clip(scale, 0.02, min(np.sqrt(_MAX_PIXELS / ink.size), 12)))
            read = read_picture(self.recogniser, resized(ink, SHARP * scale))
            if not read.bonds or not again:
                break
            ends = np.array(read.bonds)[:, :2]
            length = float(np.median(np.linalg.norm(read.xy[ends[:, 0]] - read.xy[ends[:, 1]], axis=1)))
            if 0.87 < length / BOND < 1.15:
                break
            scale *= BOND / length
        return Reading(assemble(read.symbols, read.hydrogens, read.charges, read.bonds), read, scale)


@torch.inference_mode()
def bond_length(ruler: Ruler, ink: np.ndarray) -> float:
    """Length of the bonds of a picture in pixels."""
    h, w = ink.shape
    scale = min(RULER_SIDE / np.sqrt(h * w), 640 / max(h, w))
    length, say = ruler(padded(resized(ink, scale)))
    return 8.0 * float(measure(length[0], say[0]).exp()) / scale


def pictures(batch: Any) -> list[np.ndarray]:
    """The pictures of a batch, each (h, w) uint8."""
    shapes = np.asarray(batch.shapes)
    ends = np.concatenate([[0], np.cumsum(shapes[:, 0] * shapes[:, 1])])
    pixels = np.asarray(batch.pixels)
    return [pixels[a:b].reshape(h, w) for a, b, (h, w) in zip(ends, ends[1:], shapes, strict=False)]
