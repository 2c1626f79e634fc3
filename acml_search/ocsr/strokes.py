"""What the ink along a line says of it: none, plain, a wedge, a bar, or dashes.

Lines are looked at across, from one end to the other, without the letters at their ends. A wedge gets wider,
a bar is as wide as a wedge all along, and between dashes there is no ink. What the network says of a line is
weighed with that; a double bond that is one broad stroke is single, and a bond without ink is none. All
thresholds were chosen on scans.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.special import log_softmax

from acml_search.ocsr.hypotheses import ATOM_PROBABILITY, Detections

_ALONG = np.linspace(0, 1, 33)
_ACROSS = np.arange(-9.0, 10.0)
_NEAR = slice(7, 12)
"""of `_ACROSS`, where a line is although its ends are not exact"""
_BESIDE, _TWIN, _DOUBLE = slice(3, 16), 0.8, np.log(0.1)
"""where a double bond's second line is, of what share of its length, and the least log-probability of one"""
_BARE, _LETTERED, _BETWEEN = 0.12, 0.4, 0.34
"""share of a line that is left out at a corner, at letters, and at letters where both ends have some"""
_INK, _FAINT = 0.4, 0.45
"""ink within a line, and share of the usual ink below which there is a gap"""
_AROUND, _GROUND, _EMPTY = slice(5, 14), 0.2, 0.4
"""where ink may be of a bond whose ends are not exact, ink that is none, and share of a line that no bond is
without any at a stretch
"""
_FORKED, _CARBON, _CARRIED = 0.8, 4, (0.0, 1.0, 2.0, 3.0, 1.5, 1.0)
"""cosine between bonds side by side, bonds that a carbon carries, and what each order counts of them"""
_BROAD, _WEDGE, _GROWTH, _THIN = 2.9, 1.6, 1.2, 1.4
"""usual lines: a broad one at least; a wedge on average, and more at its wide end; a thin one at most"""
_NATS = 4.0


def with_strokes(found: Detections, ink: np.ndarray, scale: float, margin: float) -> Detections:
    """Detections with lines judged by their ink (h, w) uint8, `scale` pixels to a unit of positions; those
    count from `margin` units outside."""
    if found.wedges is None or not len(found.pairs):
        return found
    lettered = found.symbols.argmax(axis=1)[found.pairs] > 0
    low, high = np.where(
        lettered, np.where(lettered.all(axis=1, keepdims=True), _BETWEEN, _LETTERED), _BARE
    ).T
    inner = (low[:, None] <= _ALONG) & (1 - high[:, None] >= _ALONG)
    near = _across(ink, (found.xy[found.pairs] - margin) * scale)
    width, slope = _trend(_stroke(near), inner)
    single = found.orders.argmax(axis=1) == 1
    usual = float(np.median(width[single])) if single.any() else np.inf
    gaps, share = _gaps(near[:, :, _NEAR].sum(axis=2), inner)

    on = near[:, :, _BESIDE] > _INK
    lines = on[:, :, 0] + (on[:, :, 1:] & ~on[:, :, :-1]).sum(axis=2)
    twin = single & (gaps == 0) & (((lines > 1) & inner).sum(axis=1) > _TWIN * inner.sum(axis=1))
    growth = slope * (1 - low - high) / usual
    whole = share < 0.2
    broad, wedge = whole & (width > _BROAD * usual), whole & (width > _WEDGE * usual)
    dashed, unbroken = gaps >= 2, (gaps == 0) & (share < 0.1)
    says = np.zeros_like(found.wedges)
    says[:, 1] = (wedge & (growth > _GROWTH)) * 1.0 - (width < _THIN * usual)
    says[:, 2] = (wedge & (growth < -_GROWTH)) * 1.0 - (width < _THIN * usual)
    says[:, 3:5] = dashed[:, None] * 1.0 - unbroken[:, None]
    # What may be a double bond is one broad stroke, or two.
    orders = found.orders.copy()
    double = (orders[:, 2] > _DOUBLE) & (orders[:, 3:] < _DOUBLE).all(axis=1)
    for rows, right in ((broad & double, 1), (twin & double & ~broad, 2)):
        orders[rows, right] = np.logaddexp(orders[rows, 1], orders[rows, 2])
        orders[rows, 3 - right] -= 2 * _NATS
    says[broad & double, 1:3] += 1.0
    says[broad & double, 5] -= 1.0
    none = (near[:, :, _AROUND].max(axis=2) < _GROUND) & inner
    run = np.zeros(len(none))
    longest = run.copy()
    for column in none.T:
        run = (run + 1) * column
        longest = np.maximum(longest, run)
    nothing = (longest > _EMPTY * inner.sum(axis=1)) & ~lettered.all(axis=1)
    orders[nothing, 1:] -= 2 * _NATS
    orders[nothing] = log_softmax(orders[nothing], axis=1)
    found = found._replace(orders=orders, wedges=log_softmax(found.wedges + _NATS * says, axis=1))
    return _with_single_forks(found, lettered)


def _with_single_forks(found: Detections, lettered: np.ndarray) -> Detections:
    """Two bare bonds side by side at a corner, as geminal methyls have, look like double ones: single, where
    the corner had more than four bonds else."""
    orders, kinds = found.orders.copy(), found.orders.argmax(axis=1)
    drawn = (kinds > 0) & (found.probability[found.pairs] >= ATOM_PROBABILITY).all(axis=1)
    ways = np.diff(found.xy[found.pairs], axis=1)[:, 0]
    ways /= np.maximum(np.linalg.norm(ways, axis=1, keepdims=True), 1e-6)
    carried = np.zeros(len(found.xy))
    np.add.at(carried, found.pairs[drawn].ravel(), np.repeat(np.choose(kinds[drawn], _CARRIED), 2))
    for corner in np.flatnonzero(carried > _CARBON):
        at = found.pairs == corner
        rows = np.flatnonzero(at.any(axis=1) & drawn & ~lettered.any(axis=1))
        away = np.where(at[rows, :1], ways[rows], -ways[rows])
        forked = rows[((away @ away.T > _FORKED).sum(axis=1) > 1) & (kinds[rows] == 2)]
        orders[forked, 1] = np.logaddexp(orders[forked, 1], orders[forked, 2])
        orders[forked, 2] -= 2 * _NATS
    return found._replace(orders=orders)


def _across(ink: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Ink of 0 to 1 on lines across those from `ends` (m, 2, 2) to each other: (m, along, across)."""
    way = ends[:, 1] - ends[:, 0]
    aside = way[:, ::-1] * [-1, 1] / np.maximum(np.linalg.norm(way, axis=1, keepdims=True), 1e-6)
    at = ends[:, 0, None] + way[:, None] * _ALONG[:, None]
    at = at[:, :, None] + aside[:, None, None] * _ACROSS[:, None]
    places = at.T[::-1].reshape(2, -1)
    near = ndimage.map_coordinates(ink.astype(np.float32) / 255, places, order=1)
    return np.asarray(near.reshape(at.shape[2::-1]).T)


def _stroke(near: np.ndarray) -> np.ndarray:
    """How much ink the stroke in the middle has at each place along: (m, along)."""
    at, middle = np.arange(near.shape[2]), near[:, :, _NEAR].argmax(axis=2)[:, :, None] + _NEAR.start
    ground = near < _INK
    left = np.where(ground & (at < middle), at, -1).max(axis=2, keepdims=True)
    right = np.where(ground & (at > middle), at, at.size).min(axis=2, keepdims=True)
    return np.asarray((near * ((at >= left) & (at <= right))).sum(axis=2))


def _trend(values: np.ndarray, where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of each row, and slope of the straight line through it from end to end."""
    n = where.sum(axis=1)
    mean = (values * where).sum(axis=1) / n
    away = np.where(where, _ALONG - ((_ALONG * where).sum(axis=1) / n)[:, None], 0)
    return mean, (away * values).sum(axis=1) / (away**2).sum(axis=1)


def _gaps(line: np.ndarray, where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many gaps each row has, and which share of it they are."""
    n = where.sum(axis=1)
    usual = np.take_along_axis(
        np.sort(np.where(where, line, np.inf), axis=1), (n[:, None] - 1) * 3 // 4, axis=1
    )
    faint = line < _FAINT * np.maximum(usual, 0.3)
    inked, empty = where & ~faint, where & faint
    starts, stops = inked[:, :-1] & empty[:, 1:], empty[:, :-1] & inked[:, 1:]
    return np.minimum(starts.sum(axis=1), stops.sum(axis=1)), empty.sum(axis=1) / n
