"""Bytes and lines of a library file, gzipped or not, in constant memory.

What goes wrong inside a file is told with the line it happened at; the lines before it are still read.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from acml_search.core.errors import LibraryError

MAX_LINE = 1 << 20
"""Bytes. A longer line is one bad row, so that junk without line ends does not fill the memory."""

_CHUNK = 1 << 16
_UTF8_BOM = b"\xef\xbb\xbf"
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")
CUT_OFF = "damaged or cut off"
"""of a file whose rows after some place are missing; what lists rejects can be asked for it"""
DAMAGED = (EOFError, OSError, zlib.error)


class Line(NamedTuple):
    """One line without its end. With `error`, `text` is what could be made of it."""

    text: str
    error: str | None


class Meter:
    """Bytes of files read so far, as they lie on disk."""

    def __init__(self) -> None:
        self.done = 0


class _Counted(io.RawIOBase):
    """A file that tells a meter how far it has been read."""

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
    """The content of `path`, decompressed if its name ends in `.gz`."""
    counted = cast(BinaryIO, io.BufferedReader(_Counted(path, meter or Meter()), _CHUNK))
    return cast(BinaryIO, _Gunzip(counted)) if is_gzipped(path) else counted


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
        if not head:  # else the rows before the damage are good, and the reader tells where it is
            kind = "gzip data that can be read" if is_gzipped(path) else "a file that can be read"
            raise LibraryError(path, f"this is not {kind}: {error}") from error
    if not head:
        raise LibraryError(path, "the file is empty")
    return head


def text_head_of(path: Path) -> str:
    """As `head_of`, for a file that should be UTF-8 text: also raises `LibraryError` for binary content.

    Bytes that are not UTF-8 are replaced, because a single bad line is reported with its row.
    """
    head = head_of(path)
    if head.startswith(_UTF16_BOMS):
        raise LibraryError(path, "this is UTF-16 text; save it as UTF-8")
    n_control = sum(byte < 32 and byte not in b"\t\n\r\f\v\x1a\x1b" for byte in head)
    if n_control > 0.02 * len(head):  # a single stray byte is the matter of its row
        raise LibraryError(path, "this is binary data, not text; check that the file is what its name says")
    text = head.removeprefix(_UTF8_BOM).decode("utf-8", errors="replace")
    if not text.strip():
        raise LibraryError(path, "the file is empty: it has nothing but blank lines")
    if text.count("�") > 0.1 * len(text):
        raise LibraryError(path, "this is not UTF-8 text; check that the file is what its name says")
    return text


def lines(path: Path, meter: Meter | None = None) -> Iterator[Line]:
    """Every line of a UTF-8 file; ends may be LF, CRLF or CR; a byte order mark is dropped."""
    head = head_of(path)
    end = b"\r" if b"\r" in head and b"\n" not in head else b"\n"
    with open_bytes(path, meter) as stream:
        first = True
        for raw, error in _split(stream, end):
            if first:
                raw = raw.removeprefix(_UTF8_BOM)
                first = False
            raw = raw.removesuffix(b"\r")
            try:
                yield Line(raw.decode(), error)
            except UnicodeDecodeError as wrong:
                byte = f"byte 0x{raw[wrong.start]:02x} at position {wrong.start + 1}"
                reason = f"this line is not UTF-8 text ({byte}); convert the file to UTF-8"
                yield Line(raw.decode(errors="replace"), error or reason)


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
