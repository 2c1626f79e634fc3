"""What the readers of spectrum files share: errors, entries, guards, lines in constant memory, peaks."""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from acml_search.chem.peaks import Peak, PeakList
from acml_search.core.errors import InvalidRecord
from acml_search.ms.peaks import MAX_PEAKS

MAX_LINE = 4 << 20
"""Characters of one line; an MSP file may hold all peaks of a spectrum in one."""
MAX_LINES = 2 * MAX_PEAKS
"""Lines of one spectrum; without a limit, a file that lacks its separators would be one spectrum."""
MAX_TEXT = 16 << 20
"""Characters of one spectrum."""
DAMAGED = (EOFError, OSError, zlib.error)
_HEAD = 1 << 16
_CHUNK = 1 << 18

_SIGNATURES = (
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "gzip data"),
    (b"PAR1", "a Parquet file"),
    (b"\xd0\xcf\x11\xe0", "an Office document"),
    (b"\xff\xfe", "UTF-16 text"),
    (b"\xfe\xff", "UTF-16 text"),
)
_CONTENTS = (
    (re.compile(rb"<(?:indexed)?mzML\b"), "mzML"),
    (re.compile(rb"<mzXML\b"), "mzXML"),
    (re.compile(rb"<!doctype html|<html", re.I), "a web page"),
    (re.compile(rb"^(?:\xef\xbb\xbf)?\s*(?:\[\s*)?\{"), "JSON"),
    (re.compile(rb"^ACCESSION\s*:", re.M), "a MassBank record"),
    (re.compile(rb"^\s*BEGIN IONS", re.M | re.I), "MGF"),
    (re.compile(rb"^\s*##\s*(?:TITLE|JCAMP-?DX)\s*=", re.M | re.I), "JCAMP-DX"),
    (re.compile(rb"^\s*num(?:ber)?[ _]*(?:of[ _]*)?peaks\s*:", re.M | re.I), "MSP"),
    (re.compile(rb"M  END|V[23]000"), "a mol or SD file"),
)


class Unreadable(Exception):
    """Why a spectrum, or the rest of a file, cannot be read: half a sentence without its place.

    `line`: of the file, from 1, where it is known better than by the beginning of the spectrum.
    """

    def __init__(self, reason: str, line: int | None = None) -> None:
        self.reason = reason
        self.line = line
        super().__init__(reason)


class OtherKind(Unreadable):
    """A sound spectrum of another kind than is wanted, such as an MS1 scan among MS2 scans."""


class BadSpectrum(InvalidRecord):
    """A spectrum of a file that cannot be used, and where it stands.

    file; number of the spectrum, from 1, None when the file as a whole is meant; line, from 1, where known;
    other_kind: it is sound, but of another kind than was wanted.
    """

    def __init__(
        self,
        file: Path,
        reason: str,
        *,
        modality: str,
        number: int | None = None,
        line: int | None = None,
        other_kind: bool = False,
    ) -> None:
        self.file = file
        self.number = number
        self.line = line
        self.other_kind = other_kind
        place = f"{file}{'' if number is None else f'#{number}'}{'' if line is None else f', line {line}'}"
        super().__init__(f"{place}: {reason}", modality=modality)


class Entry(NamedTuple):
    """One spectrum as it stands in a file, not yet read."""

    line: int | None
    """of the file, from 1, at which it begins"""
    read: Callable[[], PeakList]
    """raises Unreadable; file, number and line are filled in by the caller"""
    curve: bool = False
    """whether it is a curve whose peaks would have to be picked"""


class Format(NamedTuple):
    """A format of spectrum files."""

    name: str
    modalities: tuple[str, ...]
    """that its files can hold"""
    entries: Callable[[Path, str], Iterator[Entry]]
    """(file, modality) -> every spectrum, in constant memory; raises Unreadable where the file is damaged"""
    checked: bool = True
    """whether the first bytes of a file must look like the format"""


def open_bytes(path: Path) -> BinaryIO:
    """The content of a file, decompressed if its name ends in `.gz`."""
    if path.suffix.lower() == ".gz":
        return cast(BinaryIO, gzip.open(path, "rb"))
    return path.open("rb")


def head_of(path: Path) -> bytes:
    """The first bytes (up to 64 KiB) of the content. Raises Unreadable for what is no file, or empty."""
    head = b""
    try:
        if path.is_dir():
            raise Unreadable("this is a directory; name a file in it")
        if not path.exists():
            raise Unreadable("there is no such file; check the name")
        if not path.is_file():
            raise Unreadable("this is a device or a pipe, not a file; save it to a file first")
        with open_bytes(path) as stream:
            while len(head) < _HEAD and (chunk := cast(io.BufferedReader, stream).read1(1 << 12)):
                head += chunk
    except DAMAGED as error:
        if not head:  # else the spectra before the damage are good, and the reader tells where it is
            raise Unreadable(f"it cannot be read ({damage(error)}); make or copy it again") from error
    except ValueError as error:  # a NUL in the name
        raise Unreadable(f"the name is none of a file ({error}); check it") from error
    if not head.strip():
        raise Unreadable("the file is empty; save or copy it again")
    return head


def kind_of(head: bytes) -> str | None:
    """What the first bytes of a file are: "MSP", "mzML", ..., "a PNG picture"; None for any other text."""
    if found := next((what for mark, what in _SIGNATURES if head.startswith(mark)), None):
        return found
    if found := next((what for pattern, what in _CONTENTS if pattern.search(head)), None):
        return found
    strange = sum(byte < 32 and byte not in b"\t\n\r\f\v\x1a\x1b" for byte in head)
    return "binary data" if strange > 0.02 * len(head) else None


def check_content(head: bytes, name: str) -> None:
    """Raises Unreadable when `head` does not look like the format `name` ("MSP", "MGF", "mzML", ...)."""
    found = kind_of(head)
    named = any(what == name and pattern.search(head) for pattern, what in _CONTENTS)
    if found == name or (named and not any(what == found for _, what in _SIGNATURES)):
        return
    advice = (
        "save the file as UTF-8" if "UTF-16" in str(found) else "check the file, or give it the right ending"
    )
    raise Unreadable(f"this is not {name} but {found or 'some other text'}, whatever its name says; {advice}")


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number from 1, line without its end) of a text file, `.gz` or not; ends may be LF, CRLF or CR.

    UTF-8; a line that is not is read as Windows-1252, because old libraries have such names of compounds.
    Raises Unreadable where the file is damaged or a line is too long.
    """
    number = 0
    try:
        with (
            open_bytes(path) as stream,
            io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape") as text,
        ):
            while line := text.readline(MAX_LINE):
                number += 1
                if len(line) >= MAX_LINE:
                    raise Unreadable(f"the line has more than {MAX_LINE:,} characters; split it", number)
                if not line.isascii():
                    line = _repaired(line)
                yield number, line.rstrip("\n")
    except DAMAGED as error:
        reason = f"the file is damaged or cut off here ({damage(error)}); copy it again"
        raise Unreadable(reason, number + 1) from error


def text_chunks(path: Path) -> Iterator[str]:
    """Pieces of a text file in UTF-8, `.gz` or not, whatever its lines. Raises Unreadable for damage."""
    done = 0
    try:
        with (
            open_bytes(path) as stream,
            io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace") as text,
        ):
            while chunk := text.read(_CHUNK):
                done += len(chunk)
                yield chunk
    except DAMAGED as error:
        reason = f"the file is damaged or cut off after {done:,} characters ({damage(error)}); copy it again"
        raise Unreadable(reason) from error


def _repaired(line: str) -> str:
    raw = line.encode("utf-8", "surrogateescape")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")


def damage(error: Exception) -> str:
    """The message of an error of reading, in one line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__


class Block:
    """Numbered lines of one spectrum, up to the limits; `check` refuses one that goes beyond them."""

    def __init__(self, line: int) -> None:
        self.line = line
        self.lines: list[tuple[int, str]] = []
        self._characters = 0
        self._more = False

    def add(self, number: int, line: str) -> None:
        self._characters += len(line)
        if len(self.lines) >= MAX_LINES or self._characters > MAX_TEXT:
            self._more = True
        else:
            self.lines.append((number, line))

    def check(self) -> None:
        """Raises Unreadable when it was too long to be kept."""
        if self._more:
            raise Unreadable(
                f"it has more than {MAX_LINES:,} lines or {MAX_TEXT:,} characters, too many for a spectrum; "
                "pick its peaks (centroid it)"
            )


def mass_peaks(
    mzs: Sequence[float] | npt.NDArray[Any], intensities: Sequence[float] | npt.NDArray[Any]
) -> tuple[Peak, ...]:
    """Peaks of a mass spectrum in the given order, (p,) m/z in Th and (p,) intensities of any scale.

    Raises Unreadable for none, too many, lists of two lengths, values that are not finite, an m/z that is not
    positive, an intensity that is negative, or no intensity above zero.
    """
    x, y = np.asarray(mzs, np.float64), np.asarray(intensities, np.float64)
    if len(x) != len(y):
        raise Unreadable(f"it has {len(x):,} m/z values but {len(y):,} intensities; give one for each peak")
    if not len(x):
        raise Unreadable("it has no peaks; leave it out")
    if len(x) > MAX_PEAKS:
        raise Unreadable(f"it has {len(x):,} peaks, more than {MAX_PEAKS:,}; pick its peaks (centroid it)")
    for what, values, bad in (("m/z", x, ~(x > 0)), ("intensity", y, ~(y >= 0))):
        wrong = np.flatnonzero(bad | ~np.isfinite(values))
        if len(wrong):
            limit = "a number above zero" if what == "m/z" else "a number of zero or more"
            raise Unreadable(
                f"peak {wrong[0] + 1} has the {what} {values[wrong[0]]:g}, not {limit}; remove or correct it"
            )
    if not (y > 0).any():
        raise Unreadable("all its intensities are zero; leave it out")
    return tuple(Peak(mz, intensity=height) for mz, height in zip(x.tolist(), y.tolist(), strict=True))
