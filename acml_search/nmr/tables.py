"""Tables of peaks, as spectrometer software exports them and papers print them: one peak or multiplet a row.

MestReNova, ACD/Labs and TopSpin name their columns ("Shift", "ppm", "ν(F1) [ppm]", "Range", "H's", "Class",
"J's"); papers on natural products have "no., δC, type, δH (J in Hz)"; people write a label and a shift. A
table that does not say which column holds the shifts is refused: read as running text, its other numbers
would become shifts.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import NoReturn

from acml_search.chem.peaks import CARBONS, LeftOut, Peak, PeakList
from acml_search.core.errors import InvalidRecord, shorten
from acml_search.nmr.parser import (
    MAX_COUNT,
    MAX_COUPLING,
    NAMES,
    NUCLEI,
    SHIFT_LIMITS,
    is_atom_label,
    is_multiplicity,
    wrong_counts,
)
from acml_search.nmr.solvents import find_solvents
from acml_search.nmr.tokens import clean, tokenize

MAX_ROWS = 5_000
MAX_CELLS = 60
_NUMBER = re.compile(r"[-+−–]?\d+(?:[.,]\d+)?(?:[eE][-+]?\d+)?$")
_POINT = str.maketrans({",": ".", "−": "-", "–": "-"})
_SEPARATORS = ("\t", ";", "|", ",", "  ")
_INTEGRAL = 0.2
"""nuclei: how far an integral may be from a whole number"""
_BLANK = ("", "-", "–", "—", "n/a", "nd", "n.d.", "none")

# names of columns: of shifts, the surer first; of what they may be beside; and of what is no shift
_SHIFT_NAMES = (
    re.compile(r"shift|δ|\bdelta|verschiebung|d[ée]placement|desplazamiento", re.I),
    re.compile(r"\bd[CH]\b|^1H\b|^13C\b|ppm", re.I),
    re.compile(r"\bf1\b", re.I),
)
_NO_SHIFT = re.compile(
    r"range|width|hz|error|pred|calc|\blit|diff|^from|^to$|start|\bend|height|intens|area|hmbc|cosy|noesy",
    re.I,
)
_OF_CARBON = re.compile(r"(?:δ|\bd|shift|ppm)[\s_(]*C\b|13\s?C|carbon", re.I)
_OF_PROTON = re.compile(r"(?:δ|\bd|shift|ppm)[\s_(]*H\b|(?<!\d)1\s?H\b|proton", re.I)
_RANGE = re.compile(r"range|multiplet", re.I)
_COUNT = re.compile(
    r"^integration|^(?:#\s?of\s?)?(?:n\s?)?(?:H|C)(?:['’]?s)?$|nuclides|^(?:no\.?\s?of\s)?(?:protons|carbons)$|^#?\s?nH$",
    re.I,
)
_CLASS = re.compile(r"class|mult|type|dept|^m$|pattern|splitting", re.I)
_COUPLING = re.compile(r"^J\b|^J['’]?s?\b|coupling", re.I)
_INTENSITY = re.compile(r"intens|height", re.I)
_COMPOUND = re.compile(r"(?:compound|cmpd|substance|sample)\.?", re.I)
_KINDS = re.compile(r"solvent|impurit|satellite|reference|artifact|artefact|reagent|rotational|water", re.I)

_CELL = re.compile(
    r"\s*[\[(]?\s*(?P<first>[-−]?\d+(?:[.,]\d+)?)"
    r"(?:\s*(?:-|–|—|\.\.+|to|…)\s*(?P<second>[-−]?\d+[.,]\d+))?\s*(?:ppm)?\s*(?P<note>.*)$",
    re.DOTALL,
)


def peaks_of_table(text: str, modality: str) -> PeakList | None:
    """The peaks of a table; None for a text that is none.

    Raises InvalidRecord for a table whose columns do not say where the shifts are, or are of the other
    nucleus, and for cells that are no shifts.
    """
    lines = [line.strip("\r\n") for line in text.splitlines() if line.strip()]
    if not 2 <= len(lines) <= MAX_ROWS:
        return None
    for rows in _readings(lines):
        header = next((i for i, row in enumerate(rows[:20]) if _is_header(row, rows[i + 1 :])), None)
        if header is not None:
            above = find_solvents(clean(" ".join(cell for row in rows[:header] for cell in row)))
            found = _headed(rows[header], rows[header + 1 :], modality)
            return found if found.solvent or len(above) != 1 else replace(found, solvent=above[0])
    for rows in _readings(lines):
        peaks = _unheaded(rows, modality)
        if peaks is not None:
            return peaks
    return None


def _readings(lines: Sequence[str]) -> Iterable[list[list[str]]]:
    """The lines cut into cells, by each separator that some line has; by white space where numbers stand."""
    for separator in _SEPARATORS:
        if sum(separator in line for line in lines) * 2 < len(lines):
            continue
        if separator == "," and not any(re.search(r"\d\.\d|\"", line) for line in lines):
            yield from _paired(lines)  # decimal commas
            continue
        if separator == "  ":
            rows = [re.split(r"\s{2,}|\t", line.strip()) for line in lines]
        elif '"' in "".join(lines):
            rows = list(csv.reader(lines, delimiter=separator, skipinitialspace=True))
        else:
            rows = [line.split(separator) for line in lines]
        if separator == "|":  # Markdown
            rows = [row[1:-1] if row[0].strip() == row[-1].strip() == "" else row for row in rows]
            rows = [row for row in rows if not all(re.fullmatch(r"\s*:?-+:?\s*", cell) for cell in row)]
        if rows:
            yield [[cell.strip().strip('"').strip() for cell in row] for row in rows]
    yield [line.split() for line in lines]


def _paired(lines: Sequence[str]) -> Iterable[list[list[str]]]:
    """Lines whose commas separate and are decimal, below names: "ppm,intensity", "171,2,10,5"."""
    names, *rows = ([cell.strip() for cell in line.split(",")] for line in lines)
    numbers = [row for row in rows if all(cell.isdigit() for cell in row)]
    if len(numbers) != len(rows) or not any(
        pattern.search(name) for pattern in _SHIFT_NAMES for name in names
    ):
        return
    if any(len(row) != 2 * len(names) for row in rows):
        raise InvalidRecord("its commas may separate numbers or be decimal; write points", modality="nmr")
    yield [names, *([f"{a}.{b}" for a, b in zip(row[::2], row[1::2], strict=True)] for row in rows)]


def _number(cell: str) -> float | None:
    return float(cell.translate(_POINT)) if _NUMBER.match(cell) else None


# ---- a line of names above the columns


def _is_header(row: Sequence[str], below: Sequence[Sequence[str]]) -> bool:
    """Whether a row names columns, one of them of shifts, of those below it."""
    if not 2 <= len(row) <= MAX_CELLS or not below or any(_number(cell) is not None for cell in row if cell):
        return False
    if any(len(cell) > 40 or re.search(r"\d\.\d|NMR", cell) for cell in row):
        return False
    if not any(pattern.search(cell) for pattern in _SHIFT_NAMES for cell in row):
        return False
    width = max(map(len, below))
    fits = sum(len(row) - 3 <= len(other) <= width for other in below)
    return len(row) <= width + 3 and width <= len(row) + 1 and 2 * fits > len(below)


def _headed(names: Sequence[str], rows: Sequence[Sequence[str]], modality: str) -> PeakList:
    width = max(map(len, rows))
    names = ["", *names] if width == len(names) + 1 else list(names)  # the numbers of the rows have no name
    column = _shift_column(names, rows, modality)
    counted = _column(names, _COUNT, column)
    if (
        modality == "c_nmr"
        and counted is not None
        and "H" in names[counted]
        and not _OF_CARBON.search(names[column])
    ):
        raise InvalidRecord(
            f"its table counts protons ({names[counted]!r}); give it as 1H", modality=modality
        )
    roles = {
        "range": _column(names, _RANGE, column),
        "count": counted,
        "class": _column(names, _CLASS, column),
        "coupling": _column(names, _COUPLING, column),
        "intensity": _column(names, _INTENSITY, column),
    }
    rows, left = _of_one_compound(names, rows, column)
    peaks: list[Peak] = []
    solvents: list[str] = []
    wrong: list[str] = []
    for number, row in enumerate(rows, start=1):
        cells = {role: row[at] if at is not None and at < len(row) else "" for role, at in roles.items()}
        cell = row[column] if column < len(row) else ""
        others = [one for at, one in enumerate(row) if at != column]
        if cell.casefold() in _BLANK:
            continue
        if not re.match(r"[\s\[(]*[-−]?\d", cell):
            if len(row) < 2 or not any(re.search(r"\d", one) for one in row):
                break  # a sentence below the table
            raise InvalidRecord(
                f"row {number} of its table has {shorten(cell, 30)!r} for a shift; correct it",
                modality=modality,
            )
        foreign = next((one for one in others if _KINDS.search(one) and len(one) < 40), None)
        labels = [one for one in others if len(one) < 16 and " " not in one and find_solvents(one)]
        if foreign is not None or labels:
            solvents += find_solvents(" ".join(others))
            left.append(LeftOut(cell, f"its row says {foreign or labels[0]!r}", None))
            continue
        found = _peaks_of_cell(cell, cells, number, modality)
        count = cells["count"]
        if count.casefold() not in _BLANK and len(found) == 1 and found[0].count is None:
            wrong.append(f"{count} at {found[0].position:g} ppm")
        peaks += found
    if not peaks:
        raise InvalidRecord("its table has no shifts; check the file", modality=modality)
    solvent = " + ".join(dict.fromkeys(solvents)) or None
    about = {"notes": [wrong_counts(wrong)]} if wrong else {}
    return PeakList(modality, tuple(peaks), tuple(left), solvent=solvent, about=about)


def _of_one_compound(
    names: Sequence[str], rows: Sequence[Sequence[str]], column: int
) -> tuple[Sequence[Sequence[str]], list[LeftOut]]:
    """The rows of the first compound where a column names several, and what is left out."""
    at = next((i for i, name in enumerate(names) if _COMPOUND.fullmatch(name)), None)
    if at is None:
        return rows, []
    named = [row[at] if at < len(row) else "" for row in rows]
    why = "it is of another compound, {}; give one compound at a time"
    others = [
        LeftOut(row[column], why.format(name))
        for row, name in zip(rows, named, strict=True)
        if name not in ("", named[0]) and column < len(row)
    ]
    return [row for row, name in zip(rows, named, strict=True) if name in ("", named[0])], others


def _shift_column(names: Sequence[str], rows: Sequence[Sequence[str]], modality: str) -> int:
    """The column with the shifts of the nucleus."""
    carbon = NUCLEI[modality] == "C"
    own, other = (_OF_CARBON, _OF_PROTON) if carbon else (_OF_PROTON, _OF_CARBON)
    possible = [
        (rank, i)
        for rank, pattern in enumerate(_SHIFT_NAMES)
        for i, name in enumerate(names)
        if pattern.search(name) and not _NO_SHIFT.search(re.sub(r"\(?\s*J[^)]*\)?", "", name))
    ]
    mine = [(rank, i) for rank, i in possible if own.search(names[i])]
    foreign = [i for _, i in possible if other.search(names[i]) and not own.search(names[i])]
    if not mine:
        mine = [(rank, i) for rank, i in possible if i not in foreign]
    columns = sorted({i for rank, i in mine if rank == min(mine)[0]})
    alike = {
        i
        for _, i in mine
        if re.fullmatch(r"[(\[]?(?:ppm|δ)[)\]]?", names[i])
        and all(_number(row[i]) is not None for row in rows if i < len(row))
    }
    if len(columns) == 1 and alike <= set(columns):
        return columns[0]
    if not columns and foreign:
        there = NAMES["H" if carbon else "C"]
        raise InvalidRecord(
            f"its table has shifts of {there} alone ({names[foreign[0]]!r}); give it as {there}",
            modality=modality,
        )
    _which(rows, max(map(len, rows)), modality)


def _which(rows: Sequence[Sequence[str]], width: int, modality: str) -> NoReturn:
    numbers = all(_number(cell) is not None for row in rows for cell in row)
    what = "numbers each" if numbers else "columns"
    raise InvalidRecord(
        f"its {len(rows):,} lines have {width} {what}, and nothing says which of them is the shift; "
        "name the columns in a first line, such as 'ppm,intensity', or give the shifts alone",
        modality=modality,
    )


def _column(names: Sequence[str], pattern: re.Pattern[str], but: int) -> int | None:
    return next((i for i, name in enumerate(names) if i != but and pattern.search(name)), None)


def _peaks_of_cell(cell: str, cells: dict[str, str], number: int, modality: str) -> list[Peak]:
    """The peak of one row, of some papers two: "2.31 m, 1.75 m"."""
    pieces = re.split(r"[;/]\s*(?=[-−]?\d+\.\d)|,\s+(?=\d+\.\d\d\s*,?\s*[a-z(])", cell)
    return [_peak(piece, cells if len(pieces) == 1 else {}, number, modality) for piece in pieces]


def _peak(cell: str, cells: dict[str, str], number: int, modality: str) -> Peak:
    match = _CELL.match(cell)
    ends = [] if match is None else [_number(match[name]) for name in ("first", "second") if match[name]]
    low, high = SHIFT_LIMITS[NUCLEI[modality]]
    if match is None or not ends or any(end is None or not low <= end <= high for end in ends):
        what = f"{shorten(cell, 30)!r}, which is no shift of {NAMES[NUCLEI[modality]]}"
        raise InvalidRecord(f"row {number} of its table has {what}; check the columns", modality=modality)
    values = sorted(end for end in ends if end is not None)
    position, bounds = sum(values) / len(values), values if len(values) == 2 else []
    spread = _CELL.match(cells.get("range", ""))
    if not bounds and spread is not None and spread["second"]:
        bounds = sorted(end for name in ("first", "second") if (end := _number(spread[name])) is not None)
    note = " ".join([match["note"], cells.get("class", "")])
    multiplicity = _multiplicity(note, modality)
    couplings = [
        float(text) for text in re.findall(r"\d+\.\d+|\d+(?=\s*Hz)", clean(match["note"]).replace(" ,", ","))
    ]
    if cells.get("coupling"):
        couplings = [
            float(text.translate(_POINT)) for text in re.findall(r"\d+(?:[.,]\d+)?", cells["coupling"])
        ]
    stated = cells.get("count", "").strip(" HC") or "".join(re.findall(r"\b(\d{1,2})H\b", note)[:1])
    wide = modality == "h_nmr" and len(bounds) == 2 and (len(values) == 2 or multiplicity == "m")
    return Peak(
        round(position, 4),
        bounds[0] if wide else None,
        bounds[1] if wide else None,
        _number(cells.get("intensity", "")),
        count=_count(stated),
        multiplicity=multiplicity,
        couplings=tuple(value for value in couplings if 0 < value <= MAX_COUPLING)[:12]
        if modality == "h_nmr"
        else (),
    )


def _count(stated: str) -> int | None:
    """A number of nuclei, of an integral the nearest; None for what is none, such as 0 or 1.5."""
    value = _number(stated)
    if value is None or not 0 < value < MAX_COUNT:
        return None
    n = round(value)
    return n if 0 < n < MAX_COUNT and abs(value - n) <= _INTEGRAL else None


def _multiplicity(note: str, modality: str) -> str | None:
    """The first word that is one: of 13C also CH2 and C, of 1H "d", "br s"."""
    words = [token for token in tokenize(clean(note)) if token.kind == "word"]
    if modality == "c_nmr":
        named = {
            **{name: name for name in CARBONS},
            "Cq": "C",
            "qC": "C",
            "q": "q",
            "s": "s",
            "d": "d",
            "t": "t",
        }
        return next((named[word.text] for word in words if word.text in named and "=" not in note), None)
    for word, after in pairwise([*words, *words[-1:]]):
        if is_multiplicity(word):
            both = word.text in ("br", "app") and after is not word and is_multiplicity(after)
            return f"{word.text} {after.text}" if both else word.text
    return None


# ---- no line of names


def _unheaded(rows: Sequence[Sequence[str]], modality: str) -> PeakList | None:
    """Columns that speak for themselves: of numbers in one alone, beside labels or classes of carbons."""
    width = len(rows[0])
    if width < 2 or len(rows) < 2:
        return None
    first = next((i for i, row in enumerate(rows) if all(_number(cell) is not None for cell in row)), None)
    if first is not None and first < len(rows) - 1:  # numbers alone, perhaps below a sentence
        numeric = rows[first:]
        wide = len(numeric[0])
        if wide < 2 or any(len(row) != wide or any(_number(cell) is None for cell in row) for row in numeric):
            return None
        values = [value for row in numeric for cell in row if (value := _number(cell)) is not None]
        named = first > 0 and len(rows[first - 1]) == wide
        if not named and values in (sorted(values), sorted(values, reverse=True)):
            return None  # a list of shifts, however many stand in a line
        _which(numeric, wide, modality)
    if any(len(row) != width for row in rows):
        return None
    if names := _multiplet_columns(rows, width):
        return _headed(names, rows, modality)
    numbers = [i for i in range(width) if all(_number(row[i]) is not None for row in rows)]
    if not numbers or not all(
        _is_label(cell) for row in rows for i, cell in enumerate(row) if i not in numbers
    ):
        return None
    if len(numbers) > 1:
        first_column = [row[numbers[0]] for row in rows]
        if len(numbers) > 2 or first_column != [str(n) for n in range(1, len(rows) + 1)]:
            _which(rows, width, modality)
        numbers = numbers[1:]  # the other one numbers the rows
    names = ["ppm" if i in numbers else "label" if i < numbers[0] else "type" for i in range(width)]
    return _headed(names, rows, modality)


def _multiplet_columns(rows: Sequence[Sequence[str]], width: int) -> list[str] | None:
    """Names for columns of shift, multiplicity, coupling and number of protons; None where it is not they."""
    names: list[str] = []
    classes: list[str] = []
    for i in range(width):
        cells = ["" if row[i].casefold() in _BLANK else row[i] for row in rows]
        filled = [cell for cell in cells if cell]
        if "ppm" not in names and all(_number(cell) is not None for cell in cells):
            names.append("ppm")
        elif filled and all(re.fullmatch(r"\d{1,2}\s?H", cell) for cell in filled):
            names.append("H")
        elif filled and not classes and all(_multiplicity(cell, "h_nmr") == cell for cell in filled):
            names.append("class")
            classes = cells
        elif filled and classes and all(re.fullmatch(r"[\d.,/; ]+(?:Hz)?", cell) for cell in filled):
            # a singlet has a number of protons and no coupling
            names.append(
                "H" if any(c in ("s", "m") and x for c, x in zip(classes, cells, strict=True)) else "J"
            )
        else:
            return None
    return names if classes and names.count("ppm") == 1 and len(set(names)) == width else None


def _is_label(cell: str) -> bool:
    """Whether a cell can be the name of an atom, a group or a solvent."""
    if not cell or cell in CARBONS or is_atom_label(cell):
        return True
    plain = len(cell) <= 24 and not re.search(r"^\(|\d[.,]\d|NMR|[δ:]|=(?![CNOS])|^\W+$", cell)
    return plain and len(cell.split()) <= 3 and re.search(r"[^\W\d]", cell) is not None
