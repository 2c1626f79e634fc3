"""Configuration from wedges and from the places of atoms at double bonds."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw
from rdkit import Chem
from rdkit.Chem import rdDepictor

from acml_search.ocsr.assemble import Structure, assemble
from acml_search.ocsr.hypotheses import NO_DETECTIONS, TURNED, Detections, best_hypothesis
from acml_search.ocsr.labels import _merged
from acml_search.ocsr.strokes import with_strokes

DIRECTIONS = {Chem.BondDir.BEGINWEDGE: 1, Chem.BondDir.BEGINDASH: 3}


def read(smiles: str, turned: bool = False, wavy: int | None = None) -> Structure:
    """What a perfect detector sees in RDKit's drawing; turned: every bond from its other end."""
    mol = Chem.MolFromSmiles(smiles)
    Chem.Kekulize(mol, clearAromaticFlags=True)
    rdDepictor.Compute2DCoords(mol)
    Chem.WedgeMolBonds(mol, mol.GetConformer())
    bonds, wedges = [], []
    for bond in mol.GetBonds():
        wedge = 5 if bond.GetIdx() == wavy else DIRECTIONS.get(bond.GetBondDir(), 0)
        first, second = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        order = int(bond.GetBondTypeAsDouble())
        bonds.append((second, first, order) if turned else (first, second, order))
        wedges.append(TURNED[wedge] if turned else wedge)
    atoms = list(mol.GetAtoms())
    return assemble(
        ["" if atom.GetSymbol() == "C" else atom.GetSymbol() for atom in atoms],
        [0] * len(atoms),
        [atom.GetFormalCharge() for atom in atoms],
        bonds,
        mol.GetConformer().GetPositions()[:, :2] * [1, -1],
        wedges,
    )


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    "smiles",
    [
        "C[C@H](N)C(=O)O",
        "OC[C@H]1O[C@@H](O)[C@H](O)[C@@H](O)[C@@H]1O",
        "C[C@]12CC[C@H]3[C@@H](CCC4=CC(=O)CC[C@@]43C)[C@@H]1CC[C@@H]2O",
        "C/C=C/C=C\\C(=O)O",
        "C/C(=N\\O)c1ccccc1",
        "C[S@](=O)c1ccccc1",
        "C[C@H]1CC[C@@H](C)CC1",
        "[H][C@@](F)(Cl)Br",
        "C1CCC/C=C\\CCC1",
    ],
)
def test_what_is_drawn_is_read(smiles: str, turned: bool) -> None:
    found = read(smiles, turned)
    assert found.configured() == Chem.CanonSmiles(smiles)
    assert found.smiles == Chem.MolToSmiles(Chem.MolFromSmiles(smiles), isomericSmiles=False)


def test_a_wavy_bond_states_nothing_and_counter_ions_go() -> None:
    assert read("C/C=C/C", wavy=0).configured() == "CC=CC"
    assert read("C[C@H](N)C(=O)O.[Cl-].[Na+]").standardised(configured=True) == "C[C@H](N)C(=O)O"


def test_a_hydrogen_and_a_group_of_letters_have_places() -> None:
    xy = np.array([[0, 0], [0, 16], [-14, -8], [14, -8]], np.float32)
    bonds = [(0, 1, 1), (0, 2, 1), (0, 3, 1)]
    found = [
        assemble(["", "H", "OMe", "Cl"], [0] * 4, [0] * 4, bonds, xy, [wedge, 0, 0]).configured()
        for wedge in (0, 1, 3)
    ]
    assert found[0] == "COCCl"
    found = [
        assemble(["", "F", "OMe", "Cl"], [0] * 4, [0] * 4, bonds, xy, [wedge, 0, 0]).configured()
        for wedge in (0, 1, 3)
    ]
    assert found == ["COC(F)Cl", "CO[C@H](F)Cl", "CO[C@@H](F)Cl"]


def test_wedges_follow_their_bonds() -> None:
    """Bonds are put in order from left to right, and points of one label become one."""
    pairs = np.array([[1, 2], [0, 1], [0, 3]])
    wedges = np.log(np.full((3, 6), 0.01))
    wedges[[0, 1, 2], [3, 1, 0]] = 0
    orders = np.tile(np.log([0.02, 0.9, 0.02, 0.02, 0.02, 0.02]), (3, 1)).astype(np.float32)
    found = Detections(
        np.array([[16, 0], [0, 0], [-14, 8], [20, 0]], np.float32),
        np.array([0.9, 0.9, 0.9, 0.8], np.float32),
        np.zeros((4, 1), np.float32),
        np.zeros((4, 5), np.float32),
        np.zeros((4, 5), np.float32),
        pairs,
        orders,
        ("",),
        wedges=wedges,
    )
    read = best_hypothesis(found)
    assert [(a, b, wedge) for (a, b, _), wedge in zip(read.bonds, read.wedges, strict=True)] == [
        (1, 2, 3),
        (0, 1, 1),
        (0, 3, 0),
    ]
    assert not any(best_hypothesis(found._replace(wedges=None)).wedges)
    moved = found._replace(probability=np.array([0.8, 0.9, 0.9, 0.9], np.float32))
    merged, at = _merged(moved, np.array([True, False, False, True]))
    assert at == 2
    assert merged.wedges is not None
    ((row,),) = np.nonzero((merged.pairs == [0, 2]).all(axis=1))
    assert merged.wedges[row].argmax() == 2  # the pair was turned round


@pytest.mark.parametrize(
    ("boxes", "seen", "double", "drawn"),
    [
        ([(20, 20, 52, 20)], {0: 0.2, 1: 0.8}, 0.2, 0),
        ([(20, 20, 52, 20)], {0: 0.3, 4: 0.7}, 0.2, 0),
        ([(x, 20 - x // 12, x, 20 + x // 12) for x in range(20, 53)], {0: 0.8, 1: 0.1, 2: 0.1}, 0.2, 1),
        ([(x, 20, x + 3, 20) for x in range(20, 52, 7)], {0: 0.9, 4: 0.1}, 0.2, 4),
        ([(20, 18, 52, 22)], {0: 0.1, 2: 0.1, 5: 0.8}, 0.8, 2),
        ([(20, 20, 52, 20), (22, 24, 50, 24)], {0: 0.1, 5: 0.9}, 0.2, 0),
    ],
    ids=["line", "no dashes", "wedge", "dashes", "bar", "two lines"],
)
def test_ink_says_what_a_line_is(
    boxes: list[tuple[int, int, int, int]], seen: dict[int, float], double: float, drawn: int
) -> None:
    picture = Image.new("L", (120, 80), 0)
    for box in (*boxes, (20, 50, 52, 50), (20, 60, 52, 60)):  # the last ones are usual lines
        ImageDraw.Draw(picture).rectangle(box, fill=255)
    n = 1e-6
    wedges, orders = np.full((3, 6), n), np.full((3, 6), n)
    wedges[0, list(seen)], wedges[1:, 0] = list(seen.values()), 1.0
    orders[0, 1:3], orders[1:, 1] = (1 - double, double), 1.0
    found = NO_DETECTIONS._replace(
        xy=np.array([[x, y] for y in (20, 50, 60) for x in (20, 52)], np.float32) / 2 + 8,
        probability=np.ones(6, np.float32),
        symbols=np.log(np.eye(6, NO_DETECTIONS.symbols.shape[1])[[0] * 6] + n),
        hydrogens=np.zeros((6, 5)),
        charges=np.log(np.eye(5)[[2] * 6] + n),
        pairs=np.arange(6).reshape(3, 2),
        orders=np.log(orders),
        wedges=np.log(wedges),
    )
    read = best_hypothesis(with_strokes(found, np.asarray(picture), 2, 8))
    assert list(read.wedges) == [drawn, 0, 0]
    assert sorted(order for _, _, order in read.bonds) == [1, 1, 2 if len(boxes) == 2 else 1]


@pytest.mark.parametrize("inked", [True, False])
def test_two_bonds_side_by_side_are_single_and_a_bond_has_ink(inked: bool) -> None:
    ends = np.array([[20, 60], [60, 60], [76, 92], [96, 80], [60, 20]])
    pairs = np.array([[0, 1], [1, 2], [1, 3], [1, 4]])
    picture = Image.new("L", (120, 120), 0)
    for pair in pairs[: 4 if inked else 3]:
        ImageDraw.Draw(picture).line(ends[pair].ravel().tolist(), fill=255, width=2)
    found = NO_DETECTIONS._replace(
        xy=(ends / 2 + 8).astype(np.float32),
        probability=np.ones(5, np.float32),
        symbols=np.log(np.eye(5, NO_DETECTIONS.symbols.shape[1])[[0] * 5] + 1e-6),
        hydrogens=np.zeros((5, 5)),
        charges=np.log(np.eye(5)[[2] * 5] + 1e-6),
        pairs=pairs,
        orders=np.log(np.eye(6)[[1, 2, 2, 1]] + 1e-2),
        wedges=np.log(np.eye(6)[[0] * 4] + 1e-6),
    )
    read = best_hypothesis(with_strokes(found, np.asarray(picture), 2, 8))
    seen = [(0, 1, 1), (1, 2, 1), (1, 3, 1), (1, 4, 1)]
    assert sorted(read.bonds) == seen[: 4 if inked else 3]
