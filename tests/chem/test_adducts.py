"""Adducts: their notation, the masses they stand for, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdkit import Chem
from rdkit.Chem.Descriptors import ExactMolWt

from acml_search.chem.adducts import (
    LIKELY_ADDUCTS,
    USUAL_ADDUCTS,
    likely_masses,
    neutral_mass,
    parse_adduct,
    precursor_mz,
    write_adduct,
)
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


# What is added to M / z, in Th: two published tables, as facts.
# Huang, Siegel, Kruppa and Laukien, J. Am. Soc. Mass Spectrom. 1999, 10, 1166, kept by the Fiehn laboratory.
# Its misprints are left out: M+H+2Na (15.7662 for 15.6619), M-H2O-H and M+IsoProp+H (an electron off) and
# M+IsoProp+Na+H (which carries two charges).
HUANG = {
    "M+3H": 1.007276, "M+2H+Na": 8.334590, "M+3Na": 22.989218, "M+2H": 1.007276, "M+H+NH4": 9.520550,
    "M+H+Na": 11.998247, "M+H+K": 19.985217, "M+ACN+2H": 21.520550, "M+2Na": 22.989218,
    "M+2ACN+2H": 42.033823, "M+3ACN+2H": 62.547097, "M+H": 1.007276, "M+NH4": 18.033823, "M+Na": 22.989218,
    "M+CH3OH+H": 33.033489, "M+K": 38.963158, "M+ACN+H": 42.033823, "M+2Na-H": 44.971160,
    "M+ACN+Na": 64.015765, "M+2K-H": 76.919040, "M+DMSO+H": 79.021220,
    "M+2ACN+H": 83.060370, "2M+H": 1.007276, "2M+NH4": 18.033823, "2M+Na": 22.989218, "2M+K": 38.963158,
    "2M+ACN+H": 42.033823, "2M+ACN+Na": 64.015765, "M-3H": -1.007276, "M-2H": -1.007276,
    "M-H": -1.007276, "M+Na-2H": 20.974666, "M+Cl": 34.969402, "M+K-2H": 36.948606,
    "M+FA-H": 44.998201, "M+Hac-H": 59.013851, "M+Br": 78.918885, "M+TFA-H": 112.985586, "2M-H": -1.007276,
    "2M+FA-H": 44.998201, "2M+Hac-H": 59.013851, "3M-H": -1.007276,
}  # fmt: skip
# The lists of MS-DIAL and matchms where they go further, as these programs write them; of MS-DIAL's,
# [M+H-2H2O]+ (-30.01 for -35.01) and [2M+3H2O+2H]+ (which carries two charges) are left out as misprints.
PROGRAMS = {
    "[M+H]+": 1.007276, "[M+H-H2O]+": -17.003288, "[M+Li]+": 7.015455, "[M-C6H10O4+H]+": -145.050634,
    "[M-C6H10O5+H]+": -161.045549, "[M-C6H8O6+H]+": -175.024813,
    "[M+2H+Na]3+": 8.334590, "[M+HCOO]-": 44.998201, "[M+CH3COO]-": 59.013851,
    "[M+FA]-": 44.998201, "[M+Ac]-": 59.013851, "[M+TFA]-": 112.985586, "[M+OAc]-": 59.013851,
    "[M+Oac]-": 59.013851, "[M+HAc]-": 59.013851, "[M+formate]-": 44.998201, "[M+acetate]-": 59.013851,
    "[M+CH2O2-H]-": 44.998201, "[M+C2H4O2-H]-": 59.013851, "[M+C2H3N+H]+": 42.033823,
    "[M+CH3COONa-H]-": 80.995795, "[M-H-CO2]-": -44.997106, "[M+H-NH3]+": -16.019273,
    "[M+NH3+H]+": 18.033823, "[M+H-CH3NH2]+": -30.034923, "[M-e]+": -0.000549, "[M+e]-": 0.000549,
    "[M]+": -0.000549, "[M]+.": -0.000549, "[Cat]+": -0.000549, "[M+2NH4]2+": 18.033823,
}  # fmt: skip


@pytest.mark.parametrize(("adduct", "shift"), [*HUANG.items(), *PROGRAMS.items()])
def test_published_tables(adduct: str, shift: float) -> None:
    ion = parse_adduct(adduct)
    assert precursor_mz(500.0, adduct) - 500.0 * ion.molecules / abs(ion.charge) == pytest.approx(
        shift, abs=1e-5
    )
    assert parse_adduct(write_adduct(adduct)) == ion
    written = write_adduct(adduct)
    assert (written[0], written[-1]) == ("[", "+" if ion.charge > 0 else "-")


@pytest.mark.parametrize("mode", ["+", "-"])
def test_a_sign_is_that_of_the_groups_or_of_the_mode(mode: str) -> None:
    other = "-" if mode == "+" else "+"
    for text in ("[M]", "M", "[M-H2O]", "[M+ACN]"):
        assert write_adduct(text, mode).endswith(f"]{mode}")
    clear = "[M+H]" if mode == "+" else "[M-H]"
    assert write_adduct(clear) == write_adduct(clear, mode) == f"{clear}{mode}"
    with pytest.raises(ConfigError, match="its groups contradict the"):
        parse_adduct(clear, other)


@pytest.mark.parametrize("mode", ["+", "-"])
def test_the_likely_ions_of_a_mode_tell_their_masses(mode: str) -> None:
    masses = likely_masses(152.0706, LIKELY_ADDUCTS[mode])
    assert list(masses) == [name for name in LIKELY_ADDUCTS[mode] if name in masses]
    assert masses["[M+H]+" if mode == "+" else "[M-H]-"] == pytest.approx(
        152.0706 - 1.007276 * (1, -1)[mode == "-"]
    )
    assert "[M+K]+" not in likely_masses(30.0, LIKELY_ADDUCTS[mode])
    with pytest.raises(ConfigError, match="above zero"):
        likely_masses(0.0, LIKELY_ADDUCTS[mode])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("[M+H]+", "M+H"),
        ("[M+H]+", " [M + H]+ "),
        ("[M+H]+", "[M+H]1+"),
        ("[M+H]+", "[M+H]"),
        ("[M+H]+", "[M+H]+*"),
        ("[M+H]+", "M+H+"),
        ("[M+H]+", "MH+"),
        ("[M+H]+", "(M+H)+"),
        ("[M-C6H10O5+H]+", "[M-(C6H10O5)+H]+"),
        ("[M+ACN+H]+", "[M+Acn+H]+"),
        ("[M+HCOO]-", "[M+FA]-"),
        ("[M+HCOO]-", "[M+HCOOH]-"),
        ("[2M+HCOO]-", "[2M+FA-H]-"),
        ("[M+FA+H]+", "[M+CH2O2+H]+"),
        ("[M+FA+Na-2H]-", "[M+HCOONa-H]-"),
        ("[M+CH3COO]-", "[M+Ac-H]-"),
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
        "[M]",
        "[M+?]+",
        "[M+Ac+H]+",
        "[M+U]+",
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
