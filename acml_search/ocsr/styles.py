"""How pictures of structures are drawn: RDKit's default style, and random ones that no reader is trained on.

`ocsr.depict` draws a `Style`. `held_out_style` makes the pictures that measure a picture reader; the family
that readers are trained on is `training.picture_styles`. The two families share nothing but what any drawing
of a molecule has:

                   training                                  held out
    fonts          Telex, Roboto, FreeSans, DejaVu Sans      Comic Neue, Aileron, DejaVu Sans Condensed,
                   and Serif (and Bold), Liberation, STIX,   DejaVu Sans Mono, DejaVu Math
                   Computer Modern, those of the extra
                   `fonts`; some stretched or slanted
    modes          RDKit's free mode                         ACS 1996, comic, free
    line widths    1, 1.5, 2, 3 pixels or more              0.8, 1.2, 2.5, 3.5 pixels (ACS: 0.6)
    palettes       RDKit's, black, Avalon's                  CDK's, dark random ones, white on dark
    backgrounds    white, light and even                     coloured, transparent
    layouts        RDKit's, with ring templates or bridged   with ring templates, straightened or jittered
                   rings in perspective, jittered, widened,
                   one bond long
    hashed bonds   RDKit's, dashes, bars                     RDKit's
    effects        noise, Gaussian blur, JPEG, threshold,    dithering, ink bleed, perspective, paper texture,
                   speckle, slight turn and shear, shade,    WebP, pixellation, streaks
                   resampling, gamma, scans of one bit,
                   captions

Rotation, mirroring, size, abbreviations, kekulised or dashed aromatic rings, written methyls and stereo
labels vary in both. DejaVu is used where the system or Matplotlib has it; the other held-out fonts come with
RDKit and Pillow.
"""

from __future__ import annotations

import atexit
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageFilter, ImageFont
from rdkit import RDConfig
from rdkit.Chem import Draw

from acml_search.ocsr.abbreviations import DEFINITIONS

Transform = Callable[[Image.Image, np.ndarray, float, np.random.Generator], tuple[Image.Image, np.ndarray]]
"""(image of mode L, dark on light; xy (n, 2); strength; rng) -> image and where the points went"""


class EffectRange(NamedTuple):
    """An effect with the range that its strength is drawn from."""

    low: float
    high: float
    function: Transform


class Effect(NamedTuple):
    """One thing that happens to a picture after it was drawn: printing, scanning, saving."""

    name: str
    strength: float
    function: Transform


@dataclass(frozen=True)
class Style:
    """How a picture is drawn. Lengths are pixels of the drawing."""

    family: str = "plain"
    font: str = ""
    """the font's name; "" is RDKit's default"""
    font_file: str = ""
    """the font's file, as RDKit takes it"""
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
    """rdkit, templates (of rings), straight (the same, turned so that most bonds are level or steep), or
    perspective (of bridged rings)"""
    jitter: float = 0.0
    """standard deviation of atom positions, angstroms"""
    stretch: float = 0.0
    """how much wider the drawing is than it was laid out; one bond is up to three times that longer"""
    wedges: float = 0.0
    """share of single bonds that are drawn as wedges or waves, whatever they mean"""
    hashes: str = ""
    """how hashed bonds are drawn: dashes along them, bars of one width across them, "" as RDKit does"""
    circles: bool = False
    """in aromatic rings, where these are not kekulised"""
    gaps: bool = False
    """in bonds that lie behind others"""
    mode: str = "free"
    """free, acs or comic"""
    palette: str | tuple[tuple[float, float, float], ...] = "default"
    """default, black, avalon, cdk, or colours of carbon and of the rest in turn"""
    background: tuple[float, ...] = (1.0, 1.0, 1.0)
    """red, green, blue and, where it is transparent, alpha"""
    effects: tuple[Effect, ...] = ()
    """what happens to the picture afterwards, in this order"""
    seed: int = 0
    """of jitter and effects"""


PLAIN = Style()


def held_out_style(rng: np.random.Generator) -> Style:
    """A random style of the family that no reader is trained on."""
    common = common_style(rng)
    mode = str(rng.choice(["free", "free", "acs", "comic"]))
    dark = rng.random() < 0.1
    shade = rng.uniform(0.6, 1.0, (2, 3)) if dark else rng.uniform(0.0, 0.45, (2, 3))
    ground = rng.uniform(0.0, 0.2, 3) if dark else rng.choice([1.0, 1.0, 0.9, 0.8], 3)
    clear = not dark and rng.random() < 0.15
    colours = tuple((float(r), float(g), float(b)) for r, g, b in shade)
    palette: Any = colours if dark or rng.random() < 0.5 else "cdk"
    straight = rng.random() < 0.5
    fonts = [name for name in HELD_OUT_FONTS[1:] if font_file(name)]
    font = "ComicNeue" if mode == "comic" else str(rng.choice(fonts))
    return replace(
        common,
        family="held-out",
        font=font,
        font_file=font_file(font),
        line=float(rng.choice([0.8, 1.2, 2.5, 3.5])),
        layout="straight" if straight else "templates",
        jitter=0.0 if straight else 0.04,
        mode=mode,
        palette=palette,
        background=(1.0, 1.0, 1.0, 0.0) if clear else tuple(float(x) for x in ground),
        effects=() if clear else random_effects(HELD_OUT_EFFECTS, rng),
    )


def common_style(rng: np.random.Generator) -> Style:
    """What varies in every family: size, rotation, abbreviations, letters, spacing."""
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


def random_effects(table: Mapping[str, EffectRange], rng: np.random.Generator) -> tuple[Effect, ...]:
    """Up to three effects of a family, strengths from the table's ranges; none for every third picture."""
    count = int(rng.choice([0, 0, 1, 1, 2, 3]))
    chosen = sorted(rng.choice(len(table), count, replace=False))
    names = list(table)
    effects = []
    for name in (names[i] for i in chosen):
        low, high, function = table[name]
        effects.append(Effect(name, float(rng.uniform(low, high)), function))
    return tuple(effects)


def apply_effects(
    image: Image.Image, xy: np.ndarray, effects: Sequence[Effect], rng: np.random.Generator
) -> tuple[Image.Image, np.ndarray]:
    """The picture after all `effects`, of mode L, and where its atoms went: xy (n, 2) float32.

    A drawing on a dark ground is worked on as its negative and turned back. Without effects it stays in
    colour.
    """
    if not effects:
        return image, xy
    image = image.convert("L")
    negative = float(np.median(np.asarray(image))) < 128
    if negative:
        image = Image.fromarray(255 - np.asarray(image))
    for effect in effects:
        image, xy = effect.function(image, xy, effect.strength, rng)
    if negative:
        image = Image.fromarray(255 - np.asarray(image))
    return image, xy


# Fonts

HELD_OUT_FONTS = ("ComicNeue", "Aileron", "DejaVuSansCondensed", "DejaVuSansMono", "DejaVuMathTeXGyre")


@cache
def font_file(name: str) -> str:
    """The file of a font that RDKit, Pillow, the system or Matplotlib has; "" where there is none."""
    shipped = {
        "FreeSans": Path(Draw.__file__).with_name("FreeSans.ttf"),
        "ComicNeue": Path(RDConfig.RDDataDir) / "Fonts" / "ComicNeue-Regular.ttf",
    }
    if name in shipped:
        return str(shipped[name]) if shipped[name].exists() else ""
    if name == "Aileron":
        return _aileron()
    try:
        return str(ImageFont.truetype(f"{name}.ttf", 10).path)
    except OSError:
        pass
    try:
        import matplotlib
    except ImportError:
        return ""
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf"
    return str(path) if path.exists() else ""


@cache
def font_folder() -> Path:
    """A temporary folder for font files that no package has as a file; removed when the process ends."""
    folder = tempfile.TemporaryDirectory(prefix="acml-search-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


def _aileron() -> str:
    """Pillow carries Aileron in its code; RDKit wants a file."""
    font = ImageFont.load_default(10)
    if not isinstance(font, ImageFont.FreeTypeFont):
        return ""
    assert isinstance(font.path, BytesIO)
    path = font_folder() / "Aileron.ttf"
    path.write_bytes(font.path.getvalue())
    return str(path)


# Effects


def pixel_effect(
    change: Callable[[np.ndarray, float, np.random.Generator], np.ndarray],
) -> Transform:
    """An effect that moves nothing, from a function of pixels (h, w) float32, 0 to 255."""

    def transform(
        image: Image.Image, xy: np.ndarray, strength: float, rng: np.random.Generator
    ) -> tuple[Image.Image, np.ndarray]:
        return to_image(change(np.array(image, np.float32), strength, rng)), xy

    return transform


def image_effect(change: Callable[[Image.Image, float], Image.Image]) -> Transform:
    """An effect that moves nothing and draws nothing at random, from a function of the image."""

    def transform(
        image: Image.Image, xy: np.ndarray, strength: float, rng: np.random.Generator
    ) -> tuple[Image.Image, np.ndarray]:
        return change(image, strength), xy

    return transform


def to_image(pixels: np.ndarray) -> Image.Image:
    """Pixels of any range, rounded and clipped, as an image of mode L."""
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))


def saved_as(image: Image.Image, file_format: str, quality: float) -> Image.Image:
    """The image as it comes back from a lossy file."""
    out = BytesIO()
    image.save(out, file_format, quality=int(quality))
    return Image.open(BytesIO(out.getvalue())).convert("L")


def _perspective(
    image: Image.Image, xy: np.ndarray, depth: float, rng: np.random.Generator
) -> tuple[Image.Image, np.ndarray]:
    """A photograph that was not taken straight from above."""
    w, h = image.size
    corners = np.array([[0, 0], [w, 0], [w, h], [0, h]], float)
    moved = corners + rng.uniform(-depth, depth, (4, 2)) * [w, h]
    moved -= moved.min(axis=0)
    size = np.ceil(moved.max(axis=0)).astype(int)
    back, forward = _homography(moved, corners), _homography(corners, moved)
    photo = image.transform(
        (int(size[0]), int(size[1])),
        Image.Transform.PERSPECTIVE,
        tuple(back),
        resample=Image.Resampling.BICUBIC,
        fillcolor=int(np.median(np.asarray(image))),
    )
    below = xy @ forward[6:8] + 1
    there = np.stack([xy @ forward[0:2] + forward[2], xy @ forward[3:5] + forward[5]], axis=1)
    return photo, (there / below[:, None]).astype(np.float32)


def _homography(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The eight numbers of the projective map that sends four points to four points."""
    rows, values = [], []
    for (x, y), (u, v) in zip(start, end, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    return np.linalg.solve(np.array(rows), np.array(values))


def _bleed(image: Image.Image, share: float) -> Image.Image:
    """Ink that spreads into the paper."""
    return Image.blend(image, image.filter(ImageFilter.MinFilter(3)), share)


def _pixellate(image: Image.Image, factor: float) -> Image.Image:
    """A copy at lower resolution, blown up without smoothing."""
    w, h = image.size
    small = image.resize((max(int(w / factor), 1), max(int(h / factor), 1)), Image.Resampling.BOX)
    return small.resize((w, h), Image.Resampling.NEAREST)


def _paper(pixels: np.ndarray, spread: float, rng: np.random.Generator) -> np.ndarray:
    """The grain of paper: noise whose neighbours are alike, in two sizes."""
    for size in (3, 24):
        h, w = -(-pixels.shape[0] // size), -(-pixels.shape[1] // size)
        grain = Image.fromarray(rng.normal(128, spread, (h, w)).clip(0, 255).astype(np.uint8))
        whole = grain.resize(pixels.shape[::-1], Image.Resampling.BILINEAR)
        pixels = pixels + np.asarray(whole, np.float32) - 140
    return pixels


def _streaks(pixels: np.ndarray, depth: float, rng: np.random.Generator) -> np.ndarray:
    """Pale stripes of a worn printing drum."""
    return pixels + depth * (rng.random((pixels.shape[0], 1)) < 0.06)


def _dither(image: Image.Image, gain: float) -> Image.Image:
    """Black dots of an old printer (Floyd and Steinberg)."""
    grey = to_image(np.asarray(image, np.float32) * gain + 255 * (1 - gain) * 0.5)
    return grey.convert("1").convert("L")


HELD_OUT_EFFECTS = {
    "perspective": EffectRange(0.01, 0.06, _perspective),
    "bleed": EffectRange(0.3, 1.0, image_effect(_bleed)),
    "pixellate": EffectRange(1.1, 1.5, image_effect(_pixellate)),
    "paper": EffectRange(4.0, 18.0, pixel_effect(_paper)),
    "streaks": EffectRange(5.0, 40.0, pixel_effect(_streaks)),
    "dither": EffectRange(0.8, 1.0, image_effect(_dither)),
    "webp": EffectRange(25.0, 80.0, image_effect(lambda image, q: saved_as(image.convert("RGB"), "WEBP", q))),
}
