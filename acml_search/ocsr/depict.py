"""Pictures of structures, drawn by RDKit in a style of `ocsr.styles`, with the truth of what was drawn."""

from __future__ import annotations

from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw
from rdkit import Chem, rdBase
from rdkit.Chem import rdAbbreviations, rdDepictor
from rdkit.Chem.Draw import rdMolDraw2D
from rdkit.Geometry import Point2D

from acml_search.core.errors import InvalidMolecule
from acml_search.ocsr.abbreviations import DEFINITIONS
from acml_search.ocsr.styles import PLAIN, Style, apply_effects

MAX_PIXELS = 4_000_000
_DIRECTIONS = (Chem.BondDir.BEGINWEDGE, Chem.BondDir.BEGINDASH, Chem.BondDir.UNKNOWN)
_MARK = (1.0, 0.0, 1.0)
"""colour of bonds that are drawn over RDKit's"""
_FINE = 2
"""as fine as the picture is what is drawn over it"""
_IN_PERSPECTIVE = tuple(
    (Chem.MolFromSmarts(pattern), np.array(places.split(), float).reshape(-1, 2) * [0.015, -0.015])
    for pattern, places in (
        ("*12@*@*@*(@*@*@1)@*@*@2", "164 117 164 0 106 79 106 216 0 249 54 166 201 256 250 166"),
        ("*12@*@*@*(@*@*@1)@*@2", "143 93 50 115 0 204 93 180 189 200 241 119 93 0"),
        ("*12@*@*@*(@*@*@1)@*@2", "90 86 138 0 216 70 170 146 174 262 98 190 0 86"),
        ("*12@*@*@*@*(@*@*@1)@*@2", "153 114 257 160 257 219 212 262 104 222 0 262 47 160 104 0"),
        (
            "*12@*@*3@*@*(@*@1)@*@*(@*@2)@*@3",
            "140 0 53 48 53 150 140 197 227 150 227 48 167 272 92 230 92 75 0 272",
        ),
        ("*12@*@*(@*@1)@*@2", "0 96 28 0 140 134 156 30 66 162"),
    )
)
"""[2.2.2], [2.2.1] twice, [3.2.1], adamantane, [1.1.1]: rings drawn with one bond in front of another, their
atoms' places in hundredths of a bond, y down
"""


class Drawing(NamedTuple):
    """A picture and what is in it. n drawn atoms, m drawn bonds."""

    image: Image.Image
    """mode RGB or RGBA, or L after an effect"""
    xy: np.ndarray
    """(n, 2) float32, pixels from the upper left corner"""
    symbols: list[str]
    """of each atom: "" for a carbon without letters, an element, an abbreviation's label"""
    hydrogens: np.ndarray
    """(n,) int64, as written; 0 where nothing is written"""
    charges: np.ndarray
    """(n,) int64"""
    bonds: np.ndarray
    """(m, 2) int64"""
    orders: np.ndarray
    """(m,) int64: 1, 2, 3, 4 = aromatic (drawn dashed), 5 = dative or anything else"""
    wedges: np.ndarray
    """(m,) int64: 0 plain, 1 a solid wedge, 3 a hashed one, both narrow at the bond's first atom, 4 a
    hashed one narrow at the second, 5 wavy"""


def draw(mol: Chem.Mol, style: Style = PLAIN) -> Drawing:
    """Draw a sanitised molecule. Raises `InvalidMolecule` where RDKit cannot or it gets too large."""
    rng = np.random.default_rng(style.seed)
    try:
        prepared = _prepare(mol, style, rng)
        drawer = _drawer(prepared, style)
        truth, over = _truth(prepared, style), _Over(prepared, style)
        rdBase.SeedRandomNumberGenerator(style.seed % 2**31)  # of wobbling lines
        drawer.DrawMolecule(
            prepared, highlightAtoms=[], highlightBonds=over.hashed,
            highlightBondColors=dict.fromkeys(over.hashed, _MARK),
        )  # fmt: skip
    except (ValueError, RuntimeError) as error:
        raise InvalidMolecule(f"RDKit cannot draw it: {str(error).splitlines()[0]}") from error
    if drawer.Width() * drawer.Height() > MAX_PIXELS:
        raise InvalidMolecule("its drawing gets too large; draw it with shorter bonds")
    xy = np.array([[p.x, p.y] for p in map(drawer.GetDrawCoords, range(prepared.GetNumAtoms()))], np.float32)
    drawer.FinishDrawing()
    drawn = Image.open(BytesIO(drawer.GetDrawingText()))
    drawn.load()
    xy = xy.reshape(-1, 2)
    image, xy = apply_effects(over.draw(drawn, xy, rng), xy, style.effects, rng)
    return Drawing(image, xy, *truth)


def png(image: Image.Image) -> bytes:
    """The picture as a PNG file."""
    out = BytesIO()
    image.save(out, "PNG", compress_level=1)
    return out.getvalue()


def _prepare(mol: Chem.Mol, style: Style, rng: np.random.Generator) -> Chem.Mol:
    """The molecule as it will be drawn: condensed, laid out, kekulised."""
    mol = Chem.Mol(mol)
    if not style.stereo:
        Chem.RemoveStereochemistry(mol)
    if style.abbreviations:
        wanted = [DEFINITIONS[i] for i in style.abbreviations]
        mol = rdAbbreviations.CondenseMolAbbreviations(mol, wanted, maxCoverage=0.7)
    # Not CoordGen: it can take minutes over one molecule.
    places = _perspective(mol, rng) if style.layout == "perspective" else {}
    rdDepictor.Compute2DCoords(
        mol, coordMap=places, useRingTemplates=style.layout not in ("rdkit", "perspective")
    )
    if style.layout == "straight":
        rdDepictor.StraightenDepiction(mol)
    conformer = mol.GetConformer()
    xyz = conformer.GetPositions()
    xyz[:, :2] += rng.normal(0, style.jitter, (len(xyz), 2)) if style.jitter else 0.0
    if style.stretch:
        xyz[:, :2] = _stretched(mol, xyz[:, :2] * [1 + style.stretch, 1], style.stretch, rng)
    if style.mirror:
        xyz[:, 0] *= -1
    for i, (x, y, _) in enumerate(xyz):
        conformer.SetAtomPosition(i, (float(x), float(y), 0.0))
    try:
        prepared = rdMolDraw2D.PrepareMolForDrawing(mol, kekulize=style.kekulised)
    except Chem.KekulizeException:
        prepared = rdMolDraw2D.PrepareMolForDrawing(mol, kekulize=False)
    if style.wedges:
        for bond in prepared.GetBonds():
            if bond.GetBondType() == Chem.BondType.SINGLE and rng.random() < style.wedges:
                bond.SetBondDir(_DIRECTIONS[int(rng.integers(len(_DIRECTIONS)))])
    return prepared


def _perspective(mol: Chem.Mol, rng: np.random.Generator) -> dict[int, Point2D]:
    """Places of the atoms of one bridged ring system, none where there is none of `_IN_PERSPECTIVE`."""
    for i in rng.permutation(len(_IN_PERSPECTIVE)):
        pattern, places = _IN_PERSPECTIVE[i]
        found = mol.GetSubstructMatches(pattern, uniquify=False, maxMatches=24)
        if found:
            atoms = found[int(rng.integers(len(found)))]
            return {atom: Point2D(*place) for atom, place in zip(atoms, places.tolist(), strict=True)}
    return {}


def _stretched(mol: Chem.Mol, xy: np.ndarray, most: float, rng: np.random.Generator) -> np.ndarray:
    """Positions (n, 2) with one bond outside rings up to three times `most` longer than the others."""
    loose = [bond for bond in mol.GetBonds() if not bond.IsInRing()]
    if not loose:
        return xy
    bond = loose[int(rng.integers(len(loose)))]
    start, end = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
    halves = Chem.GetMolFrags(Chem.FragmentOnBonds(mol, [bond.GetIdx()], addDummies=False))
    beyond = next(half for half in halves if end in half)
    moved = xy.copy()
    moved[list(beyond)] += (xy[end] - xy[start]) * rng.uniform(0, 3 * abs(most))
    return moved


def _drawer(mol: Chem.Mol, style: Style) -> Any:
    """A drawer with the style's options set."""
    flexible = style.bond is not None or style.mode == "acs"
    drawer = rdMolDraw2D.MolDraw2DCairo(-1, -1) if flexible else rdMolDraw2D.MolDraw2DCairo(*style.canvas)
    if style.mode == "acs":
        rdMolDraw2D.SetACS1996Mode(drawer.drawOptions(), rdMolDraw2D.MeanBondLength(mol) or 1.5)
    options = drawer.drawOptions()
    options.prepareMolsBeforeDrawing = False
    options.rotate = style.rotate
    options.explicitMethyl = style.methyls
    options.addStereoAnnotation = style.annotations
    if style.mode == "acs":
        # A print at 1 to 4 times the 14.4 pixels that the style sheet gives a bond.
        grow = max(1.0, min((style.bond or 30.0) / 14.4, 4.0))
        for name in ("scalingFactor", "bondLineWidth", "fixedFontSize", "additionalAtomLabelPadding"):
            value = getattr(options, name)
            setattr(options, name, type(value)(round(value * grow, 3)) if value > 0 else value)
        options.fixedBondLength = options.fixedBondLength * grow if options.fixedBondLength > 0 else -1.0
        options.minFontSize, options.maxFontSize = -1, -1
    else:
        options.comicMode = style.mode == "comic"
        options.bondLineWidth = style.line
        options.scaleBondWidth = False
        options.continuousHighlight, options.highlightBondWidthMultiplier = False, 1
        options.padding = style.padding
        options.multipleBondOffset = style.offset
        options.additionalAtomLabelPadding = style.gap
        options.baseFontSize = style.letters
        options.maxFontSize = -1
        if style.bond is not None:
            options.scalingFactor = style.bond / 1.5
    if style.font_file:
        options.fontFile = style.font_file
    if style.palette == "black":
        options.useBWAtomPalette()
    elif style.palette == "avalon":
        options.useAvalonAtomPalette()
    elif style.palette == "cdk":
        options.useCDKAtomPalette()
    elif style.palette != "default":
        colours = {number: style.palette[number % 2] for number in range(1, 119)}
        options.setAtomPalette({**colours, -1: style.palette[0], 0: style.palette[0], 6: style.palette[0]})
    options.setBackgroundColour(style.background)
    return drawer


class _Over:
    """What is drawn over RDKit's picture, which knows one kind of hashes, no circles in aromatic rings and no
    bond behind another. Takes from the molecule what RDKit is not to draw.
    """

    def __init__(self, mol: Chem.Mol, style: Style) -> None:
        self.mol, self.style = mol, style
        bonds, rings = list(mol.GetBonds()), mol.GetRingInfo()
        self.hashed = [b.GetIdx() for b in bonds if style.hashes and b.GetBondDir() == Chem.BondDir.BEGINDASH]
        aromatic = {b.GetIdx() for b in bonds if style.circles and b.GetBondType() == Chem.BondType.AROMATIC}
        pairs = zip(rings.AtomRings(), rings.BondRings(), strict=True)
        self.circles = [list(atoms) for atoms, ring in pairs if aromatic.issuperset(ring)]
        for i in self.hashed:
            bonds[i].SetBondDir(Chem.BondDir.NONE)
        for i in aromatic:
            bonds[i].SetBondType(Chem.BondType.SINGLE)

    def draw(self, image: Image.Image, xy: np.ndarray, rng: np.random.Generator) -> Image.Image:
        """The finished picture, the same where there is nothing to draw; xy: (n, 2) pixels."""
        crossings = _crossings(self.mol, xy) if self.style.gaps else []
        if not (self.hashed or self.circles or crossings):
            return image
        line, ground = self.style.line, tuple(round(255 * part) for part in self.style.background[:3])
        masks = [Image.new("L", (_FINE * image.width, _FINE * image.height)) for _ in range(2)]
        wipe, pen = (ImageDraw.Draw(mask) for mask in masks)
        pixels = np.array(image.convert("RGB"))
        for at, along in crossings:
            width, gap = line * rng.uniform(3, 7), along * line * rng.uniform(3, 5)
            _stroke(wipe, at - gap, at + gap, width)
            _stroke(pen, at - 1.3 * gap, at + 1.3 * gap, line)
        for ring in self.circles:
            middle = xy[ring].mean(axis=0)
            radius = np.linalg.norm(xy[ring] - middle, axis=1).mean() * rng.uniform(0.5, 0.68)
            corners = [*(_FINE * (middle - radius)), *(_FINE * (middle + radius))]
            pen.ellipse(corners, outline=255, width=round(_FINE * line))
        self._hash(pixels, xy, pen, ground, rng)
        out = Image.fromarray(pixels)
        for mask, colour in zip(masks, (ground, (0, 0, 0)), strict=True):
            out.paste(colour, (0, 0), mask.resize(image.size, Image.Resampling.BOX))
        return out

    def _hash(
        self, pixels: np.ndarray, xy: np.ndarray, pen: Any, ground: tuple[int, ...], rng: np.random.Generator
    ) -> None:
        """Hashes in place of the marked lines, from one end that RDKit has left visible to the other."""
        red, green, blue = (pixels[:, :, i].astype(int) for i in range(3))
        marked = np.where(np.abs(red - blue) < 70, np.minimum(red, blue) - green, 0)
        y, x = np.nonzero(marked > 20)
        length, line = self.style.bond or 30.0, self.style.line
        if self.style.hashes == "dashes":
            period, wide = length * rng.uniform(0.16, 0.36), line * rng.uniform(1.0, 1.7)
        else:
            period, wide = max(length * rng.uniform(0.09, 0.18), 3.0), length * rng.uniform(0.14, 0.3)
        dash = period * rng.uniform(0.35, 0.65)
        for i in self.hashed:
            bond = self.mol.GetBondWithIdx(i)
            start, end = xy[bond.GetBeginAtomIdx()], xy[bond.GetEndAtomIdx()]
            whole = max(float(np.linalg.norm(end - start)), 1.0)
            axis = (end - start) / whole
            steps = np.stack([x, y], axis=1) + 0.5 - start
            along, beside = steps @ axis, np.abs(steps @ [-axis[1], axis[0]])
            near = (beside < line / 2 + 2) & (along > -2) & (along < whole + 2)
            seen = along[near & (marked[y, x] > 100)]
            pixels[y[near], x[near]] = ground
            for at in np.arange(seen.min(), seen.max() - 0.3 * dash, period) if len(seen) else ():
                _stroke(pen, start + axis * at, start + axis * min(at + dash, seen.max()), wide)


def _stroke(pen: Any, start: np.ndarray, end: np.ndarray, width: float) -> None:
    """A line with straight ends; pixels."""
    axis = (end - start) / max(float(np.linalg.norm(end - start)), 1e-6)
    side = np.array([-axis[1], axis[0]]) * width / 2
    pen.polygon(
        [tuple(_FINE * corner) for corner in (start + side, end + side, end - side, start - side)], 255
    )


def _crossings(mol: Chem.Mol, xy: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Where a plain single bond crosses another bond, and its direction, a unit vector (2,)."""
    bonds = list(mol.GetBonds())
    ends = np.array([(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in bonds]).reshape(-1, 2)
    start, step = xy[ends[:, 0]], xy[ends[:, 1]] - xy[ends[:, 0]]
    between = start[None, :] - start[:, None]
    turned = step[:, ::-1] * [1, -1]
    with np.errstate(all="ignore"):
        # Of bond i the place, in its lengths, where bond k crosses it.
        place = (between * turned[None, :]).sum(axis=2) / (step[:, None] * turned[None, :]).sum(axis=2)
    inside = (place > 0.12) & (place < 0.88)
    found = []
    for i, k in np.argwhere(np.triu(inside & inside.T, 1)):
        plain = bonds[i].GetBondType() == Chem.BondType.SINGLE and bonds[i].GetBondDir() == Chem.BondDir.NONE
        if plain and not set(ends[i]) & set(ends[k]):
            found.append((start[i] + place[i, k] * step[i], step[i] / np.linalg.norm(step[i])))
    return found


def _truth(mol: Chem.Mol, style: Style) -> tuple[Any, ...]:
    """Symbols, hydrogens, charges, bonds, orders, wedges: what a picture of a prepared molecule shows."""
    symbols, hydrogens, charges = [], [], []
    for atom in mol.GetAtoms():
        if atom.HasProp("atomLabel"):
            symbols.append(atom.GetProp("atomLabel"))
            hydrogens.append(0)
            charges.append(0)
            continue
        doubles = sum(bond.GetBondType() == Chem.BondType.DOUBLE for bond in atom.GetBonds())
        bare = (
            atom.GetAtomicNum() == 6
            and atom.GetDegree() > 0
            and not atom.HasProp("_displayLabel")
            and not (atom.GetFormalCharge() or atom.GetIsotope() or atom.GetNumRadicalElectrons())
            and not (style.methyls and atom.GetDegree() == 1)
            and not (atom.GetDegree() == 2 and doubles == 2)
        )
        symbols.append("" if bare else atom.GetSymbol())
        hydrogens.append(0 if bare else atom.GetTotalNumHs())
        charges.append(atom.GetFormalCharge())
    kinds = {"SINGLE": 1, "DOUBLE": 2, "TRIPLE": 3, "AROMATIC": 4}
    ends = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in mol.GetBonds()]
    orders = [kinds.get(str(bond.GetBondType()), 5) for bond in mol.GetBonds()]
    wedges = [
        2 * _DIRECTIONS.index(bond.GetBondDir()) + 1 if bond.GetBondDir() in _DIRECTIONS else 0
        for bond in mol.GetBonds()
    ]
    if style.hashes:
        # No end is narrow: it is taken for the one with more bonds.
        degrees = [
            (bond.GetBeginAtom().GetDegree(), bond.GetEndAtom().GetDegree()) for bond in mol.GetBonds()
        ]
        wedges = [4 if w == 3 and a < b else w for w, (a, b) in zip(wedges, degrees, strict=True)]
    return (
        symbols,
        np.array(hydrogens, np.int64),
        np.array(charges, np.int64),
        np.array(ends, np.int64).reshape(-1, 2),
        np.array(orders, np.int64),
        np.array(wedges, np.int64),
    )
