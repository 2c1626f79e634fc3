"""Pictures as files that are small enough for a README."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

STEP = 5  # of 255; a divisor of it, so that white stays white


def save(figure: Any, path: Path, *, dpi: int) -> None:
    """A figure of matplotlib as PNG or SVG, by the ending of `path`."""
    if path.suffix.lower() != ".png":
        figure.savefig(path, dpi=dpi)
        return
    from PIL import Image

    figure.set_dpi(dpi)
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())
    save_png(Image.fromarray(np.ascontiguousarray(pixels[:, :, :3])), path)


def save_png(image: Any, path: Path) -> None:
    """An RGB image with its colours rounded to steps of 5 of 255: not seen, and a third of the size."""
    rounded = [STEP * round(value / STEP) for value in range(256)]
    image.point(rounded * 3).save(path, optimize=True)
