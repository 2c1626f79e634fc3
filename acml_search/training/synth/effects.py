"""What happens to training pictures after they were drawn: printing, scanning, saving."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

from acml_search.ocsr.styles import EffectRange, image_effect, pixel_effect, saved_as


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
