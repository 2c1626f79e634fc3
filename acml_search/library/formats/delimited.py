"""`.csv`, `.tsv`, `.txt`: a table of text with a SMILES column."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from acml_search.chem.molecule import parse
from acml_search.core.errors import InvalidMolecule, LibraryError
from acml_search.library.columns import no_smiles_column, safe_names, smiles_column
from acml_search.library.formats.base import Record, Source, register
from acml_search.library.lines import MAX_LINE, Line, Meter, lines, text_head_of

_DELIMITERS = "\t,;"
_MAX_LINES_OF_A_ROW = 200
_HINT = " (by number, from 1, if the file has no header)"
csv.field_size_limit(2 * MAX_LINE)


class _Layout(NamedTuple):
    delimiter: str
    has_header: bool
    smiles: int
    """Position of the SMILES among the fields."""
    names: list[str]
    """Names of all other fields, fit for the molecules table."""


@register(".csv", ".tsv", ".txt")
class Delimited(Source):
    """Comma, semicolon or tab, whichever the first line has most of; a quoted field may span lines.

    Without a header, the first column that begins with a structure of 5 heavy atoms or more is taken. Blank
    lines are no rows; empty fields are null.
    """

    def __init__(self, path: Path, smiles_column: str | None = None) -> None:
        super().__init__(path, smiles_column)
        head = text_head_of(path)
        self._layout = _layout(path, head, smiles_column)

    def metadata_types(self) -> dict[str, pa.DataType]:
        return dict.fromkeys(self._layout.names, pa.string())

    def records(self, meter: Meter) -> Iterator[Record]:
        delimiter, before_first, at, names = self._layout
        n_fields = len(names) + 1
        for text, error in _rows(lines(self.path, meter), delimiter):
            if error is not None:
                yield Record(text, "smiles", {}, error)
                continue
            try:
                fields = _fields(text, delimiter)
            except csv.Error as wrong:
                yield Record(text, "smiles", {}, f"the row cannot be split into fields: {wrong}")
                continue
            if before_first:
                before_first = False
                continue
            if len(fields) != n_fields:
                reason = f"the row has {len(fields)} fields where {n_fields} are expected"
                yield Record(text, "smiles", {}, reason)
                continue
            smiles = fields.pop(at)
            yield Record(smiles, "smiles", {n: v or None for n, v in zip(names, fields, strict=True)}, None)


def _fields(text: str, delimiter: str) -> list[str]:
    if '"' not in text:
        return text.split(delimiter)
    return next(csv.reader((text,), delimiter=delimiter))


def _rows(source: Iterator[Line], delimiter: str) -> Iterator[Line]:
    """Joins lines that a quoted field spans. A quote that is never closed spoils one line, not the rest."""
    back: deque[Line] = deque()
    while True:
        line = back.popleft() if back else next(source, None)
        if line is None:
            return
        text, error = line
        if error is None and '"' in text and _is_open(text, delimiter):
            taken: list[Line] = []
            whole = text
            while _is_open(whole, delimiter):
                following = back.popleft() if back else next(source, None)
                if following is not None:
                    taken.append(following)
                if following is None or following.error or len(taken) >= _MAX_LINES_OF_A_ROW:
                    back.extendleft(reversed(taken))
                    error = "a quote is opened and never closed"
                    break
                whole = f"{whole}\n{following.text}"
            else:
                text = whole
        if text.strip() or error is not None:
            yield Line(text, error)


def _is_open(text: str, delimiter: str) -> bool:
    """Does `text` end inside a quoted field?"""
    try:
        next(csv.reader((text,), delimiter=delimiter, strict=True), None)
    except csv.Error as error:
        return "unexpected end of data" in str(error)
    return False


def _layout(path: Path, head: str, wanted: str | None) -> _Layout:
    first = next(line for line in head.splitlines() if line.strip())
    delimiter = max(_DELIMITERS, key=first.count)
    rows = _rows((Line(line, None) for line in head.splitlines()), delimiter)
    try:
        fields = _fields(next(rows).text, delimiter)
    except csv.Error as error:
        raise LibraryError(path, f"the first line cannot be split into fields: {error}") from error
    names = [field.strip() for field in fields]
    # A number may be the name of a column, or stand in the first row of a file without names.
    number = _number(wanted, len(names))
    headless = number is not None and _is_structure(fields[number], least=1)
    at = None if headless else smiles_column(names, wanted)
    has_header = True
    if at is None:
        at = _structure_column(path, names, wanted)
        has_header = False
        names = _numbered(len(names), at)
    if has_header and next(rows, None) is None:
        raise LibraryError(path, "the file is empty: it has a header and no rows")
    return _Layout(delimiter, has_header, at, safe_names(names[:at] + names[at + 1 :]))


def _structure_column(path: Path, fields: list[str], wanted: str | None) -> int:
    """Position of the SMILES when no name tells it: by number, or by what the first line holds."""
    if (number := _number(wanted, len(fields))) is not None:
        return number
    if wanted is None:
        for place, field in enumerate(fields):
            if _is_structure(field):
                return place
    raise no_smiles_column(path, fields, wanted, hint=_HINT)


def _number(wanted: str | None, n: int) -> int | None:
    """Position of the column that is asked for by its number from 1; None where it is not, or there is none
    of n.
    """
    if wanted is not None and wanted.isascii() and wanted.isdigit() and 1 <= int(wanted) <= n:
        return int(wanted) - 1
    return None


def _is_structure(field: str, least: int = 5) -> bool:
    try:
        return bool(parse(field)[0].GetNumHeavyAtoms() >= least)
    except InvalidMolecule:
        return False


def _numbered(n: int, at: int) -> list[str]:
    """Names for the columns of a file without header; the usual second column is the name."""
    if n == 2:
        return ["smiles", "name"] if at == 0 else ["name", "smiles"]
    return [f"column_{place}" for place in range(1, n + 1)]
