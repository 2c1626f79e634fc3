"""Adducts: their notation, the masses they stand for, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdkit import Chem
from rdkit.Chem.Descriptors import ExactMolWt

from acml_search.chem.adducts import USUAL_ADDUCTS, neutral_mass, parse_adduct, precursor_mz
from acml_search.chem.masses import ELECTRON
from acml_search.core.errors import ConfigError

CAFFEINE = 194.08037557
GLUCOSE = 180.06338810

# m/z of ions of caffeine and glucose as HMDB and PubChem list them, to four decimals.
KNOWN = [
    (CAFFEINE, "[M+H]+", 195.0877),
    (CAFFEINE, "[M+Na]+", 217.0696),
    (CAFFEINE, "[M+K]+", 233.0435),
    (CAFFEINE, "[M+NH4]+", 212.1142),
    (CAFFEINE, "[M-H]-", 193.0731),
    (CAFFEINE, "[M+Cl]-", 229.0498),
    (CAFFEINE, "[M+2H]2+", 98.0475),
    (CAFFEINE, "[2M+H]+", 389.1680),
    (CAFFEINE, "[2M+Na]+", 411.1500),
    (CAFFEINE, "[M+ACN+H]+", 236.1142),
    (CAFFEINE, "[M]+.", 194.0798),
    (GLUCOSE, "[M-H2O+H]+", 163.0601),
    (GLUCOSE, "[M+HCOO]-", 225.0616),
    (GLUCOSE, "[M+FA-H]-", 225.0616),
    (GLUCOSE, "[M+CH3COO]-", 239.0772),
    (GLUCOSE, "[M-2H]2-", 89.0244),
    (GLUCOSE, "[2M-H]-", 359.1195),
]


@pytest.mark.parametrize(("mass", "adduct", "mz"), KNOWN)
def test_known_ions(mass: float, adduct: str, mz: float) -> None:
    assert precursor_mz(mass, adduct) == pytest.approx(mz, abs=6e-5)
    assert neutral_mass(mz, adduct) == pytest.approx(mass, abs=6e-5 * 3)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("[M+H]+", "M+H"),
        ("[M+H]+", " [M + H]+ "),
        ("[M+H]+", "[M+H]1+"),
        ("[M-H]-", "M-H"),
        ("[M-H]-", "[M−H]⁻"),
        ("[M+2H]2+", "[M+2H]++"),
        ("[M+2H]2+", "[M+2H]+2"),
        ("[M+2H]2+", "M+2H"),
        ("[M]+.", "[M]+*"),
        ("[M]+.", "[M]•+"),
        ("[M]+.", "[M]+"),
        ("[M]+.", "[M-e]+"),
        ("[M-H2O+H]+", "[M+H-H2O]+"),
        ("[M-2H2O+H]+", "[M+H-H2O-H2O]+"),
        ("[M+HCOO]-", "[M-H+HCOOH]-"),
        ("[M+HCOO]-", "[M+HCO2]-"),
        ("[M+HCOO]-", "[M+H2CO2-H]-"),
        ("[M+CH3COO]-", "[M+CH3COOH-H]-"),
        ("[M+CH3OH+H]+", "[M+MeOH+H]+"),
        ("[M+Na-2H]-", "[M-2H+Na]-"),
    ],
)
def test_ways_to_write_the_same(one: str, other: str) -> None:
    assert parse_adduct(other) == pytest.approx(parse_adduct(one), abs=1e-9)


@pytest.mark.parametrize("text", ["C[N+](C)(C)CCO", "[O-]C(=O)c1ccccc1"])
def test_an_ion_as_it_is_has_the_mass_of_its_atoms(text: str) -> None:
    sign = "+" if "+" in text else "-"
    atoms = ExactMolWt(Chem.MolFromSmiles(text))
    measured = atoms - ELECTRON if sign == "+" else atoms + ELECTRON
    assert neutral_mass(measured, f"[M]{sign}") == pytest.approx(atoms, abs=1e-6)


@given(mass=st.floats(100, 2000), adduct=st.sampled_from([*USUAL_ADDUCTS["+"], *USUAL_ADDUCTS["-"]]))
def test_there_and_back(mass: float, adduct: str) -> None:
    assert neutral_mass(precursor_mz(mass, adduct), adduct) == pytest.approx(mass, rel=1e-12)


@given(
    molecules=st.integers(1, 4),
    gained=st.sampled_from(["H", "Na", "K", "NH4"]),
    count=st.integers(1, 3),
    lost=st.sampled_from(["", "-H2O", "-NH3", "-2CO2", "-C6H10O5"]),
)
def test_any_ion_of_the_grammar_weighs_what_its_atoms_weigh(
    molecules: int, gained: str, count: int, lost: str
) -> None:
    weights = {"H": 1.0078250319, "Na": 22.98976967, "K": 38.9637069, "NH4": 18.034374128}
    losses = {"": 0, "-H2O": 18.010564686, "-NH3": 17.026549101, "-2CO2": 87.979658, "-C6H10O5": 162.0528234}
    adduct = f"[{molecules if molecules > 1 else ''}M+{count}{gained}{lost}]{count}+"
    total = molecules * 500.0 + count * weights[gained] - losses[lost] - count * ELECTRON
    assert precursor_mz(500.0, adduct) == pytest.approx(total / count, abs=2e-6)


@pytest.mark.parametrize(("mode", "sign"), [("+", 1), ("-", -1)])
def test_the_USUAL_ADDUCTS_are_understood_and_of_their_mode(mode: str, sign: int) -> None:
    names = USUAL_ADDUCTS[mode]
    assert len(set(names)) == len(names)
    assert all(parse_adduct(name).charge * sign > 0 for name in names)


@pytest.mark.parametrize(
    "adduct",
    [
        "",
        "   ",
        "M",
        "[M+H]",
        "[M+H]+-",
        "[M+H]2++",
        "[M+H]0+",
        "[0M+H]+",
        "[11M+H]+",
        "[M+H]11+",
        "[M+Xx]+",
        "[M+h]+",
        "[M+QOO]+",
        "[M+]+",
        "[M+H+",
        "M+H]+",
        "[H]+",
        "protonated",
        "[M+99999H]+",
        "[M" + "+H" * 100 + "]+",
        "M+H2O",
        "M+Na-H",
        "[M+H]²⁺",
    ],
)
def test_what_is_not_understood_is_said_with_the_usual_ones(adduct: str) -> None:
    with pytest.raises(ConfigError, match=r"is not understood: .*; write one like \[M\+H\]\+, \[M\+Na\]\+"):
        neutral_mass(300.0, adduct)


@given(st.text(max_size=30) | st.text("[]M+-H2NaCl(). ", max_size=20))
def test_any_text_is_an_adduct_or_an_error(text: str) -> None:
    try:
        ion = parse_adduct(text)
    except ConfigError:
        return
    assert 1 <= abs(ion.charge) <= 10


@pytest.mark.parametrize("value", [0.0, -5.0, float("nan"), float("inf")])
def test_a_mass_that_is_none(value: float) -> None:
    with pytest.raises(ConfigError, match="above zero"):
        neutral_mass(value, "[M+H]+")
    with pytest.raises(ConfigError, match="above zero"):
        precursor_mz(value, "[M+H]+")


def test_an_ion_lighter_than_its_parts() -> None:
    with pytest.raises(ConfigError, match="too light to be"):
        neutral_mass(20.0, "[M+Na]+")
    with pytest.raises(ConfigError, match="too light for"):
        precursor_mz(10.0, "[M-H2O+H]+")
