"""Pictures of structures, drawn by RDKit in a style of `ocsr.styles`, with the truth of what was drawn."""

from __future__ import annotations

from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from rdkit import Chem
from rdkit.Chem import rdAbbreviations, rdDepictor
from rdkit.Chem.Draw import rdMolDraw2D

from acml_search.core.errors import InvalidMolecule
from acml_search.ocsr.abbreviations import DEFINITIONS
from acml_search.ocsr.styles import PLAIN, Style, apply_effects

MAX_PIXELS = 4_000_000
_DIRECTIONS = (Chem.BondDir.BEGINWEDGE, Chem.BondDir.BEGINDASH, Chem.BondDir.UNKNOWN)


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
    """(m,) int64: 0 plain, 1 a solid wedge, 3 a hashed one, both narrow at the bond's first atom, 5 wavy"""


def draw(mol: Chem.Mol, style: Style = PLAIN) -> Drawing:
    """Draw a sanitised molecule. Raises `InvalidMolecule` where RDKit cannot or it gets too large."""
    rng = np.random.default_rng(style.seed)
    try:
        prepared = _prepare(mol, style, rng)
        drawer = _drawer(prepared, style)
        drawer.DrawMolecule(prepared)
    except (ValueError, RuntimeError) as error:
        raise InvalidMolecule(f"RDKit cannot draw it: {str(error).splitlines()[0]}") from error
    if drawer.Width() * drawer.Height() > MAX_PIXELS:
        raise InvalidMolecule("its drawing gets too large; draw it with shorter bonds")
    xy = np.array([[p.x, p.y] for p in map(drawer.GetDrawCoords, range(prepared.GetNumAtoms()))], np.float32)
    drawer.FinishDrawing()
    drawn = Image.open(BytesIO(drawer.GetDrawingText()))
    drawn.load()
    image, xy = apply_effects(drawn, xy.reshape(-1, 2), style.effects, rng)
    return Drawing(image, xy, *_truth(prepared, style.methyls))


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
    rdDepictor.Compute2DCoords(mol, useRingTemplates=style.layout != "rdkit")
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


def _stretched(mol: Chem.Mol, xy: np.ndarray, most: float, rng: np.random.Generator) -> np.ndarray:
    """Positions (n, 2) with one bond outside rings up to three times `most` longer than the others."""
    loose = [bond for bond in mol.GetBonds() if not bond.IsInRing()]
    if not loose:
        return xy
    bond = loose[int(rng.integers(len(loose)))]
    start, end = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
    beyond, waiting = {end}, [end]
    while waiting:
        for atom in mol.GetAtomWithIdx(waiting.pop()).GetNeighbors():
            if atom.GetIdx() != start and atom.GetIdx() not in beyond:
                beyond.add(atom.GetIdx())
                waiting.append(atom.GetIdx())
    moved = xy.copy()
    moved[sorted(beyond)] += (xy[end] - xy[start]) * rng.uniform(0, 3 * abs(most))
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


def _truth(mol: Chem.Mol, methyls: bool) -> tuple[Any, ...]:
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
            and not (methyls and atom.GetDegree() == 1)
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
    return (
        symbols,
        np.array(hydrogens, np.int64),
        np.array(charges, np.int64),
        np.array(ends, np.int64).reshape(-1, 2),
        np.array(orders, np.int64),
        np.array(wedges, np.int64),
    )
