"""Pictures of structures, drawn by RDKit in many styles, with the truth of what was drawn.

A `Style` says how one picture looks. `PLAIN` is RDKit's own default. Two families of random styles have
nothing in common but what any drawing of a molecule has: one can train a reader, the other test it.

                   `training_style`                          `held_out_style`
    fonts          Telex, Roboto, FreeSans, DejaVu Sans      Comic Neue, Aileron, DejaVu Sans Condensed,
                   and Serif (and Bold), STIX, Computer      DejaVu Sans Mono, DejaVu Math
                   Modern; some stretched or slanted
    modes          RDKit's free mode                         ACS 1996, comic, free
    line widths    1, 1.5, 2, 3 pixels                       0.8, 1.2, 2.5, 3.5 pixels (ACS: 0.6)
    palettes       RDKit's, black, Avalon's                  CDK's, dark random ones, white on dark
    backgrounds    white, light and even                     coloured, transparent
    layouts        RDKit's, jittered in half of them         with ring templates, straightened or jittered
    second hand    noise, Gaussian blur, JPEG, threshold,    dithering, ink bleed, perspective, paper texture,
                   speckle, slight turn and shear, shade,    WebP, pixellation, streaks
                   resampling, gamma

Rotation, mirroring, size, abbreviations, kekulised or dashed aromatic rings, written methyls and stereo
labels vary in both. DejaVu is used where the system has it; the other fonts come with RDKit and Pillow.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from rdkit import Chem
from rdkit.Chem import rdAbbreviations, rdDepictor
from rdkit.Chem.Draw import rdMolDraw2D

from acml_search.chem.abbreviations import DEFINITIONS
from acml_search.chem.fonts import HELD_OUT_FONTS, TRAINING_FONTS, font_file, known_fonts
from acml_search.chem.secondhand import HELD_OUT_EFFECTS, TRAINING_EFFECTS, apply
from acml_search.errors import InvalidMolecule

MAX_PIXELS = 4_000_000


@dataclass(frozen=True)
class Style:
    """How a picture is drawn. Lengths are pixels of the drawing."""

    family: str = "plain"
    font: str = ""
    """a name of the tables above; "" is RDKit's default"""
    bond: float | None = None
    """length of a bond; None: fitted into `canvas`"""
    canvas: tuple[int, int] = (300, 250)
    line: float = 2.0
    letters: float = -1.0
    """height of letters in angstroms, -1: RDKit's choice"""
    padding: float = 0.05
    gap: float = 0.0
    """white around labels, share of the letters' size"""
    offset: float = 0.15
    """distance of double bonds' lines, share of the bond"""
    rotate: float = 0.0
    mirror: bool = False
    kekulised: bool = True
    abbreviations: tuple[int, ...] = ()
    """which of `DEFINITIONS` are condensed"""
    methyls: bool = False
    stereo: bool = True
    annotations: bool = False
    layout: str = "rdkit"
    """rdkit, templates (of rings), or straight (the same, turned so that most bonds are level or steep)"""
    jitter: float = 0.0
    """standard deviation of atom positions, angstroms"""
    mode: str = "free"
    """free, acs or comic, whose wobbling lines no seed governs"""
    palette: str | tuple[tuple[float, float, float], ...] = "default"
    """default, black, avalon, cdk, or colours of carbon and of the rest in turn"""
    background: tuple[float, ...] = (1.0, 1.0, 1.0)
    """red, green, blue and, where it is transparent, alpha"""
    effects: tuple[tuple[str, float], ...] = ()
    """what happened to the picture afterwards: name and strength, see `chem.secondhand`"""
    seed: int = 0
    """of jitter and effects"""


PLAIN = Style()


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


def training_style(rng: np.random.Generator) -> Style:
    """A random style of the family that readers are trained on."""
    common = _common_style(rng)
    if rng.random() < 0.85 and common.bond is not None:
        # Pictures are read at 16 pixels a bond: most are drawn not far from it, which also costs less.
        common = replace(common, bond=float(rng.uniform(13, 30)))
    return replace(
        common,
        family="training",
        font=str(rng.choice(known_fonts(TRAINING_FONTS))),
        line=float(rng.choice([1, 1.5, 2, 3])),
        jitter=float(rng.choice([0, 0, 0.03, 0.06])),
        palette=str(rng.choice(["default", "black", "black", "avalon"])),
        background=(float(rng.choice([1, 1, 1, 0.94])),) * 3,
        effects=_effects(TRAINING_EFFECTS, rng),
    )


def held_out_style(rng: np.random.Generator) -> Style:
    """A random style of the family that no reader is trained on."""
    common = _common_style(rng)
    mode = str(rng.choice(["free", "free", "acs", "comic"]))
    dark = rng.random() < 0.1
    shade = rng.uniform(0.6, 1.0, (2, 3)) if dark else rng.uniform(0.0, 0.45, (2, 3))
    ground = rng.uniform(0.0, 0.2, 3) if dark else rng.choice([1.0, 1.0, 0.9, 0.8], 3)
    clear = not dark and rng.random() < 0.15
    colours = tuple((float(r), float(g), float(b)) for r, g, b in shade)
    palette: Any = colours if dark or rng.random() < 0.5 else "cdk"
    straight = rng.random() < 0.5
    return replace(
        common,
        family="held-out",
        font="ComicNeue" if mode == "comic" else str(rng.choice(known_fonts(HELD_OUT_FONTS[1:]))),
        line=float(rng.choice([0.8, 1.2, 2.5, 3.5])),
        layout="straight" if straight else "templates",
        jitter=0.0 if straight else 0.04,
        mode=mode,
        palette=palette,
        background=(1.0, 1.0, 1.0, 0.0) if clear else tuple(float(x) for x in ground),
        effects=() if clear else _effects(HELD_OUT_EFFECTS, rng),
    )


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
    image, xy = apply(drawn, xy.reshape(-1, 2), style.effects, rng)
    return Drawing(image, xy, *_truth(prepared, style.methyls))


def png(image: Image.Image) -> bytes:
    """The picture as a PNG file."""
    out = BytesIO()
    image.save(out, "PNG", compress_level=1)
    return out.getvalue()


def _common_style(rng: np.random.Generator) -> Style:
    some = rng.random(len(DEFINITIONS)) < rng.choice([0.0, 0.0, 0.5, 1.0])
    sizes = [(250, 200), (300, 300), (400, 300), (500, 500), (800, 600)]
    return Style(
        bond=None if rng.random() < 0.35 else float(np.exp(rng.uniform(np.log(13), np.log(60)))),
        canvas=sizes[int(rng.integers(len(sizes)))],
        letters=float(rng.choice([-1.0, rng.uniform(0.5, 1.05)])),
        padding=float(rng.uniform(0.02, 0.2)),
        gap=float(rng.choice([0.0, rng.uniform(0, 0.15)])),
        offset=float(rng.uniform(0.1, 0.22)),
        rotate=float(rng.choice([0.0, rng.uniform(0, 360)])),
        mirror=bool(rng.random() < 0.5),
        kekulised=bool(rng.random() < 0.85),
        abbreviations=tuple(np.flatnonzero(some).tolist()),
        methyls=bool(rng.random() < 0.15),
        stereo=bool(rng.random() < 0.7),
        annotations=bool(rng.random() < 0.15),
        seed=int(rng.integers(2**31)),
    )


def _effects(
    table: dict[str, tuple[float, float]], rng: np.random.Generator
) -> tuple[tuple[str, float], ...]:
    """Up to three effects of a family, strengths from the table's ranges; none for every third picture."""
    count = int(rng.choice([0, 0, 1, 1, 2, 3]))
    chosen = sorted(rng.choice(len(table), count, replace=False))
    names = list(table)
    return tuple((names[i], float(rng.uniform(*table[names[i]]))) for i in chosen)


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
    if style.mirror:
        xyz[:, 0] *= -1
    for i, (x, y, _) in enumerate(xyz):
        conformer.SetAtomPosition(i, (float(x), float(y), 0.0))
    try:
        return rdMolDraw2D.PrepareMolForDrawing(mol, kekulize=style.kekulised)
    except Chem.KekulizeException:
        return rdMolDraw2D.PrepareMolForDrawing(mol, kekulize=False)


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
    path = font_file(style.font)
    if path:
        options.fontFile = path
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


def _truth(mol: Chem.Mol, methyls: bool) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Symbols, hydrogens, charges, bonds, orders: what stands in the picture of a prepared molecule."""
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
    return (
        symbols,
        np.array(hydrogens, np.int64),
        np.array(charges, np.int64),
        np.array(ends, np.int64).reshape(-1, 2),
        np.array(orders, np.int64),
    )
