"""Misprints of numbers that can be mended without doubt, and the whole numbers that cannot be trusted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

# "135. 4," and "128 .5,": a point with a space beside it
_SPACE_AFTER = re.compile(r"(?<![\d.])(\d{1,3})\. (\d{1,2})(?=\s*[,;()]| and |$)")
_SPACE_BEFORE = re.compile(r"(?<![\d.])(\d{1,3}) \.(\d{1,2})(?=\s*[,;()]| and |$)")
_COMMA = re.compile(r"(?<![\w.,'/-])(-?\d{1,3}),(\d{1,3})(?![\w.'-]|,\d)")
_COMMA_RANGE = re.compile(r"(?<![\w.,'/-])(\d{1,3}),(\d{1,3})(\s?-\s?)(\d{1,3}),(\d{1,3})(?![\w.'-]|,\d)")
_POINT = re.compile(r"\d\.\d")
_TIGHT = re.compile(r"\d\.\d+,\d")  # a comma without a space that separates
_SEPARATED = re.compile(r"\d\s*[;|]|\d,\s|\)\s*[,;]|\d\s*\(")


def mended(text: str) -> str:
    """`text` with decimal points where a comma, or a space beside the point, stands for one.

    A comma is taken for a point only where something else separates the numbers and no comma without a space
    does: "27,4; 106,1", "128.5, 73,9, 55.2".
    """
    points = len(_POINT.findall(text))
    if points >= 2:
        text = _SPACE_AFTER.sub(r"\1.\2", text)
        text = _SPACE_BEFORE.sub(r"\1.\2", text)
    if "," in text and not _TIGHT.search(text):
        pointed = _COMMA.sub(r"\1.\2", _COMMA_RANGE.sub(r"\1.\2\3\4.\5", text))
        if points > 2 or _SEPARATED.search(pointed):
            text = pointed
    return text


def ambiguous_commas(text: str) -> bool:
    """Whether nothing tells the commas that separate from those that stand for a point: "155,4,151,7"."""
    if _POINT.search(text) or "," not in text:
        return False
    return re.fullmatch(r"[\s\d,-]*\d,\d[\s\d,-]*", text) is not None and ", " not in text


def misprinted(values: Sequence[float], whole: Sequence[bool]) -> list[int]:
    """Indices of whole numbers that cannot be shifts of this list: "119, 21" where 119.21 was meant.

    values: shifts in ppm in the order of the text; whole: which are printed without decimals. Where at least
    three quarters have decimals and the list is sorted, a whole number out of order is one, and with it a
    whole number right before it.
    """
    n = len(values)
    decimals = [value for value, is_whole in zip(values, whole, strict=True) if not is_whole]
    if n < 5 or len(decimals) < 0.75 * n or len(decimals) == n:
        return []
    steps = [b - a for a, b in pairwise(decimals)]
    up = sum(step > 0 for step in steps)
    down = sum(step < 0 for step in steps)
    if max(up, down) < 0.8 * len(steps):
        return []
    direction = 1.0 if up > down else -1.0
    bad = set()
    for i in range(n):
        if not whole[i]:
            continue
        before = next((values[k] for k in range(i - 1, -1, -1) if not whole[k]), None) if i else None
        after = values[i + 1] if i + 1 < n and not whole[i + 1] else None
        wrong = before is not None and (values[i] - before) * direction < -1.0
        wrong = wrong or (after is not None and (after - values[i]) * direction < -1.0)
        if wrong and (before is None or after is None or (after - before) * direction >= 0):
            bad.add(i)
            if i and whole[i - 1]:
                bad.add(i - 1)
    return sorted(bad)
