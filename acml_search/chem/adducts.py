"""Adducts: the mass of the molecule from the m/z of a precursor ion, and back.

The notation is that of MassBank and GNPS: `[nM±X±Y...]z±`, X a formula or a name below with a count before
it, z the number of charges: `[M+H]+`, `[M-2H2O+H]+`, `[2M+FA-H]-`, `[M+2H]2+`. Also read: several signs for
several charges (`[M+2H]++`), the sign first (`[M+2H]+2`), a radical's dot or star (`[M]+.`, `[M]+*`,
`[M]•+`), round brackets, no brackets (`M+H`, `M+H+`, `MH+`, `M+.`), no sign (`[M+H]`; the charge is then what
H, Na, Cl and the like carry, or that of the ion mode), and `[Cat]+` for the cation itself.

Acids under a name are what programs mean by them: `[M+FA]-`, `[M+FA-H]-` and `[M+formate]-` are one ion, that
with HCOO, while `[M+FA+H]+` holds the whole acid.

The molecule is what the library holds: a neutral molecule, or for `[M]+` and `[M]-` the ion itself, whose
exact mass is that of its atoms.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import NamedTuple

from rdkit import Chem

from acml_search.chem.formula import ELEMENTS
from acml_search.chem.masses import ELECTRON
from acml_search.core.errors import ConfigError, shorten

MAX_PER_ION = 10
"""molecules, and charges, of one ion"""
MAX_COUNT = 1_000
"""of one added or lost group"""
MAX_CHARACTERS = 80
USUAL_ADDUCTS = {
    "+": """
        [M+H]+ [M+Na]+ [M+NH4]+ [M+K]+ [M]+ [M-H2O+H]+ [M-2H2O+H]+ [M+Li]+ [M+ACN+H]+ [M+CH3OH+H]+
        [M+2Na-H]+ [2M+H]+ [2M+Na]+ [2M+NH4]+ [M+2H]2+ [M+H+Na]2+ [M+3H]3+
    """.split(),  # noqa: SIM905
    "-": """
        [M-H]- [M+HCOO]- [M+CH3COO]- [M+Cl]- [M+Br]- [M]- [M-H2O-H]- [M+TFA-H]- [M+Na-2H]- [2M-H]-
        [2M+HCOO]- [M-2H]2- [M-3H]3-
    """.split(),  # noqa: SIM905
}
LIKELY_ADDUCTS = {
    "+": {
        "[M+H]+": 0.0, "[M+Na]+": -4.2, "[M+NH4]+": -6.2, "[M+K]+": -8.5, "[M]+": -3.2, "[M-H2O+H]+": -5.6,
        "[2M+H]+": -10.8, "[M+2H]2+": -7.2,
    },
    "-": {
        "[M-H]-": 0.0, "[M+HCOO]-": -3.2, "[M+CH3COO]-": -3.2, "[M+Cl]-": -7.2, "[M]-": -7.6,
        "[2M-H]-": -10.0, "[M-2H]2-": -6.7,
    },
}  # fmt: skip
"""By ion mode, what a precursor without an adduct is taken for: 99 of 100 LC-MS/MS records of MassBank. With
their log odds against the first: natural logarithms of how many spectra of MassBank 2025.05.1 that training
saw state each (of 53,329 positive and 25,147 negative ones), one added."""

# groups under names that are no formulas; names are compared without case where nothing fits as it is written
_GROUPS = {
    "ACN": "C2H3N",
    "AcN": "C2H3N",
    "MeCN": "C2H3N",
    "MeOH": "CH4O",
    "EtOH": "C2H6O",
    "IsoProp": "C3H8O",
    "iPrOH": "C3H8O",
    "IPA": "C3H8O",
    "DMSO": "C2H6OS",
    "NaAc": "C2H3O2Na",
    "NaOAc": "C2H3O2Na",
    "NaTFA": "C2F3O2Na",
    "TEA": "C6H15N",
    "Hex": "C6H10O5",
    "e": "",
}
# acids and what is left of them without a proton: as many keep theirs as the charge of the ion allows
_ACIDS = {
    **dict.fromkeys(("FA", "HFA", "Form", "formate", "HCOOH", "CH2O2", "H2CO2"), "CH2O2"),
    **dict.fromkeys(("Ac", "HAc", "Hac", "AcOH", "HOAc", "OAc", "Oac", "acetate", "CH3COOH"), "C2H4O2"),
    **dict.fromkeys(("TFA", "TFAc", "trifluoroacetate", "CF3COOH"), "C2HF3O2"),
}
# charges of groups, for adducts without a sign
_CHARGES = {
    **dict.fromkeys(("H", "Na", "K", "NH4", "Li", "Ag", "Cs", "Rb"), 1),
    **dict.fromkeys(("Cl", "Br", "I", "F", "HCOO", "HCO2", "CHO2", "CH3COO", "CH3CO2", "C2H3O2"), -1),
    **dict.fromkeys(("formate", "acetate", "OAc", "Oac", "trifluoroacetate", "CF3COO", "CF3CO2"), -1),
    **dict.fromkeys(("Ca", "Mg", "Fe", "Cu", "Zn"), 2),
    "e": -1,
}
_SIGNS = str.maketrans(
    {**dict.fromkeys("−–—‐‑﹣－⁻", "-"), **dict.fromkeys("＋⁺", "+"), **dict.fromkeys(".*•·", ".")}
)
_ROUND = re.compile(r"\((\d*M[^()]*)\)([.\d+-]*)$", re.ASCII)
_GROUP_IN_ROUND = re.compile(r"([+-]\d*)\(([A-Za-z0-9]+)\)(?!\d)", re.ASCII)
_BARE_ION = re.compile(r"(\d*M)\.?([+-])\.?$", re.ASCII)
_BARE_SIGNED = re.compile(r"(\d*M(?:[+-]\d*[A-Za-z][A-Za-z0-9]*)+)([+-])$", re.ASCII)
_ISOTOPES = frozenset({"13C", "15N", "17O", "18O", "33S", "34S", "37Cl", "81Br"})
_BRACKETS = re.compile(r"\[([^\[\]]+)\]\.?(\d*)([+-]+)(\d*)\.?$", re.ASCII)
_UNSIGNED = re.compile(r"\[([^\[\]]+)\]$", re.ASCII)
_BODY = re.compile(r"(\d*)M((?:[+-]\d*[A-Za-z][A-Za-z0-9]*)*)$", re.ASCII)
_PART = re.compile(r"([+-])(\d*)([A-Za-z][A-Za-z0-9]*)", re.ASCII)
_ATOM = re.compile(r"([A-Z][a-z]?)(\d*)", re.ASCII)
_HEAVIEST = 83
"""atomic number; what comes after bismuth is in no adduct, and Ac is acetate"""


class Adduct(NamedTuple):
    """What an adduct says of an ion."""

    molecules: int
    """in the ion"""
    added: float
    """Da, of whole atoms, to all molecules together; below zero for a loss"""
    charge: int
    """in elementary charges, with its sign"""


def neutral_mass(precursor_mz: float, adduct: str) -> float:
    """Exact mass of the molecule in Da from the m/z of its ion in Th.

    Raises ConfigError for an adduct that is not understood, an m/z that is not a positive number, or an ion
    that is lighter than what was added.
    """
    ion = parse_adduct(adduct)
    if not math.isfinite(precursor_mz) or precursor_mz <= 0:
        raise ConfigError(f"the precursor m/z is {precursor_mz}; give a number above zero")
    mass = (precursor_mz * abs(ion.charge) + ion.charge * ELECTRON - ion.added) / ion.molecules
    if mass <= 0:
        raise ConfigError(
            f"an ion of m/z {precursor_mz:g} is too light to be {adduct}; check the m/z and the adduct"
        )
    return mass


def precursor_mz(neutral_mass: float, adduct: str) -> float:
    """The m/z in Th of an ion of a molecule of this exact mass in Da; the inverse of `neutral_mass`.

    Raises ConfigError for an adduct that is not understood, a mass that is not a positive number, or one that
    is lighter than what the adduct loses.
    """
    ion = parse_adduct(adduct)
    if not math.isfinite(neutral_mass) or neutral_mass <= 0:
        raise ConfigError(f"the neutral mass is {neutral_mass}; give a number of Da above zero")
    mz = (ion.molecules * neutral_mass + ion.added - ion.charge * ELECTRON) / abs(ion.charge)
    if mz <= 0:
        raise ConfigError(f"a molecule of {neutral_mass:g} Da is too light for {adduct}; check both")
    return mz


def likely_masses(precursor_mz: float, adducts: Iterable[str]) -> dict[str, float]:
    """Neutral masses in Da of an ion of this m/z (Th), by adduct, unless too light. Raises ConfigError."""
    masses = {}
    for adduct in adducts:
        parse_adduct(adduct)
        try:
            masses[adduct] = neutral_mass(precursor_mz, adduct)
        except ConfigError:
            if not precursor_mz > 0:
                raise
    return masses


def log_odds(mass: float, masses: Mapping[str, float]) -> float:
    """Log odds of the ion that a molecule of this mass in Da makes of a precursor, whose neutral masses by
    adduct are `masses`; 0 for ions that are not among the likely ones."""
    nearest = min(masses, key=lambda adduct: abs(masses[adduct] - mass))
    return {**LIKELY_ADDUCTS["+"], **LIKELY_ADDUCTS["-"]}.get(nearest, 0.0)


def parse_adduct(adduct: str, mode: str | None = None) -> Adduct:
    """`mode`: "+" or "-", the sign of an adduct that states none and whose groups carry no charge.

    Raises ConfigError, listing the usual adducts, for a text that is none.
    """
    return _parsed(str(adduct), mode)[1]


def write_adduct(adduct: str, mode: str | None = None) -> str:
    """As "[M+H]+", also "M+H", "[M+H]1+" and "(M+H)+". Raises ConfigError as `parse_adduct` does."""
    body, ion = _parsed(str(adduct), mode)
    size = abs(ion.charge)
    return f"[{body}]{size if size > 1 else ''}{'+' if ion.charge > 0 else '-'}"


@cache
def _parsed(adduct: str, mode: str | None) -> tuple[str, Adduct]:
    """What stands in the brackets, and what it says."""
    body, charge = _split(adduct)
    found = _BODY.match(body)
    if found is None:
        raise _unknown(adduct, "it is not of the form [M+X-Y]charge")
    molecules = int(found[1] or 1)
    parts = _PART.findall(found[2])
    if labels := [count + name for _, count, name in parts if count + name in _ISOTOPES]:
        raise _unknown(adduct, f"{labels[0]} is an isotope, and the library holds the most common ones")
    groups = [(int(sign + (count or "1")), name) for sign, count, name in parts]
    if charge is None:
        charge = _charge_of(groups, mode, adduct)
    if not 1 <= molecules <= MAX_PER_ION or not 1 <= abs(charge) <= MAX_PER_ION:
        raise _unknown(adduct, f"one ion holds 1 to {MAX_PER_ION} molecules and as many charges")
    if any(abs(count) > MAX_COUNT for count, _ in groups):
        raise _unknown(adduct, f"a count is beyond {MAX_COUNT:,}")
    added = math.fsum(count * _mass(name, adduct) for count, name in groups)
    return body, Adduct(molecules, added - _mass("H", adduct) * _protons_lost(groups, charge, adduct), charge)


def _split(adduct: str) -> tuple[str, int | None]:
    """The body of an adduct, "M+H", and its charge, None where it states none."""
    text = "".join(adduct.split()).translate(_SIGNS).replace("[Cat]", "[M]").replace("Cat+", "M+")
    if not text or len(text) > MAX_CHARACTERS:
        raise _unknown(adduct, "it is empty" if not text else "it is too long")
    text = _GROUP_IN_ROUND.sub(r"\1\2", _ROUND.sub(r"[\1]\2", text))
    text = re.sub(r"^\[?(\d*M)H\]?\+$", r"[\1+H]+", text)
    if bare := _BARE_ION.match(text) or _BARE_SIGNED.match(text):
        text = f"[{bare[1]}]{bare[2]}"
    if unsigned := _UNSIGNED.match(text):
        return unsigned[1].removesuffix("."), None
    found = _BRACKETS.match(text)
    return (text, None) if found is None else (found[1].removesuffix("."), _stated_charge(found, adduct))


def _stated_charge(found: re.Match[str], adduct: str) -> int:
    before, signs, after = found[2], found[3], found[4]
    if len(set(signs)) > 1 or sum((bool(before), bool(after), len(signs) > 1)) > 1:
        raise _unknown(adduct, "its charge is contradictory")
    size = int(before or after or len(signs))
    return size if signs[0] == "+" else -size


def _charge_of(groups: list[tuple[int, str]], mode: str | None, adduct: str) -> int:
    """The charge of an adduct that states none: that of its groups, or one of the ion mode's sign."""
    charges = [count * _CHARGES[name] for count, name in groups if name in _CHARGES]
    charge = sum(charges)
    if not charges and mode is not None:
        return 1 if mode == "+" else -1
    if not charge:
        raise _unknown(adduct, "it states no charge")
    if mode is not None and (charge > 0) != (mode == "+"):
        stated = "positive" if mode == "+" else "negative"
        raise _unknown(adduct, f"it states no charge, and its groups contradict the {stated} mode")
    return charge


def _protons_lost(groups: list[tuple[int, str]], charge: int, adduct: str) -> int:
    """How many of the added acids have lost their proton, for the charge to be what it is."""
    acids = sum(count for count, name in groups if count > 0 and _name(name, _ACIDS))
    if not acids:
        return 0
    if charge > 0 and any(_name(name, _ACIDS) == "Ac" for _, name in groups):
        raise _unknown(adduct, "Ac is acetate in negative ions; write a formula")
    others = sum(count * _CHARGES.get(name, 0) for count, name in groups if not _name(name, _ACIDS))
    return min(max(others - charge, 0), acids)


def _name(name: str, names: Mapping[str, str]) -> str | None:
    """`name` as `names` has it, whatever its case where it is no formula; None where it has not."""
    if name in names:
        return name
    if _is_formula(name) or len(name) < 3:
        return None
    return next((known for known in names if known.casefold() == name.casefold()), None)


@cache
def _is_formula(text: str) -> bool:
    atoms = _ATOM.findall(text)
    table = Chem.GetPeriodicTable()
    return "".join(symbol + count for symbol, count in atoms) == text and all(
        symbol in ELEMENTS and table.GetAtomicNumber(symbol) <= _HEAVIEST for symbol, _ in atoms
    )


def _mass(name: str, adduct: str) -> float:
    """Mass in Da of the atoms of a named group or a formula, of the most common isotopes."""
    names = {**_GROUPS, **_ACIDS}
    known = _name(name, names)
    formula = name if known is None else names[known]
    if not _is_formula(formula):
        raise _unknown(adduct, f"{name!r} is neither a formula nor a known group")
    mass_of = Chem.GetPeriodicTable().GetMostCommonIsotopeMass
    return sum((mass_of(symbol) * int(count or 1) for symbol, count in _ATOM.findall(formula)), 0.0)


def _unknown(adduct: str, why: str) -> ConfigError:
    some = ", ".join([*USUAL_ADDUCTS["+"][:6], *USUAL_ADDUCTS["-"][:4], "[2M+H]+", "[M+2H]2+"])
    return ConfigError(
        f"the adduct {shorten(str(adduct), 40)!r} is not understood: {why}; write one like {some}"
    )
