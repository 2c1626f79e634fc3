"""`.msp`, `.mgf`, `.mzML`, `.mzXML`, `.json`: spectral libraries.

A spectrum is a row: the molecule it names, and its peaks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from acml_search.core.errors import InvalidRecord, LibraryError
from acml_search.library.observed import USUAL_NAMES, Observed, structure_of
from acml_search.library.source import Meter, Row, Source, register, safe_names

if TYPE_CHECKING:
    from acml_search.chem.peaks import PeakList
    from acml_search.ms.io import BadSpectrum

_MASSES = ("gc_ms", "lc_ms")
_NUMBERS = {"precursor_mz": pa.float64()}
_KNOWN = ("precursor_mz", "adduct", "ion_mode", "collision_energy")
"""Attributes of a peak list that become columns, under the names that a modality reads."""


@register(".msp", ".mgf", ".mzml", ".mzxml", ".json")
class Spectra(Source):
    """Read by `ms.io`. Other fields of a spectrum become columns of their own names, as text.

    The spectra are lc_ms when the first has a precursor, else gc_ms, unless the user names the modality.
    """

    def __init__(self, path: Path, smiles_column: str | None = None) -> None:
        super().__init__(path, smiles_column)
        try:
            self._reads_as = self._guess("lc_ms")
        except InvalidRecord as error:
            try:
                self._reads_as = self._guess("gc_ms")
            except InvalidRecord:
                raise LibraryError(path, error.reason.removeprefix(f"{path}: ")) from error

    def _guess(self, modality: str) -> str:
        """The modality that the first good spectrum speaks for, the file being read as `modality`.

        Raises InvalidRecord when there is none of that kind.
        """
        bad = None
        for peaks in self._read(modality):
            if not isinstance(peaks, InvalidRecord):
                return "gc_ms" if peaks.precursor_mz is None else "lc_ms"
            if peaks.number is None:
                raise peaks
            bad = peaks
        assert bad is not None  # a file without any spectrum is one bad thing without a number
        raise bad

    def observe(self, named: Sequence[str]) -> None:
        wanted = [name for name in _MASSES if name in named]
        if len(wanted) == 1:
            self._reads_as = wanted[0]
        self.modality = self._reads_as

    def metadata_types(self) -> dict[str, pa.DataType]:
        names, _ = self._contents
        return {kept: _NUMBERS.get(name, pa.string()) for name, kept in names.items()}

    def rows(self, meter: Meter) -> Iterator[Row]:
        size, before = self.path.stat().st_size, meter.done
        names, total = self._contents
        for n, peaks in enumerate(self._read(self._reads_as), start=1):
            meter.done = before + size * n // total
            if isinstance(peaks, InvalidRecord):
                yield Row(text=f"{self.path}#{peaks.number or n}", error=peaks.reason)
                continue
            text, error = structure_of(peaks.about)
            said = {name: None if value is None else str(value) for name, value in peaks.about.items()}
            said |= {name: getattr(peaks, name) for name in _KNOWN}
            metadata = {names[name]: value for name, value in said.items() if name in names}
            number = n if peaks.number is None else peaks.number
            observed = None
            if self.modality is not None:
                observed = Observed.of(self.modality, peaks.record(), self.path, number)
            text = text or f"{self.path}#{number}"
            yield Row(text=text, metadata=metadata, error=error, observed=observed)

    @cached_property
    def _contents(self) -> tuple[dict[str, str], int]:
        """Source's name -> column, and the number of spectra: any spectrum may bring a new name, so the whole
        file is looked through.
        """
        found: dict[str, None] = {}
        total = 0
        for peaks in self._read(self._reads_as):
            total += 1
            if not isinstance(peaks, InvalidRecord):
                found.update(dict.fromkeys(str(name) for name in peaks.about))
                found.update((name, None) for name in _KNOWN if getattr(peaks, name) is not None)
        names = [
            *(name for name in _KNOWN if name in found),
            *(name for name in found if name not in _KNOWN and not _has_column(name)),
        ]
        return dict(zip(names, safe_names(names), strict=True)), total

    def _read(self, modality: str) -> Iterator[PeakList | BadSpectrum]:
        from acml_search.ms.io import read_spectra

        return read_spectra(self.path, modality, on_error="yield")


def _has_column(name: str) -> bool:
    """Is this the source's name of what has a column already: of the SMILES, or of what is known?"""
    from acml_search.ms.io.fields import plain_name

    return plain_name(name) in {plain_name(taken) for taken in (*USUAL_NAMES, *_KNOWN)}
