"""Letters beside bonds: lines of text in a picture, and what may be written there.

What touches is one piece of ink. Pieces as high as letters that stand side by side are one line of text; a
small network says which letter each piece is, or none, as short bonds are. Pieces that are wide are also read
as several letters, cut where there is least ink. A transcription costs the more the less likely its letters
are and the less they stand as they would: o and O, c and C are told apart by that.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from functools import cache
from importlib import resources
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from PIL import Image
from safetensors.numpy import load
from scipy import ndimage

CHARACTERS = "ABCDEFHIKLMNOPQRSTVZabcehilmnoprstuxy0123456789()+-"
"""characters of labels; the network's class 0 is anything else"""
SIDE = 20
"""pixels, the square that a letter is fitted into"""
WEIGHTS = "letters.safetensors"

_HEIGHTS = (0.16, 0.85)
"""of letters, in bonds"""
_WIDTH = 2.5
_LEVEL = 0.25
"""bonds; a minus is no longer"""
_NO_LETTER = -0.1
_INK = 100
_NEAR = 0.42
"""gap between letters, in their heights"""
_CUT = 0.7
"""nats against a letter that touches the next one"""
_SKIPPED = 2.0
"""nats against a piece at the end of a line that is none of it"""
_KEPT = 16
"""transcriptions of a line"""
_MAX_COST = 9.0
"""nats between them"""
_MAX_CUTS = 4
_MAX_PARTS = 60
_SMALL, _DEEP = "acemnorsuxy", "py"


class Line(NamedTuple):
    """A line of text."""

    box: tuple[float, float, float, float]
    """left, upper, right and lower edge in pixels"""
    texts: tuple[tuple[str, float], ...]
    """transcriptions and their costs in nats, the likeliest first"""

    def at(self, scale: float, margin: float) -> Line:
        """In a picture enlarged by `scale`, with a margin around."""
        left, top, right, bottom = (edge * scale + margin for edge in self.box)
        return Line((left, top, right, bottom), self.texts)


class _Piece(NamedTuple):
    left: int
    top: int
    right: int
    bottom: int
    number: int
    """of its component"""

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left


def glyph(ink: np.ndarray) -> np.ndarray:
    """Ink (h, w) uint8 of one letter, cut to its edges, in a square (20, 20) float32 of 0 to 1."""
    h, w = ink.shape
    scale = SIDE / max(h, w)
    size = (max(round(w * scale), 1), max(round(h * scale), 1))
    small = np.asarray(Image.fromarray(ink).resize(size, Image.Resampling.BILINEAR), np.float32) / 255
    out = np.zeros((SIDE, SIDE), np.float32)
    top, left = (SIDE - size[1]) // 2, (SIDE - size[0]) // 2
    out[top : top + size[1], left : left + size[0]] = small
    return out


def log_probabilities(glyphs: np.ndarray) -> np.ndarray:
    """(n, 20, 20) -> (n, 1 + characters) float32."""
    w = _weights()
    hidden = np.maximum(glyphs.reshape(len(glyphs), -1) @ w["0.weight"].T + w["0.bias"], 0)
    hidden = np.maximum(hidden @ w["2.weight"].T + w["2.bias"], 0)
    logits = hidden @ w["4.weight"].T + w["4.bias"]
    top = logits.max(axis=1, keepdims=True)
    return np.asarray(logits - top - np.log(np.exp(logits - top).sum(axis=1, keepdims=True)))


@cache
def _weights() -> dict[str, np.ndarray]:
    data = resources.files(__package__).joinpath(WEIGHTS).read_bytes()
    return {name: value.astype(np.float32) for name, value in load(data).items()}


def text_lines(ink: np.ndarray, bond: float) -> list[Line]:
    """Lines of text in ink (h, w) uint8 with bonds of `bond` pixels."""
    labels, _ = ndimage.label(ink > _INK, np.ones((3, 3)))
    pieces = []
    for number, (rows, columns) in enumerate(ndimage.find_objects(labels), 1):
        piece = _Piece(columns.start, rows.start, columns.stop, rows.stop, number)
        if 0.04 * bond < piece.height < _HEIGHTS[1] * bond and piece.width < _WIDTH * bond:
            pieces.append(piece)
    if not pieces:
        return []
    glyphs = np.stack([glyph(ink[p.top : p.bottom, p.left : p.right]) for p in pieces])
    no_letter = log_probabilities(glyphs)[:, 0] > _NO_LETTER
    pieces = [p for p, no in zip(pieces, no_letter, strict=True) if not _is_stroke(p, bool(no), pieces, bond)]
    lines = (_read(ink, labels, group) for group in _side_by_side(pieces, bond))
    return [line for line in lines if line is not None]


def _is_stroke(piece: _Piece, no_letter: bool, pieces: Sequence[_Piece], bond: float) -> bool:
    """Is it a part of a bond? A level one is halfway up the letters beside it, which a minus is not."""
    if no_letter and (piece.width < 1.2 * piece.height or piece.height < _HEIGHTS[0] * bond):
        return True
    if piece.width < 1.8 * piece.height or piece.height > _LEVEL * bond:
        return False
    return piece.width > _LEVEL * bond or any(
        other.height > _HEIGHTS[0] * bond
        and abs(piece.top + piece.bottom - other.top - other.bottom) < 0.5 * other.height
        and max(piece.left, other.left) - min(piece.right, other.right) < _LEVEL * bond
        for other in pieces
    )


def _side_by_side(pieces: Sequence[_Piece], bond: float) -> list[list[_Piece]]:
    """Pieces as groups, each from left to right."""
    group = np.arange(len(pieces))
    for i, a in enumerate(pieces):
        for k, b in enumerate(pieces[:i]):
            high = max(a.height, b.height)
            gap = max(a.left, b.left) - min(a.right, b.right)
            above = abs(a.top + a.bottom - b.top - b.bottom) / 2
            if high > _HEIGHTS[0] * bond and gap < _NEAR * high and above < 0.7 * high:
                group[group == group[i]] = group[k]
    found = [sorted(p for p, g in zip(pieces, group, strict=True) if g == one) for one in np.unique(group)]
    return [one for one in found if max(p.height for p in one) > _HEIGHTS[0] * bond]


def _read(ink: np.ndarray, labels: np.ndarray, pieces: list[_Piece]) -> Line | None:
    """One line of text; None where no transcription has letters alone."""
    parts = [part for piece in pieces for part in _cut(ink, labels, piece)]
    if not parts or len(parts) > _MAX_PARTS:
        return None
    # A part alone, or with the next ones: a letter in pieces, or one that was cut.
    ends = [(i, k) for i in range(len(parts)) for k in range(i + 1, min(i + 4, len(parts)) + 1)]
    spans = [(i, k) for i, k in ends if k == i + 1 or _joined(parts[i:k])]
    boxes = [_around(parts[i:k]) for i, k in spans]
    crops = []
    for (i, k), box in zip(spans, boxes, strict=True):
        area = (slice(box.top, box.bottom), slice(box.left, box.right))
        own = np.isin(labels[area], [0, *(part.number for part in parts[i:k])])
        crops.append(glyph(np.where(own, ink[area], 0).astype(np.uint8)))
    chances = log_probabilities(np.stack(crops))
    likeliest = chances.argmax(axis=1)
    high = [box for box, c in zip(boxes, likeliest, strict=True) if c and CHARACTERS[c - 1].isupper()]
    if not high:
        return None
    high = [box for box in high if box.height > 0.85 * max(one.height for one in high)]
    height, base = (
        float(np.median(x)) for x in zip(*((box.height, box.bottom) for box in high), strict=True)
    )
    costs = (
        np.array([[_misplaced(c, box, height, base) for c in CHARACTERS] for box in boxes]) - chances[:, 1:]
    )
    number = [part.number for part in parts]
    for row, (i, k) in zip(costs, spans, strict=True):
        row += _CUT * (number.count(number[i]) > k - i)
    # The best transcriptions up to each part: cost, letters, the first part and the one after the last.
    # A stroke beside the letters may be none of them.
    best: list[list[tuple[float, str, int, int]]] = [[(0.0, "", 0, 0)], *([] for _ in parts)]
    for at in range(1, len(parts) + 1):
        none = _SKIPPED - float(chances[spans.index((at - 1, at)), 0])
        longer = [(cost + none, text, first if text else at, last if text else at)
                  for cost, text, first, last in best[at - 1] if not text or at == len(parts)]  # fmt: skip
        for s, (i, k) in enumerate(spans):
            if k == at:
                for c in np.argsort(costs[s])[:4]:
                    more, letter = float(costs[s, c]), CHARACTERS[c]
                    longer += [(cost + more, text + letter, first, k) for cost, text, first, _ in best[i]]
        kept: dict[str, tuple[float, str, int, int]] = {}
        for one in heapq.nsmallest(4 * _KEPT, longer):
            kept.setdefault(one[1], one)
        best[at] = list(kept.values())[:_KEPT]
    if not best[-1] or not best[-1][0][1]:
        return None
    least, _, first, last = best[-1][0]
    whole = _around(parts[first:last])
    texts = tuple((text, cost) for cost, text, *_ in best[-1] if cost < least + _MAX_COST)
    return Line((whole.left, whole.top, whole.right, whole.bottom), texts)


def _cut(ink: np.ndarray, labels: np.ndarray, piece: _Piece) -> list[_Piece]:
    """A wide piece in parts, cut where there is least ink."""
    width, height = piece.width, piece.height
    if width < 0.95 * height:
        return [piece]
    area = (slice(piece.top, piece.bottom), slice(piece.left, piece.right))
    own = np.where(labels[area] == piece.number, ink[area], 0)
    columns = ndimage.uniform_filter1d(own.sum(axis=0).astype(float), 3)
    step = max(int(0.25 * height), 2)
    lowest = columns == ndimage.minimum_filter1d(columns, 2 * (step // 2) + 1)
    places = np.flatnonzero(lowest & (columns < 0.6 * columns.max()))
    cuts: list[int] = []
    for x in sorted(places[(places >= step) & (places < width - step)].tolist(), key=lambda x: columns[x]):
        if len(cuts) < _MAX_CUTS * max(width // (2 * height), 1) and all(
            abs(x - one) >= step for one in cuts
        ):
            cuts.append(x)
    parts = []
    for left, right in pairwise([0, *sorted(cuts), width]):
        rows = np.flatnonzero(own[:, left:right].max(axis=1) > _INK) + piece.top
        if len(rows):
            box = (piece.left + left, int(rows[0]), piece.left + right, int(rows[-1]) + 1)
            parts.append(_Piece(*box, piece.number))
    return parts


def _joined(parts: Sequence[_Piece]) -> bool:
    """Parts of one piece, or one above the other, as the dot of an i."""
    if len({part.number for part in parts}) == 1:
        return True
    return len(parts) == 2 and min(p.right for p in parts) - max(p.left for p in parts) > 0.5 * min(
        p.right - p.left for p in parts
    )


def _around(parts: Sequence[_Piece]) -> _Piece:
    return _Piece(
        min(p.left for p in parts), min(p.top for p in parts),
        max(p.right for p in parts), max(p.bottom for p in parts), parts[0].number,
    )  # fmt: skip


def _misplaced(character: str, box: _Piece, height: float, base: float) -> float:
    """Cost in nats of a character that is not as high, or not where it would stand in its line."""
    h, low = box.height / height, (box.bottom - base) / height
    if character in "+-":
        return 0.0 if h < 0.8 else 4.0
    if character in "()":
        return 0.0 if h > 0.9 else 4.0
    if character.isdecimal():
        expected, at = min(max(h, 0.5), 0.95), min(max(low, -0.6), 0.5)
    elif character in _SMALL:
        expected, at = 0.72, 0.24 if character in _DEEP else 0.0
    else:
        expected, at = 1.0, 0.24 if character in _DEEP else 0.0
    return min(((h - expected) / 0.13) ** 2 / 2, 4.0) + min(((low - at) / 0.13) ** 2 / 2, 4.0)
