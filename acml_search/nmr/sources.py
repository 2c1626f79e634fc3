"""Sources of an NMR spectrum: shifts, a printed line, a table of peaks, or a file with one of these."""

from __future__ import annotations

import re
from pathlib import Path

from acml_search.chem.peaks import PeakList
from acml_search.core.errors import InvalidRecord, shorten
from acml_search.nmr.parser import read_nmr_text
from acml_search.nmr.solvents import without_solvent

MAX_FILE_CHARACTERS = 1_000_000
_MAX_PATH = 1_000  # characters
_JCAMP = (".jdx", ".dx", ".jcamp")
_FILE_ENDING = re.compile(
    r"\.(txt|text|csv|tsv|dat|asc|log|nmr|md|html?|json|xml|pdf|docx?|xlsx?|odt|rtf)$", re.IGNORECASE
)
_POINT = str.maketrans({",": ".", "−": "-", "–": "-"})
_NUMBER = re.compile(r"[-+−–]?\d+(?:[.,]\d+)?(?:[eE][-+]?\d+)?$")
_SHIFT_COLUMN = re.compile(r"ppm|shift|δ|delta|\bf1\b", re.IGNORECASE)


def nmr_peaks(source: str, modality: str) -> PeakList:
    """The peaks of a source without those of the solvent.

    source: a printed line or bare shifts; a text file with either, or with a table of peaks; a JCAMP-DX file
    (`FILE#n` for its n-th block). Raises InvalidRecord for anything else.
    """
    name = source.lower().rpartition("#")[0] or source.lower()
    if name.removesuffix(".gz").endswith(_JCAMP):
        from acml_search.ms.io import read_spectrum

        return without_solvent(read_spectrum(source, modality))
    path = _path_of(source, modality)
    text = source if path is None else _text_of(path, modality)
    try:
        if text.lstrip().startswith("##TITLE"):
            raise InvalidRecord("it is JCAMP-DX; give it as a file that ends in .jdx", modality=modality)
        return without_solvent(read_nmr_text(shifts_of_table(text, modality), modality))
    except InvalidRecord as error:
        if path is None:
            raise
        raise InvalidRecord(f"{path}: {error.reason}", modality=modality) from error


def shifts_of_table(text: str, modality: str) -> str:
    """The shifts of a table as text, separated by commas; any other text unchanged.

    A table is what spectrometer software exports, one peak a line: the same number of columns, two or more,
    of numbers in every line, perhaps below a line of names; the column named "ppm", "shift", "δ" or "f1" has
    the shifts. Read as running text, the other columns' numbers would become shifts. Lines whose numbers all
    rise or fall from one to the next are a list of shifts, however many stand in each.

    Raises InvalidRecord for a table whose columns have no such names.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    separator = _separator(lines)
    rows = [[cell.strip().strip('"') for cell in line.split(separator)] for line in lines]
    first = next((i for i, row in enumerate(rows) if all(map(_NUMBER.match, row))), len(rows))
    header, rows = rows[first - 1] if first else [], rows[first:]
    width = len(rows[0]) if rows else 0
    if len(rows) < 2 or width < 2:
        return text
    if any(len(row) != width or not all(map(_NUMBER.match, row)) for row in rows):
        return text
    numbers = [[cell.translate(_POINT) for cell in row] for row in rows]
    named = len(header) == width
    columns = [i for i, name in enumerate(header) if named and _SHIFT_COLUMN.search(name)]
    if len(columns) == 1:
        return ", ".join(row[columns[0]] for row in numbers)
    values = [float(number) for row in numbers for number in row]
    if not named and values in (sorted(values), sorted(values, reverse=True)):
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


def _path_of(source: str, modality: str) -> Path | None:
    """The file that is meant; None where the text is the spectrum itself.

    Raises InvalidRecord for a folder, and for what ends like a file and does not exist: its digits would be
    taken for shifts.
    """
    if "\n" in source or len(source) > _MAX_PATH:
        return None
    path = Path(source)
    try:
        if path.is_file():
            return path
        folder = bool(source.strip()) and path.is_dir()
    except (OSError, ValueError):  # longer than a name can be, or with a NUL in it
        return None
    if folder:
        raise InvalidRecord(f"{source} is a folder; give a file or the shifts themselves", modality=modality)
    named = path.suffix and not any(c.isdigit() for c in path.stem + path.suffix)
    if named or _FILE_ENDING.search(source.strip()):
        raise InvalidRecord(
            f"there is no file {shorten(source)}; give a file or the shifts themselves", modality=modality
        )
    return None


def _text_of(path: Path, modality: str) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(4 * MAX_FILE_CHARACTERS + 1)
    except OSError as error:
        raise InvalidRecord(f"{path} cannot be read ({error.strerror})", modality=modality) from error
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise InvalidRecord(
            f"{path} is no text in UTF-8 ({error.reason} at byte {error.start:,}); save it as plain text in "
            "UTF-8, or paste the line with the shifts",
            modality=modality,
        ) from error
    if len(text) > MAX_FILE_CHARACTERS:
        raise InvalidRecord(
            f"{path} has more than {MAX_FILE_CHARACTERS:,} characters; give the line with the shifts",
            modality=modality,
        )
    return text
