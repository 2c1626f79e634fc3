"""Adducts: the mass of the molecule from the m/z of a precursor ion, and back.

The notation is that of MassBank and GNPS: `[nM±X±Y...]z±`, X a formula or a name below with a count before
it, z the number of charges: `[M+H]+`, `[M-2H2O+H]+`, `[2M+FA-H]-`, `[M+2H]2+`. Also read: several signs for
several charges (`[M+2H]++`), the sign first (`[M+2H]+2`), a radical's dot or star (`[M]+.`, `[M]+*`,
`[M]•+`), no brackets (`M+H`; the charge is then what H, Na, Cl and the like carry; `M+.`),
and `[Cat]+` for the cation itself.

The molecule is what the library holds: a neutral molecule, or for `[M]+` and `[M]-` the ion itself, whose
exact mass is that of its atoms.
"""

from __future__ import annotations

import math
import re
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

# groups under names that are no formulas
_GROUPS = {
    "ACN": "C2H3N",
    "MeCN": "C2H3N",
    "MeOH": "CH4O",
    "EtOH": "C2H6O",
    "IsoProp": "C3H8O",
    "iPrOH": "C3H8O",
    "DMSO": "C2H6OS",
    "FA": "CH2O2",
    "HFA": "CH2O2",
    "formate": "CHO2",
    "HAc": "C2H4O2",
    "Hac": "C2H4O2",
    "AcOH": "C2H4O2",
    "acetate": "C2H3O2",
    "OAc": "C2H3O2",
    "TFA": "C2HF3O2",
    "Hex": "C6H10O5",
    "e": "",
}
# charges of groups, for adducts without a sign
_CHARGES = {
    **dict.fromkeys(("H", "Na", "K", "NH4", "Li", "Ag", "Cs", "Rb"), 1),
    **dict.fromkeys(("Cl", "Br", "I", "HCOO", "HCO2", "formate", "CH3COO", "acetate", "OAc"), -1),
    **dict.fromkeys(("Ca", "Mg", "Fe", "Cu", "Zn"), 2),
    "e": -1,
}
_SIGNS = str.maketrans({**dict.fromkeys("−–—‐‑﹣－⁻", "-"), **dict.fromkeys("＋⁺", "+")})
_BARE_ION = re.compile(r"(\d*M)[.*•·]?([+-])[.*•·]?$", re.ASCII)
_ISOTOPES = frozenset({"13C", "15N", "17O", "18O", "33S", "34S", "37Cl", "81Br"})
_BRACKETS = re.compile(r"\[([^\[\]]+)\][.*•·]?(\d*)([+-]+)(\d*)[.*•·]?$", re.ASCII)
_BODY = re.compile(r"(\d*)M((?:[+-]\d*[A-Za-z][A-Za-z0-9]*)*)$", re.ASCII)
_PART = re.compile(r"([+-])(\d*)([A-Za-z][A-Za-z0-9]*)", re.ASCII)
_ATOM = re.compile(r"([A-Z][a-z]?)(\d*)", re.ASCII)


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


@cache
def parse_adduct(adduct: str) -> Adduct:
    """Raises ConfigError, listing the usual adducts, for a text that is none."""
    text = "".join(str(adduct).split()).translate(_SIGNS).replace("[Cat]", "[M]")
    if bare := _BARE_ION.match(text):
        text = f"[{bare[1]}]{bare[2]}"
    if not text or len(text) > MAX_CHARACTERS:
        raise _unknown(adduct, "it is empty" if not text else "it is too long")
    found = _BRACKETS.match(text)
    body = _BODY.match(found[1] if found else text)
    if body is None:
        raise _unknown(adduct, "it is not of the form [M+X-Y]charge")
    molecules = int(body[1] or 1)
    parts = _PART.findall(body[2])
    if labels := [count + name for _, count, name in parts if count + name in _ISOTOPES]:
        raise _unknown(adduct, f"{labels[0]} is an isotope, and the library holds the most common ones")
    groups = [(int(sign + (count or "1")), name) for sign, count, name in parts]
    if found:
        charge = _stated_charge(found, adduct)
    else:
        charge = sum(count * _CHARGES.get(name, 0) for count, name in groups)
        if not charge:
            raise _unknown(adduct, "it states no charge")
    if not 1 <= molecules <= MAX_PER_ION or not 1 <= abs(charge) <= MAX_PER_ION:
        raise _unknown(adduct, f"one ion holds 1 to {MAX_PER_ION} molecules and as many charges")
    if any(abs(count) > MAX_COUNT for count, _ in groups):
        raise _unknown(adduct, f"a count is beyond {MAX_COUNT:,}")
    return Adduct(molecules, math.fsum(count * _mass(name, adduct) for count, name in groups), charge)


def _stated_charge(found: re.Match[str], adduct: str) -> int:
    before, signs, after = found[2], found[3], found[4]
    if len(set(signs)) > 1 or sum((bool(before), bool(after), len(signs) > 1)) > 1:
        raise _unknown(adduct, "its charge is contradictory")
    size = int(before or after or len(signs))
    return size if signs[0] == "+" else -size


def _mass(name: str, adduct: str) -> float:
    """Mass in Da of the atoms of a named group or a formula, of the most common isotopes."""
    formula = _GROUPS.get(name, name)
    atoms = _ATOM.findall(formula)
    complete = "".join(symbol + count for symbol, count in atoms) == formula
    if not complete or any(symbol not in ELEMENTS for symbol, _ in atoms):
        raise _unknown(adduct, f"{name!r} is neither a formula nor a known group")
    mass_of = Chem.GetPeriodicTable().GetMostCommonIsotopeMass
    return sum((mass_of(symbol) * int(count or 1) for symbol, count in atoms), 0.0)


def _unknown(adduct: str, why: str) -> ConfigError:
    some = ", ".join([*USUAL_ADDUCTS["+"][:6], *USUAL_ADDUCTS["-"][:4], "[2M+H]+", "[M+2H]2+"])
    return ConfigError(
        f"the adduct {shorten(str(adduct), 40)!r} is not understood: {why}; write one like {some}"
    )
