"""Attributions on the molecule: RDKit's similarity maps (Riniker and Landrum 2013), with title and scale."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from markupsafe import Markup
from rdkit import Chem
from rdkit.Chem import rdDepictor
from rdkit.Chem.Draw import SimilarityMaps, rdMolDraw2D

from acml_search.interpret.pictures import save_png
from acml_search.search.reason import words

_WIDTH, _HEIGHTS = 440, (150, 420)
"""of a molecule's panel, pixels"""
_LONGEST = 40.0  # pixels an angstrom, at most
_ROOM = 2.6  # angstroms around the atoms, for the colours and the letters
_TOP, _BOTTOM, _EDGE = 58, 46, 14
LOWERS, RAISES = (0.84, 0.37, 0.0), (0.0, 0.45, 0.70)
"""red, green, blue of 0..1: vermilion and blue, which colour-blind readers tell apart (Okabe and Ito 2008)"""
_CELL = re.compile(
    r"<path d='M ([\d.-]+),([\d.-]+) L [\d.-]+,([\d.-]+) L ([\d.-]+),[\d.-]+ L [\d.-]+,[\d.-]+ Z' "
    r"style='fill:#([0-9A-F]{6});[^']*' />\n"
)
_SVG = re.compile(r"<svg\b.*?</svg>", re.DOTALL)


class Panel(NamedTuple):
    """A molecule and what its atoms are worth."""

    mol: Chem.Mol
    shares: npt.NDArray[np.float64]
    caption: str


def write_picture(panels: Sequence[Panel], title: str, note: str, path: Path) -> None:
    """One picture of all panels, PNG or SVG by the ending of `path`. All share one scale of colours."""
    panels = [panel._replace(mol=_laid_out(panel.mol)) for panel in panels]
    largest = max(float(np.abs(panel.shares).max()) for panel in panels)
    if path.suffix.lower() == ".svg":
        path.write_text(_svg(panels, title, note, largest), encoding="utf-8")
    else:
        save_png(_png(panels, title, note, largest), path)


def _laid_out(mol: Chem.Mol) -> Chem.Mol:
    laid = Chem.Mol(mol)
    rdDepictor.Compute2DCoords(laid)
    rdDepictor.StraightenDepiction(laid)
    return laid


def _height(panels: Sequence[Panel]) -> int:
    """Of a panel, in pixels: what the flattest molecules need and no more."""
    heights = []
    for panel in panels:
        spans = np.ptp(panel.mol.GetConformer().GetPositions()[:, :2], axis=0) + _ROOM
        heights.append(min(_WIDTH * spans[1] / spans[0], _LONGEST * spans[1]))
    return int(np.clip(max(heights), *_HEIGHTS))


def _drawn(panel: Panel, drawer: Any, largest: float, width: int, grid: float) -> str | bytes:
    """One molecule as a picture. width: of bonds, pixels; grid: side of a cell of colour, angstroms."""
    options = drawer.drawOptions()
    options.useBWAtomPalette()
    options.padding = 0.03
    # RDKit colours a panel by its own largest value; a weaker panel gets paler ends.
    own = float(np.abs(panel.shares).max())
    part = own / largest if largest else 0.0
    ends = [tuple(1 + (c - 1) * part for c in end) for end in (LOWERS, RAISES)]
    SimilarityMaps.GetSimilarityMapFromWeights(
        panel.mol,
        [float(x) for x in panel.shares] if own else [1e-9] * panel.mol.GetNumAtoms(),
        drawer,
        colorMap=[ends[0], (1.0, 1.0, 1.0), ends[1]],
        contourLines=0,
        gridResolution=grid,
        extraGridPadding=_ROOM / 2 - 0.4,
        useFillThreshold=True,
        fillThreshold=0.015,
    )
    # The map leaves its own thin line behind; the bonds are drawn over it once more, as wide as elsewhere.
    drawer.SetLineWidth(width)
    drawer.DrawMolecule(rdMolDraw2D.PrepareMolForDrawing(panel.mol, addChiralHs=False))
    drawer.FinishDrawing()
    drawn: str | bytes = drawer.GetDrawingText()
    return drawn


def _svg(panels: Sequence[Panel], title: str, note: str, largest: float) -> str:
    (width, height), tall = _size(panels), _height(panels)
    left = (width - len(panels) * _WIDTH) // 2
    parts = [
        Markup(
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0} {1}" width="{0}" height="{1}" '
            'font-family="system-ui, Segoe UI, Arial, sans-serif" fill="#1c2126">'
            '<rect width="{0}" height="{1}" fill="#fff"/>'
            '<text x="{2}" y="24" font-size="16" font-weight="600">{3}</text>'
            '<text x="{2}" y="44" font-size="12" fill="#5d6872">{4}</text>'
        ).format(width, height, _EDGE, words.clean(title, 110), words.clean(note, 130))
    ]
    for i, panel in enumerate(panels):
        drawer = rdMolDraw2D.MolDraw2DSVG(_WIDTH, tall)
        text = str(_drawn(panel, drawer, largest, 2, 0.12))
        found = _SVG.search(text)
        inner = _merged(found[0] if found else text)
        place = Markup('<svg x="{}" y="{}"').format(left + i * _WIDTH, _TOP)
        parts.append(place + Markup(inner.removeprefix("<svg")))
        parts.append(
            Markup('<text x="{}" y="{}" font-size="12" text-anchor="middle">{}</text>').format(
                left + i * _WIDTH + _WIDTH // 2, _TOP + tall + 4, words.clean(panel.caption, 70)
            )
        )
    middle, y = width // 2, height - 22
    parts.append(
        Markup(
            '<defs><linearGradient id="scale"><stop offset="0" stop-color="{}"/><stop offset=".5" '
            'stop-color="#fff"/><stop offset="1" stop-color="{}"/></linearGradient></defs>'
            '<rect x="{}" y="{}" width="160" height="11" fill="url(#scale)" stroke="#d5dae0"/>'
            '<text x="{}" y="{}" font-size="12" text-anchor="end">lowers it by {:.3g}</text>'
            '<text x="{}" y="{}" font-size="12">raises it by {:.3g}</text></svg>'
        ).format(
            _hex(LOWERS),
            _hex(RAISES),
            middle - 80,
            y,
            middle - 88,
            y + 10,
            largest,
            middle + 88,
            y + 10,
            largest,
        )
    )
    return str(Markup("").join(parts)) + "\n"


def _merged(svg: str) -> str:
    """RDKit's SVG with the cells of one colour as one path, colours rounded to steps of 6 of 255: a tenth of
    the size.
    """
    cells: dict[str, list[str]] = {}

    def collect(cell: re.Match[str]) -> str:
        x0, y0, y1, x1, colour = cell.groups()
        channels = [min(255, round(int(colour[i : i + 2], 16) / 6) * 6) for i in (0, 2, 4)]
        rounded = "#" + "".join(f"{channel:02x}" for channel in channels)
        cells.setdefault(rounded, []).append(
            f"M{x0},{y1}h{float(x1) - float(x0):.1f}v{float(y0) - float(y1):.1f}H{x0}z"
        )
        return ""

    rest = _CELL.sub(collect, svg)
    paths = "".join(
        f"<path fill='{c}' stroke='{c}' stroke-width='.4' d='{''.join(d)}'/>" for c, d in cells.items()
    )
    start = rest.index("</rect>") + len("</rect>")  # the white ground
    return rest[:start] + paths + rest[start:]


def _png(panels: Sequence[Panel], title: str, note: str, largest: float) -> Any:
    """As `_svg`, drawn at twice the size for sharp letters."""
    from PIL import Image, ImageDraw, ImageFont

    k = 2
    width, height = (k * x for x in _size(panels))
    tall, left = _height(panels), (width / k - len(panels) * _WIDTH) / 2
    image = Image.new("RGB", (width, height), "#ffffff")
    pen = ImageDraw.Draw(image)

    def write(x: float, y: float, text: str, size: float, anchor: str = "ls", fill: str = "#1c2126") -> None:
        pen.text((k * x, k * y), text, font=ImageFont.load_default(k * size), anchor=anchor, fill=fill)

    write(_EDGE, 24, words.clean(title, 110), 16)
    write(_EDGE, 44, words.clean(note, 130), 12, fill="#5d6872")
    for i, panel in enumerate(panels):
        drawer = rdMolDraw2D.MolDraw2DCairo(k * _WIDTH, k * tall)
        drawn = Image.open(io.BytesIO(bytes(_drawn(panel, drawer, largest, 3, 0.05)))).convert("RGB")  # type: ignore[arg-type]
        image.paste(drawn, (round(k * (left + i * _WIDTH)), k * _TOP))
        x = left + (i + 0.5) * _WIDTH
        write(x, _TOP + tall + 4, words.clean(panel.caption, 70), 12, "ms")
    middle, y = width / k / 2, height / k - 22
    ramp = np.linspace(-1, 1, 160 * k)[:, None]
    ends = np.where(ramp < 0, np.array(LOWERS), np.array(RAISES))
    colours = (255 * (1 + (ends - 1) * np.abs(ramp))).astype(np.uint8)
    bar = Image.fromarray(np.repeat(colours[None], 11 * k, axis=0))
    image.paste(bar, (round(k * (middle - 80)), round(k * y)))
    write(middle - 88, y + 10, f"lowers it by {largest:.3g}", 12, "rs")
    write(middle + 88, y + 10, f"raises it by {largest:.3g}", 12)
    return image


def _size(panels: Sequence[Panel]) -> tuple[int, int]:
    return max(620, 2 * _EDGE + len(panels) * _WIDTH), _TOP + _height(panels) + _BOTTOM


def _hex(colour: tuple[float, float, float]) -> str:
    return "#" + "".join(f"{round(255 * c):02x}" for c in colour)
