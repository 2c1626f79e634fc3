"""Pictures of structures, read as a chemist reads them: atoms, bonds, structure.

A picture is brought to its ink (`read`); the tower recognises atoms and bonds in it, writes the structures
that it may show as SMILES and embeds them with the SMILES encoder, each by its share.
`ocsr.encoder.PictureReader.recognise` gives the likeliest SMILES itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from rdkit import Chem

from acml_search.core.errors import InvalidMolecule, InvalidRecord
from acml_search.modalities.base import Modality, register
from acml_search.ocsr.depict import draw, png
from acml_search.ocsr.image import ink_of, open_picture
from acml_search.ocsr.styles import PLAIN, held_out_style

if TYPE_CHECKING:
    from torch import nn


class PictureBatch(NamedTuple):
    """Pictures of any size, end to end."""

    pixels: np.ndarray
    """(P,) uint8 ink, 255 = darkest"""
    shapes: np.ndarray
    """(n, 2) int64 height and width"""


@register("image")
class Image(Modality):
    """A picture of one structure: PNG, JPEG or another format Pillow opens; bytes, path, pixels or PIL image.

    Shape: ink (h, w) uint8, 255 = darkest, cut to where there is some.
    """

    derived = True
    toy: ClassVar[dict[str, Any]] = {
        "width": 16,
        "hidden": 16,
        "layers": 2,
        "fine": 8,
        "coarse": 8,
        "blocks": 1,
        "ruler": 8,
    }

    def read(self, record: Any) -> np.ndarray:
        return ink_of(open_picture(record))[0]

    def collate(self, items: Sequence[np.ndarray]) -> PictureBatch:
        pixels = np.concatenate([item.ravel() for item in items]) if items else np.zeros(0, np.uint8)
        return PictureBatch(pixels, np.array([item.shape for item in items], np.int64).reshape(-1, 2))

    def tower(self, **hyper: Any) -> nn.Module:
        from acml_search.ocsr.encoder import PictureReader

        return PictureReader(**hyper)

    def example(self, rng: np.random.Generator) -> bytes:
        chain = "".join(rng.choice(["C", "N", "O", "CC", "C(F)", "C(=O)"], size=int(rng.integers(1, 8))))
        return self.derive(f"c1ccccc1C{chain}C")

    def derive(self, smiles: str, rng: np.random.Generator | None = None) -> bytes:
        """A PNG file of the structure as RDKit draws it; with `rng` in a style that no training saw."""
        mol = Chem.MolFromSmiles(smiles)
        if mol is None:
            raise InvalidRecord(f"RDKit cannot read {smiles!r}", modality=self.name)
        try:
            return png(draw(mol, PLAIN if rng is None else held_out_style(rng)).image)
        except InvalidMolecule as error:
            raise InvalidRecord(f"{smiles!r} cannot be drawn: {error.reason}", modality=self.name) from error
