"""An answer as a table for people: plain text that fits the terminal."""

from __future__ import annotations

import math
import shutil
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from acml_search.search.columns import MOLECULE_COLUMNS, OURS, plain

if TYPE_CHECKING:
    from acml_search.search.answer import Answer, HitList

_WIDEST = 24  # characters of a column of the library's own
_LEAST_SMILES = 24  # characters that the SMILES keep before a column of the library's own is left out
_GAP = "  "
_HIDDEN = {"inchikey", "source_row", "why", "record_positions", "record_intensities"}  # in the other formats
_TITLE = {
    "records": "records this molecule would give",
    "graph": "similar molecules",
    "found": "molecules that fit",
}


class _Column(NamedTuple):
    head: str
    cells: list[str]
    right: bool

    @property
    def width(self) -> int:
        return max(map(_width, [self.head, *self.cells]))


def render(answer: Answer, *, width: int | None = None, colour: bool = False) -> str:
    """`answer` in lines of at most `width` characters (the terminal's when None; at least 40).

    colour: set heads in bold and rules faint with ANSI codes. Control characters in the library's own columns
    are shown as �, so that no file can write to the terminal what it likes.
    """
    width = max(40, width or shutil.get_terminal_size((100, 24)).columns)
    bold, faint, end = ("\x1b[1m", "\x1b[2m", "\x1b[0m") if colour else ("", "", "")
    lines = [_cut(line, width) for line in _heading(answer)]
    for hits in answer.lists:
        title = f"{hits.modality} · {hits.side} · {_TITLE[_kind(answer, hits)]}"
        lines += ["", bold + _cut(title, width) + end]
        if len(hits) == 0:
            lines.append("no hits")
            continue
        columns, left_out = _columns(hits, width)
        lines.append(_line([column.head for column in columns], columns))
        lines.append(faint + _GAP.join("─" * column.width for column in columns) + end)
        lines += [_line([column.cells[i] for column in columns], columns) for i in range(len(hits))]
        if left_out:
            lines.append(faint + _cut(f"not shown for width: {', '.join(left_out)}", width) + end)
    return "\n".join(line.rstrip() for line in lines)


def _kind(answer: Answer, hits: HitList) -> str:
    return "found" if "observations" in answer.query else hits.side


def _observed(one: dict[str, Any]) -> str:
    """An observation in a line: how many peaks were understood and where they lie."""
    if "peaks" not in one:
        return f"{one['modality']}   {_clean(one['given'])}"
    positions = [peak["position"] for peak in one["peaks"]]
    few = ", ".join(f"{x:.10g}" for x in positions[:8]) + (" …" if len(positions) > 8 else "")
    ion = "".join(f"   {one[name]}" for name in ("precursor_mz", "adduct", "solvent") if name in one)
    return f"{one['modality']}   {len(positions)} peaks: {few} {one['unit']}{_clean(ion)}"


def _heading(answer: Answer) -> list[str]:
    query = answer.query
    if "observations" in query:
        lines = [f"query   {_observed(one)}" for one in query["observations"]]
    else:
        lines = [
            f"query   {_clean(query['standardised'])}   {query['formula']}   {query['exact_mass']:.4f} Da"
        ]
    if query.get("filter"):
        conditions = ", ".join(f"{name} {_clean(value)}" for name, value in query["filter"].items())
        lines.append(f"filter  {conditions}   (pass: {query['passed']:,})")
    return lines


def _columns(hits: HitList, width: int) -> tuple[list[_Column], list[str]]:
    """The columns that fit, and the names of the library's own columns that do not."""
    rows = list(hits.rows())

    def column(name: str, head: str, form: str, right: bool = True) -> _Column:
        cells = ["" if row[name] is None else format(row[name], form) for row in rows]
        return _Column(head, cells, right)

    left = [
        column("rank", "#", "d"),
        column("score", "score", ".4f"),
        column("probability", "prob.", ".3f"),
        *_contributions(rows),
        column("key", "key", "d"),
        column("formula", "formula", "s", right=False),
        column("exact_mass", "mass/Da", ".4f"),
    ]
    smiles = column("smiles", "SMILES", "s", right=False)
    # a narrow terminal keeps the SMILES and loses, in this order, the mass, the formula, the probability
    for name in ("mass/Da", "formula", "prob."):
        if width - _total(left) >= min(smiles.width, _LEAST_SMILES):
            break
        left = [item for item in left if item.head != name]
    room = width - _total(left)
    own: list[_Column] = []
    left_out = []
    for name in rows[0]:
        if name in MOLECULE_COLUMNS or name in OURS or name in _HIDDEN:
            continue
        values = [row[name] for row in rows]
        if all(value is None for value in values):
            continue  # it says nothing of these hits
        numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        new = _Column(
            _cut(_clean(name), _WIDEST), [_cut(_clean(value), _WIDEST) for value in values], numbers
        )
        if room - len(_GAP) - new.width >= min(smiles.width, _LEAST_SMILES):
            room -= len(_GAP) + new.width
            own.append(new)
        else:
            left_out.append(_clean(name))
    room = max(room, len(smiles.head))
    return [*left, smiles._replace(cells=[_cut(cell, room) for cell in smiles.cells]), *own], left_out


def _contributions(rows: list[dict[str, Any]]) -> list[_Column]:
    """What each of several observations adds to the score."""
    names = list(rows[0]["why"]["logits"])
    if len(names) < 2:
        return []
    return [_Column(name, [f"{row['why']['logits'][name]:+.1f}" for row in rows], True) for name in names]


def _total(columns: Sequence[_Column]) -> int:
    return sum(column.width + len(_GAP) for column in columns)


def _line(cells: Sequence[str], columns: Sequence[_Column]) -> str:
    padded = []
    for cell, column in zip(cells, columns, strict=True):
        space = " " * (column.width - _width(cell))
        padded.append(space + cell if column.right else cell + space)
    return _GAP.join(padded)


def _clean(value: Any) -> str:
    """One line of printable text."""
    if value is None:
        return ""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    text = value if isinstance(value, str) else str(plain(value))
    return "".join("�" if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") else c for c in text)


def _width(text: str) -> int:
    """Columns of a terminal: wide East Asian characters take two, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text
    )


def _cut(text: str, width: int) -> str:
    """`text` in at most `width` columns, with … where it was cut."""
    if _width(text) <= width:
        return text
    kept, used = [], 1
    for c in text:
        used += _width(c)
        if used > width:
            break
        kept.append(c)
    return "".join(kept) + "…"
