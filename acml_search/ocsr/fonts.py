"""Fonts that drawings are lettered in: RDKit's and Pillow's own, Matplotlib's, those of the extra `fonts`,
and DejaVu where the system has it.

A name with a package before it, "font_lato:Lato-Light", is a file of that package. A name may end in a width
and a slant, "FreeSans~0.85/8": the font's outlines at 85 % of their width, leaning 8 degrees. The lettering
of journals varies more than the fonts at hand.
"""

from __future__ import annotations

import atexit
import importlib.util
import logging
import math
import re
import tempfile
from functools import cache
from io import BytesIO
from pathlib import Path

from PIL import ImageFont
from rdkit import RDConfig
from rdkit.Chem import Draw

TRAINING_FONTS = (
    "", "BuiltinRobotoRegular", "FreeSans", "DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif",
    "STIXGeneral", "STIXGeneralBol", "cmss10", "cmb10", "DejaVuSerif-Bold",
    "FreeSans~0.82/0", "FreeSans~1.2/0", "FreeSans~1/11", "STIXGeneral~1.15/7", "cmss10~1.2/0",
    "cmtt10", "font_lato:Lato-Regular", "font_lato:Lato-Light", "font_manrope:Manrope-Regular",
    "font_manrope:Manrope-ExtraBold~0.85/0", "font_hanken_grotesk:HankenGrotesk-Medium",
    "font_source_sans_pro:SourceSansPro-Regular", "font_source_sans_pro:SourceSansPro-It",
    "font_source_sans_pro:SourceSansPro-Regular~1.2/0", "font_source_serif_pro:SourceSerifPro-Regular",
    "font_caladea:Caladea-Regular", "font_fredoka_one:FredokaOne-Regular", "font_intuitive:Intuitive",
    "font_intuitive:Intuitive~1.2/8", "font_intuitive:Intuitive~0.85/0",
)  # fmt: skip
HELD_OUT_FONTS = ("ComicNeue", "Aileron", "DejaVuSansCondensed", "DejaVuSansMono", "DejaVuMathTeXGyre")


def known_fonts(fonts: tuple[str, ...]) -> list[str]:
    """Those of `fonts` that this machine has."""
    return [name for name in fonts if name in ("", "BuiltinRobotoRegular") or font_file(name)]


@cache
def font_file(name: str) -> str:
    """The file of a font, "" where it is RDKit's default or the machine lacks it."""
    if name in ("", "BuiltinRobotoRegular"):
        return name
    if name == "FreeSans":
        path = Path(Draw.__file__).with_name("FreeSans.ttf")
        return str(path) if path.exists() else ""
    if name == "ComicNeue":
        path = Path(RDConfig.RDDataDir) / "Fonts" / "ComicNeue-Regular.ttf"
        return str(path) if path.exists() else ""
    if name == "Aileron":
        return _aileron()
    changed = re.fullmatch(r"(.+)~([\d.]+)/([\d.]+)", name)
    if changed:
        of = font_file(changed[1])
        return _changed(of, name, float(changed[2]), float(changed[3])) if of else ""
    if ":" in name:
        return _packaged(*name.split(":"))
    try:
        return str(ImageFont.truetype(f"{name}.ttf", 10).path)
    except OSError:
        import matplotlib

        path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf"
        return str(path) if path.exists() else ""


def _packaged(package: str, name: str) -> str:
    """The file of a font that a package of fonts carries, "" where it is not installed."""
    spec = importlib.util.find_spec(package)
    folders = (spec.submodule_search_locations if spec else None) or ()
    files = [Path(folder, "files", f"{name}{kind}") for folder in folders for kind in (".ttf", ".otf")]
    return next((str(file) for file in files if file.exists()), "")


def _changed(file: str, name: str, width: float, slant: float) -> str:
    """A TrueType font with its glyphs stretched and slanted (degrees), in a file of its own."""
    from fontTools.subset import Options, Subsetter
    from fontTools.ttLib import TTFont

    # It has much to say about tables that no drawing needs.
    logging.getLogger("fontTools").setLevel(logging.ERROR)
    font = TTFont(file)
    options = Options(layout_features=[], glyph_names=True, notdef_outline=True)
    subsetter = Subsetter(options)
    subsetter.populate(unicodes=range(0x20, 0x7F))
    subsetter.subset(font)
    glyphs, matrix = font["glyf"], ((width, 0.0), (math.tan(math.radians(slant)), 1.0))
    for glyph_name in font.getGlyphOrder():
        glyph = glyphs[glyph_name]
        if glyph.isComposite():
            for part in glyph.components:
                part.x = round(part.x * width)
        elif glyph.numberOfContours > 0:
            glyph.coordinates.transform(matrix)
            glyph.coordinates.toInt()
            glyph.recalcBounds(glyphs)
        advance, side = font["hmtx"][glyph_name]
        font["hmtx"][glyph_name] = (round(advance * width), round(side * width))
    path = _folder() / f"{re.sub('[/:]', '-', name)}.ttf"
    font.save(path)
    return str(path)


@cache
def _folder() -> Path:
    """Where font files are written that no package carries as files; gone with the process."""
    folder = tempfile.TemporaryDirectory(prefix="acml-search-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


def _aileron() -> str:
    """Pillow carries Aileron in its code; RDKit wants a file."""
    font = ImageFont.load_default(10)
    if not isinstance(font, ImageFont.FreeTypeFont):
        return ""
    assert isinstance(font.path, BytesIO)
    path = _folder() / "Aileron.ttf"
    path.write_bytes(font.path.getvalue())
    return str(path)
