"""What stands for an NMR spectrum: the shifts themselves, a printed line, or a file that holds either."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from acml_search.core.errors import InvalidRecord, shorten

if TYPE_CHECKING:
    from acml_search.chem.peaks import PeakList

MOST_TEXT = 1_000_000  # characters of a text file with a printed line
_LONGEST_PATH = 1_000  # characters
_PEAK_TABLES = (".jdx", ".dx", ".jcamp")
_FILES = re.compile(
    r"\.(txt|text|csv|tsv|dat|asc|log|nmr|md|html?|json|xml|pdf|docx?|xlsx?|odt|rtf)$", re.IGNORECASE
)


def nmr_peaks(given: str, modality: str) -> PeakList:
    """The peaks, without those of the solvent: of a text, a text file with a list, a printed line or a table
    of peaks, or a JCAMP-DX file.

    Raises InvalidRecord for what is none of these.
    """
    from acml_search.nmr.solvents import without_solvent
    from acml_search.nmr.table import shifts_of_table
    from acml_search.nmr.text import read_nmr_text

    if _is_peak_table(given):
        from acml_search.ms.io import read_spectrum

        return without_solvent(read_spectrum(given, modality))
    path = _named(given, modality)
    text = given if path is None else _text(path, modality)
    try:
        if text.lstrip().startswith("##TITLE"):
            raise InvalidRecord("it is JCAMP-DX; give it as a file that ends in .jdx", modality=modality)
        return without_solvent(read_nmr_text(shifts_of_table(text, modality), modality))
    except InvalidRecord as error:
        if path is None:
            raise
        raise InvalidRecord(f"{path}: {error.reason}", modality=modality) from error


def _is_peak_table(given: str) -> bool:
    name = given.lower().rpartition("#")[0] or given.lower()
    return name.removesuffix(".gz").endswith(_PEAK_TABLES)


def _named(given: str, modality: str) -> Path | None:
    """The file that is meant, None where the text is the spectrum itself.

    What ends as files do, and is none, is a mistake: its digits would be taken for shifts.
    """
    if "\n" in given or len(given) > _LONGEST_PATH:
        return None
    path = Path(given)
    try:
        if path.is_file():
            return path
        folder = bool(given.strip()) and path.is_dir()
    except (OSError, ValueError):  # longer than a name can be, or with a NUL in it
        return None
    if folder:
        raise InvalidRecord(f"{given} is a folder; give a file or the shifts themselves", modality=modality)
    worded = path.suffix and not any(c.isdigit() for c in path.stem + path.suffix)
    if worded or _FILES.search(given.strip()):
        raise InvalidRecord(
            f"there is no file {shorten(given)}; give a file or the shifts themselves", modality=modality
        )
    return None


def _text(path: Path, modality: str) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(4 * MOST_TEXT + 1)
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
    if len(text) > MOST_TEXT:
        raise InvalidRecord(
            f"{path} has more than {MOST_TEXT:,} characters; give the line with the shifts", modality=modality
        )
    return text
