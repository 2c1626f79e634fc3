"""Spectrum files as peak lists: MSP, MGF, mzML (each also `.gz`) and JCAMP-DX peak tables.

A format is one module with NAME, MODALITIES (what it can hold) and `entries`, named in `_MODULES` below.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal, Protocol, overload

from acml_search.chem.peaks import PeakList
from acml_search.core.errors import UnknownModality
from acml_search.ms.io.base import (
    BadSpectrum,
    Entry,
    OtherKind,
    Unreadable,
    check_content,
    head_of,
)

__all__ = ["BadSpectrum", "endings", "read_spectra", "read_spectrum"]

_MODULES = {
    ".msp": "msp",
    ".mgf": "mgf",
    ".mzml": "mzml",
    ".jdx": "jcamp",
    ".dx": "jcamp",
    ".jcamp": "jcamp",
}
_MODALITIES = ("c_nmr", "gc_ms", "h_nmr", "lc_ms")
_COUNTED = 4 << 20  # bytes of a file whose spectra are counted to tell the user how many there are
_SHOWN = 5  # unusable spectra that are told of


class _Format(Protocol):
    NAME: str
    MODALITIES: tuple[str, ...]

    def entries(self, path: Path, modality: str) -> Iterator[Entry]: ...


def endings() -> list[str]:
    """The endings that can be read; each may be followed by `.gz`."""
    return sorted(_MODULES)


@overload
def read_spectra(
    path: Path | str, modality: str, on_error: Literal["raise"] = "raise"
) -> Iterator[PeakList]: ...
@overload
def read_spectra(
    path: Path | str, modality: str, on_error: Literal["yield"]
) -> Iterator[PeakList | BadSpectrum]: ...
def read_spectra(
    path: Path | str, modality: str, on_error: Literal["raise", "yield"] = "raise"
) -> Iterator[PeakList | BadSpectrum]:
    """Every spectrum of a file in its order, in constant memory.

    Numbers count all spectra of the file from 1. Sound spectra of another kind (MS1 scans where MS2 is asked
    for, the 1H block where 13C is) are passed over. One that cannot be used raises BadSpectrum, which is an
    InvalidRecord, and ends the reading; with `on_error="yield"` it is yielded in its place and reading goes
    on, so that nothing is lost unnoticed. Damage to the file itself comes last, without a number.

    Raises at once, whatever `on_error`: BadSpectrum for a file that is missing, empty, of an unknown ending
    or not what its name says; UnknownModality.
    """
    path = Path(path)
    return _spectra(_format(path, modality), path, modality, on_error == "yield")


def read_spectrum(text: Path | str, modality: str) -> PeakList:
    """One spectrum of a file: `FILE#n` is the n-th from 1, `FILE` the first that can be used.

    Without a number, `about["of"]` says how many spectra the file holds where there are several ("more than
    one" where counting them would take long), and `about["passed_over"]` what is wrong with those before it.

    Raises BadSpectrum, an InvalidRecord, for a file or a spectrum that cannot be used; UnknownModality.
    """
    path, wanted = _place(str(text), modality)
    format = _format(path, modality)
    entries = _entries(format, path, modality)
    number = 0
    others: list[BadSpectrum] = []
    bad: list[BadSpectrum] = []
    for number, entry in enumerate(entries, start=1):
        if number == wanted:
            return _read(entry, path, modality, number)
        if wanted is not None:
            continue
        try:
            found = _read(entry, path, modality, number)
        except BadSpectrum as error:
            rejects = others if isinstance(error.__cause__, OtherKind) else bad
            rejects += [error] if len(rejects) < _SHOWN else []
            continue
        return replace(found, about={**found.about, **_company(entries, path, number, bad)})
    if wanted is not None:
        has = f"{number:,} spectra" if number > 1 else "one spectrum" if number else "no spectrum"
        reason = f"the file has {has}, so there is no number {wanted}; count from 1"
        raise BadSpectrum(path, reason, modality=modality)
    if bad:
        raise bad[0]
    raise _nothing(path, modality, number, others)


def _format(path: Path, modality: str) -> _Format:
    """The module that reads a file, after a look at its first bytes. Raises BadSpectrum, UnknownModality."""
    if modality not in _MODALITIES:
        raise UnknownModality(modality, _MODALITIES)
    inner = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    module = _MODULES.get(inner.suffix.lower())
    if module is None:
        reason = (
            f"its ending {inner.suffix!r} is of no format of spectra; known are {', '.join(endings())}, "
            "each also .gz"
        )
        raise BadSpectrum(path, reason, modality=modality)
    format: _Format = importlib.import_module(f"{__name__}.{module}")
    if modality not in format.MODALITIES:
        reason = f"{format.NAME} files hold mass spectra, not {modality}; give the shifts, or a JCAMP-DX file"
        raise BadSpectrum(path, reason, modality=modality)
    try:
        check_content(head_of(path), format.NAME)
    except Unreadable as error:
        raise BadSpectrum(path, error.reason, modality=modality) from error
    return format


def _place(text: str, modality: str) -> tuple[Path, int | None]:
    """`FILE#n` as a file and a number. A file whose own name has a # is that file."""
    found = re.fullmatch(r"(.+)#([^#/\\]*)", text, re.DOTALL)
    if found is None or _exists(text):
        return Path(text), None
    path, number = Path(found[1]), found[2].strip()
    if not (number.isascii() and number.isdecimal() and len(number) <= 9 and int(number) >= 1):
        reason = (
            f"{'#' + number[:20]!r} is no number of a spectrum; they are counted from 1, as in {path.name}#1"
        )
        raise BadSpectrum(path, reason, modality=modality)
    return path, int(number)


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):  # longer than a name can be, or with a NUL in it
        return False


def _entries(format: _Format, path: Path, modality: str) -> Iterator[Entry]:
    """The entries of a file; its damage as BadSpectrum."""
    try:
        yield from format.entries(path, modality)
    except Unreadable as error:
        raise BadSpectrum(path, error.reason, modality=modality, line=error.line) from error


def _read(entry: Entry, path: Path, modality: str, number: int) -> PeakList:
    try:
        peaks = entry.read()
    except Unreadable as error:
        line = error.line or entry.line
        raise BadSpectrum(path, error.reason, modality=modality, number=number, line=line) from error
    return replace(peaks, file=path, number=number, line=entry.line)


def _spectra(
    format: _Format, path: Path, modality: str, keep_going: bool
) -> Iterator[PeakList | BadSpectrum]:
    entries = _entries(format, path, modality)
    number = given = 0
    others: list[BadSpectrum] = []
    while True:
        try:
            entry = next(entries, None)
            if entry is None and not given:
                raise _nothing(path, modality, number, others)
        except BadSpectrum as error:
            if not keep_going:
                raise
            yield error
            return
        if entry is None:
            return
        number += 1
        found: PeakList | BadSpectrum
        try:
            found = _read(entry, path, modality, number)
        except BadSpectrum as error:
            if isinstance(error.__cause__, OtherKind):
                others += [] if others else [error]
                continue
            if not keep_going:
                raise
            found = error
        given += 1
        yield found


def _company(
    entries: Iterator[Entry], path: Path, number: int, bad: list[BadSpectrum]
) -> dict[str, int | str | list[str]]:
    """What is to be said of the other spectra of a file whose `number`-th was taken."""
    said: dict[str, int | str | list[str]] = {}
    small = path.stat().st_size <= (_COUNTED // 10 if path.suffix.lower() == ".gz" else _COUNTED)
    more = 0
    try:
        for _ in entries:
            more += 1
            if not small:
                break
    except BadSpectrum as error:  # the damage comes after the spectrum that is used
        bad = [*bad, error]
    if number + more > 1:
        said["of"] = number + more if small else "more than one"
    if bad:
        said["passed_over"] = [str(error) for error in bad]
    return said


def _nothing(path: Path, modality: str, number: int, others: list[BadSpectrum]) -> BadSpectrum:
    """Why a sound file gives nothing."""
    if not number:
        reason = "it holds no spectrum; check that it was saved whole"
    else:
        why = others[0].__cause__.reason if others and isinstance(others[0].__cause__, OtherKind) else "?"
        n = f"none of its {number:,} spectra is" if number > 1 else "its only spectrum is not"
        reason = f"{n} of {modality}: {why}"
    return BadSpectrum(path, reason, modality=modality)
