"""Training of the network that reads the letters of labels (`ocsr.letters`).

    python -m acml_search.training.letters

Characters in the training fonts of `training.picture_styles`, worn as scans are, and what stands beside them
in drawings and is no character: strokes of bonds, two characters that touch, halves of characters. It takes
five minutes on one core and writes `acml_search/ocsr/letters.safetensors`.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from safetensors.torch import save_file
from torch import nn

from acml_search.ocsr import letters
from acml_search.ocsr.letters import CHARACTERS, SIDE, glyph
from acml_search.ocsr.styles import to_image
from acml_search.training.picture_styles import TRAINING_FONTS, training_font_file

OTHER_SHARE = 0.25
HIDDEN = (128, 64)


def sample(rng: np.random.Generator, fonts: list[str]) -> tuple[np.ndarray, int]:
    """A glyph (20, 20) and its class."""
    label = 0 if rng.random() < OTHER_SHARE else int(rng.integers(1, len(CHARACTERS) + 1))
    size = int(np.exp(rng.uniform(np.log(11), np.log(44))))
    while True:
        picture = Image.new("L", (5 * size, 4 * size), 0)
        pen = ImageDraw.Draw(picture)
        if label:
            _write(pen, CHARACTERS[label - 1], size, rng, fonts)
        elif rng.random() < 0.5:
            _strokes(pen, size, rng)
        else:
            _write(pen, "".join(rng.choice(list(CHARACTERS), 2)), size, rng, fonts)
        ink = np.asarray(_worn(picture, rng))
        if not label and rng.random() < 0.3:  # what a wrong cut leaves
            middle = int(np.flatnonzero(ink.max(axis=0) > 100).mean()) if ink.max() > 100 else 0
            ink = ink[:, :middle] if rng.random() < 0.5 else ink[:, middle:]
        rows, columns = np.flatnonzero((ink > 100).any(axis=1)), np.flatnonzero((ink > 100).any(axis=0))
        if len(rows) > 2 and len(columns) > 1:
            return glyph(ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]), label


def _write(
    pen: ImageDraw.ImageDraw, text: str, size: int, rng: np.random.Generator, fonts: list[str]
) -> None:
    font = ImageFont.truetype(fonts[int(rng.integers(len(fonts)))], size)
    x = float(size)
    for character in text:
        pen.text((x, size), character, 255, font)
        x += font.getlength(character) * rng.uniform(0.75, 1.0)


def _strokes(pen: ImageDraw.ImageDraw, size: int, rng: np.random.Generator) -> None:
    """Pieces of bonds: lines, corners, wedges, arcs."""
    width = max(int(size * rng.uniform(0.05, 0.2)), 1)
    at = rng.uniform(size, 2 * size, (int(rng.choice([2, 2, 3, 3, 4])), 2))
    if rng.random() < 0.3:
        at[:, int(rng.integers(2))] = at[0, 0]  # upright or level
    points = [tuple(point) for point in at]
    kind = rng.random()
    if kind < 0.75:
        pen.line(points, 255, width)
    elif kind < 0.9 and len(points) > 2:
        pen.polygon(points, 255)
    else:
        box = [*at.min(axis=0), *(at.min(axis=0) + rng.uniform(3, size, 2))]
        pen.arc(box, float(rng.uniform(0, 360)), float(rng.uniform(0, 360)), 255, width)


def _worn(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Turned, stretched, bolder or thinner, blurred, coarse, black and white."""
    w, h = picture.size
    picture = picture.resize((int(w * rng.uniform(0.8, 1.2)), h), Image.Resampling.BILINEAR)
    picture = picture.rotate(float(rng.normal(0, 2)), Image.Resampling.BILINEAR)
    if rng.random() < 0.4:
        picture = picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.3, 1.1))))
    pixels = np.asarray(picture, np.float32)
    if rng.random() < 0.6:
        edge = rng.uniform(50, 190)
        pixels = np.clip((pixels - edge) * (255.0 if rng.random() < 0.6 else 4.0) + 128, 0, 255)
    if rng.random() < 0.3:
        pixels = pixels + (rng.normal(0, rng.uniform(5, 30), pixels.shape) * (pixels > 0)).astype(np.float32)
    return to_image(pixels)


def main(n: int = 120_000, epochs: int = 14, seed: int = 3) -> None:
    """Train, say how many of unseen samples are right, and write the weights."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    fonts = [file for name in TRAINING_FONTS if Path(file := training_font_file(name)).is_file()]
    rng = np.random.default_rng(seed)
    made = [sample(rng, fonts) for _ in range(n)]
    x = torch.from_numpy(np.stack([one for one, _ in made])).flatten(1)
    y = torch.tensor([label for _, label in made])
    sizes = (SIDE * SIDE, *HIDDEN, 1 + len(CHARACTERS))
    layers = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())][:-1]
    network = nn.Sequential(*layers)
    optimiser = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=0.02)
    dev = n // 20
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs * ((n - dev) // 256 + 1))
    for epoch in range(epochs):
        for rows in torch.randperm(n - dev).split(256):
            # Shifted by up to a pixel: a cut is never quite the same.
            square = x[dev + rows].view(-1, SIDE, SIDE)
            shift = [int(k) for k in rng.integers(-1, 2, 2)]
            loss = nn.functional.cross_entropy(
                network(square.roll(shift, (1, 2)).flatten(1)), y[dev + rows], label_smoothing=0.02
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        with torch.inference_mode():
            right = (network(x[:dev]).argmax(dim=1) == y[:dev]).float().mean()
        print(f"epoch {epoch + 1}: {float(right):.3f} of {dev} unseen samples", flush=True)
    save_file({k: v.half().contiguous() for k, v in network.state_dict().items()},
              Path(letters.__file__).with_name(letters.WEIGHTS))  # fmt: skip


if __name__ == "__main__":
    main()
