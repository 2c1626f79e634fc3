"""Headers of mass spectra: what the fields of any program say of the ion, and which kind of spectrum it is.

Names are compared without case, spaces and punctuation: NIST, MoNA, MassBank, MS-DIAL, RIKEN, GNPS,
MassSpecGym, MZmine, SIRIUS and matchms write the same few fields in their own ways. Side fields that make
no sense are passed over; a contradiction about the ion is kept in `about["contradiction"]`, for the user to
solve.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from acml_search.chem.adducts import parse_adduct, write_adduct
from acml_search.chem.peaks import Peak, PeakList
from acml_search.core.errors import ConfigError
from acml_search.ms.io.base import OtherKind, Unreadable

_NAMES = {
    "precursor_mz": ("precursormz", "pepmass", "parentmz", "selectedionmz", "precursor", "precursormass"),
    "adduct": (
        *("precursortype", "adduct", "adducttype", "adductionname", "iontype", "ion", "precursoriontype"),
        *("precursoradduct", "iontypename"),
    ),
    "ion_mode": (
        *("ionmode", "ionizationmode", "ionisationmode", "polarity", "ionpolarity", "ionpol", "scanpolarity"),
        *("mode", "chargemode"),
    ),
    "charge": ("charge", "precursorcharge", "chargestate"),
    "collision_energy": ("collisionenergy", "ce", "collisionenergyvoltage", "colenergy"),
    "level": ("mslevel", "spectrumtype", "mstype", "msstage", "stage", "level", "msn", "scantype"),
    "ionization": (
        *("ionization", "ionisation", "ionizationmethod", "ionisationmethod", "ionizationtype", "ionsource"),
        *("ionizationmode", "ionisationmode", "instrumenttype", "sourceinstrument", "instrument"),
        *("spectrumtype", "mstype", "ionmode"),
    ),
    "ionization_energy": ("ionizationenergy", "ionisationenergy", "electronenergy", "electronbeamenergy"),
}
_ABSENT = {"", "n/a", "na", "none", "null", "nan", "unknown", "-", "?"}
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?", re.I | re.ASCII)
_DECIMAL_COMMA = re.compile(r"\d+,\d+$", re.ASCII)
_CHARGE = re.compile(r"([+-]?)(\d{1,2})(?:\.0+)?([+-]?)$", re.ASCII)
_LEVEL = re.compile(r"^(?:ms|msn)?[\s_^-]*([1-9])(?:\.0)?$|\bms\^?([1-9])\b", re.ASCII)
_TANDEM = re.compile(r"ms\s*[/-]\s*ms|msms|tandem|product")
_SOFT = {
    *("esi", "hesi", "nanoesi", "nsi", "electrospray", "apci", "appi", "maldi", "ldi", "fab", "dart", "desi"),
    *("ci", "fd", "fi"),
}
_FEW = 3
"""peaks; fewer say nothing of the resolution"""

Found = tuple[str, str]
"""a field: its name and its text as the source writes them"""


class Header:
    """The fields of one spectrum by our names."""

    def __init__(self, about: Mapping[str, Any], shown: Callable[[str], str] = str) -> None:
        self._stated: dict[str, Found] = {}
        for name, value in about.items():
            text = str(value).strip().partition("\n")[0].strip()  # the first, where a field stands twice
            plain = plain_name(name)
            if text.casefold() not in _ABSENT or (text == "-" and plain in _NAMES["ion_mode"]):
                self._stated.setdefault(plain, (shown(name), text))

    def all(self, field: str) -> list[Found]:
        return [self._stated[name] for name in _NAMES[field] if name in self._stated]

    def first(self, field: str) -> Found | None:
        return next(iter(self.all(field)), None)

    def text(self, field: str) -> str | None:
        found = self.first(field)
        return None if found is None else found[1]


def measured(
    modality: str, peaks: tuple[Peak, ...], about: dict[str, Any], shown: Callable[[str], str] = str
) -> PeakList:
    """A mass spectrum with the header `about`, to which `ion` adds. shown: makes a field's name the file's.

    Raises OtherKind for a spectrum of another kind than `modality` ("lc_ms", "gc_ms"), and Unreadable for a
    precursor that is not a number of zero or more; zero stands for none.
    """
    header = Header(about, shown)
    precursor, energy = _precursor(header.text("precursor_mz")), header.text("collision_energy")
    modes = [found for found in header.all("ion_mode") if ion_mode(found[1])]
    adduct, mode = ion(about, header.first("adduct"), next(iter(modes), None), header.first("charge"))
    if precursor is None or modality == "gc_ms":  # which no charge turns into a mass
        about.pop("unsigned_charge", None)
        adduct = None if about.pop("adduct_from", None) else adduct
    check_kind(modality, header, peaks, precursor, adduct, energy)
    return PeakList(
        modality,
        peaks,
        precursor_mz=precursor,
        adduct=adduct,
        ion_mode=mode,
        collision_energy=energy,
        about=about,
    )


# ---- the ion


def ion(
    about: dict[str, Any], adduct: Found | None, mode: Found | None, charge: Found | None
) -> tuple[str | None, str | None]:
    """The adduct in brackets and with its sign, and the mode, "+" or "-".

    An adduct that is not understood comes back as it is. Where there is none, the charge, as so many protons
    on or off, stands for it, and `about["adduct_from"]` says so; a charge of unknown sign goes into
    `about["unsigned_charge"]`. A contradiction of signs goes into `about["contradiction"]`; neither adduct
    nor mode is known then.
    """
    stated = ion_mode(mode[1]) if mode else None
    size, sign = _charge(charge[1]) if charge else (0, None)
    written, own = _adduct(adduct[1], stated or sign) if adduct else (None, None)
    signs = [(found, of) for found, of in ((adduct, own), (mode, stated), (charge, sign)) if found and of]
    # that of the charge is no third opinion where adduct and mode agree: some programs write 1 for all ions
    if len({of for _, of in signs[:2]}) > 1:
        about["contradiction"] = " and ".join(f"{name}={text[:40]}" for (name, text), _ in signs[:2])
        return None, None
    mode_sign = stated or sign or (own if written is None else None)
    if written is None and size and mode_sign is None:
        about["unsigned_charge"] = size
    if written is not None or not size or mode_sign is None:
        return written, mode_sign
    many = "" if size == 1 else str(size)
    assert charge is not None
    by_mode = f" and {mode[0]}={mode[1]}" if mode and not sign else ""
    about["adduct_from"] = f"{charge[0]}={charge[1]}{by_mode}"
    return f"[M{mode_sign}{many}H]{many}{mode_sign}", mode_sign


def ion_mode(text: str | None) -> str | None:
    """ "+" or "-", however it is written: "P", "positive", "ESI+", "1-"; None for anything else."""
    if text is None:
        return None
    small = text.strip().casefold()
    if small in ("p", "n"):
        return "+" if small == "p" else "-"
    if "pos" in small or "neg" in small:
        return "+" if "pos" in small else "-"
    return small[-1] if small[-1:] in ("+", "-") else small[0] if small[:1] in ("+", "-") else None


def _adduct(text: str, mode: str | None) -> tuple[str | None, str | None]:
    """An adduct in our notation, and its sign; GNPS writes "M+H]+" too, SIRIUS "[M + ?]+" for unknown."""
    text = "".join(text.split())
    if "]" in text and not text.startswith("["):
        text = f"[{text}"
    for sign in (mode, None):  # without one, an adduct says which it is, and may contradict the mode
        try:
            return write_adduct(text, sign), "+" if parse_adduct(text, sign).charge > 0 else "-"
        except ConfigError:
            continue
    return (None, ion_mode(text)) if "?" in text else (text, None)


def _charge(text: str) -> tuple[int, str | None]:
    """How many charges (0 where none can be known) and their sign; SIRIUS writes "-1-"."""
    found = _CHARGE.match("".join(text.split()))
    if found is None or (found[1] and found[3] and found[1] != found[3]):
        return 0, None
    size = int(found[2])
    return (size, found[1] or found[3] or None) if 1 <= size <= 9 else (0, None)


def _precursor(text: str | None) -> float | None:
    """The first m/z of a precursor field; some sources write several, some a comma as the decimal point."""
    if text is None:
        return None
    if _DECIMAL_COMMA.match(text):
        text = text.replace(",", ".")
    number = _NUMBER.match(text.lstrip("([ "))
    value = float(number.group()) if number else math.nan
    if not (math.isfinite(value) and value >= 0):
        raise Unreadable(f"its precursor m/z is {text[:40]!r}, not a number of zero or more; correct it")
    return value or None


# ---- the kind of spectrum


def check_kind(
    modality: str,
    header: Header,
    peaks: Sequence[Peak],
    precursor: float | None,
    adduct: str | None,
    energy: str | None,
) -> None:
    """Raises OtherKind where the header, or failing that the peaks, tell that this is no MS/MS spectrum
    (lc_ms), or no EI spectrum (gc_ms)."""
    level, said = _level(header)
    method, by = _ionization(header)
    whole = len(peaks) >= _FEW and all(float(peak.position).is_integer() for peak in peaks)
    if modality == "lc_ms":
        if level not in (None, 2):
            raise OtherKind(f"it is an MS{level} spectrum ({said}), and lc_ms takes MS2; give MS/MS spectra")
        if method == "EI":
            raise OtherKind(f"it is an EI spectrum ({by}), and lc_ms takes MS/MS; give it to --gc-ms")
        if whole and not any((level, method, precursor, adduct, energy)):
            raise OtherKind(
                "it states no precursor and its m/z are whole numbers, as those of 70-eV EI spectra; give it "
                "to --gc-ms, or state its precursor"
            )
    else:
        reason = None
        if level is not None and level > 1:
            reason = f"an MS{level} spectrum ({said})"
        elif method == "soft":
            reason = f"an electrospray or another soft-ionisation spectrum ({by})"
        elif method is None and adduct is not None and not _is_molecular(adduct):
            reason = f"a spectrum of the ion {adduct}"
        elif method is None and adduct is None and precursor is not None and not whole:
            reason = f"an MS/MS spectrum of m/z {precursor:g}"
        if reason:
            raise OtherKind(f"it is {reason}, and gc_ms takes EI spectra; give it to --lc-ms")


def _level(header: Header) -> tuple[int | None, str]:
    """The stage of mass spectrometry, and the field that states it."""
    for name, text in header.all("level"):
        small = text.casefold().strip()
        found = _LEVEL.search(small)
        level = int(found[1] or found[2]) if found else 2 if _TANDEM.search(small) else None
        if level is None and small in ("ms", "full", "full ms", "full scan"):
            level = 1
        if level is not None:
            return level, f"{name}={text}"
    return None, ""


def _ionization(header: Header) -> tuple[str | None, str]:
    """ "EI", "soft" or None, and the field that tells it."""
    for name, text in header.all("ionization"):
        small = text.casefold()
        words = set(re.findall(r"[a-z]+", small))
        soft, hard = words & _SOFT, "ei" in words or re.search(r"electron[ -]?(?:ioni|impact)", small)
        if bool(soft) != bool(hard):
            return "soft" if soft else "EI", f"{name}={text[:60]}"
    for name, text in header.all("ionization_energy"):
        number = _NUMBER.match(text)
        if number and 60 <= float(number.group()) <= 80:
            return "EI", f"{name}={text[:60]}"
    return None, ""


def _is_molecular(adduct: str) -> bool:
    try:
        return parse_adduct(adduct) == (1, 0.0, 1)
    except ConfigError:
        return False


def plain_name(name: str) -> str:
    """A name for comparison: letters and digits alone, lower case."""
    return re.sub(r"[\W_]+", "", name).casefold()
