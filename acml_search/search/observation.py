"""What a user holds, read: a printed NMR line, a spectrum file, a picture, a SMILES."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from acml_search import modalities
from acml_search.core.errors import ConfigError, InvalidRecord
from acml_search.nmr.sources import nmr_peaks
from acml_search.search.filters import DEFAULT_PPM, Conditions

if TYPE_CHECKING:
    from acml_search.chem.peaks import PeakList

NMR = ("c_nmr", "h_nmr")
MASS = ("lc_ms", "gc_ms")
MOST_PICTURE = 50_000_000  # bytes of a picture
FEW_DECIMALS = 2  # a precursor written with no more is of unit resolution, or rounded
COARSE = 0.6  # Da, how far such a precursor may be off

Given = str | Path | bytes | Mapping[str, Any] | Sequence[float] | npt.NDArray[Any]
"""an observation: text or a file; a record of its modality, such as a picture's pixels; shifts in ppm"""


@dataclass(frozen=True)
class Observation:
    """One observation of a compound, ready to be encoded.

    given: as the user gave it. item: what the modality's `read` gave. peaks: the typed list, of spectra.
    record: what `item` was read from, of spectra. neutral_mass: of the molecule in Da, where precursor and
    adduct tell. notes: sentences for the user.
    """

    modality: str
    given: str
    item: Any
    peaks: PeakList | None = None
    neutral_mass: float | None = None
    notes: list[str] = field(default_factory=list)
    record: Any = None

    def to_dict(self) -> dict[str, Any]:
        """What was understood, for the answer."""
        out: dict[str, Any] = {"modality": self.modality, "given": self.given}
        if self.peaks is None:
            return out
        known = {
            name: getattr(self.peaks, name)
            for name in ("solvent", "field_mhz", "precursor_mz", "adduct", "ion_mode", "collision_energy")
        }
        return {
            **out,
            "unit": self.peaks.unit,
            "peaks": [
                {name: value for name, value in peak._asdict().items() if value not in (None, ())}
                for peak in self.peaks
            ],
            **{name: value for name, value in known.items() if value is not None},
            "left_out": [one._asdict() for one in self.peaks.left_out],
            **({} if self.neutral_mass is None else {"neutral_mass": self.neutral_mass}),
        }


def read_observations(
    observations: Mapping[str, Given | Sequence[Given]] | Sequence[Observation], adduct: str | None = None
) -> list[Observation]:
    """Observations of one compound, given by modality, one or several of each, or read already. Raises
    ConfigError where there is none, and as `read_observation` does.
    """
    if isinstance(observations, Mapping):
        read = [
            read_observation(name, one, adduct=adduct)
            if isinstance(one, str | Path)
            else of_record(name, one, "a record", adduct=adduct)
            for name, given in observations.items()
            for one in _each(given)
        ]
    else:
        read = list(observations)
        if not all(isinstance(one, Observation) for one in read):
            raise ConfigError("observations are given by modality, such as {'c_nmr': '155.4, 151.7'}")
    if not read:
        raise ConfigError("there is no observation; give at least one")
    return read


def _each(given: Given | Sequence[Given]) -> Sequence[Given]:
    """One observation or several, of a list; a list of numbers is one, the shifts of a spectrum."""
    if isinstance(given, np.ndarray) and given.ndim == 1:
        given = given.tolist()
    if not isinstance(given, list | tuple):
        return [cast("Given", given)]
    if given and all(isinstance(one, Real) for one in given):
        return [{"shifts": list(given)}]
    return list(given)


def read_observation(modality: str, given: str | Path, *, adduct: str | None = None) -> Observation:
    """Read one observation: `given` is text or a file for NMR, a file (`FILE#n`) for mass spectra, a file for
    pictures and a SMILES for `smiles`. `adduct` stands in for one that the file does not state.

    Raises InvalidRecord for what cannot be used, UnknownModality.
    """
    kind = modalities.get(modality)
    given = str(given)
    if modality in NMR:
        return of_peaks(nmr_peaks(given, modality), given)
    if modality in MASS:
        from acml_search.ms.io import read_spectrum

        return of_peaks(read_spectrum(given, modality), given, adduct=adduct)
    if modality == "image":
        picture = _bytes(Path(given), modality)
        try:
            return Observation(modality, given, kind.read(picture))
        except InvalidRecord as error:
            raise InvalidRecord(f"{given}: {error.reason}", modality=modality) from error
    return Observation(modality, given, kind.read(given))


def of_record(modality: str, record: Any, given: str, *, adduct: str | None = None) -> Observation:
    """An observation from a record as the modality's `read` takes it, such as a row of a Parquet file; with
    the `adduct` that is named, if one is, instead of its own.
    """
    if adduct is not None and modality in MASS and isinstance(record, Mapping):
        _check_adduct(adduct, modality)
        record = {**record, "adduct": adduct}
    item = modalities.get(modality).read(record)
    peaks = _peaks_of(modality, record)
    neutral, notes = None, _attached_notes(modality, record)
    if peaks is not None and modality in MASS:
        neutral, doubts = _mass_told(peaks)
        notes += doubts
    return Observation(modality, given, item, peaks, neutral, notes, record)


def of_peaks(peaks: PeakList, given: str, *, adduct: str | None = None) -> Observation:
    """An observation from a peak list that was read."""
    notes = []
    if peaks.file is not None and (of := peaks.about.get("of")) and "#" not in given:
        notes.append(
            f"{peaks.file} holds {of} spectra; this is number {peaks.number}; name another with FILE#n"
        )
    notes += [str(one) for one in peaks.about.get("passed_over", [])]
    if adduct is None and (told := peaks.about.get("adduct_from")):
        notes.append(f"{peaks.modality}: taken as {peaks.adduct}, for {told}; --adduct names another")
    if adduct is not None:
        _check_adduct(adduct, peaks.modality)
        peaks = replace(peaks, adduct=adduct)
    neutral, doubts = _mass_told(peaks)
    notes += doubts
    record = peaks.record()
    item = modalities.get(peaks.modality).read(record)
    notes += [*left_out_notes(peaks), *_attached_notes(peaks.modality, record)]
    return Observation(peaks.modality, given, item, peaks, neutral, notes, record)


def with_precursor(
    conditions: Conditions, observations: Sequence[Observation]
) -> tuple[Conditions, list[str]]:
    """The conditions with the neutral mass that the first precursor tells, and a note that says so.

    Unchanged where a mass or a formula is asked for already, or no spectrum tells one; an MS/MS spectrum that
    should have told is named.
    """
    told = next((one for one in observations if one.neutral_mass is not None), None)
    if conditions.get("mass") or conditions.get("formula"):
        return conditions, []
    if told is None or told.neutral_mass is None:
        silent = next((one.peaks for one in observations if one.modality == "lc_ms"), None)
        return conditions, [_silence(silent)] if silent is not None else []
    tol_ppm, tol_da = conditions.get("tol_ppm"), conditions.get("tol_da")
    given: Conditions = {**conditions, "mass": told.neutral_mass}
    coarse = ""
    if tol_ppm is None and tol_da is None and _decimals(told.peaks) <= FEW_DECIMALS:
        given["tol_da"] = tol_da = COARSE
        coarse = f", wide because the precursor has {_decimals(told.peaks)} decimals"
    width = f"{tol_da:g} Da" if tol_da is not None else f"{DEFAULT_PPM if tol_ppm is None else tol_ppm:g} ppm"
    note = (
        f"{told.modality}: only candidates of {told.neutral_mass:.4f} ± {width}{coarse}, the neutral mass by "
        "the precursor; --mass or --formula set another, --any-mass none"
    )
    return given, [note]


def _decimals(peaks: PeakList | None) -> int:
    """Decimals that the precursor was written with, as far as its number still shows them."""
    if peaks is None or peaks.precursor_mz is None:
        return 0
    return len(f"{peaks.precursor_mz:.6f}".rstrip("0").partition(".")[2])


def left_out_notes(peaks: PeakList) -> list[str]:
    """What of a peak list is not used, as sentences."""
    return [f"{peaks.modality}: left out {one.text.strip()!r}: {one.why}" for one in peaks.left_out]


def _attached_notes(modality: str, record: Any) -> list[str]:
    from acml_search.nmr.dept import is_told

    if modality != "c_nmr" or not is_told(record):
        return []
    return ["c_nmr: how many hydrogens each carbon carries, as it is stated, is compared as well"]


def _silence(peaks: PeakList) -> str:
    """Why an MS/MS spectrum does not limit the candidates, and what would."""
    if peaks.precursor_mz is None:
        lacking, remedy = "does not state its precursor", "a mass or a formula would limit them"
    elif peaks.adduct is None:
        lacking, remedy = "does not state its adduct", "name it with --adduct"
    else:
        lacking, remedy = "tells no mass by its adduct", "name another with --adduct"
    return f"the spectrum {lacking}, so candidates of any mass compete; {remedy}"


def _mass_told(peaks: PeakList) -> tuple[float | None, list[str]]:
    """The neutral mass in Da that precursor and adduct of a mass spectrum tell, where they do; and what is
    doubtful about it.
    """
    if peaks.precursor_mz is None or peaks.adduct is None:
        return None, []
    from acml_search.chem.adducts import parse

    try:
        neutral = _neutral(peaks.precursor_mz, peaks.adduct, peaks.modality)
    except InvalidRecord as error:
        return None, [f"{peaks.modality}: {error.reason}"]
    sign = "+" if parse(peaks.adduct).charge > 0 else "-"
    if peaks.ion_mode in ("+", "-") and peaks.ion_mode != sign:
        mode = "positive" if peaks.ion_mode == "+" else "negative"
        doubt = f"the adduct {peaks.adduct} and the stated {mode} mode contradict each other; check both"
        return neutral, [f"{peaks.modality}: {doubt}"]
    return neutral, []


def _check_adduct(adduct: str, modality: str) -> None:
    """One that the user names has to make sense; one that a file states may not, and is a note then."""
    from acml_search.chem.adducts import parse

    try:
        parse(adduct)
    except ConfigError as error:
        raise InvalidRecord(str(error), modality=modality) from error


def _neutral(precursor: float, adduct: str, modality: str) -> float:
    from acml_search.chem.adducts import neutral_mass

    try:
        return neutral_mass(precursor, adduct)
    except ConfigError as error:
        raise InvalidRecord(str(error), modality=modality) from error


def _peaks_of(modality: str, record: Any) -> PeakList | None:
    from acml_search.chem.peaks import Peak, PeakList
    from acml_search.ms.peaks import number_or_none

    if modality in NMR:
        shifts = record["shifts"] if isinstance(record, Mapping) else record
        told = record.get("multiplicity") if isinstance(record, Mapping) else None
        kinds = dict(zip(shifts, told or [None] * len(shifts), strict=False))
        return PeakList(modality, tuple(Peak(float(x), multiplicity=kinds[x]) for x in sorted(kinds)))
    if modality not in MASS:
        return None
    peaks = tuple(
        Peak(float(mz), intensity=float(intensity))
        for mz, intensity in zip(record["mzs"], record["intensities"], strict=True)
    )
    known = {name: record.get(name) for name in ("ion_mode", "collision_energy")}
    adduct = record.get("adduct")
    precursor = number_or_none(record, "precursor_mz", modality) or None
    stated = adduct if isinstance(adduct, str) and adduct.strip() else None  # NaN is how tables write null
    return PeakList(modality, peaks, precursor_mz=precursor, adduct=stated, **known)


def _bytes(path: Path, modality: str) -> bytes:
    try:
        size = path.stat().st_size
        if size > MOST_PICTURE:
            raise InvalidRecord(
                f"{path} has {size:,} bytes, more than {MOST_PICTURE:,}; cut out the structure",
                modality=modality,
            )
        return path.read_bytes()
    except OSError as error:
        raise InvalidRecord(f"{path} cannot be read ({error.strerror})", modality=modality) from error
