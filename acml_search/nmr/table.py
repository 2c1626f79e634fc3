"""NMR peaks as a table, one to a line, as spectrometer software exports them: shifts beside intensities.

Read as running text, the other column's numbers would become shifts.
"""

from __future__ import annotations

import re

from acml_search.core.errors import InvalidRecord

_POINT = str.maketrans({",": ".", "−": "-", "–": "-"})
_NUMBER = re.compile(r"[-+−–]?\d+(?:[.,]\d+)?(?:[eE][-+]?\d+)?$")
_SHIFTS = re.compile(r"ppm|shift|δ|delta|\bf1\b", re.IGNORECASE)
_LEAST = 2
"""lines that make a table"""


def shifts_of_table(text: str, modality: str) -> str:
    """The shifts of a table as text, separated by commas; any other text as it is.

    A table has the same number of columns, two or more, of numbers in every line, and maybe a line of names
    above. Which column holds the shifts, its name tells ("ppm", "shift", "δ", "f1"). Lines of shifts that go
    on falling or rising from one to the next are a list, however many stand in each.

    Raises InvalidRecord for a table whose columns have no such names.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    separator = _separator(lines)
    rows = [[cell.strip().strip('"') for cell in line.split(separator)] for line in lines]
    first = next((i for i, row in enumerate(rows) if all(map(_NUMBER.match, row))), len(rows))
    names, rows = rows[first - 1] if first else [], rows[first:]
    width = len(rows[0]) if rows else 0
    if len(rows) < _LEAST or width < 2:
        return text
    if any(len(row) != width or not all(map(_NUMBER.match, row)) for row in rows):
        return text
    numbers = [[cell.translate(_POINT) for cell in row] for row in rows]
    of_columns = len(names) == width
    named = [i for i, name in enumerate(names) if of_columns and _SHIFTS.search(name)]
    if len(named) == 1:
        return ", ".join(row[named[0]] for row in numbers)
    values = [float(number) for row in numbers for number in row]
    if not of_columns and values in (sorted(values), sorted(values, reverse=True)):
        return text
    raise InvalidRecord(
        f"its {len(rows):,} lines have {width} numbers each, and nothing says which of them is the shift; "
        "name the columns in a first line, such as 'ppm,intensity', or give the shifts alone",
        modality=modality,
    )


def _separator(lines: list[str]) -> str | None:
    """What stands between cells; None for white space. Beside another one, or where no number has a point,
    a comma may be a decimal one.
    """
    for separator in (";", "\t"):
        if lines and separator in lines[-1]:  # what stands above the numbers may be a sentence
            return separator
    return "," if lines and "," in lines[-1] and any("." in line for line in lines) else None
