"""A molecule as inline SVG that a page's style sheet colours: small, and legible on light and dark.

RDKit draws; its inline styles become classes: `line` (bonds), `ink` (letters, wedges), and of the discs under
atoms their grade. Atoms with a grade carry their number.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import NamedTuple

from markupsafe import Markup
from rdkit import Chem
from rdkit.Chem import rdDepictor
from rdkit.Chem.Draw import rdMolDraw2D

GRADES = ("good", "fair", "poor", "known", "missing")
SMALL, LARGE, WIDE = (150, 110), (340, 270), (520, 400)  # width and height in pixels; wide: of many atoms
_MANY = 45  # heavy atoms
_BOND = 26.0  # pixels, unless the molecule would not fit
_LINE = 1.5  # width of a bond's line, pixels, as in the style sheet
_DISC = 0.38  # radius of the disc under an atom, angstroms
_NUMBER, _LETTERS = 11.0, 8.0  # pixels from an atom to the middle of its number; more where letters stand
_EDGE = 30.0  # pixels kept above and below the outermost atoms
_CODES = {grade: (1.0, 0.0, (i + 1) / 255.0) for i, grade in enumerate(GRADES)}
_GRADE_OF = {f"#FF00{i + 1:02X}": grade for i, grade in enumerate(GRADES)}
_STYLE = re.compile(r" style='([^']*)'")
_ATOM = re.compile(r" class='atom-(\d+)'")
_COLOURED = re.compile(r" (?:class|style|fill)='[^']*'")
_SHAPE = re.compile(r"<(?:path|ellipse|polygon|polyline|line) [^>]*/>", re.DOTALL)


class Structure(NamedTuple):
    """A drawing: its crop in pixels, RDKit's shapes with classes, and the numbers of atoms."""

    smiles: str
    top: int
    width: int
    height: int
    paths: Markup
    numbers: list[tuple[float, float, int]]


def structure(
    smiles: str, grades: Mapping[int, str] | None = None, *, small: bool = False, numbered: bool = False
) -> Structure | None:
    """The drawing of `smiles`, None for one that RDKit cannot read, or without atoms.

    grades: of `GRADES`, by the number of the atom in RDKit's reading of it. numbered: give all atoms their
    numbers, not only those that have a grade.
    """
    mol = Chem.MolFromSmiles(smiles)
    if mol is None or not mol.GetNumAtoms():
        return None
    width, height = SMALL if small else WIDE if mol.GetNumAtoms() > _MANY else LARGE
    rdDepictor.Compute2DCoords(mol)
    rdDepictor.StraightenDepiction(mol)
    drawer = rdMolDraw2D.MolDraw2DSVG(width, height)
    options = drawer.drawOptions()
    options.useBWAtomPalette()
    options.clearBackground = False
    options.fillHighlights = True
    options.continuousHighlight = False
    options.fixedBondLength = _BOND * (0.7 if small else 1.0)
    options.padding = 0.04 if small else 0.09  # room for the numbers
    options.bondLineWidth = _LINE
    grades = grades or {}
    prepared = rdMolDraw2D.PrepareMolForDrawing(mol)
    drawer.DrawMolecule(
        prepared,
        highlightAtoms=list(grades),
        highlightAtomColors={atom: _CODES[grade] for atom, grade in grades.items()},
        highlightBonds=[],
        highlightAtomRadii=dict.fromkeys(grades, _DISC),
    )
    shown = range(mol.GetNumAtoms()) if numbered else sorted(grades)
    numbers = [(*_place_of_number(drawer, prepared, atom), atom) for atom in shown]
    top = 0
    if not small:  # without the empty space above and below
        ys = [drawer.GetDrawCoords(i).y for i in range(mol.GetNumAtoms())]
        top = max(0, math.floor(min(ys) - _EDGE))
        height = max(1, min(height, math.ceil(max(ys) + _EDGE)) - top)
    drawer.FinishDrawing()
    paths = Markup("").join(Markup(_classed(shape)) for shape in _SHAPE.findall(drawer.GetDrawingText()))
    return Structure(smiles, top, width, height, paths, numbers)


def _classed(shape: str) -> str:
    """One of RDKit's shapes with a class in place of its colours, and no line breaks."""
    found = _STYLE.search(shape)
    style = dict(part.split(":", 1) for part in found[1].split(";") if ":" in part) if found else {}
    # letters have an attribute in place of a style
    fill, width = style.get("fill", "#000000"), style.get("stroke-width", "").removesuffix("px")
    name = f"disc {_GRADE_OF[fill]}" if fill in _GRADE_OF else "line" if fill == "none" else "ink"
    extra = f" stroke-width='{width}'" if name == "line" and width and float(width) != _LINE else ""
    if "stroke-dasharray" in style:
        extra += f" stroke-dasharray='{style['stroke-dasharray']}'"
    if fill in _GRADE_OF and (atom := _ATOM.search(shape)):
        extra += f" data-atom='{atom[1]}'"
    return " ".join(_COLOURED.sub("", shape).replace("/>", f" class='{name}'{extra}/>").split())


def _place_of_number(drawer: rdMolDraw2D.MolDraw2DSVG, mol: Chem.Mol, index: int) -> tuple[float, float]:
    """The middle of the widest gap between an atom's bonds."""
    here, atom = drawer.GetDrawCoords(index), mol.GetAtomWithIdx(index)
    others = [drawer.GetDrawCoords(neighbour.GetIdx()) for neighbour in atom.GetNeighbors()]
    angles = sorted(math.atan2(there.y - here.y, there.x - here.x) for there in others)
    angle = -math.pi / 2
    if angles:
        turns = [*angles[1:], angles[0] + 2 * math.pi]
        gap, start = max((end - start, start) for start, end in zip(angles, turns, strict=True))
        angle = start + gap / 2
    far = _NUMBER + (_LETTERS if atom.GetAtomicNum() != 6 else 0.0)
    return here.x + far * math.cos(angle), here.y + far * math.sin(angle) + 3
