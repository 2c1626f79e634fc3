"""What happens to a picture after it was drawn: printing, scanning, saving.

Every effect is `f(image, xy, strength, rng) -> image, xy`, image of mode L with dark ink on a light ground
(a drawing on a dark ground is worked on as its negative and turned back).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import BytesIO

import numpy as np
from PIL import Image, ImageFilter

Effect = Callable[[Image.Image, np.ndarray, float, np.random.Generator], tuple[Image.Image, np.ndarray]]

# name -> range of its strength
TRAINING_EFFECTS: dict[str, tuple[float, float]] = {
    "turn": (-4.0, 4.0),
    "blur": (0.2, 1.2),
    "shade": (0.05, 0.3),
    "noise": (3.0, 40.0),
    "threshold": (110.0, 200.0),
    "speckle": (0.0005, 0.02),
    "jpeg": (12.0, 90.0),
    "resample": (0.5, 0.9),
    "gamma": (0.45, 2.2),
}
HELD_OUT_EFFECTS: dict[str, tuple[float, float]] = {
    "perspective": (0.01, 0.06),
    "bleed": (0.3, 1.0),
    "pixellate": (1.1, 1.5),
    "paper": (4.0, 18.0),
    "streaks": (5.0, 40.0),
    "dither": (0.8, 1.0),
    "webp": (25.0, 80.0),
}


def apply(
    image: Image.Image, xy: np.ndarray, effects: Sequence[tuple[str, float]], rng: np.random.Generator
) -> tuple[Image.Image, np.ndarray]:
    """The picture after all `effects` (name, strength), and where its atoms went. Without effects it stays in
    colour."""
    if not effects:
        return image, xy
    image = image.convert("L")
    negative = float(np.median(np.asarray(image))) < 128
    if negative:
        image = Image.fromarray(255 - np.asarray(image))
    for name, strength in effects:
        image, xy = _EFFECTS[name](image, xy, strength, rng)
    if negative:
        image = Image.fromarray(255 - np.asarray(image))
    return image, xy


def _grown(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))


def _saved(image: Image.Image, kind: str, quality: float) -> Image.Image:
    out = BytesIO()
    image.save(out, kind, quality=int(quality))
    again = Image.open(BytesIO(out.getvalue()))
    return again.convert("L")


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
    data = (*back[0], shift[0], *back[1], shift[1])
    ground = int(np.median(np.asarray(image)))
    turned = image.transform(
        (int(grown[0]), int(grown[1])),
        Image.Transform.AFFINE,
        data,
        resample=Image.Resampling.BICUBIC,
        fillcolor=ground,
    )
    return turned, ((xy - size / 2) @ forward.T + grown / 2).astype(np.float32)


def _blur(
    image: Image.Image, xy: np.ndarray, radius: float, rng: np.random.Generator
) -> tuple[Image.Image, np.ndarray]:
    return image.filter(ImageFilter.GaussianBlur(radius)), xy


def _shade(
    image: Image.Image, xy: np.ndarray, depth: float, rng: np.random.Generator
) -> tuple[Image.Image, np.ndarray]:
    """Light that falls off to one side."""
    pixels = np.asarray(image, np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[-1 : 1 : pixels.shape[0] * 1j, -1 : 1 : pixels.shape[1] * 1j]
    fall = 1 - depth * (0.5 + 0.35 * (np.cos(angle) * x + np.sin(angle) * y))
    return _grown(pixels * fall), xy


def _noise(
    image: Image.Image, xy: np.ndarray, spread: float, rng: np.random.Generator
) -> tuple[Image.Image, np.ndarray]:
    pixels = np.asarray(image, np.float32)
    return _grown(pixels + spread * rng.standard_normal(pixels.shape, np.float32)), xy


def _threshold(
    image: Image.Image, xy: np.ndarray, level: float, rng: np.random.Generator
) -> tuple[Image.Image, np.ndarray]:
    """Black and white; the level counts from the darkest to the lightest value there is."""
    pixels = np.asarray(image, np.float32)
    low, high = np.percentile(pixels, [0.5, 50])
    return _grown(np.where(pixels < low + (high - low) * level / 255, 0, 255)), xy


def _speckle(
    image: Image.Image, xy: np.ndarray, share: float, rng: np.random.Generator
) -> tuple[Image.Image, np.ndarray]:
    """Dust: dark and light dots."""
    pixels = np.array(image, np.float32)
    chance = rng.random(pixels.shape, np.float32)
    pixels[chance < share] = 40
    pixels[chance > 1 - share] = 255
    return _grown(pixels), xy


def _jpeg(
    image: Image.Image, xy: np.ndarray, quality: float, rng: np.random.Generator
) -> tuple[Image.Image, np.ndarray]:
    return _saved(image, "JPEG", quality), xy


def _resample(
    image: Image.Image, xy: np.ndarray, factor: float, rng: np.random.Generator
) -> tuple[Image.Image, np.ndarray]:
    """A copy at lower resolution, blown up smoothly."""
    w, h = image.size
    small = image.resize((max(int(w * factor), 1), max(int(h * factor), 1)), Image.Resampling.BICUBIC)
    return small.resize((w, h), Image.Resampling.BICUBIC), xy


def _gamma(
    image: Image.Image, xy: np.ndarray, power: float, rng: np.random.Generator
) -> tuple[Image.Image, np.ndarray]:
    """A copier set too light or too dark: grey edges fade or fill."""
    return _grown(255 * (np.asarray(image, np.float32) / 255) ** power), xy


def _webp(
    image: Image.Image, xy: np.ndarray, quality: float, rng: np.random.Generator
) -> tuple[Image.Image, np.ndarray]:
    return _saved(image.convert("RGB"), "WEBP", quality), xy


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


def _bleed(
    image: Image.Image, xy: np.ndarray, share: float, rng: np.random.Generator
) -> tuple[Image.Image, np.ndarray]:
    """Ink that spreads into the paper."""
    return Image.blend(image, image.filter(ImageFilter.MinFilter(3)), share), xy


def _pixellate(
    image: Image.Image, xy: np.ndarray, factor: float, rng: np.random.Generator
) -> tuple[Image.Image, np.ndarray]:
    """A copy at lower resolution, blown up without smoothing."""
    w, h = image.size
    small = image.resize((max(int(w / factor), 1), max(int(h / factor), 1)), Image.Resampling.BOX)
    return small.resize((w, h), Image.Resampling.NEAREST), xy


def _paper(
    image: Image.Image, xy: np.ndarray, spread: float, rng: np.random.Generator
) -> tuple[Image.Image, np.ndarray]:
    """The grain of paper: noise whose neighbours are alike, in two sizes."""
    pixels = np.asarray(image, np.float32)
    for size in (3, 24):
        h, w = -(-pixels.shape[0] // size), -(-pixels.shape[1] // size)
        grain = Image.fromarray(rng.normal(128, spread, (h, w)).clip(0, 255).astype(np.uint8))
        pixels = pixels + np.asarray(grain.resize(image.size, Image.Resampling.BILINEAR), np.float32) - 140
    return _grown(pixels), xy


def _streaks(
    image: Image.Image, xy: np.ndarray, depth: float, rng: np.random.Generator
) -> tuple[Image.Image, np.ndarray]:
    """Pale stripes of a worn printing drum."""
    pixels = np.asarray(image, np.float32)
    rows = rng.random((pixels.shape[0], 1)) < 0.06
    return _grown(pixels + depth * rows), xy


def _dither(
    image: Image.Image, xy: np.ndarray, gain: float, rng: np.random.Generator
) -> tuple[Image.Image, np.ndarray]:
    """Black dots of an old printer (Floyd and Steinberg)."""
    return _grown(np.asarray(image, np.float32) * gain + 255 * (1 - gain) * 0.5).convert("1").convert("L"), xy


_EFFECTS: dict[str, Effect] = {
    "turn": _turn,
    "blur": _blur,
    "shade": _shade,
    "noise": _noise,
    "threshold": _threshold,
    "speckle": _speckle,
    "jpeg": _jpeg,
    "resample": _resample,
    "gamma": _gamma,
    "perspective": _perspective,
    "bleed": _bleed,
    "pixellate": _pixellate,
    "paper": _paper,
    "streaks": _streaks,
    "dither": _dither,
    "webp": _webp,
}
