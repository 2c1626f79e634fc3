"""Random styles that picture readers are trained on; see the table in `ocsr.styles`.

Fonts are RDKit's and Pillow's own, Matplotlib's, those of the extra `fonts`, and DejaVu where the system has
it. A name with a package before it, "font_lato:Lato-Light", is a file of that package. A name may end in a
width and a slant, "FreeSans~0.85/8": the font's outlines at 85 % of their width, leaning 8 degrees, because
the lettering of journals varies more than the fonts at hand.
"""

from __future__ import annotations

import importlib.util
import logging
import math
import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from acml_search.core.errors import ConfigError
from acml_search.ocsr.styles import (
    Effect,
    EffectRange,
    Style,
    common_style,
    font_file,
    font_folder,
    image_effect,
    pixel_effect,
    random_effects,
    saved_as,
    to_image,
)

TRAINING_FONTS = (
    "", "BuiltinRobotoRegular", "FreeSans", "DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif",
    "STIXGeneral", "STIXGeneralBol", "cmss10", "cmb10", "DejaVuSerif-Bold",
    "FreeSans~0.82/0", "FreeSans~1.2/0", "FreeSans~1/11", "STIXGeneral~1.15/7", "cmss10~1.2/0",
    "LiberationSans-Regular", "LiberationSans-Regular", "LiberationSans-Bold", "LiberationSerif-Regular",
    "LiberationSerif-Regular", "LiberationSerif-Bold", "LiberationSansNarrow-Regular",
    "LiberationSans-Italic", "LiberationSans-Regular~0.9/0", "LiberationMono-Regular", "cmtt10",
    "font_lato:Lato-Regular", "font_lato:Lato-Light", "font_manrope:Manrope-Regular",
    "font_manrope:Manrope-ExtraBold~0.85/0", "font_hanken_grotesk:HankenGrotesk-Medium",
    "font_source_sans_pro:SourceSansPro-Regular", "font_source_sans_pro:SourceSansPro-It",
    "font_source_sans_pro:SourceSansPro-Regular~1.2/0", "font_source_serif_pro:SourceSerifPro-Regular",
    "font_caladea:Caladea-Regular", "font_fredoka_one:FredokaOne-Regular", "font_intuitive:Intuitive",
    "font_intuitive:Intuitive~1.2/8", "font_intuitive:Intuitive~0.85/0",
)  # fmt: skip
BOLD_FONTS = (
    "LiberationSans-Bold", "LiberationSans-Bold", "DejaVuSans-Bold", "LiberationSans-Regular", "cmss10",
    "LiberationSerif-Bold", "font_manrope:Manrope-ExtraBold~0.85/0", "FreeSans~1.2/0",
)  # fmt: skip
SCANNED, BOLD, CAPTIONED = 0.4, 0.2, 0.2
"""shares of pictures that are scans of one bit, have bold lines and letters, or a caption"""
_BUILT_IN = ("", "BuiltinRobotoRegular")


def training_style(rng: np.random.Generator) -> Style:
    """A random style of the family that readers are trained on. Raises `ConfigError` without fonttools."""
    common = common_style(rng)
    if rng.random() < 0.85 and common.bond is not None:
        # Pictures are read at 32 pixels a bond: most are drawn not far from it, which also costs less.
        common = replace(common, bond=float(rng.choice([rng.uniform(13, 30), rng.uniform(30, 60)])))
    scanned, bold = rng.random() < SCANNED, rng.random() < BOLD
    line = float(rng.choice([1, 1.5, 2, 3])) * max(1.0, (common.bond or 0.0) / rng.uniform(20, 60))
    font = str(rng.choice(_known_fonts(BOLD_FONTS if bold else TRAINING_FONTS)))
    if bold:
        bond = float(rng.uniform(24, 55))
        common = replace(common, bond=bond, letters=float(rng.choice([-1.0, rng.uniform(0.6, 0.9)])))
        line = bond * float(rng.uniform(0.05, 0.11))
    captioned = rng.random() < CAPTIONED
    return replace(
        common,
        family="training",
        font=font,
        font_file=training_font_file(font),
        line=line,
        offset=float(rng.uniform(0.08, 0.28)),
        layout=str(rng.choice(["rdkit", "templates", "perspective", "perspective"])),
        hashes=str(rng.choice(["", "", "dashes", "dashes", "bars"])),
        circles=bool(rng.random() < 0.5),
        gaps=bool(rng.random() < 0.5),
        jitter=float(rng.choice([0, 0, 0.03, 0.06])),
        stretch=float(rng.choice([0, 0, rng.uniform(-0.25, 0.3)])),
        wedges=float(rng.choice([0, 0, 0.1, 0.2])),
        palette="black" if scanned else str(rng.choice(["default", "black", "black", "avalon"])),
        background=(float(rng.choice([1, 1, 1, 0.94])),) * 3,
        effects=(
            *([Effect("caption", float(rng.uniform(0.35, 0.9)), _caption)] if captioned else []),
            *random_effects(TRAINING_EFFECTS, rng),
            *([Effect("scan", float(rng.uniform(95, 215)), _scan)] if scanned else []),
        ),
    )


@cache
def _known_fonts(names: tuple[str, ...]) -> list[str]:
    """Those of `names` that this machine has."""
    return [name for name in names if name in _BUILT_IN or training_font_file(name)]


@cache
def training_font_file(name: str) -> str:
    """The file of a font, "" where it is RDKit's default or the machine lacks it."""
    if name in _BUILT_IN:
        return name
    stretched = re.fullmatch(r"(.+)~([\d.]+)/([\d.]+)", name)
    if stretched:
        original = training_font_file(stretched[1])
        return _stretched(original, name, float(stretched[2]), float(stretched[3])) if original else ""
    return _packaged(*name.split(":")) if ":" in name else font_file(name)


def _packaged(package: str, name: str) -> str:
    """The file of a font that a package of fonts carries, "" where it is not installed."""
    spec = importlib.util.find_spec(package)
    folders = (spec.submodule_search_locations if spec else None) or ()
    files = [Path(folder, "files", f"{name}{ending}") for folder in folders for ending in (".ttf", ".otf")]
    return next((str(file) for file in files if file.exists()), "")


def _stretched(file: str, name: str, width: float, slant: float) -> str:
    """A TrueType font with its glyphs stretched and slanted (degrees), in a file of its own."""
    try:
        from fontTools.subset import Options, Subsetter
        from fontTools.ttLib import TTFont
    except ImportError as error:
        raise ConfigError(
            "training pictures are lettered with fonttools, which is not installed; "
            "install it with `pip install 'acml-search[train]'`"
        ) from error
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
    path = font_folder() / f"{re.sub('[/:]', '-', name)}.ttf"
    font.save(path)
    return str(path)


# What happens to pictures after they were drawn: printing, scanning, saving


def _turn(
    image: Image.Image, xy: np.ndarray, degrees: float, rng: np.random.Generator
) -> tuple[Image.Image, np.ndarray]:
    """A sheet that lies askew: a turn and a slight shear."""
    angle, shear = np.radians(degrees), rng.uniform(-0.04, 0.04)
    forward = np.array([[np.cos(angle), -np.sin(angle) + shear], [np.sin(angle), np.cos(angle)]])
    size = np.array(image.size, float)
    corners = (np.array([[0, 0], [1, 0], [0, 1], [1, 1]]) - 0.5) * size @ forward.T
    grown = np.ceil(np.ptp(corners, axis=0))
    back = np.linalg.inv(forward)
    shift = size / 2 - back @ (grown / 2)
    turned = image.transform(
        (int(grown[0]), int(grown[1])),
        Image.Transform.AFFINE,
        (*back[0], shift[0], *back[1], shift[1]),
        resample=Image.Resampling.BICUBIC,
        fillcolor=int(np.median(np.asarray(image))),
    )
    return turned, ((xy - size / 2) @ forward.T + grown / 2).astype(np.float32)


def _shade(pixels: np.ndarray, depth: float, rng: np.random.Generator) -> np.ndarray:
    """Light that falls off to one side."""
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[-1 : 1 : pixels.shape[0] * 1j, -1 : 1 : pixels.shape[1] * 1j]
    return pixels * (1 - depth * (0.5 + 0.35 * (np.cos(angle) * x + np.sin(angle) * y)))


def _noise(pixels: np.ndarray, spread: float, rng: np.random.Generator) -> np.ndarray:
    """White noise of standard deviation `spread`."""
    return pixels + spread * rng.standard_normal(pixels.shape, np.float32)


def _threshold(pixels: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """Black and white; the level counts from the darkest to the lightest value there is."""
    low, high = np.percentile(pixels, [0.5, 50])
    return np.where(pixels < low + (high - low) * level / 255, 0, 255)


def _scan(
    image: Image.Image, xy: np.ndarray, level: float, rng: np.random.Generator
) -> tuple[Image.Image, np.ndarray]:
    """A scan of one bit: optics, noise, level, gaps and specks; of some the ink bleeds."""
    blur, noise = rng.uniform(0.3, 1.1), rng.uniform(0, (255 - level) / 5)
    if rng.random() < 0.3:
        blur, noise, level = (
            _bond_length(xy) * rng.uniform(0.01, 0.045),
            rng.uniform(0, 4),
            rng.uniform(150, 225),
        )
    soft = np.asarray(image.filter(ImageFilter.GaussianBlur(blur)), np.float32)
    seen = _threshold(_noise(soft, noise, rng), level, rng)
    for value, share in ((255, rng.choice([0, 0.003])), (0, rng.choice([0, 0.0004]))):
        for y, x in rng.integers(0, seen.shape, (int(share * seen.size), 2)):
            seen[y : y + 2, x : x + 2] = value
    return to_image(seen), xy


def _bond_length(xy: np.ndarray) -> float:
    """About how long bonds are between atoms at `xy` (n, 2): the median distance to the nearest other."""
    gaps = np.linalg.norm(xy[:, None] - xy[None, :], axis=2) + np.diag(np.full(len(xy), np.inf))
    return float(np.median(gaps.min(axis=1))) if len(xy) > 1 else 30.0


def _caption(
    image: Image.Image, xy: np.ndarray, size: float, rng: np.random.Generator
) -> tuple[Image.Image, np.ndarray]:
    """A number or a word above, below or beside the structure; its letters are `size` bonds high."""
    number = int(rng.choice([rng.integers(1, 30), rng.integers(1, 500)]))
    form = str(rng.choice(["({})", "({})", "{}", "({}-1)", "{}a", "Compound {}", "Example {}", "Formula ({})",
                           "No. {}", "Chiral", "Process A", "...({})", "(R{})", "Ki = {} nM"]))  # fmt: skip
    text = form.format(number)
    files = [training_font_file(name) for name in _known_fonts(TRAINING_FONTS)]
    files = [file for file in files if file not in _BUILT_IN]
    font = ImageFont.truetype(files[int(rng.integers(len(files)))], max(int(size * _bond_length(xy)), 7))
    left, top, right, bottom = font.getbbox(text)
    w, h, gap = right - left, bottom - top, float(rng.uniform(0.3, 1.5)) * _bond_length(xy)
    low, high = xy.min(axis=0) - gap, xy.max(axis=0) + gap
    middle = (low + high) / 2 * rng.uniform(0.8, 1.2, 2)
    sides = ((middle[0] - w / 2, high[1]), (middle[0] - w / 2, low[1] - h), (high[0], middle[1] - h / 2))
    at = np.array(sides[int(rng.choice(3, p=[0.6, 0.15, 0.25]))])
    shift = np.ceil(np.maximum(3 - at, 0)).astype(int)
    full = np.ceil(np.maximum(image.size + shift, at + shift + [w + 3, h + 3])).astype(int)
    sheet = Image.new("L", tuple(full.tolist()), int(np.median(np.asarray(image))))
    sheet.paste(image, tuple(shift.tolist()))
    ImageDraw.Draw(sheet).text(tuple(at + shift - [left, top]), text, 0, font)
    return sheet, (xy + shift).astype(np.float32)


def _speckle(pixels: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Dust: dark and light dots."""
    chance = rng.random(pixels.shape, np.float32)
    return np.where(chance < share, 40, np.where(chance > 1 - share, 255, pixels))


def _gamma(pixels: np.ndarray, power: float, rng: np.random.Generator) -> np.ndarray:
    """A copier set too light or too dark: grey edges fade or fill."""
    return np.asarray(255 * (pixels / 255) ** power)


def _resample(image: Image.Image, factor: float) -> Image.Image:
    """A copy at lower resolution, blown up smoothly."""
    w, h = image.size
    small = image.resize((max(int(w * factor), 1), max(int(h * factor), 1)), Image.Resampling.BICUBIC)
    return small.resize((w, h), Image.Resampling.BICUBIC)


TRAINING_EFFECTS = {
    "turn": EffectRange(-4.0, 4.0, _turn),
    "blur": EffectRange(0.2, 1.2, image_effect(lambda image, r: image.filter(ImageFilter.GaussianBlur(r)))),
    "shade": EffectRange(0.05, 0.3, pixel_effect(_shade)),
    "noise": EffectRange(3.0, 40.0, pixel_effect(_noise)),
    "threshold": EffectRange(110.0, 200.0, pixel_effect(_threshold)),
    "speckle": EffectRange(0.0005, 0.02, pixel_effect(_speckle)),
    "jpeg": EffectRange(12.0, 90.0, image_effect(lambda image, quality: saved_as(image, "JPEG", quality))),
    "resample": EffectRange(0.5, 0.9, image_effect(_resample)),
    "gamma": EffectRange(0.45, 2.2, pixel_effect(_gamma)),
}
