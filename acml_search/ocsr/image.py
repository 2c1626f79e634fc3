"""From a picture in any format to its ink: its foreground by darkness.

Ink is the distance of a pixel from the ground around it, in whichever colour channel it is largest, so that
coloured letters count, and a dark ground is no different from a light one.
"""

from __future__ import annotations

import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter, ImageOps, UnidentifiedImageError
from scipy import ndimage

from acml_search.core.errors import InvalidRecord

MAX_PIXELS = 40_000_000
_LARGE = 1_500_000  # pixels; above, a picture is read at a fraction of its resolution
_BLOCK = 32  # pixels, the side of a patch whose median is taken as ground
_SCREEN = 1.0
"""pixels, radius of the blur that turns a screen of dots back into grey"""
_UNBROKEN = 0.9
"""share of a line that is inked where it is a side of a frame"""
_SMEAR = 2  # pixels that the side of a frame fades out over
_FAINT = 16.0  # levels of 255 that the darkest ink must differ from its ground


def open_picture(record: Any) -> Image.Image:
    """A PIL image of a picture file's bytes, a path, a uint8 array (h, w), (h, w, 3 or 4) or a PIL image,
    turned upright where the camera says how it was held (EXIF).

    Raises `InvalidRecord`.
    """
    if isinstance(record, str) and not record.strip():
        raise _refuse("it is empty; give the path of a PNG or JPEG file, its bytes or its pixels")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about size, and about damage that does not prevent reading
        return _opened(record)


def _opened(record: Any) -> Image.Image:
    try:
        if isinstance(record, Image.Image):
            image = record
        elif isinstance(record, bytes | bytearray | memoryview):
            image = Image.open(BytesIO(bytes(record)))
        elif isinstance(record, str | Path):
            image = Image.open(record)
        elif isinstance(record, np.ndarray):
            if record.dtype != np.uint8:
                raise _refuse(f"its pixels are {record.dtype}, not uint8; scale them to 0 to 255 first")
            image = Image.fromarray(record)
        else:
            raise _refuse(
                f"a {type(record).__name__} is no picture; give a path, bytes, pixels or a PIL image"
            )
        if image.width * image.height == 0:
            raise _refuse("it has no pixels; give a picture with a drawn structure")
        if image.width * image.height > MAX_PIXELS:
            raise _refuse(
                f"it has {image.width} x {image.height} pixels, too many; cut the structure out first"
            )
        image.load()
        return ImageOps.exif_transpose(image)
    except FileNotFoundError as error:
        raise _refuse(f"there is no file {record}; check the path") from error
    except Image.DecompressionBombError as error:
        raise _refuse("it has too many pixels; cut the structure out first") from error
    except UnidentifiedImageError as error:
        raise _refuse("it is no picture of a kind that is known; give a PNG or JPEG file") from error
    except (OSError, TypeError, ValueError, SyntaxError, EOFError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise _refuse(f"it cannot be opened as a picture ({reason}); give a PNG or JPEG file") from error


def foreground(image: Image.Image) -> tuple[np.ndarray, tuple[float, float, float]]:
    """The ink of a picture, cut to where there is some: (h, w) uint8, 255 = darkest.

    Also where it came from: left and upper edge in pixels of the picture, and its pixels per pixel of ink.
    Raises `InvalidRecord` for a picture without ink.
    """
    difference, dark, floor, step = _above_ground(image)
    solid = np.asarray(Image.fromarray(difference).filter(ImageFilter.BoxBlur(1)))
    # Pale letters count beside heavy lines; a single dot of dust is a ninth of its darkness in the means.
    marked = solid > 0.14 * dark + floor / 2
    if (box := _inside_frame(marked)) is not None:
        x, y = box[0] * step, box[1] * step
        ink, (left, top, scale) = foreground(image.crop((x, y, box[2] * step, box[3] * step)))
        return ink, (left + x, top + y, scale)
    rows, columns = np.flatnonzero(marked.any(axis=1)), np.flatnonzero(marked.any(axis=0))
    top, bottom = max(int(rows[0]) - 3, 0), int(rows[-1]) + 4
    left, right = max(int(columns[0]) - 3, 0), int(columns[-1]) + 4
    cut = difference[top:bottom, left:right]
    full = _quantile(cut[cut > 0.5 * dark], 0.8)
    level = np.clip((np.arange(256) - floor) / max(full - floor, 1.0), 0, 1) ** 0.75 * 255
    return np.rint(level).astype(np.uint8)[cut], (left * step, top * step, float(step))


def marks(image: Image.Image) -> tuple[np.ndarray, int]:
    """Where a picture has ink, (h, w) bool, and its pixels per pixel of that.

    Raises `InvalidRecord` for a picture without ink.
    """
    difference, dark, floor, step = _above_ground(image)
    return difference > max(0.3 * dark, floor), step


def _above_ground(image: Image.Image) -> tuple[np.ndarray, float, float, int]:
    """How far pixels are from the ground, (h, w) uint8; how far the darkest ink is; below what there is
    only noise; pixels of the picture per pixel. Raises `InvalidRecord`."""
    pixels = _channels(image)
    step = 1
    if pixels.shape[0] * pixels.shape[1] > _LARGE:
        step = int(np.ceil(np.sqrt(pixels.shape[0] * pixels.shape[1] / _LARGE)))
        pixels = np.stack(
            [np.asarray(Image.fromarray(c).reduce(step)) for c in np.moveaxis(pixels, 2, 0)], axis=2
        )
    if _is_screened(pixels):
        pixels = np.asarray(Image.fromarray(pixels[:, :, 0]).filter(ImageFilter.GaussianBlur(_SCREEN)))[
            :, :, None
        ]
    difference = _difference(pixels, _ground(pixels))
    # Noise of the ground: half of its pixels differ by less than a third of this.
    floor = 3.0 * _quantile(difference, 0.5)
    solid = np.asarray(Image.fromarray(difference).filter(ImageFilter.BoxBlur(1)))
    # Darkest ink: what a small part of all pixels exceeds, on 3 x 3 means, where dust does not count.
    dark = _quantile(solid, 1 - max(8 / solid.size, 1 / 2000))
    if dark < max(_FAINT, floor):
        raise _refuse("it shows nothing but an even ground; give a picture with a drawn structure")
    return difference, dark, min(floor, 0.4 * dark), step


def _inside_frame(marked: np.ndarray) -> tuple[int, int, int, int] | None:
    """Left, upper, right and lower edge of what lies within a rectangle that is drawn around everything, as
    around a cell of a table; None where there is none.

    Its sides are the outermost ink, unbroken, and nothing touches them from within: no ring is a frame.
    """
    rows, columns = np.flatnonzero(marked.any(axis=1)), np.flatnonzero(marked.any(axis=0))
    box = marked[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    edges = []
    for side in (box, box[::-1], box.T, box.T[::-1]):
        broken = np.flatnonzero(side[: max(len(side) // 8, 1)].mean(axis=1) < _UNBROKEN)
        if not len(broken) or broken[0] == 0:
            return None
        edges.append(int(broken[0]) + _SMEAR)
    top, bottom, left, right = edges
    within = box[top : len(box) - bottom, left : box.shape[1] - right]
    if not within.any() or any(line.any() for line in (within[0], within[-1], within[:, 0], within[:, -1])):
        return None
    return (
        int(columns[0]) + left,
        int(rows[0]) + top,
        int(columns[-1]) + 1 - right,
        int(rows[-1]) + 1 - bottom,
    )


def _is_screened(pixels: np.ndarray) -> bool:
    """Are greys shown by black and white dots, as fax machines and printers do?

    So it is where there are two levels only, and pixels of the rarer one mostly stand alone: beside them,
    left, right, above and below, is the other level. Lines and letters are not so.
    """
    first = pixels[:, :, 0]
    if pixels.shape[0] < 3 or pixels.shape[1] < 3 or np.any(pixels != first[:, :, None]):
        return False
    counts = np.bincount(first.ravel(), minlength=256)
    levels = np.argsort(counts)[-2:]
    if counts[levels].sum() < 0.995 * first.size:
        return False
    rare = first == levels[0]
    inner = rare[1:-1, 1:-1]
    beside = rare[:-2, 1:-1] | rare[2:, 1:-1] | rare[1:-1, :-2] | rare[1:-1, 2:]
    alone = int((inner & ~beside).sum())
    return alone > max(0.25 * int(inner.sum()), 0.01 * first.size)


def resized(ink: np.ndarray, scale: float) -> np.ndarray:
    """Ink enlarged or reduced by `scale`, smoothly; uint8. Reduced thin lines are darkened again."""
    h, w = ink.shape
    size = (max(round(w * scale), 1), max(round(h * scale), 1))
    out = np.asarray(Image.fromarray(ink).resize(size, Image.Resampling.BILINEAR))
    if scale < 1:
        dark = _quantile(out, 0.985)
        if 0 < dark < 200:
            out = np.minimum(np.arange(256) * (200.0 / max(dark, 50.0)), 255).astype(np.uint8)[out]
    return out


def _channels(image: Image.Image) -> np.ndarray:
    """(h, w, 1 or 3) uint8; a transparent ground is filled with what sets the ink off."""
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, np.float32)
        known = np.isfinite(values)
        values = np.where(known, values, np.median(values[known]) if known.any() else 0.0)
        spread = float(np.ptp(values)) or 1.0
        return ((values - values.min()) * (255 / spread)).astype(np.uint8)[:, :, None]
    if image.mode in ("P", "PA", "LA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode == "RGBA":
        alpha = np.asarray(image.getchannel("A"))
        if alpha.min() == 255:
            image = image.convert("RGB")
        else:
            opaque = np.asarray(image.convert("RGB"))[alpha > 128]
            light = opaque.size > 0 and float(opaque.mean()) > 140 and float(alpha.mean()) < 128
            ground = Image.new("RGBA", image.size, (0, 0, 0, 255) if light else (255, 255, 255, 255))
            image = Image.alpha_composite(ground, image).convert("RGB")
    elif image.mode in ("1", "L"):
        return np.asarray(image.convert("L"))[:, :, None]
    return np.asarray(image.convert("RGB"))


def _difference(pixels: np.ndarray, ground: np.ndarray) -> np.ndarray:
    """(h, w) uint8, the distance from the ground in the channel where it is largest."""
    layers = [
        np.maximum(pixels[:, :, i], ground[..., i]) - np.minimum(pixels[:, :, i], ground[..., i])
        for i in range(pixels.shape[2])
    ]
    return layers[0] if len(layers) == 1 else np.maximum(np.maximum(layers[0], layers[1]), layers[2])


def _ground(pixels: np.ndarray) -> np.ndarray:
    """The ground around every pixel, uint8 (h, w, c), or (1, 1, c) where it is even: medians of patches,
    smoothed.

    Patches are read at every fourth pixel each way: little work, and nearly the same medians.
    """
    h, w, c = pixels.shape
    overall = np.array([_quantile(pixels[::2, ::2, i], 0.5) for i in range(c)])
    even = overall.astype(np.uint8).reshape(1, 1, c)
    down, across = h // _BLOCK, w // _BLOCK
    if down < 3 or across < 3:
        return even
    side = _BLOCK // 4
    coarse = pixels[::4, ::4][: down * side, : across * side]
    patches = (
        coarse.reshape(down, side, across, side, c).transpose(0, 2, 4, 1, 3).reshape(down, across, c, -1)
    )
    medians = np.partition(patches, side * side // 2, axis=3)[:, :, :, side * side // 2]
    # A patch that bold lines fill is no ground: the patches around it know better.
    medians = ndimage.median_filter(medians, (3, 3, 1))
    if float(np.abs(medians - overall).max()) < 3:
        return even
    # The last pixels may lie beyond the last patch: the map is stretched to them.
    layers = [
        np.asarray(Image.fromarray(np.ascontiguousarray(layer)).resize((w, h), Image.Resampling.BILINEAR))
        for layer in np.moveaxis(medians, 2, 0)
    ]
    return np.stack(layers, axis=2)


def _quantile(values: np.ndarray, share: float) -> float:
    """A quantile of uint8 values, by counting."""
    counts = np.bincount(values.ravel(), minlength=256).cumsum()
    return float(np.searchsorted(counts, share * counts[-1])) if len(values) else 0.0


def _refuse(reason: str) -> InvalidRecord:
    return InvalidRecord(reason, modality="image")
