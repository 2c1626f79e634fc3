"""Filters as values: what is accepted, and what the catalogue is asked."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem
from rdkit.Chem.rdMolDescriptors import CalcMolFormula

from acml_search.core.errors import FilterError
from acml_search.library.catalog import Catalog
from acml_search.library.tables import COUNTS, MOLECULES, counted, write_parquet
from acml_search.search.request import Filters


class Asked:
    """A catalogue that remembers the question and answers with `keys`."""

    def __init__(self, *keys: int) -> None:
        self.answer = np.array(keys, np.int64)
        self.question: dict[str, Any] | None = None

    def keys(self, **question: Any) -> np.ndarray:
        self.question = question
        return self.answer

    def count(self) -> int:
        return 12_345


def test_no_condition_asks_nothing() -> None:
    catalog = Asked(1)
    assert Filters().keys(catalog) is None
    assert catalog.question is None
    assert not Filters()


def test_conditions_reach_the_catalogue_in_its_own_terms() -> None:
    catalog = Asked(1, 5)
    keys = Filters(where="a > 1", formula="O4H8C9", mass=200.0, tol_ppm=50).keys(catalog)
    assert keys is not None
    assert keys.tolist() == [1, 5]
    assert catalog.question == {
        "where": "a > 1",
        "formula": "C9H8O4",
        "mass": 200.0,
        "tol_da": pytest.approx(0.01),
    }


@given(mass=st.floats(1, 5000), ppm=st.none() | st.floats(0, 1000))
def test_ppm_is_relative_to_the_mass_and_ten_unless_told(mass: float, ppm: float | None) -> None:
    catalog = Asked(1)
    for tolerance, width in (
        ({"tol_ppm": ppm}, mass * (10 if ppm is None else ppm) / 1e6),
        ({"tol_da": 0.5}, 0.5),
    ):
        Filters(mass=mass, **tolerance).keys(catalog)
        assert catalog.question["tol_da"] == pytest.approx(width)


def test_nothing_passing_is_said_with_the_filter_and_the_count() -> None:
    with pytest.raises(FilterError, match=r"none of the 12,345 .* formula C6H6 and mass 78\.04695 ± 10 ppm"):
        Filters(formula="C6H6", mass=78.04695).keys(Asked())


@pytest.mark.parametrize(
    ("conditions", "says"),
    [
        ({"where": "  "}, "empty"),
        ({"formula": "Xx"}, "no element"),
        ({"where": 5}, "give text"),
        ({"formula": 5}, "give text"),
        ({"mass": "46"}, "a number of Da"),
        ({"mass": 100.0, "tol_ppm": "5"}, "a number of ppm"),
        ({"mass": 0.0}, "more than zero"),
        ({"mass": -5.0}, "more than zero"),
        ({"mass": math.nan}, "more than zero"),
        ({"mass": math.inf}, "more than zero"),
        ({"mass": 100.0, "tol_ppm": -1.0}, "zero or more"),
        ({"mass": 100.0, "tol_da": math.nan}, "zero or more"),
        ({"mass": 100.0, "tol_da": 0.1, "tol_ppm": 10.0}, "give one"),
        ({"tol_ppm": 10.0}, "without a mass"),
        ({"tol_da": 0.1}, "without a mass"),
        ({"elements_allowed": " , "}, "elements allowed is empty"),
        ({"elements_required": ""}, "elements required is empty"),
        ({"elements_allowed": "C,H,Xx"}, "'Xx' among the elements allowed is no element"),
        ({"elements_required": "br"}, "'br' among the elements required is no element"),
        ({"elements_allowed": "CHNO"}, "'CHNO' .* with commas"),
        ({"elements_allowed": 5}, "give text"),
        ({"elements_allowed": "C,H", "elements_required": "C,Br"}, "Br is required, but .* are C,H"),
        ({"hydrogens": "many"}, "the number of hydrogens is 'many'; give a number or a range, as in 18"),
        ({"carbons": -1}, "the number of carbons is '-1'"),
        ({"carbons": 1.5}, "the number of carbons is '1.5'"),
        ({"hydrogens": "24-18"}, "24-18 ends before it begins; write 18-24"),
    ],
)
def test_what_makes_no_sense_is_refused(conditions: dict[str, Any], says: str) -> None:
    with pytest.raises(FilterError, match=says):
        Filters(**conditions)


def test_to_dict_says_what_is_applied() -> None:
    assert Filters(formula="H6C6", mass=78.0).to_dict() == {"formula": "C6H6", "mass": 78.0, "tol_ppm": 10.0}


STRUCTURES = [
    "C", "[H][H]", "O", "CC(=O)Oc1ccccc1C(=O)O", "Clc1ccccc1", "BrCCBr", "CN(C)C=O", "[Co]", "C[Si](C)(C)C",
    "OB(O)c1ccccc1", "[Na+]", "C[N+](C)(C)C", "CC([O-])=O", "FC(F)(F)C#N", "CS(=O)(=O)Cl", "[Hg]", "C[Hg]Cl",
    "O=[Os](=O)(=O)=O", "I", "IC", "[In]", "[Cd]Cl", "CP(C)C", "[Pb]", "ClC(Cl)Cl", "NC(Cc1ccc(Br)cc1)C(=O)O",
    "[Ca+2]", "[O-]S(=O)(=O)[O-]", "C[Se]C", "[Sc]", "N#N", "[He]", "[Ni]", "OO", "[2H]C([2H])([2H])O",
]  # fmt: skip
MOLS = [Chem.AddHs(Chem.MolFromSmiles(text)) for text in STRUCTURES]
HAS = [{atom.GetSymbol() for atom in mol.GetAtoms()} for mol in MOLS]
SYMBOLS = sorted(set.union(*HAS) | {"Cu", "Sn", "Ne", "Li"})


@pytest.fixture(scope="module", params=["now", "before 0.2"])
def catalog(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    """With columns of counts, and without."""
    path = tmp_path_factory.mktemp("molecules") / "part-00000.parquet"
    columns: dict[str, list[Any]] = {
        "key": list(range(len(MOLS))),
        "smiles": STRUCTURES,
        "inchikey": STRUCTURES,
        "formula": [CalcMolFormula(mol) for mol in MOLS],
        "exact_mass": [100.0 + n for n in range(len(MOLS))],
        "source_row": list(range(len(MOLS))),
        "removed": [None] * len(MOLS),
    }
    table = pa.table({name: pa.array(columns[name], MOLECULES.field(name).type) for name in columns})
    write_parquet(counted(table) if request.param == "now" else table, path)
    with Catalog([path]) as opened:
        yield opened


def found(catalog: Catalog, **conditions: Any) -> list[int]:
    try:
        keys = Filters(**conditions).keys(catalog)
    except FilterError as error:
        assert "none of the" in str(error)  # noqa: PT017
        return []
    assert keys is not None
    return list(keys.tolist())


@given(
    allowed=st.sets(st.sampled_from(SYMBOLS), min_size=1),
    required=st.sets(st.sampled_from(SYMBOLS), min_size=1, max_size=3),
)
@settings(deadline=None)
def test_elements_agree_with_the_atoms(catalog: Catalog, allowed: set[str], required: set[str]) -> None:
    made_of = [n for n, has in enumerate(HAS) if has <= allowed]
    contain = [n for n, has in enumerate(HAS) if required <= has]
    assert found(catalog, elements_allowed=",".join(allowed)) == made_of
    assert found(catalog, elements_required=" ".join(required)) == contain
    together = {"elements_allowed": ",".join(allowed | required), "elements_required": ",".join(required)}
    assert found(catalog, **together) == [n for n in contain if HAS[n] <= allowed | required]


def test_elements_hold_with_the_other_filters(catalog: Catalog) -> None:
    chlorine = found(catalog, elements_required="Cl")
    assert [STRUCTURES[n] for n in chlorine] == [
        "Clc1ccccc1",
        "CS(=O)(=O)Cl",
        "C[Hg]Cl",
        "[Cd]Cl",
        "ClC(Cl)Cl",
    ]
    assert found(catalog, elements_required="Cl", where="smiles LIKE 'Cl%'") == [chlorine[0], chlorine[4]]
    assert found(catalog, elements_required="Cl", mass=100.0 + chlorine[2]) == [chlorine[2]]
    assert found(catalog, elements_required="Cl", formula="CHCl3") == [chlorine[4]]
    assert found(catalog, elements_allowed="C,H,Cl", where="TRUE) OR (TRUE".replace(") OR (", " AND ")) == [
        n for n, has in enumerate(HAS) if has <= {"C", "H", "Cl"}
    ]


def test_elements_are_said_in_hill_order() -> None:
    filters = Filters(elements_allowed="O, N;H C C", elements_required="N")
    assert filters
    assert filters.to_dict() == {"elements_allowed": "C,H,N,O", "elements_required": "N"}
    assert str(filters) == "elements of C,H,N,O only and elements N present"
    catalog = Asked(3)
    assert filters.keys(catalog) is not None
    assert catalog.question is not None
    assert catalog.question["elements_allowed"] == ["C", "H", "N", "O"]
    assert catalog.question["elements_required"] == ["N"]


@given(
    st.sampled_from(["H", "C"]),
    st.one_of(st.integers(0, 12), st.tuples(st.integers(0, 4), st.integers(4, 12))),
)
@settings(deadline=None)
def test_numbers_of_atoms_agree_with_the_molecules(
    catalog: Catalog, symbol: str, count: int | tuple[int, int]
) -> None:
    low, high = (count, count) if isinstance(count, int) else count
    numbers = [sum(atom.GetSymbol() == symbol for atom in mol.GetAtoms()) for mol in MOLS]
    name = {"H": "hydrogens", "C": "carbons"}[symbol]
    wanted = [n for n, number in enumerate(numbers) if low <= number <= high]
    assert found(catalog, **{name: count}) == wanted
    assert found(catalog, **{name: f"{low}:{high}"}) == wanted


def test_numbers_of_atoms_are_said_as_they_are_applied() -> None:
    filters = Filters(hydrogens=" 18 – 24 ", carbons=7)
    assert filters.to_dict() == {"hydrogens": (18, 24), "carbons": (7, 7)}
    assert Filters(**filters.to_dict()) == filters
    assert str(filters) == "18-24 hydrogens and 7 carbons"


def test_counts_are_columns_that_hits_do_not_show(catalog: Catalog) -> None:
    assert not set(COUNTS.names) & set(catalog.shown())
    if not catalog.has_counts:
        return
    aspirin = STRUCTURES.index("CC(=O)Oc1ccccc1C(=O)O")
    assert found(catalog, where="carbon_environments = 9 AND exchangeable = 1") == [aspirin]
    assert catalog.numbers("hydrogens")[aspirin] == 8


def test_a_catalogue_takes_symbols_only(catalog: Catalog) -> None:
    for text in (".*", "C|.", "c", "CCl", ""):
        with pytest.raises(FilterError, match="no symbol of an element"):
            catalog.keys(elements_required=[text])
