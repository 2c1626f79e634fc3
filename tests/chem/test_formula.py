"""Formulas as people type them, with RDKit's own as the oracle."""

import re
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdkit import Chem
from rdkit.Chem.rdMolDescriptors import CalcMolFormula

from acml_search.chem.formula import ELEMENTS, hill
from acml_search.core.errors import FilterError

SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
SUPERSCRIPTS = str.maketrans("0123456789+-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻")

atoms = st.dictionaries(
    st.sampled_from([*"CHNOS", *sorted(ELEMENTS)]), st.integers(1, 99), min_size=1, max_size=8
)
charges = st.integers(-4, 4)


def rdkit_formula(counts: dict[str, int], charge: int) -> str:
    """RDKit's formula of a heap of atoms without bonds."""
    mol = Chem.RWMol()
    for symbol, n in counts.items():
        for _ in range(n):
            atom = Chem.Atom(symbol)
            atom.SetNoImplicit(True)
            mol.AddAtom(atom)
    mol.GetAtomWithIdx(0).SetFormalCharge(charge)
    return CalcMolFormula(mol)


def written(counts: dict[str, int], order: list[str]) -> str:
    return "".join(symbol + (str(counts[symbol]) if counts[symbol] > 1 else "") for symbol in order)


@given(counts=atoms, charge=charges, seed=st.integers())
def test_any_order_becomes_rdkits_formula(counts: dict[str, int], charge: int, seed: int) -> None:
    order = list(counts)
    Random(seed).shuffle(order)
    sign = "" if charge == 0 else f"{charge:+d}" if abs(charge) > 1 else "+" if charge > 0 else "-"
    assert hill(written(counts, order) + sign) == rdkit_formula(counts, charge)


@given(counts=atoms, charge=charges)
def test_hill_is_idempotent(counts: dict[str, int], charge: int) -> None:
    once = rdkit_formula(counts, charge)
    assert hill(once) == once


@given(counts=atoms, charge=charges.filter(bool))
def test_sub_and_superscripts(counts: dict[str, int], charge: int) -> None:
    printed = written(counts, list(counts)).translate(SUBSCRIPTS)
    size = str(abs(charge)) if abs(charge) > 1 else ""
    sign = "+" if charge > 0 else "-"
    expected = rdkit_formula(counts, charge)
    assert hill(printed + (size + sign).translate(SUPERSCRIPTS)) == expected
    assert hill(printed + (sign + size).translate(SUPERSCRIPTS)) == expected
    assert hill(f"[{printed}]{size}{sign}") == expected
    assert hill(f"{printed}^{size}{sign}") == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("H6C6", "C6H6"),
        (" C₆H₆ ", "C6H6"),
        ("ClH", "HCl"),
        ("OH2", "H2O"),
        ("D2O", "H2O"),
        ("Ca(OH)2", "H2CaO2"),
        ("(CH3)3C(CH2)2OH", "C6H14O"),
        ("((C2H5)2N)3P", "C12H30N3P"),
        ("C6H5O−", "C6H5O-"),
        ("C5H14NO+", "C5H14NO+"),
        ("C5H14NO⁺", "C5H14NO+"),
        ("SO4−2", "O4S-2"),
        ("SO₄²⁻", "O4S-2"),
        ("[Ca]++", "Ca+2"),
        ("Ca2+", "Ca2+"),  # as RDKit writes it: two calcium, one charge
        ("CO", "CO"),
        ("Co", "Co"),
    ],
)
def test_examples(given: str, expected: str) -> None:
    assert hill(given) == expected


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("c6h6", "capital letter"),
        ("C6H6.HCl", "largest fragment"),
        ("CuSO4·5H2O", "largest fragment"),
        ("Xx2", "'Xx', which is no element"),
        ("C0", "count 0"),
        ("C1000000", "count 1000000"),
        ("2C", "no element before it"),
        ("C6)", "not opened"),
        ("(C6", "not closed"),
        ("()", "no atoms"),
        ("+", "no atoms"),
        ("C+-", "charge"),
        ("C++2", "charge"),
        ("[13C]H4", "square brackets"),
        ("C²H4", "'²'"),
        ("C٣", "'٣'"),
        ("C" * 300, "more than 200"),
        ("CC(=O)O", "'='"),
    ],
)
def test_what_is_no_formula_is_named(given: str, says: str) -> None:
    with pytest.raises(FilterError, match=re.escape(says)):
        hill(given)


@given(st.text(alphabet=st.characters() | st.sampled_from("CHNOclr()[]^+-₂²·0123456789 "), max_size=30))
def test_any_text_is_a_formula_or_a_clear_error(text: str) -> None:
    try:
        formula = hill(text)
    except FilterError:
        return
    assert hill(formula) == formula
