"""What a map shows, for the picture and for the page."""

from __future__ import annotations

from dataclasses import dataclass

from acml_search.interpret.colour import Colour
from acml_search.interpret.project import Plane
from acml_search.interpret.sample import Sample

# Okabe and Ito (2008), told apart by colour-blind readers too; the last is "other"
PALETTE = (
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9",
    "#d55e00", "#b8a800", "#6a3d9a", "#7f4f24", "#9aa3ad",
)  # fmt: skip


@dataclass(frozen=True)
class Map:
    """All that is drawn."""

    sample: Sample
    space: str
    plane: Plane
    colour: Colour
    command: str

    @property
    def title(self) -> str:
        return f"{self.sample.source} in the space {self.space}"

    @property
    def about(self) -> str:
        card = self.sample.model.card
        return f"{len(self.sample):,} molecules, {card.name}, {self.plane.about}, by {self.colour.name}"
