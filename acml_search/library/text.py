"""Libraries as text: lines, gzipped or not, in constant memory; tables (`.csv`, `.tsv`, `.txt`) and `.smi`.

What goes wrong inside a file is reported with the row it happens at; the rows before it are still read.
DuckDB's and Arrow's readers of CSV are not used: they number lines and not rows, and fail as a whole on a
file that is cut off.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import zlib
from collections import deque
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import pyarrow as pa

from acml_search.chem.molecule import parse
from acml_search.core.errors import InvalidMolecule, LibraryError
from acml_search.library.observed import USUAL_NAMES
from acml_search.library.source import (
    Meter,
    Row,
    Source,
    no_smiles_column,
    register,
    safe_names,
    smiles_column,
)

MAX_LINE = 1 << 20
"""Bytes. A longer line is one bad row, so that junk without line ends does not fill the memory."""

_CHUNK = 1 << 16
_UTF8_BOM = b"\xef\xbb\xbf"
_UTF16 = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
CUT_OFF = "damaged or cut off"
"""in the reason of the last row of a damaged file: rows after it are missing"""
DAMAGED = (EOFError, OSError, zlib.error)


class Line(NamedTuple):
    """One line without its end. With `error`, `text` is what could be made of it."""

    text: str
    error: str | None


class _Counted(io.RawIOBase):
    """A file whose meter counts the bytes read."""

    def __init__(self, path: Path, meter: Meter) -> None:
        self._file = path.open("rb", buffering=0)
        self._meter = meter

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        n = cast(int, self._file.readinto(buffer))  # type: ignore[arg-type]
        self._meter.done += n
        return n

    def close(self) -> None:
        self._file.close()
        super().close()


def is_gzipped(path: Path) -> bool:
    return path.suffix.lower() == ".gz"


def open_bytes(path: Path, meter: Meter | None = None) -> BinaryIO:
    """The content of `path`, decompressed if its name ends in `.gz`, and UTF-16 with its mark as UTF-8."""
    stream: Any = io.BufferedReader(_Counted(path, meter or Meter()), _CHUNK)
    if is_gzipped(path):
        stream = _Gunzip(stream)
    try:
        mark = stream.peek(2)[:2]
    except DAMAGED:
        mark = b""  # reading says what is wrong
    return cast(BinaryIO, io.BufferedReader(_Recoded(stream, _UTF16[mark]))) if mark in _UTF16 else stream


class _Recoded(io.RawIOBase):
    """UTF-16 text as UTF-8."""

    def __init__(self, below: BinaryIO, encoding: str) -> None:
        self._below = below
        self._decoder = codecs.getincrementaldecoder(encoding)("replace")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        text = ""
        while not text and (chunk := self._below.read(max(1, len(buffer) // 4) * 2)):
            text = self._decoder.decode(chunk)
        raw = text.encode(errors="replace")
        buffer[: len(raw)] = raw
        return len(raw)

    def close(self) -> None:
        self._below.close()
        super().close()


class _Gunzip(gzip.GzipFile):
    """A GzipFile that closes the file below it."""

    def __init__(self, below: BinaryIO) -> None:
        super().__init__(fileobj=below, mode="rb")
        self._below = below

    def close(self) -> None:
        super().close()
        self._below.close()


def head_of(path: Path) -> bytes:
    """The first bytes (up to 64 KiB) of the content.

    Raises `LibraryError` when the file is not there, empty, not gzip in spite of its name, or cannot be read.
    """
    if path.is_dir():
        raise LibraryError(path, "this is a directory; name the files in it")
    if not path.exists():
        raise LibraryError(path, "there is no such file")
    head = b""
    try:
        if path.stat().st_size == 0:
            raise LibraryError(path, "the file is empty")
        with open_bytes(path) as stream:
            while len(head) < _CHUNK and (chunk := stream.read(4096)):
                head += chunk
    except DAMAGED as error:
        if isinstance(error, PermissionError):
            raise LibraryError(path, "the file may not be read (permission denied)") from error
        if not head:  # else the rows before the damage are good, and the reader reports its place
            kind = "gzip data that can be read" if is_gzipped(path) else "a file that can be read"
            raise LibraryError(path, f"this is not {kind}: {error}") from error
    if not head:
        raise LibraryError(path, "the file is empty")
    return head


def text_head_of(path: Path) -> str:
    """As `head_of`, for a file that should be text: also raises `LibraryError` for binary content.

    Bytes that cannot be read are replaced, because a single bad line is reported with its row.
    """
    head = head_of(path)
    if head.startswith(_WORKBOOKS):
        raise LibraryError(
            path, "this is a spreadsheet or another archive, not text; save the sheet as CSV UTF-8"
        )
    n_control = sum(byte < 32 and byte not in b"\t\n\r\f\v\x1a\x1b" for byte in head)
    if n_control > 0.02 * len(head):  # a single stray byte is the matter of its row
        raise LibraryError(path, "this is binary data, not text; check that the file is what its name says")
    text = "\n".join(decoded(line)[0] for line in head.removeprefix(_UTF8_BOM).split(b"\n"))
    if not text.strip():
        raise LibraryError(path, "the file is empty: it has nothing but blank lines")
    if text.count("�") > 0.1 * len(text):
        raise LibraryError(path, "this is not UTF-8 text; check that the file is what its name says")
    return text


def lines(path: Path, meter: Meter | None = None) -> Iterator[Line]:
    """Every line of a file of text; ends may be LF, CRLF or CR; a byte order mark is dropped."""
    head = head_of(path)
    end = b"\r" if b"\r" in head and b"\n" not in head else b"\n"
    with open_bytes(path, meter) as stream:
        first = True
        for raw, error in _split(stream, end):
            if first:
                raw = raw.removeprefix(_UTF8_BOM)
                first = False
            raw = raw.removesuffix(b"\r")
            text, reason = decoded(raw)
            yield Line(text, error or reason)


def decoded(raw: bytes) -> tuple[str, str | None]:
    """A line as UTF-8, or else as Windows-1252, which Excel writes; or what can be made of it, and why."""
    try:
        return raw.decode(), None
    except UnicodeDecodeError:
        try:
            return raw.decode("cp1252"), None
        except UnicodeDecodeError as wrong:
            byte = f"byte 0x{raw[wrong.start]:02x} at position {wrong.start + 1}"
            reason = f"this line is neither UTF-8 nor Windows-1252 text ({byte}); convert the file to UTF-8"
            return raw.decode(errors="replace"), reason


def _split(stream: BinaryIO, end: bytes) -> Iterator[tuple[bytes, str | None]]:
    """Lines without their ends, with an error for a line too long or for the damage that ends the file."""
    rest = b""
    too_long = False
    while True:
        try:
            chunk = cast(io.BufferedReader, stream).read1(_CHUNK)
        except DAMAGED as error:
            reason = f"the file is {CUT_OFF} here, and nothing after this was read: {error}"
            yield rest, reason
            return
        if not chunk:
            if rest and not too_long:
                yield rest, None
            return
        *whole, rest = (rest + chunk).split(end)
        for raw in whole:
            if not too_long:
                yield raw, None
            too_long = False
        if too_long:
            rest = b""
        elif len(rest) > MAX_LINE:
            yield rest[:1000], f"the line is longer than {MAX_LINE:,} bytes"
            too_long = True


_DELIMITERS = "\t,;"
MAX_LINES_OF_A_ROW = 200
MAX_TITLE_LINES = 20
_SEP = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
_HINT = " (by number, from 1, if the file has no header)"
csv.field_size_limit(2 * MAX_LINE)


class _Layout(NamedTuple):
    delimiter: str
    before: int
    """Rows before the first molecule: Excel's `sep=;`, lines of a title, the header."""
    smiles: int
    """Position of the SMILES among the fields."""
    names: list[str]
    """Names of all other fields, fit for the molecules table."""


@register(".csv", ".tsv", ".txt")
class Delimited(Source):
    """Comma, semicolon or tab, whichever the header has most of; a quoted field may span lines.

    The header is the first line that names a SMILES column, within the first lines: what stands before it is
    a title. Without a header, the first column that begins with a structure of 5 heavy atoms or more is
    taken. Blank lines are no rows; empty fields are null.
    """

    def __init__(self, path: Path, smiles_column: str | None = None) -> None:
        super().__init__(path, smiles_column)
        head = text_head_of(path)
        self._layout = _layout(path, head, smiles_column)

    def metadata_types(self) -> dict[str, pa.DataType]:
        return dict.fromkeys(self._layout.names, pa.string())

    def rows(self, meter: Meter) -> Iterator[Row]:
        delimiter, before, at, names = self._layout
        n_fields = len(names) + 1
        for text, error in islice(_rows(lines(self.path, meter), delimiter), before, None):
            if error is not None:
                yield Row(text=text, error=error)
                continue
            try:
                fields = _fields(text, delimiter)
            except csv.Error as wrong:
                yield Row(text=text, error=f"the row cannot be split into fields: {wrong}")
                continue
            if len(fields) != n_fields:
                reason = f"the row has {len(fields)} fields where {n_fields} are expected"
                yield Row(text=text, error=reason)
                continue
            smiles = fields.pop(at)
            metadata = {name: value or None for name, value in zip(names, fields, strict=True)}
            yield Row(text=smiles, metadata=metadata)


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
                if following is None or following.error or len(taken) >= MAX_LINES_OF_A_ROW:
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
    full = [line for line in head.splitlines() if line.strip()]
    stated = _SEP.fullmatch(full[0].strip())
    if stated is not None and len(full) == 1:
        raise LibraryError(path, "the file is empty: it has a line 'sep=' and no rows")
    for start in range(int(stated is not None), min(len(full), MAX_TITLE_LINES)):
        delimiter = stated[1] if stated else max(_DELIMITERS, key=full[start].count)
        rows = list(_rows((Line(line, None) for line in full), delimiter))
        # Lines of a title may hold line breaks in quotes: only where rows are lines is a row's number known.
        if start >= len(rows) or (rows[start].text != full[start] and '"' not in full[start]):
            continue
        try:
            names = [field.strip() for field in _fields(rows[start].text, delimiter)]
        except csv.Error:
            continue
        first = start == int(stated is not None)
        # A number may be the name of a column, or stand in the first row of a file without names.
        number = _number(wanted, len(names))
        if first and number is not None and _is_structure(names[number], least=1):
            return _Layout(delimiter, start, number, _others(_numbered(len(names), number), number))
        at = smiles_column(names, wanted) if first or number is None else None
        # Below the first line, `structure` may be anything.
        if at is not None and (first or wanted is not None or "smi" in names[at].casefold()):
            if start + 1 == len(rows):
                raise LibraryError(path, "the file is empty: it has a header and no rows")
            return _Layout(delimiter, start + 1, at, _others(names, at))
    start = int(stated is not None)
    delimiter = stated[1] if stated else max(_DELIMITERS, key=full[start].count)
    try:
        names = [field.strip() for field in _fields(full[start], delimiter)]
    except csv.Error as error:
        raise LibraryError(path, f"the first line cannot be split into fields: {error}") from error
    at = _structure_column(path, names, wanted)
    return _Layout(delimiter, start, at, _others(_numbered(len(names), at), at))


def _others(names: list[str], at: int) -> list[str]:
    return safe_names(names[:at] + names[at + 1 :])


def _structure_column(path: Path, fields: list[str], wanted: str | None) -> int:
    """Position of the SMILES column in a file without names: by number, or by the first line."""
    if (number := _number(wanted, len(fields))) is not None:
        return number
    if wanted is None:
        for place, field in enumerate(fields):
            if _is_structure(field):
                return place
    raise no_smiles_column(path, fields, wanted, hint=_HINT)


def _number(wanted: str | None, n: int) -> int | None:
    """Position of the column whose number (1 to n) is `wanted`, or None."""
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


@register(".smi", ".smiles", ".cxsmiles")
class Smi(Source):
    """Blank lines are no rows. A first line that begins with `smiles` (or `#smiles`) is a header."""

    def __init__(self, path: Path, smiles_column: str | None = None) -> None:
        super().__init__(path, smiles_column)
        full = [line for line in text_head_of(path).splitlines() if line.strip()]
        words = full[0].split()
        self._has_header = words[0].lstrip("#").casefold() in USUAL_NAMES
        if self._has_header and len(full) == 1:
            raise LibraryError(path, "the file is empty: it has a header and no rows")
        # A header of two words names the second column; anything else after the SMILES is a name.
        self._name = safe_names(words[1:])[0] if self._has_header and len(words) == 2 else "name"

    def metadata_types(self) -> dict[str, pa.DataType]:
        return {self._name: pa.string()}

    def rows(self, meter: Meter) -> Iterator[Row]:
        before_first = self._has_header
        for text, error in lines(self.path, meter):
            text = text.strip()
            if error is not None:
                yield Row(text=text, error=error)
                continue
            if not text:
                continue
            if before_first:
                before_first = False
                continue
            smiles, _, name = text.partition(" ") if "\t" not in text else _partition(text)
            name = name.strip()
            if name.startswith("|") and "|" in name[1:]:  # a CXSMILES extension belongs to the SMILES
                end = name.index("|", 1) + 1
                smiles, name = f"{smiles} {name[:end]}", name[end:].strip()
            yield Row(text=smiles, metadata={self._name: name or None})


def _partition(text: str) -> tuple[str, str, str]:
    smiles, *rest = text.split(None, 1)
    return smiles, " ", rest[0] if rest else ""
