"""What a user holds, read: a printed NMR line, a spectrum file, a picture, a SMILES."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acml_search import modalities
from acml_search.errors import ConfigError, InvalidRecord
from acml_search.search.filters import DEFAULT_PPM, Conditions

if TYPE_CHECKING:
    from acml_search.spectra.peaks import PeakList

NMR = ("c_nmr", "h_nmr")
MASS = ("lc_ms", "gc_ms")
MOST_TEXT = 1_000_000  # characters of a text file with a printed line
MOST_PICTURE = 50_000_000  # bytes of a picture
FEW_DECIMALS = 2  # a precursor written with no more is of unit resolution, or rounded
COARSE = 0.6  # Da, how far such a precursor may be off
_PEAK_TABLES = (".jdx", ".dx", ".jcamp")


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


def read_observation(modality: str, given: str, *, adduct: str | None = None) -> Observation:
    """Read one observation: `given` is text or a file for NMR, a file (`FILE#n`) for mass spectra, a file for
    pictures and a SMILES for `smiles`. `adduct` stands in for one that the file does not state.

    Raises InvalidRecord for what cannot be used, UnknownModality.
    """
    kind = modalities.get(modality)
    if modality in NMR:
        return _nmr(modality, given)
    if modality in MASS:
        from acml_search.spectra.formats import read_spectrum

        return of_peaks(read_spectrum(given, modality), given, adduct=adduct)
    if modality == "image":
        return Observation(modality, given, kind.read(_bytes(Path(given), modality)))
    return Observation(modality, given, kind.read(given))


def of_record(modality: str, record: Any, given: str) -> Observation:
    """An observation from a record as the modality's `read` takes it, such as a row of a Parquet file."""
    item = modalities.get(modality).read(record)
    neutral = None
    if isinstance(record, Mapping) and record.get("precursor_mz") and record.get("adduct"):
        neutral = _neutral(float(record["precursor_mz"]), str(record["adduct"]), modality)
    notes = _attached_notes(modality, record)
    return Observation(modality, given, item, _peaks_of(modality, record), neutral, notes, record)


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
    record = peaks.record()
    stated = adduct or peaks.adduct
    if adduct is not None:
        record["adduct"] = adduct
    neutral = None
    if peaks.precursor_mz is not None and stated is not None:
        neutral = _neutral(peaks.precursor_mz, stated, peaks.modality)
    elif peaks.modality == "lc_ms":
        lacking = "its adduct" if peaks.precursor_mz is not None else "its precursor"
        remedy = "name it with --adduct" if peaks.precursor_mz is not None else "give --mass"
        notes.append(f"the spectrum does not state {lacking}, so candidates of any mass compete; {remedy}")
    item = modalities.get(peaks.modality).read(record)
    notes += [*left_out_notes(peaks), *_attached_notes(peaks.modality, record)]
    return Observation(peaks.modality, given, item, peaks, neutral, notes, record)


def with_precursor(
    conditions: Conditions, observations: Sequence[Observation]
) -> tuple[Conditions, list[str]]:
    """The conditions with the neutral mass that the first precursor tells, and a note that says so.

    Unchanged where a mass or a formula is asked for already, or no spectrum tells one.
    """
    told = next((one for one in observations if one.neutral_mass is not None), None)
    if told is None or told.neutral_mass is None or conditions.get("mass") or conditions.get("formula"):
        return conditions, []
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
    from acml_search.spectra.attached import is_told

    if modality != "c_nmr" or not is_told(record):
        return []
    return ["c_nmr: how many hydrogens each carbon carries, as it is stated, is compared as well"]


def _nmr(modality: str, given: str) -> Observation:
    from acml_search.spectra.nmr_text import read_nmr_text
    from acml_search.spectra.solvents import without_solvent

    path = Path(given) if len(given) < 1_000 and "\n" not in given else None
    if path is not None and _is_peak_table(given):
        from acml_search.spectra.formats import read_spectrum

        peaks = read_spectrum(given, modality)
    elif path is not None and path.is_file():
        peaks = read_nmr_text(_text(path, modality), modality)
    elif path is not None and path.suffix and not any(c.isdigit() for c in path.stem + path.suffix):
        raise InvalidRecord(
            f"there is no file {given}; give a file or the shifts themselves", modality=modality
        )
    else:
        peaks = read_nmr_text(given, modality)
    return of_peaks(without_solvent(peaks), given)


def _is_peak_table(given: str) -> bool:
    name = given.lower().rpartition("#")[0] or given.lower()
    return name.removesuffix(".gz").endswith(_PEAK_TABLES)


def _neutral(precursor: float, adduct: str, modality: str) -> float:
    from acml_search.chem.adducts import neutral_mass

    try:
        return neutral_mass(precursor, adduct)
    except ConfigError as error:
        raise InvalidRecord(str(error), modality=modality) from error


def _peaks_of(modality: str, record: Any) -> PeakList | None:
    from acml_search.spectra.peaks import Peak, PeakList

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
    known = {name: record.get(name) for name in ("precursor_mz", "adduct", "ion_mode", "collision_energy")}
    return PeakList(modality, peaks, **known)


def _text(path: Path, modality: str) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(MOST_TEXT + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRecord(f"{path} cannot be read as text ({error})", modality=modality) from error
    if len(text) > MOST_TEXT:
        raise InvalidRecord(
            f"{path} has more than {MOST_TEXT:,} characters; give the line with the shifts", modality=modality
        )
    return text


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
