"""Pictures of structures, read as a chemist reads them: atoms, bonds, structure.

A picture is reduced to its ink (`read`); the encoder recognises atoms and bonds in it, writes the structures
that it may show as SMILES and embeds them with the SMILES encoder, each by its probability.
`ocsr.reader.PictureReader.read` returns the likeliest SMILES itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, cast

from acml_search.core.errors import ConfigError, InvalidMolecule, InvalidRecord
from acml_search.modalities.base import Modality, Observation, Option, Reading, register
from acml_search.modalities.structure import StructureReranker

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from acml_search.core.typing import Float32s
    from acml_search.ocsr.reader import PictureReader

MAX_BYTES = 50_000_000  # of a picture file
SURE = 0.5
"""probability below which an answer says that the reading is not sure"""
DOUBTFUL = 0.8
"""certainty below which an atom is marked"""


class PictureBatch(NamedTuple):
    """Pictures of any size, end to end."""

    pixels: np.ndarray
    """(P,) uint8 ink, 255 = darkest"""
    shapes: np.ndarray
    """(n, 2) int64 height and width"""


@register("image")
class Image(Modality):
    """A picture of one structure: PNG, JPEG or another format Pillow opens; bytes, path, pixels or PIL image.

    Shape: ink (h, w) uint8, 255 = darkest, cropped to where there is some.
    """

    title = "picture"
    option = Option("--image", "FILE", "Picture of structures (PNG, JPEG, TIFF, PDF); FILE#n: its n-th.")
    from_structure = True
    says_reading = True
    storage: ClassVar[dict[str, str]] = {}
    tiny_config: ClassVar[dict[str, Any]] = {
        "width": 16,
        "hidden": 16,
        "layers": 2,
        "fine": 8,
        "coarse": 8,
        "blocks": 1,
        "estimator": 8,
    }

    def read(self, record: Any) -> np.ndarray:
        from acml_search.ocsr.image import foreground, open_picture

        return foreground(open_picture(record))[0]

    def read_input(self, given: str, adduct: str | None = None) -> Observation:
        """A picture file of one structure, or FILE#n, the n-th that it shows."""
        return self._one(self.read_parts(given), given)

    def observe(self, record: Any, given: str = "a picture", adduct: str | None = None) -> Observation:
        return self._one(self._observed(record, given), given)

    def read_parts(self, given: str, adduct: str | None = None) -> list[Observation]:
        """The structures that a picture shows, or the pages of a PDF or TIFF."""
        path, _, number = given.rpartition("#")
        if not number.isdigit() or Path(given).exists():
            path, number = given, ""
        try:
            size = Path(path).stat().st_size
            if size > MAX_BYTES:
                reason = f"{path} has {size:,} bytes, more than {MAX_BYTES:,}; cut out the structure"
                raise InvalidRecord(reason, modality=self.name)
            picture = Path(path).read_bytes()
        except OSError as error:
            raise InvalidRecord(f"{path} cannot be read ({error.strerror})", modality=self.name) from error
        try:
            found = self._observed(picture, path)
        except InvalidRecord as error:
            raise InvalidRecord(f"{path}: {error.reason}", modality=self.name) from error
        if number and not 1 <= int(number) <= len(found):
            raise InvalidRecord(
                f"{path} shows {len(found)} structures; there is no {given}", modality=self.name
            )
        return [found[int(number) - 1]] if number else found

    def _observed(self, record: Any, given: str) -> list[Observation]:
        """The parts of a picture; of several, each says where it lies."""
        from acml_search.ocsr.image import foreground
        from acml_search.ocsr.page import parts

        found = parts(record)
        observed = []
        for number, part in enumerate(found, 1):
            name, notes = given, []
            if len(found) > 1:
                name = f"{given}#{number}"
                place = f"at {part.box[:2]} to {part.box[2:]} pixels " if part.box else ""
                notes = [f"image: {name} is {place}on page {part.page}"]
            observed.append(Observation(self.name, name, foreground(part.image)[0], notes=notes, record=part))
        return observed

    def _one(self, found: list[Observation], given: str) -> Observation:
        if len(found) > 1:
            reason = f"{given} shows several structures ({len(found)}); cut one out, or name it as FILE#1"
            raise InvalidRecord(reason, modality=self.name)
        return found[0]

    def collate(self, items: Sequence[np.ndarray]) -> PictureBatch:
        import numpy as np

        pixels = np.concatenate([item.ravel() for item in items]) if items else np.zeros(0, np.uint8)
        return PictureBatch(pixels, np.array([item.shape for item in items], np.int64).reshape(-1, 2))

    def encoder(self, **config: Any) -> nn.Module:
        from acml_search.ocsr.reader import PictureReader

        return PictureReader(**config)

    def reranker(self) -> PictureReranker:
        return PictureReranker()

    def configurations(self, encoder: nn.Module, items: Sequence[np.ndarray]) -> list[Float32s | None]:
        return [cast("PictureReader", encoder).configuration(item) for item in items]

    def reading(self, encoder: nn.Module, one: Observation) -> Reading:
        """The structure that the picture was read as: a user sees at once whether that is what it shows."""
        smiles, probability, why = self.judged(encoder, one)
        import numpy as np

        from acml_search.ocsr.detector import MARGIN

        if why:
            raise InvalidRecord(f"{one.given}: {why}", modality=self.name)
        read = cast("PictureReader", encoder).read(one.item)
        sure = "" if probability >= SURE else "not sure, "
        said = f"image: {sure}read as {smiles} (probability {probability:.2f})"
        if "." in read.drawn:
            said += f", of {read.drawn.count('.') + 1} separate pieces that are drawn: {read.drawn}"
        if read.doubts:
            said += f"; no group that we know is written {', '.join(read.doubts)}: check it"
        atoms = read.hypothesis
        size = read.scale * np.array(one.item.shape[::-1])
        doubtful = [
            tuple(((xy - MARGIN) / size).clip(0, 1).tolist())
            for xy, certain in zip(atoms.xy, atoms.certainties, strict=True)
            if certain < DOUBTFUL
        ]
        return Reading(self.name, one.given, smiles, probability, said, one.item, doubtful)

    def judged(self, encoder: nn.Module, one: Observation) -> tuple[str, float, str]:
        """The SMILES that was read, how probably it is right, and why it is no structure, "" where it is."""
        from acml_search.ocsr.page import no_structure
        from acml_search.ocsr.reader import PictureReader

        if not isinstance(encoder, PictureReader):
            raise ConfigError("the model's image encoder reads no structures")
        found = encoder.read(one.item)
        part = one.record is not None and one.record.box is not None
        return found.smiles, found.probability, no_structure(one.item, found, part) or ""

    def example(self, rng: np.random.Generator) -> bytes:
        chain = "".join(rng.choice(["C", "N", "O", "CC", "C(F)", "C(=O)"], size=int(rng.integers(1, 8))))
        return self.derive(f"c1ccccc1C{chain}C")

    def derive(self, smiles: str, rng: np.random.Generator | None = None) -> bytes:
        """A PNG file of the structure as RDKit draws it; with `rng` in a style that no training saw."""
        from rdkit import Chem

        from acml_search.ocsr.depict import draw, png
        from acml_search.ocsr.styles import PLAIN, held_out_style

        mol = Chem.MolFromSmiles(smiles)
        if mol is None:
            raise InvalidRecord(f"RDKit cannot read {smiles!r}", modality=self.name)
        try:
            return png(draw(mol, PLAIN if rng is None else held_out_style(rng)).image)
        except InvalidMolecule as error:
            raise InvalidRecord(f"{smiles!r} cannot be drawn: {error.reason}", modality=self.name) from error


class PictureReranker(StructureReranker):
    """Of a picture, all structures that it may show are compared."""

    def observed(self, item: Any, record: Any) -> Any:
        return item

    def configuration(self, model: Any, observed: Any) -> Float32s | None:
        return cast("PictureReader", model.network.tower("image").encoder).configuration(observed)

    def read(self, model: Any, observed: Any) -> Sequence[tuple[str, float]]:
        reader = cast("PictureReader", model.network.tower("image").encoder)
        return reader.read(observed).alternatives
