"""What the sources say of a mass spectrum, each in its own words, brought to the fields of a peak list."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, TypedDict

from acml_search.ms.io.base import Unreadable

# Names without case, spaces and punctuation, as NIST, MoNA, MassBank, MS-DIAL, GNPS and MassSpecGym write.
_NAMES = {
    "precursor_mz": ("precursormz", "pepmass", "parentmz", "selectedionmz"),
    "adduct": ("precursortype", "adduct", "adducttype", "adductionname", "iontype", "ion"),
    "ion_mode": ("ionmode", "ionizationmode", "ionisationmode", "polarity"),
    "collision_energy": ("collisionenergy", "ce", "collisionenergyvoltage"),
}
_ABSENT = {"", "n/a", "na", "none", "null", "nan", "unknown", "-", "?"}
_BARE = {
    **{name: f"[{name}]+" for name in ("M+H", "M+Na", "M+K", "M+NH4", "M-H2O+H", "M+H-H2O", "2M+H", "2M+Na")},
    **{name: f"[{name}]-" for name in ("M-H", "M+Cl", "M+HCOO", "M+FA-H", "M+CH3COO", "2M-H")},
    "M+2H": "[M+2H]2+",
    "M-2H": "[M-2H]2-",
}
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?", re.I | re.ASCII)


class Fields(TypedDict, total=False):
    """Fields of `PeakList` that a header tells."""

    precursor_mz: float | None
    adduct: str | None
    ion_mode: str | None
    collision_energy: str | None


def fields(about: Mapping[str, Any]) -> Fields:
    """Precursor (Th), adduct, mode ("+", "-") and collision energy of a header.

    Raises Unreadable for a precursor that is not a number of zero or more; zero stands for none.
    """
    said: dict[str, str] = {}
    for name, value in about.items():
        text = str(value).strip()
        if text.casefold() not in _ABSENT or (text == "-" and plain(name) in _NAMES["ion_mode"]):
            said.setdefault(plain(name), text)
    found = {
        field: next((said[name] for name in names if name in said), None) for field, names in _NAMES.items()
    }
    return Fields(
        precursor_mz=precursor(found["precursor_mz"]),
        adduct=_adduct(found["adduct"]),
        ion_mode=mode(found["ion_mode"]),
        collision_energy=found["collision_energy"],
    )


def protonated(charge: int, sign: str, about: dict[str, Any], named: str) -> Fields:
    """The adduct of an ion of which `named` states nothing but the charge: that many protons on or off.

    It is an assumption, so `about` is told where it comes from. Nothing for a charge that no ion has.
    """
    if not 1 <= charge <= 9:
        return Fields()
    many = "" if charge == 1 else str(charge)
    about["adduct_from"] = f"{named}={charge}{sign}"
    return Fields(adduct=f"[M{sign}{many}H]{many}{sign}")


def plain(name: str) -> str:
    """A name as it is compared: letters and digits only, small."""
    return re.sub(r"[\W_]+", "", name).casefold()


def precursor(text: str | None) -> float | None:
    """The m/z of a precursor, of which some sources write several: the first counts."""
    if text is None:
        return None
    number = _NUMBER.match(text.lstrip("([ "))
    value = float(number.group()) if number else math.nan
    if not (math.isfinite(value) and value >= 0):
        raise Unreadable(f"its precursor m/z is {text[:40]!r}, not a number of zero or more; correct it")
    return value or None


def mode(text: str | None) -> str | None:
    """ "+" or "-", however it is written: "P", "positive", "ESI+", "1-"; None for anything else."""
    if text is None:
        return None
    small = text.strip().casefold()
    if small in ("p", "n"):
        return "+" if small == "p" else "-"
    if "pos" in small or "neg" in small:
        return "+" if "pos" in small else "-"
    return small[-1] if small[-1:] in ("+", "-") else small[0] if small[:1] in ("+", "-") else None


def _adduct(text: str | None) -> str | None:
    """The adduct in brackets and with its sign: GNPS writes "M+H" and "M+H]+", others "[M+H]1+"."""
    if text is None:
        return None
    text = "".join(text.split())
    if text in _BARE:
        return _BARE[text]
    if "]" in text and not text.startswith("["):
        text = f"[{text}"
    return re.sub(r"\]1([+-])$", r"]\1", text)
