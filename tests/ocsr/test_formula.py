"""Group labels by the grammar of condensed formulas."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem
from rdkit.Chem import rdMolDescriptors

from acml_search.ocsr.abbreviations import ABBREVIATIONS, DEFINITIONS, GROUPS
from acml_search.ocsr.formula import Side, reading


def canonical(smiles: str) -> str:
    mol = Chem.MolFromSmiles(smiles)
    assert mol is not None, smiles
    return str(Chem.MolToSmiles(mol))


@pytest.mark.parametrize(
    ("text", "side", "expected"),
    [
        ("OCF3", "left", "*OC(F)(F)F"), ("OCH3", "left", "*OC"), ("H3CO", "right", "*OC"),
        ("CH2CH3", "left", "*CC"), ("H3CH2C", "right", "*CC"), ("SO2NH2", "left", "*S(N)(=O)=O"),
        ("CO2Me", "left", "*C(=O)OC"), ("MeO2C", "right", "*C(=O)OC"), ("COCH3", "left", "*C(C)=O"),
        ("N(CH2CH3)2", "left", "*N(CC)CC"), ("(CH3CH2)2N", "right", "*N(CC)CC"),
        ("(H5C2)2N", "right", "*N(CC)CC"), ("NHBoc", "left", "*NC(=O)OC(C)(C)C"),
        ("BocHN", "right", "*NC(=O)OC(C)(C)C"), ("N3", "left", "*N=[N+]=[N-]"),
        ("PMB", "left", "*Cc1ccc(OC)cc1"), ("C3H7", "left", "*CCC"), ("H7C3", "right", "*CCC"),
        ("n-C5H11", "left", "*CCCCC"), ("t-Bu", "left", "*C(C)(C)C"), ("i-PrO", "right", "*OC(C)C"),
        ("(CH2)3OH", "left", "*CCCO"), ("D", "left", "*[2H]"), ("CD3", "left", "*C([2H])([2H])[2H]"),
        ("13CH3", "left", "*[13CH3]"), ("18F", "left", "*[18F]"), ("SOCH3", "left", "*S(C)=O"),
        ("SCH3", "left", "*SC"), ("NCO", "left", "*N=C=O"), ("NC", "right", "*C#N"), ("CHO", "left", "*C=O"),
        ("SiMe3", "left", "*[Si](C)(C)C"), ("SiPr", "left", "*SC(C)C"),
        ("CF2CF3", "left", "*C(F)(F)C(F)(F)F"),
        ("OCF2H", "left", "*OC(F)F"), ("NMe3+", "left", "*[N+](C)(C)C"), ("COO-", "left", "*C(=O)[O-]"),
        ("-OOC", "right", "*C(=O)[O-]"), ("SO3-", "left", "*S(=O)(=O)[O-]"), ("CH3CONH", "right", "*NC(C)=O"),
        ("C18H37HNOC", "right", "*C(=O)NCCCCCCCCCCCCCCCCCC"), ("P(O)(OEt)2", "left", "*P(=O)(OCC)OCC"),
        ("CH2CH(NH2)CO2H", "left", "*CC(N)C(=O)O"), ("ONO2", "left", "*O[N+](=O)[O-]"),
    ],
)  # fmt: skip
def test_labels_are_read_from_the_end_that_they_are_bonded_at(text: str, side: Side, expected: str) -> None:
    assert canonical(reading(text, side)) == canonical(expected)


@pytest.mark.parametrize(
    ("text", "orders", "expected"),
    [
        ("CH2CH2", (1, 1), "[*:1]CC[*:2]"), ("CONH", (1, 1), "[*:1]C(=O)N[*:2]"),
        ("NBoc", (1, 1), "CC(C)(C)OC(=O)N([*:1])[*:2]"),
        ("PMBN", (1, 1), "COc1ccc(CN([*:1])[*:2])cc1"), ("SO2", (1, 1), "[*:1]S(=O)(=O)[*:2]"),
        ("OCH2", (1, 1), "[*:1]OC[*:2]"), ("CH2-O-CH2", (1, 1), "[*:1]COC[*:2]"),
        ("OCH", (1, 2), "[*:1]OC=[*:2]"), ("NOMe", (2,), "*=NOC"),
        ("HCl", (), "Cl"), ("2HCl", (), "Cl.Cl"), ("H2O", (), "O"), ("BF4-", (), "F[B-](F)(F)F"),
    ],
)  # fmt: skip
def test_bonds_say_what_letters_leave_open(text: str, orders: tuple[int, ...], expected: str) -> None:
    assert canonical(reading(text, orders=orders)) == canonical(expected)


@pytest.mark.parametrize(
    "text", ["R1", "OQ", "CH4", "CH3CH3", "OSH3", "(CH2", "CH2)", "()", "C6H4", "", "5B", "x" * 61]
)
def test_letters_that_are_no_group_have_no_structure(text: str) -> None:
    assert reading(text) == ""


def test_the_detector_s_labels_mean_what_their_letters_say() -> None:
    # NMe and NCF3 leave a valence open, an isocyanide breaks one.
    for one in DEFINITIONS:
        if one.label not in ("NMe", "NCF3", "NC"):
            text = re.sub("<[^>]*>", "", one.displayLabel)
            assert canonical(reading(text)) == canonical(GROUPS[one.label]), one.label
            if one.displayLabelW:
                left = re.sub("<[^>]*>", "", one.displayLabelW)
                assert canonical(reading(left, "right")) == canonical(GROUPS[one.label]), left


@st.composite
def formulas(draw: st.DrawFn) -> str:
    """A chain of links, each with all its hydrogens, and an end."""
    links = st.sampled_from(
        ["CH2", "CO", "O", "NH", "SO2", "CF2", "CH(CH3)", "C(CH3)2", "(CH2)3", "NMe", "CH(OH)", "C2H4"]
    )
    ends = st.sampled_from(
        [
            "CH3",
            "OH",
            "NH2",
            "CF3",
            "CO2H",
            "CO2Me",
            "N(CH2CH3)2",
            "C4H9",
            "Cl",
            "Br",
            "CN",
            "Ph",
            "OBoc",
            "N3",
        ]
    )
    return "".join(draw(st.lists(links, max_size=4))) + draw(ends)


def counted(text: str) -> Counter[str]:
    """Elements in letters, an independent count."""
    total: Counter[str] = Counter()
    stack: list[Counter[str]] = []
    # Without those that start a label: SO2N3 has no O2N.
    names = sorted({*ABBREVIATIONS} - {"O2N", "HO3S", "H2O3P", "F5S"}, key=len, reverse=True)
    at = 0
    while at < len(text):
        name = next((one for one in names if text.startswith(one, at)), None)
        token = re.compile(r"Cl|Br|Si|[A-Z]|\(|\)").match(text, at)
        end = at + len(name) if name else token.end() if token else at + 1
        number = re.compile(r"\d*").match(text, end)
        n = int(number[0] or 1) if number else 1
        if name:
            part = formula_of(ABBREVIATIONS[name])
        elif text[at] == "(":
            stack.append(total)
            total, at = Counter(), at + 1
            continue
        elif text[at] == ")":
            part, total = total, stack.pop()
        else:
            part = Counter({token[0]: 1} if token else {})
        total.update({element: k * n for element, k in part.items()})
        at = number.end() if number else end
    return total


def formula_of(smiles: str) -> Counter[str]:
    found = rdMolDescriptors.CalcMolFormula(Chem.MolFromSmiles(smiles))
    pairs = re.findall(r"([A-Z][a-z]?)(\d*)", found.replace("*", ""))
    return Counter({element: int(n or 1) for element, n in pairs})


@settings(max_examples=150, deadline=None)
@given(formulas())
def test_a_fragment_has_the_elements_of_its_letters(text: str) -> None:
    found = reading(text)
    assert formula_of(found) == counted(text)
    assert found.count("*") == 1


@settings(max_examples=150, deadline=None)
@given(st.text("CHONSPFBrlMeEt()0123456789+-[]*", max_size=14), st.sampled_from([(), (1,), (2,), (1, 1)]))
def test_any_letters_are_a_structure_or_none(text: str, orders: tuple[int, ...]) -> None:
    found = reading(text, "right", orders)
    assert not found or canonical(found).count("*") == len(orders)
