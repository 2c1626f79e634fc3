"""Positional isomers: of the same formula, each constitution once."""

import pytest
from rdkit import Chem
from rdkit.Chem.rdMolDescriptors import CalcMolFormula

from acml_search.chem.isomers import positional_isomers
from acml_search.chem.molecule import parse


@pytest.mark.parametrize(
    ("smiles", "expected"),
    [
        ("CCO", set()),
        ("Cc1ccccc1O", {"Cc1ccc(O)cc1", "Cc1cccc(O)c1"}),
        ("Cc1cc[nH]c1", {"Cc1ccc[nH]1", "Cn1cccc1"}),
        # configuration is left open, and a stereocentre's own hydrogen counted right
        ("C[C@@H]1CCCC[C@H]1O", {"CC1CCC[C@@H](O)C1", "CC1CCC(O)CC1", "CC1(O)CCCCC1"}),
        ("Oc1cccc2ccccc12", {"Oc1ccc2ccccc2c1"}),
    ],
)
def test_one_substituent_sits_elsewhere(smiles: str, expected: set[str]) -> None:
    found, n = positional_isomers(parse(smiles)[0])
    assert {Chem.MolToSmiles(one) for one in found} == expected
    assert n == len(found)


@pytest.mark.parametrize(
    "smiles", ["Cn1cnc2c1c(=O)n(C)c(=O)n2C", "CC(C)Cc1ccc(cc1)[C@@H](C)C(=O)O", "Fc1ncccc1Cl"]
)
def test_every_isomer_has_the_formula_and_another_constitution(smiles: str) -> None:
    mol = parse(smiles)[0]
    found, n = positional_isomers(mol)
    flat = {Chem.MolToSmiles(one, isomericSmiles=False) for one in found}
    assert len(flat) == n > 0
    assert Chem.MolToSmiles(mol, isomericSmiles=False) not in flat
    assert {CalcMolFormula(one) for one in found} == {CalcMolFormula(mol)}


def test_their_number_is_bounded_and_said() -> None:
    found, n = positional_isomers(parse("Cc1c(F)c(Cl)c(Br)c(O)c1N")[0], 5)
    assert (len(found), n) == (5, 12)
