"""Spectrum files as peak lists: MSP, MGF, mzML, mzXML, JSON, MassBank records, two columns, JCAMP-DX.

Each may be gzipped. The ending of a file names its format, in any case; where it names none, the content
does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from acml_search.chem.peaks import PeakList
from acml_search.core.errors import UnknownModality
from acml_search.ms.io import jcamp, json_records, scans, text
from acml_search.ms.io.base import (
    BadSpectrum,
    Entry,
    Format,
    OtherKind,
    Unreadable,
    check_content,
    head_of,
    kind_of,
)

__all__ = ["BadSpectrum", "endings", "holds_spectra", "read_spectra", "read_spectrum"]

FORMATS: dict[str, Format] = {
    ".msp": text.MSP,
    ".mgf": text.MGF,
    ".mzml": scans.MZML,
    ".mzxml": scans.MZXML,
    ".json": json_records.JSON,
    **dict.fromkeys((".jdx", ".dx", ".jcamp"), jcamp.JCAMP),
}
_BY_CONTENT = {one.name: one for one in (*FORMATS.values(), text.MASSBANK)}
MODALITIES = ("c_nmr", "gc_ms", "h_nmr", "lc_ms")
MAX_COUNTED = 4 << 20
"""bytes of a file whose spectra are counted, to tell the user how many there are"""
MAX_PASSED_OVER = 5
"""unusable spectra that are named"""


def endings() -> list[str]:
    """The endings that name a format, in lower case; each may be followed by `.gz`."""
    return sorted(FORMATS)


def holds_spectra(path: Path | str) -> bool:
    """Is this a file of spectra, by its ending or, where that says nothing, by its content?

    Two columns of numbers are not taken for one: they may be anything. No file is none.
    """
    path = Path(path)
    if _ending(path) in FORMATS:
        return True
    try:
        return kind_of(head_of(path)) in _BY_CONTENT
    except Unreadable:
        return False


def read_spectra(
    path: Path | str,
    modality: str,
    on_error: Literal["raise", "yield"] = "raise",
    format: Format | None = None,
) -> Iterator[PeakList | BadSpectrum]:
    """Every spectrum of a file in its order, in constant memory; format: how it is read, else its name says.

    Numbers count all spectra of the file from 1. Sound spectra of another kind (MS1 scans where MS2 is
    wanted, the 1H block where 13C is) are passed over. One that cannot be used raises BadSpectrum, which is
    an InvalidRecord, and ends the reading; with `on_error="yield"` it is yielded in its place, and so is one
    of another kind (`other_kind`), and reading goes on, so that nothing is lost unnoticed. Damage to the file
    itself comes last, without a number.

    Raises at once, whatever `on_error`: BadSpectrum for a file that is missing, empty, of an unknown ending
    or not what its name says; UnknownModality.
    """
    path = Path(path)
    return _read_all(_entries(path, modality, format), path, modality, on_error)


def read_spectrum(source: Path | str, modality: str, format: Format | None = None) -> PeakList:
    """One spectrum of a file: `FILE#n` is the n-th from 1, `FILE` the first that can be used, peaks before
    curves.

    format: how the file is read; None as its ending says.
    Without a number, `about["of"]` says how many spectra the file holds where there are several ("more than
    one" where counting them would take long), and `about["passed_over"]` what is wrong with those before it.

    Raises BadSpectrum, an InvalidRecord, for a file or a spectrum that cannot be used; UnknownModality.
    """
    path, wanted = _split_number(str(source), modality)
    entries = _entries(path, modality, format)
    number = 0
    other_kinds: list[BadSpectrum] = []
    unusable: list[BadSpectrum] = []
    curves: list[tuple[int, Entry]] = []

    def peaks_first() -> Iterator[tuple[int, Entry]]:
        nonlocal number
        for number, entry in enumerate(entries, start=1):
            if wanted is None and entry.curve:
                curves.append((number, entry))
            elif wanted in (None, number):
                yield number, entry
        yield from curves

    for place, entry in peaks_first():
        try:
            peaks = _read(entry, path, modality, place)
        except BadSpectrum as error:
            if wanted is not None:
                raise
            errors = other_kinds if error.other_kind else unusable
            errors += [error][: MAX_PASSED_OVER - len(errors)]
            continue
        others = {} if wanted is not None else _about_others(entries, path, number, unusable)
        return replace(peaks, about={**peaks.about, **others})
    if wanted is not None:
        has = f"{number:,} spectra" if number > 1 else "one spectrum" if number else "no spectrum"
        reason = f"the file has {has}, so there is no number {wanted}; count from 1"
        raise BadSpectrum(path, reason, modality=modality)
    if curves and len(unusable) > 1:  # that a curve cannot be picked is not all that is wrong
        unusable.sort(key=lambda error: error.number or 0)
        faults = "; ".join(
            f"#{error.number}: {getattr(error.__cause__, 'reason', error)}" for error in unusable
        )
        raise BadSpectrum(path, f"none of its spectra can be used: {faults}", modality=modality)
    raise unusable[0] if unusable else _nothing(path, modality, number, other_kinds)


def _split_number(source: str, modality: str) -> tuple[Path, int | None]:
    """`FILE#n` as a file and a number. A file whose own name has a # is that file."""
    match = re.fullmatch(r"(.+)#([^#/\\]*)", source, re.DOTALL)
    if match is None or _exists(source):
        return Path(source), None
    path, number = Path(match[1]), match[2].strip()
    if not (number.isascii() and number.isdecimal() and len(number) <= 9 and int(number) >= 1):
        reason = (
            f"{'#' + number[:20]!r} is no number of a spectrum; they are counted from 1, as in {path.name}#1"
        )
        raise BadSpectrum(path, reason, modality=modality)
    return path, int(number)


def _exists(name: str) -> bool:
    try:
        return Path(name).exists()
    except (OSError, ValueError):  # longer than a name can be, or with a NUL in it
        return False


def _entries(path: Path, modality: str, format: Format | None = None) -> Iterator[Entry]:
    """The entries of a file, after a look at its first bytes.

    Raises BadSpectrum and UnknownModality at once, and BadSpectrum where the file is damaged.
    """
    if modality not in MODALITIES:
        raise UnknownModality(modality, MODALITIES)
    try:
        if format is None:
            format = _format_of(path, head_of(path))
        elif path.is_file():
            head = head_of(path)
            if format.checked:
                check_content(head, format.name)
    except Unreadable as error:
        raise BadSpectrum(path, error.reason, modality=modality) from error
    if modality not in format.modalities:
        reason = f"{format.name} files hold mass spectra, not {modality}; give the shifts, or a JCAMP-DX file"
        raise BadSpectrum(path, reason, modality=modality)

    def entries() -> Iterator[Entry]:
        try:
            yield from format.entries(path, modality)
        except Unreadable as error:
            raise BadSpectrum(path, error.reason, modality=modality, line=error.line) from error

    return entries()


def _ending(path: Path) -> str:
    """In lower case, without `.gz`."""
    inner = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    return inner.suffix.lower()


def _format_of(path: Path, head: bytes) -> Format:
    """The format of a file that begins with `head`. Raises Unreadable."""
    ending = _ending(path)
    if ending in FORMATS:
        check_content(head, FORMATS[ending].name)
        return FORMATS[ending]
    kind = kind_of(head)
    if kind in _BY_CONTENT:
        return _BY_CONTENT[kind]
    if kind is None and text.is_table(head.decode("utf-8", "replace")):
        return text.TABLE
    raise Unreadable(
        f"its ending {ending!r} is of no format of spectra, and it holds {kind or 'some other text'}; known "
        f"are {', '.join(endings())}, each also .gz, and as text MassBank records and two columns"
    )


def _read(entry: Entry, path: Path, modality: str, number: int) -> PeakList:
    try:
        return replace(entry.read(), file=path, number=number, line=entry.line)
    except Unreadable as error:
        raise BadSpectrum(
            path,
            error.reason,
            modality=modality,
            number=number,
            line=error.line or entry.line,
            other_kind=isinstance(error, OtherKind),
        ) from error


def _read_all(
    entries: Iterator[Entry], path: Path, modality: str, on_error: str
) -> Iterator[PeakList | BadSpectrum]:
    number, yielded = 0, False
    other_kinds: list[BadSpectrum] = []
    while True:
        entry: Entry | None = None
        result: PeakList | BadSpectrum | None = None
        try:
            entry = next(entries, None)
            if entry is not None:
                number += 1
                result = _read(entry, path, modality, number)
            elif not yielded:
                raise _nothing(path, modality, number, other_kinds)
        except BadSpectrum as error:
            if on_error == "raise":
                if error.other_kind:
                    other_kinds = other_kinds or [error]
                    continue
                raise
            result = error
        if result is not None:
            yielded = True
            yield result
        if entry is None:
            return


def _about_others(
    entries: Iterator[Entry], path: Path, number: int, unusable: list[BadSpectrum]
) -> dict[str, Any]:
    """What to say of the other spectra of a file whose `number`-th is used."""
    about: dict[str, Any] = {}
    small = path.stat().st_size <= (MAX_COUNTED // 10 if path.suffix.lower() == ".gz" else MAX_COUNTED)
    more = 0
    try:
        for _ in entries:
            more += 1
            if not small:
                break
    except BadSpectrum as error:  # the damage comes after the spectrum that is used
        unusable = [*unusable, error]
    if number + more > 1:
        about["of"] = number + more if small else "more than one"
    if unusable:
        about["passed_over"] = [str(error) for error in unusable]
    return about


def _nothing(path: Path, modality: str, number: int, other_kinds: list[BadSpectrum]) -> BadSpectrum:
    """Why a sound file has no usable spectrum."""
    if not number:
        reason = "it holds no spectrum; check that it was saved whole"
    else:
        cause = other_kinds[0].__cause__ if other_kinds else None
        why = cause.reason if isinstance(cause, OtherKind) else "?"
        n = f"none of its {number:,} spectra is" if number > 1 else "its only spectrum is not"
        reason = f"{n} of {modality}: {why}"
    return BadSpectrum(path, reason, modality=modality)
