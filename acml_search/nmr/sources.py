"""Sources of an NMR spectrum: shifts, a printed line, a table of peaks, a file or a folder."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from acml_search.chem.peaks import PeakList
from acml_search.core.errors import InvalidRecord, shorten
from acml_search.nmr.parser import NUCLEI, read_nmr_text
from acml_search.nmr.solvents import without_solvent

if TYPE_CHECKING:
    from acml_search.ms.io.base import BadSpectrum, Format

MAX_FILE_CHARACTERS = 1_000_000
_MAX_PATH = 1_000  # characters
_FILE_ENDING = re.compile(
    r"\.(txt|text|csv|tsv|dat|asc|log|nmr|md|html?|json|xml|pdf|docx?|xlsx?|odt|rtf|jdx|dx|jcamp|zip|nmrml|sdf?|mol"
    r"|mnova|jdf|fid)(\.gz)?(#\d+)?$",
    re.IGNORECASE,
)
_NUMBERED = re.compile(r"(.+)#[^#/\\]*", re.DOTALL)
_SDF = re.compile(r"^M  END|^.{33,36}V[23]000\s*$|^>.*<NMREDATA_", re.MULTILINE)
_JCAMP = re.compile(r"\s*##\s*(?:TITLE|JCAMP-?DX)\s*=", re.IGNORECASE)


def peaks_of_text(text: str, modality: str) -> PeakList:
    """The peaks of a table or of a printed line. Raises InvalidRecord."""
    return _table(text, modality) or read_nmr_text(text, modality)


def nmr_peaks(source: str, modality: str, read: Callable[[str, str], PeakList] = peaks_of_text) -> PeakList:
    """The peaks of a source without those of the solvent.

    source: a printed line or bare shifts; a text file with either, or with a table of peaks; JCAMP-DX, nmrML,
    an SD file with NMReDATA, a folder of Bruker or Varian or a ZIP archive of any (`FILE#n` for the n-th
    spectrum). Peaks of a curve are picked. read: what reads text, and text of a file. Raises InvalidRecord
    for anything else.
    """
    path = _path_of(source, modality)
    if path is not None:
        path, format = _format_of(path)
        if format is not None:
            if modality not in NUCLEI:
                raise InvalidRecord(
                    f"{path}: spectra are read of one dimension; export the list of its peaks",
                    modality=modality,
                )
            from acml_search.ms.io import read_spectrum

            number = "" if _is_path(source) else source[len(_NUMBERED.sub(r"\1", source)) :]
            return without_solvent(read_spectrum(f"{path}{number}", modality, format))
    text = source if path is None else _text_of(path, modality)
    try:
        if _JCAMP.match(text):
            raise InvalidRecord("it is JCAMP-DX; give it as a file", modality=modality)
        if _SDF.search(text[:1_000_000]):
            raise InvalidRecord(
                "it is a mol block, a structure; give a list of peaks, or a file", modality=modality
            )
        peaks = read(text, modality)
        if modality in NUCLEI:
            peaks = without_solvent(peaks)
        return with_dept_of_text(peaks, text) if read is peaks_of_text else peaks
    except InvalidRecord as error:
        if path is None:
            raise
        raise InvalidRecord(f"{path}: {error.reason}", modality=modality) from error


def with_dept_of_text(peaks: PeakList, text: str) -> PeakList:
    """A 13C list with the classes that DEPT lists in the same text tell."""
    if peaks.modality != "c_nmr" or "DEPT" not in text:
        return peaks
    from acml_search.nmr.dept import with_dept_of_text as classed

    return classed(peaks, text)


def _table(text: str, modality: str) -> PeakList | None:
    """The peaks of a table, which has two lines or more; None for other text."""
    if len(text.strip().splitlines()) < 2:
        return None
    from acml_search.nmr.tables import peaks_of_table

    return peaks_of_table(text, modality)


def holds_nmr_spectra(path: Path | str) -> bool:
    """Is this a folder, an archive or a file of NMR spectra? An SD file without shifts holds molecules."""
    if not _is_path(str(path)):
        return False
    from acml_search.nmr.sdf import SD, holds_spectra

    format = _format_of(Path(path))[1]
    return holds_spectra(Path(path)) if format is SD else format is not None


def nmr_spectra(
    path: Path | str, modality: str, on_error: Literal["raise", "yield"] = "raise"
) -> Iterator[PeakList | BadSpectrum]:
    """Every spectrum of a file, folder or archive, as `ms.io.read_spectra`, without the peaks of its solvent.

    Raises InvalidRecord for a text file, which holds one.
    """
    from acml_search.ms.io import BadSpectrum, read_spectra

    place, format = _format_of(Path(path))
    if format is None:
        raise InvalidRecord(f"{path} is no file of spectra; give it by itself", modality=modality)
    for one in read_spectra(place, modality, on_error, format):
        yield one if isinstance(one, BadSpectrum) else without_solvent(one)


def _format_of(path: Path) -> tuple[Path, Format | None]:
    """How a file or folder is read, None as text; and the experiment that a file such as `1r` belongs to.

    The content decides; the ending only of a file that is not what it says.
    """
    from acml_search.ms.io.base import Unreadable, head_of
    from acml_search.nmr import instruments
    from acml_search.nmr.jcamp import JCAMP_NMR
    from acml_search.nmr.sdf import SD

    if path.name in instruments.INSIDE and instruments.is_experiment(path.parent):
        return path.parent, instruments.FOLDER
    if path.is_dir():
        return path, instruments.FOLDER
    try:
        head = head_of(path)
    except Unreadable:
        head = b""  # the reader says what is wrong
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return path, instruments.ZIP
    text = head.decode("utf-8", "replace").lstrip("\ufeff")
    if "<nmrML" in text:
        return path, instruments.NMRML
    if _JCAMP.match(text):
        return path, JCAMP_NMR
    if _SDF.search(text):
        return path, SD
    endings = [one.lower() for one in path.suffixes[-2:]]
    ending = endings[0] if endings[-1:] == [".gz"] else "".join(endings[-1:])
    formats = {
        **dict.fromkeys((".jdx", ".dx", ".jcamp"), JCAMP_NMR),
        **dict.fromkeys((".sdf", ".sd", ".mol"), SD),
        ".zip": instruments.ZIP,
        ".nmrml": instruments.NMRML,
    }
    return path, formats.get(ending)


def _path_of(source: str, modality: str) -> Path | None:
    """The file or folder that is meant; None where the text is the spectrum itself.

    Raises InvalidRecord for what ends like a file and does not exist: its digits would be taken for shifts.
    """
    if "\n" in source or len(source) > _MAX_PATH or not source.strip():
        return None
    if _is_path(source):
        return Path(source)
    numbered = _NUMBERED.fullmatch(source)
    if numbered is not None and _is_path(numbered[1]):
        return Path(numbered[1])
    path = Path(source)
    named = path.suffix and not any(c.isdigit() for c in path.stem + path.suffix)
    if named or _FILE_ENDING.search(source.strip()):
        raise InvalidRecord(
            f"there is no file {shorten(source)}; give a file or the shifts themselves", modality=modality
        )
    return None


def _is_path(name: str) -> bool:
    try:
        return Path(name).is_file() or Path(name).is_dir()
    except (OSError, ValueError):  # longer than a name can be, or with a NUL in it
        return False


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
