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

from acml_search.search.reason import words

GRADES = ("good", "fair", "poor", "known", "missing")
_BOND = 26.0  # pixels, unless the molecule would not fit
_LINE = 1.5  # width of a bond's line, pixels, as in the style sheet
_DISC = 0.38  # radius of the disc under an atom, angstroms
_NUMBER = 11.0  # pixels from an atom to the middle of its number; more where letters stand
_LETTERS = 8.0
_EDGE = 30.0  # pixels kept above and below the outermost atoms
_ROOM = 0.09  # of the picture's size kept free around the molecule, for the numbers
_CODES = {grade: (1.0, 0.0, (i + 1) / 255.0) for i, grade in enumerate(GRADES)}
_GRADE_OF = {f"#FF00{i + 1:02X}": grade for i, grade in enumerate(GRADES)}
_STYLE = re.compile(r" style='([^']*)'")
_STATED = re.compile(r" (?:class|style|fill)='[^']*'")
_PICTURE = re.compile(r"<(?:path|ellipse|polygon|polyline|line) [^>]*/>", re.DOTALL)


class Size(NamedTuple):
    """Of a picture, in pixels."""

    width: int
    height: int


SMALL = Size(150, 110)
LARGE = Size(340, 270)
WIDE = Size(520, 400)  # for more than _MANY heavy atoms
_MANY = 45


def draw(
    smiles: str, grades: Mapping[int, str] | None = None, *, small: bool = False, numbered: bool = False
) -> Markup:
    """The structure of `smiles`. grades: of `GRADES`, by the number of the atom in RDKit's reading of it.
    numbered: give all atoms their numbers, not only those that have a grade.

    A SMILES that RDKit cannot read gives a line that says so: a page with the other hits is worth having.
    """
    mol = Chem.MolFromSmiles(smiles)
    if mol is None:
        return Markup('<p class="nothing">This SMILES cannot be drawn.</p>')
    size = SMALL if small else WIDE if mol.GetNumAtoms() > _MANY else LARGE
    rdDepictor.Compute2DCoords(mol)
    rdDepictor.StraightenDepiction(mol)
    drawer = rdMolDraw2D.MolDraw2DSVG(*size)
    options = drawer.drawOptions()
    options.useBWAtomPalette()
    options.clearBackground = False
    options.fillHighlights = True
    options.continuousHighlight = False
    options.fixedBondLength = _BOND * (0.7 if small else 1.0)
    options.padding = 0.04 if small else _ROOM
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
    numbers = [
        _number(drawer, prepared, atom) for atom in (range(mol.GetNumAtoms()) if numbered else sorted(grades))
    ]
    drawer.FinishDrawing()
    parts = [_classed(part) for part in _PICTURE.findall(drawer.GetDrawingText())]
    top, tall = (0, size.height) if small else _cropped(drawer, prepared, size.height)
    head = Markup('<svg class="mol" viewBox="0 {} {} {}" width="{}" height="{}" role="img"><title>{}</title>')
    return (
        head.format(top, size.width, tall, size.width, tall, words.clean(smiles, 6_000))
        + Markup("").join([*map(Markup, parts), *numbers])
        + Markup("</svg>")
    )


def _cropped(drawer: rdMolDraw2D.MolDraw2DSVG, mol: Chem.Mol, height: int) -> tuple[int, int]:
    """Upper edge and height of the picture without the empty space above and below."""
    places = [drawer.GetDrawCoords(i).y for i in range(mol.GetNumAtoms())]
    top = max(0, math.floor(min(places) - _EDGE))
    return top, max(1, min(height, math.ceil(max(places) + _EDGE)) - top)


def _classed(element: str) -> str:
    """One of RDKit's own elements with a class in place of its colours, and no line breaks."""
    found = _STYLE.search(element)
    style = dict(part.split(":", 1) for part in found[1].split(";") if ":" in part) if found else {}
    # letters have an attribute in place of a style
    fill, width = style.get("fill", "#000000"), style.get("stroke-width", "").removesuffix("px")
    name = f"disc {_GRADE_OF[fill]}" if fill in _GRADE_OF else "line" if fill == "none" else "ink"
    extra = f" stroke-width='{width}'" if name == "line" and width and float(width) != _LINE else ""
    if "stroke-dasharray" in style:
        extra += f" stroke-dasharray='{style['stroke-dasharray']}'"
    bare = _STATED.sub("", element)
    return " ".join(bare.replace("/>", f" class='{name}'{extra}/>").split())


def _number(drawer: rdMolDraw2D.MolDraw2DSVG, mol: Chem.Mol, index: int) -> Markup:
    """The atom's number, in the middle of the widest gap between its bonds."""
    here = drawer.GetDrawCoords(index)
    atom = mol.GetAtomWithIdx(index)
    angles = []
    for neighbour in atom.GetNeighbors():
        there = drawer.GetDrawCoords(neighbour.GetIdx())
        angles.append(math.atan2(there.y - here.y, there.x - here.x))
    angles.sort()
    if not angles:
        angle = -math.pi / 2
    else:
        turns = [*angles[1:], angles[0] + 2 * math.pi]
        gap, start = max((end - start, start) for start, end in zip(angles, turns, strict=True))
        angle = start + gap / 2
    far = _NUMBER + (_LETTERS if atom.GetAtomicNum() != 6 else 0.0)
    return Markup('<text class="num" x="{:.0f}" y="{:.0f}">{}</text>').format(
        here.x + far * math.cos(angle), here.y + far * math.sin(angle) + 3, index
    )
