"""What a picture shows: its pages, and the parts of a page that may be structures.

Ink that touches is one piece. Pieces are told apart by form: frames, blocks and rules are left out, and so
are arrows and plus signs between structures. What remains is joined where it lies no further apart than
letters and bonds do, which the size of the letters tells; a group with no piece larger than letters is text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image, ImageSequence
from scipy import ndimage

from acml_search.core.errors import InvalidRecord
from acml_search.core.extras import require
from acml_search.ocsr.detector import BOND, SHARP
from acml_search.ocsr.image import MAX_PIXELS, marks, open_picture, resized
from acml_search.ocsr.letters import CHARACTERS, glyph, log_probabilities

if TYPE_CHECKING:
    from acml_search.ocsr.reader import Recognition

_DOTS_PER_INCH, _MAX_PAGES = 200, 200
"""at which the pages of a PDF are drawn; of a PDF or TIFF that is read at all"""
_MAX_PIECES, _FEW_PIECES = 20_000, 50
"""of ink on a page; and on one that shows nothing larger than letters, but may be a condensed formula"""
_SPECK = 5
"""pixels, height and width up to which a piece is no letter"""
_LETTER = 8.0
"""pixels, the least size of letters"""
_GAP = 1.0
"""letters' sizes that pieces of one structure lie apart, at most"""
_SKELETON = 2.2
"""letters' sizes from which a piece is no letter"""
_COLOURS, _FLAT, _GROUND = 8, 0.002, 0.2
"""colours of flat areas that are looked for; the least share of the picture of each, and of the ground"""
_MARGIN = 8
"""pixels around a part"""
_CONFIDENT, _UNEVEN = 0.89, 0.15
"""confidence from which a reading is a structure, and what is taken off it where all bonds are of odd
lengths; chosen on scans and on pictures as `benchmarks/refusals.py` made them (up to commit 90f6a2b)"""
_FEW, _CONFIDENT_FEW = 7, 0.93
"""atoms, up to which a part of a page needs letters and more confidence"""
_WAVY = ("", "I", "Cl", "?")
"""what a wavy line is read as"""
_LETTERS = "".join(c for c in CHARACTERS if c.isalpha())
_SMALL, _DIGITS = ("".join(filter(kind, CHARACTERS)) for kind in (str.islower, str.isdecimal))
_EDGE = 8.0
"""units of white around a picture as the network gets it"""


Box = tuple[int, int, int, int]
"""left, upper, right and lower edge in pixels of a page"""


class Part(NamedTuple):
    """A part of a page that may be a structure."""

    image: Image.Image
    page: int
    """from 1"""
    box: Box | None
    """None: all of the page"""


def pages(record: Any) -> Iterator[Image.Image]:
    """The pages of the bytes of a PDF or TIFF file, or the one picture that anything else is.

    Raises `InvalidRecord`; `ConfigError` for a PDF without the library that draws it.
    """
    start = record[:1024] if isinstance(record, bytes) else b""
    if b"%PDF-" in start:
        yield from _pdf(record)
    elif start[:4] in (b"II*\0", b"MM\0*"):
        try:
            with Image.open(BytesIO(record)) as file:
                _check_pages(getattr(file, "n_frames", 1))
                for page in ImageSequence.Iterator(file):
                    _check_size(*page.size)
                    yield open_picture(page.copy())
        except (Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
            reason = f"it cannot be opened as a TIFF ({error}); give another"
            raise InvalidRecord(reason, modality="image") from error
    else:
        yield open_picture(record)


def _check_pages(n: int) -> None:
    """Raises `InvalidRecord`."""
    if n > _MAX_PAGES:
        raise InvalidRecord(f"it has {n} pages; give {_MAX_PAGES} at most", modality="image")


def _check_size(width: float, height: float) -> None:
    """Before a page is decoded. Raises `InvalidRecord`."""
    if width * height > MAX_PIXELS:
        reason = f"a page has {width:.0f} x {height:.0f} pixels, too many; cut the structure out first"
        raise InvalidRecord(reason, modality="image")


def _pdf(record: bytes) -> Iterator[Image.Image]:
    require("pypdfium2")
    import pypdfium2

    try:
        with pypdfium2.PdfDocument(record) as document:
            _check_pages(len(document))
            for page in document:
                width, height = page.get_size()
                _check_size(width * _DOTS_PER_INCH / 72, height * _DOTS_PER_INCH / 72)
                yield page.render(scale=_DOTS_PER_INCH / 72).to_pil()
                page.close()
    except pypdfium2.PdfiumError as error:
        raise InvalidRecord(
            f"it cannot be opened as a PDF ({error}); give another", modality="image"
        ) from error


def parts(record: Any) -> list[Part]:
    """The parts of all pages that may be structures, in reading order; where there is none, the first page.

    Raises as `pages` does, and `InvalidRecord` for letters or areas alone.
    """
    found: list[Part] = []
    first = None
    for number, page in enumerate(pages(record), 1):
        first = page if first is None else first
        try:
            found += [Part(image, number, box) for image, box in cut(page)]
        except InvalidRecord:  # an empty page
            continue
    if not found and first is not None:
        if ndimage.label(marks(first)[0], np.ones((3, 3)))[1] > _FEW_PIECES:
            raise InvalidRecord("it shows no structure, but letters, areas or a plot", modality="image")
        found = [Part(first, 1, None)]
    return found


def cut(image: Image.Image) -> list[tuple[Image.Image, Box | None]]:
    """The parts of one page, each on even ground without what lies beside it, and their boxes.

    The picture itself stands for a single part from which nothing is left out. Raises `InvalidRecord` for a
    page without ink.
    """
    image = _unwashed(image)
    marked, step = marks(image)
    labels, n = ndimage.label(marked, np.ones((3, 3)))
    if n > _MAX_PIECES:
        return []
    if n == 1:
        return [(image, None)]
    pieces = _Pieces(labels, n)
    size = pieces.letters()
    structures = _structures(pieces, size)
    if len(structures) == 1 and structures[0].all():
        return [(image, None)]
    ground = image.convert("RGB")
    colour = tuple(int(np.median(np.asarray(channel))) for channel in ground.split())
    found: list[tuple[Image.Image, Box | None]] = []
    for own in structures:
        (top, left), (bottom, right) = pieces.box(own)
        box = (
            max(left * step - _MARGIN, 0), max(top * step - _MARGIN, 0),
            min(right * step + _MARGIN, image.width), min(bottom * step + _MARGIN, image.height),
        )  # fmt: skip
        window = labels[box[1] // step : -(-box[3] // step), box[0] // step : -(-box[2] // step)]
        mine = np.concatenate([[False], own])[window]
        other = ndimage.binary_dilation((window > 0) & ~mine, iterations=2) & ~ndimage.binary_dilation(mine)
        part = ground.crop(box)
        part.paste(colour, mask=Image.fromarray(other).resize(part.size, Image.Resampling.NEAREST))
        found.append((part, box))
    return found


def _unwashed(image: Image.Image) -> Image.Image:
    """The picture without flat areas of other colours than the ground: highlights behind atoms, the bars and
    panes of windows. What is drawn on them stays, as dark as it stands out.

    An area is wide, and paler than the ink or a twelfth of the picture wide.
    """
    if (
        image.mode in ("1", "LA", "RGBA", "PA", "I", "F")
        or "transparency" in image.info
        or min(image.size) < 64
    ):
        return image
    pixels = np.asarray(image.convert("RGB"), np.int16)
    some = pixels[::3, ::3].reshape(-1, 3)
    bins = (some >> 3) @ np.array([1024, 32, 1], np.int16)
    counts = np.bincount(bins, minlength=1 << 15)
    most = np.argsort(-counts, kind="stable")[:_COLOURS]
    if counts[most[0]] < _GROUND * len(some):
        return image  # a photograph
    ground, *others = [
        np.median(some[bins == one], axis=0) for one in most if counts[one] > _FLAT * len(some)
    ]
    darkest = float(np.quantile(np.abs(some - ground).mean(axis=1), 0.999))
    found = pixels
    for away in (colour - ground for colour in others):
        pale = np.abs(away).mean() < 0.6 * darkest
        side = max(min(image.size) // (80 if pale else 12), 5)
        flat = (np.abs(pixels - ground - away) <= 8).all(axis=2)
        core = ndimage.minimum_filter(flat, side)
        if np.abs(away).max() < 12 or not core.any():
            continue
        areas, n = ndimage.label(flat)
        wide = np.zeros(n + 1, bool)
        wide[areas[core]] = True
        around = ndimage.binary_dilation(wide[areas], iterations=3)
        inside = pixels[around] - ground
        share = np.clip(inside @ away / (away @ away), 0, 1)
        left = np.abs(inside - share[:, None] * away).max(axis=1, keepdims=True)
        found = pixels.copy() if found is pixels else found
        found[around] = ground - left if ground.mean() > 127 else ground + left
    return image if found is pixels else Image.fromarray(np.clip(found, 0, 255).astype(np.uint8))


def _structures(pieces: _Pieces, size: float) -> list[np.ndarray]:
    """For each structure (n,) bool which pieces are its own, in reading order.

    size: of letters, pixels. A sign within a structure is a charge or a bond and stays there.
    """
    removed = pieces.frames(size) | pieces.blocks(size)
    signs = pieces.arrows(size) | pieces.pluses(size)
    found: list[np.ndarray] = []
    owned: list[np.ndarray] = []
    for apart in (removed | signs, removed):
        group = pieces.groups(~apart, _GAP * size)
        owned = [group == number for number in range(1, int(group.max(initial=0)) + 1)]
        found = [own for own in owned if pieces.skeleton(own, size)]
        if len(found) > 1 or not signs.any():
            break
    for own in found:
        low, high = pieces.box(own)
        own |= (pieces.low >= low).all(axis=1) & (pieces.high <= high).all(axis=1) & ~removed
    # one within the box of another is a part of it
    found = [
        one
        for i, one in enumerate(found)
        if not any((one <= other).all() for other in found[:i] + found[i + 1 :])
    ]
    text = [own for own in owned if not any((own <= one).all() for one in found)]
    return _in_reading_order(_salts(found, text, pieces, size), pieces)


def _salts(
    structures: list[np.ndarray], text: list[np.ndarray], pieces: _Pieces, size: float
) -> list[np.ndarray]:
    """Structures with a raised dot between them as one: acid and base, or solvent. What stands right of a dot
    may be `text`, groups of letters such as HCl.
    """
    full = pieces.area / pieces.sides.prod(axis=1)
    alone = ~np.any([np.zeros(len(full), bool), *structures], axis=0)
    dots = (
        alone & (full > 0.6) & (pieces.extent < 0.6 * size) & (pieces.sides.min(axis=1) > 0.6 * pieces.extent)
    )
    joined: list[np.ndarray] = []
    for own in sorted([*structures, *text], key=lambda own: pieces.box(own)[0][1]):
        (top, left), (bottom, _) = pieces.box(own)
        for i, other in enumerate(joined):
            (above, _), (below, right) = pieces.box(other)
            between = (pieces.low[:, 1] > right) & (pieces.high[:, 1] < left)
            beside = (pieces.low[:, 0] > max(top, above)) & (pieces.high[:, 0] < min(bottom, below))
            if (dots & between & beside).any():
                joined[i] = other | own
                break
        else:
            if not any(own is one for one in text):
                joined.append(own)
    return joined


def _in_reading_order(structures: list[np.ndarray], pieces: _Pieces) -> list[np.ndarray]:
    """From left to right in rows; what lies mostly beside the first of a row belongs to it."""
    boxes = [pieces.box(own) for own in structures]
    rows: list[list[int]] = []
    for i in sorted(range(len(boxes)), key=lambda i: boxes[i][0]):
        if rows and boxes[i][0][0] + boxes[i][1][0] < 2 * boxes[rows[-1][0]][1][0]:
            rows[-1].append(i)
        else:
            rows.append([i])
    return [structures[i] for row in rows for i in sorted(row, key=lambda i: boxes[i][0][1])]


class _Pieces:
    """n pieces of ink that touches, with their boxes: `low` inclusive and `high` exclusive, (n, 2) int64 of
    row and column.
    """

    def __init__(self, labels: np.ndarray, n: int) -> None:
        self.labels = labels
        self.slices = ndimage.find_objects(labels)
        self.low = np.array([[side.start for side in box] for box in self.slices])
        self.high = np.array([[side.stop for side in box] for box in self.slices])
        self.sides = self.high - self.low
        self.extent = self.sides.max(axis=1)
        self.area = np.bincount(labels.ravel(), minlength=n + 1)[1:]

    def letters(self) -> float:
        """The size of letters in pixels: the median extent of compact pieces, of which lines are none."""
        compact = (self.sides.min(axis=1) > 0.25 * self.extent) & (self.extent > _SPECK)
        small = compact & (self.extent < 0.25 * max(self.labels.shape))
        some = self.extent[small] if small.any() else self.extent / 3
        return float(max(np.median(some), _LETTER))

    def box(self, own: np.ndarray) -> tuple[tuple[int, int], tuple[int, int]]:
        """The first row and column of pieces together, and the ones after the last."""
        (top, left), (bottom, right) = self.low[own].min(axis=0), self.high[own].max(axis=0)
        return (int(top), int(left)), (int(bottom), int(right))

    def skeleton(self, own: np.ndarray, size: float) -> bool:
        """Has a group pieces larger than letters, and not only a line below them?"""
        large = own & (self.extent > _SKELETON * size)
        text = own & ~large
        underlined = (
            large.any()
            and text.any()
            and (self.sides[large, 0] < 0.4 * size).all()
            and self.low[large, 0].min() >= self.high[text, 0].max()
        )
        return bool(large.any() and not underlined)

    def mask(self, i: int) -> np.ndarray:
        """The piece in its box."""
        return np.asarray(self.labels[self.slices[i]] == i + 1)

    def groups(self, chosen: np.ndarray, gap: float) -> np.ndarray:
        """(n,) int64: the group of each chosen piece, from 1, joined where they are no further apart than
        `gap` pixels; 0 for the others."""
        ink = np.concatenate([[False], chosen])[self.labels]
        if not ink.any():
            return np.zeros(len(chosen), np.int64)
        near, _ = ndimage.label(ndimage.distance_transform_edt(~ink) <= gap / 2, np.ones((3, 3)))
        group = np.zeros(len(chosen) + 1, np.int64)
        group[self.labels[ink]] = near[ink]
        return group[1:]

    def _where(self, candidates: np.ndarray, test: Callable[[np.ndarray], bool]) -> np.ndarray:
        found = np.zeros(len(self.area), bool)
        for i in np.flatnonzero(candidates):
            found[i] = test(self.mask(int(i)))
        return found

    def frames(self, size: float) -> np.ndarray:
        """(n,) bool: rectangles around something, tables, the axes of plots and what is drawn on them."""
        return self._where((self.sides.min(axis=1) > 4 * size), _is_framed)

    def blocks(self, size: float) -> np.ndarray:
        """(n,) bool: filled areas, and lines too long for bonds."""
        full = self.area / self.sides.prod(axis=1)
        filled = (full > 0.5) & (self.sides.min(axis=1) > 2.5 * size)
        rules = (self.extent > 10 * size) & (self.sides.min(axis=1) < 0.4 * size)
        return np.asarray(filled | rules)

    def arrows(self, size: float) -> np.ndarray:
        """(n,) bool: straight lines, level or upright, with a head at one end."""
        wide, narrow = self.extent, self.sides.min(axis=1)
        return self._where((wide > 2 * size) & (narrow < 1.2 * size) & (wide > 3 * narrow), _is_arrow)

    def pluses(self, size: float) -> np.ndarray:
        """(n,) bool: upright crosses as high as letters."""
        wide, narrow = self.extent, self.sides.min(axis=1)
        return self._where((wide > 0.6 * size) & (wide < 2.5 * size) & (narrow > 0.8 * wide), _is_plus)


def _is_framed(mask: np.ndarray) -> bool:
    """Is all around the piece a line along its box?"""
    edge = max(3, round(0.02 * max(mask.shape)))
    sides = (
        mask[:edge].any(axis=0),
        mask[-edge:].any(axis=0),
        mask[:, :edge].any(axis=1),
        mask[:, -edge:].any(axis=1),
    )
    return all(side.mean() > 0.95 for side in sides)


def _is_arrow(mask: np.ndarray) -> bool:
    """Is it a straight line, as thick along most of its length, with a wider end?"""
    along = mask if mask.shape[1] > mask.shape[0] else mask.T
    thick = along.sum(axis=0)
    middle = np.arange(len(along)) @ along / np.maximum(thick, 1)
    shaft = float(np.median(thick))
    quarter = max(len(thick) // 4, 1)
    heads = thick[:quarter].max(), thick[-quarter:].max()
    return bool(
        along.any(axis=0).all()
        and np.subtract(*np.quantile(middle, [0.85, 0.15])) <= max(2.0, 0.25 * len(along))
        and (np.abs(thick - shaft) <= max(1.0, 0.25 * shaft)).mean() > 0.65
        and max(heads) >= max(shaft + 2, 1.8 * shaft)
        and min(heads) <= shaft + max(1.0, 0.5 * shaft)
    )


def _is_plus(mask: np.ndarray) -> bool:
    """Is there ink along the two middle lines, and none beside them?"""
    rows, columns = mask.mean(axis=1) > 0.8, mask.mean(axis=0) > 0.8
    centred = all(
        0 < line.sum() < 0.4 * len(line)
        and np.ptp(np.flatnonzero(line)) < line.sum()
        and abs(np.flatnonzero(line).mean() - (len(line) - 1) / 2) < 0.12 * len(line)
        for line in (rows, columns)
    )
    beside = mask & ~ndimage.binary_dilation(rows)[:, None] & ~ndimage.binary_dilation(columns)[None, :]
    return bool(centred and beside.sum() < 0.05 * mask.sum())


def no_structure(ink: np.ndarray, found: Recognition, part: bool = False) -> str | None:
    """Why a reading of ink (h, w) uint8 is no structure, as a clause; None where it is one.

    Where a picture shows something else the network is unsure of what it sees, and its bonds are of all
    lengths. part: of a page with other things on it, where squares and crosses are no molecules.
    """
    read = found.hypothesis
    if not read.symbols:
        return "it shows no structure: no atom was found"
    uneven = 0.0
    if read.bonds:
        ends = read.xy[np.array(read.bonds)[:, :2]]
        length = np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1)
        uneven = float((np.abs(length / np.median(length) - 1) > 0.25).mean())
    if read.confidence - _UNEVEN * uneven < _CONFIDENT:
        return "it shows no structure, or one that cannot be read"
    if part and len(read.symbols) <= _FEW and (not any(read.symbols) or read.confidence < _CONFIDENT_FEW):
        return "it shows no structure, or one too small to be told from other drawings"
    if _has_attachment(ink, found):
        return "it has an attachment point, a wavy line across a bond, and so is no molecule"
    label = _r_group(ink, found)
    return label and f"it has {label}, which stands for many groups, and so is no molecule"


def _r_group(ink: np.ndarray, found: Recognition) -> str | None:
    """A label at an atom that names no group: R, Ar, X, Y, Z, Q, or a star."""
    read, bond = found.hypothesis, BOND / found.scale
    labels, _ = ndimage.label(ink > 100, np.ones((3, 3)))
    boxes = [
        (i, (rows, columns))
        for i, (rows, columns) in enumerate(ndimage.find_objects(labels), 1)
        if 0.06 * bond < rows.stop - rows.start < 0.6 * bond > columns.stop - columns.start
    ]
    if not boxes:
        return None
    glyphs = np.stack([glyph(np.where(labels[box] == i, ink[box], 0)) for i, box in boxes])
    chances = np.exp(log_probabilities(glyphs))
    edges = np.array([[side.start, side.stop] for _, box in boxes for side in box]) / bond
    top, bottom, left, right = edges.reshape(-1, 4).T
    x, y, w, h = (left + right) / 2, (top + bottom) / 2, right - left, bottom - top

    def chance(characters: str) -> np.ndarray:
        return np.asarray(chances[:, [1 + CHARACTERS.index(c) for c in characters]].sum(axis=1))

    letter, small, plus = chance(_LETTERS), chance(_SMALL), chance("+")
    star = (chances[:, 0] > 0.5) & (chances[:, 0] + plus > 0.85) & (plus > 0.05) & (np.abs(w - h) < 0.3 * w)
    star &= (w > 0.09) & (w < 0.25)
    degree = np.bincount([i for bond in read.bonds for i in bond[:2]], minlength=len(read.symbols))
    for k in range(len(boxes)):
        away = np.linalg.norm((read.xy - _EDGE) / BOND - [x[k], y[k]], axis=1)
        atom = int(away.argmin())
        level = np.abs(y - y[k]) < 0.5 * max(h[k], 0.2)
        after = level & (left > x[k]) & (left - right[k] < 0.12)
        beside = after | (level & (right < x[k]) & (left[k] - right < 0.12))
        if away[atom] > 0.45 or degree[atom] > 2:
            continue
        if star[k] and degree[atom] == 1:
            numbered = level & (left > x[k]) & (left - right[k] < 0.3) & (chance(_DIGITS) > 0.8)
            if numbered.any() or (away[atom] < 0.1 and not beside.any()):
                return "an attachment point (*)"
        if h[k] < 0.2:
            continue
        if chance("R")[k] > 0.85 and not (after & (small > 0.5)).any():
            return "the label R"
        if chance("A")[k] > 0.85 and (after & (chance("r") > 0.5)).any():
            return "the label Ar"
        if chance("xyVZQ")[k] > 0.85 and not (beside & (letter > 0.5)).any():
            return "the label X, Y, Z or Q"
    return None


def _has_attachment(ink: np.ndarray, found: Recognition) -> bool:
    """Does a wavy line run across the end of a bond, a quarter of a bond and more to either side?"""
    read, pixels = found.hypothesis, float(SHARP)
    large = resized(ink, pixels * found.scale) / np.float32(255)
    ends = np.array([bond[:2] for bond in read.bonds], np.int64).reshape(-1, 2)
    degree = np.bincount(ends.ravel(), minlength=len(read.symbols))
    across, along = np.arange(-11, 12), np.arange(-9, 13)
    beside = np.abs(across) > 3
    for i, j in np.concatenate([ends, ends[:, ::-1]]):
        if degree[i] != 1 or read.symbols[i] not in _WAVY:
            continue
        end, way = (read.xy[i] - _EDGE) * pixels, read.xy[i] - read.xy[j]
        x, y = way / max(float(np.linalg.norm(way)), 1e-6)
        columns = end[0] + along[:, None] * x - across * y
        rows = end[1] + along[:, None] * y + across * x
        near = ndimage.map_coordinates(large, [rows, columns], order=1)[:, beside]
        weight = near.sum(axis=0)
        middle = (near * along[:, None]).sum(axis=0) / np.maximum(weight, 1e-6)
        swing = middle - np.polyval(np.polyfit(across[beside], middle, 1), across[beside])
        thin = (near > 0.4).sum(axis=0).max() <= 3
        if thin and (weight > 0.8).mean() > 0.65 and 0.22 < swing.std() < 0.75:
            return True
    return False
