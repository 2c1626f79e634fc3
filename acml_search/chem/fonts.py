"""Fonts that drawings are lettered in: RDKit's and Pillow's own, and DejaVu where the system has it."""

from __future__ import annotations

import atexit
import tempfile
from functools import cache
from io import BytesIO
from pathlib import Path

from PIL import ImageFont
from rdkit import RDConfig

TRAINING_FONTS = ("", "BuiltinRobotoRegular", "FreeSans", "DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif")
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
        path = Path(RDConfig.RDCodeDir) / "Chem" / "Draw" / "FreeSans.ttf"
        return str(path) if path.exists() else ""
    if name == "ComicNeue":
        path = Path(RDConfig.RDDataDir) / "Fonts" / "ComicNeue-Regular.ttf"
        return str(path) if path.exists() else ""
    if name == "Aileron":
        return _aileron()
    try:
        return str(ImageFont.truetype(f"{name}.ttf", 10).path)
    except OSError:
        return ""


def _aileron() -> str:
    """Pillow carries Aileron in its code; RDKit wants a file."""
    font = ImageFont.load_default(10)
    if not isinstance(font, ImageFont.FreeTypeFont):
        return ""
    assert isinstance(font.path, BytesIO)
    folder = tempfile.TemporaryDirectory(prefix="acml-search-")
    atexit.register(folder.cleanup)
    path = Path(folder.name) / "Aileron.ttf"
    path.write_bytes(font.path.getvalue())
    return str(path)
