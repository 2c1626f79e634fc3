"""The peak tables of JCAMP-DX: `(XY..XY)`, `(XYM)`, `(XYW)`, and assignments, `(XYA)`, `(XYMA)`, `(XYWA)`."""

from __future__ import annotations

import re
from typing import NamedTuple

from acml_search.ms.io.base import Unreadable

_VARIABLES = re.compile(r"\s*\(\s*([A-Z][A-Z ,]*?)\s*(?:\.\.[^)]*)?\)[^\n\d<(+.-]*", re.I)
_GROUP = re.compile(r"\(((?:<[^<>]*>|[^()<>])*)\)")
_FIELD = re.compile(r"<[^<>]*>|[^\s,<>]+")
_BETWEEN = re.compile(r"[\s,;]+")
_KNOWN = ("XY", "XYM", "XYW", "XYMW", "XYA", "XYMA", "XYWA", "XYMWA", "XYUA", "XYU")


class Row(NamedTuple):
    """One peak as the table has it, without the factors."""

    x: float
    y: float | None
    multiplicity: str | None
    text: str | None
    """the assignment"""


def variables_of(value: str) -> str | None:
    """The variables that a table says it holds, as "XY" or "XYMA"; None where it is no peak table."""
    found = _VARIABLES.match(value)
    if found is None:
        return None
    names = re.sub(r"[\s,]", "", found[1]).upper()
    half = len(names) // 2
    names = names[:half] if names[:half] == names[half:] else names  # (XYXY) says the same as (XY..XY)
    return names if names in _KNOWN else None


def table_of(value: str) -> list[Row]:
    """The rows of a table. Raises Unreadable for a value that is no number, or an odd number of them."""
    found, names = _VARIABLES.match(value), variables_of(value)
    if found is None or names is None:
        shown = value.strip().split("\n", 1)[0][:40]
        raise Unreadable(f"its table is of the form {shown!r}; save one of the form (XY..XY)")
    data = value[found.end() :]
    if names == "XY" and "(" not in data:
        tokens = [token for token in _BETWEEN.split(data) if token]
        if len(tokens) % 2:
            raise Unreadable(
                f"its peak table has {len(tokens):,} numbers, so one lacks its partner; correct it"
            )
        pairs = zip(tokens[::2], tokens[1::2], strict=True)
        return [Row(_number(x), _number(y), None, None) for x, y in pairs]
    groups = _GROUP.findall(data) if "(" in data else re.split(r"[;\n]", data)
    rows = [_row(fields, names) for group in groups if (fields := _FIELD.findall(group))]
    if not rows and data.strip():
        raise Unreadable(f"{data.strip()[:40]!r} in its peak table is not a peak; correct it")
    return rows


def _row(fields: list[str], names: str) -> Row:
    """A row whose middle values may be left out: what stands in <> last is the assignment."""
    text = None
    if "A" in names and len(fields) > 1 and fields[-1].startswith("<"):
        text = fields.pop().strip("<> ")
    y = multiplicity = None
    for variable, field in zip(names[1:].replace("A", ""), fields[1:], strict=False):
        if variable == "Y":
            y = _number(field)
        elif variable == "M":
            multiplicity = field.strip("<>'\" ").lower() or None
    return Row(_number(fields[0]), y, multiplicity, text)


def _number(token: str) -> float:
    try:
        return float(token)
    except ValueError:
        raise Unreadable(f"{token[:40]!r} in its peak table is not a number; correct it") from None
