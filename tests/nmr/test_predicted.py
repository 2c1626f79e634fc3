"""Predicted peaks in few bytes: what goes in comes out, and what the graph says of couplings."""

from __future__ import annotations

import numpy as np
import pytest

from acml_search.chem.graph import featurise
from acml_search.chem.molecule import parse
from acml_search.encoders.shifts import Predicted
from acml_search.nmr.predicted import (
    ALIPHATIC,
    AROMATIC,
    HETERO,
    PARTNERS,
    VINYL,
    Coupling,
    pack,
    symmetry_classes,
    unpack,
)


def kept(nucleus, texts, position, spread=0.5, present=0.8):
    """Molecules whose atoms show what `position` says of their numbers."""
    mols = [parse(text)[0] for text in texts]
    predicted = []
    for mol in mols:
        chosen = [
            atom.GetIdx()
            for atom in mol.GetAtoms()
            if (atom.GetAtomicNum() == 6 if nucleus == "C" else atom.GetTotalNumHs(includeNeighbors=True) > 0)
        ]
        n = len(chosen)
        shifts = np.array([position(i) for i in chosen], float)
        predicted.append(Predicted(np.array(chosen), shifts, np.full(n, spread), np.full(n, present)))
    lists = pack(
        nucleus, [symmetry_classes(mol) for mol in mols], [featurise(mol) for mol in mols], predicted
    )
    return mols, lists


def test_what_is_kept_comes_back() -> None:
    mols, lists = kept("C", ["CCO", "O", "Cc1ccccc1"], lambda i: 20.0 + 10 * i, 1.1, 0.9)
    assert lists.sizes.tolist() == [2, 0, 5]
    assert lists.peaks.itemsize == 3
    ethanol, water, toluene = unpack("C", lists, mols=mols)
    assert ethanol.position == pytest.approx([20, 30], abs=0.02)
    assert ethanol.attached.tolist() == [8, 4]
    assert ethanol.spread == pytest.approx([1.1] * 2, rel=0.16)
    assert ethanol.present == pytest.approx([0.9] * 2, abs=0.06)
    assert not len(water.position)
    assert [set(atoms) for atoms in toluene.atoms] == [{0}, {1}, {2, 6}, {3, 5}, {4}]
    assert toluene.attached.tolist() == [8, 1, 2, 2, 2]
    again = unpack("C", lists.take(np.array([2, 0])), mols=[mols[2], mols[0]])
    np.testing.assert_array_equal(again[0].position, toluene.position)
    assert again[1].atoms == ethanol.atoms


def test_peaks_predicted_alike_are_one() -> None:
    mols, lists = kept("C", ["CCO"], lambda i: 20.0 + 0.025 * i)
    (one,) = unpack("C", lists, 0.03, mols)
    assert one.atoms == [[0, 1]]
    assert one.attached.tolist() == [12]
    assert len(unpack("C", lists)[0].position) == 2


@pytest.mark.parametrize(
    ("smiles", "atom", "expected"),
    [
        ("CCO", 0, (1, 3, ALIPHATIC, (2, 0, 0), False, False)),
        ("CCO", 1, (1, 2, ALIPHATIC, (3, 0, 0), False, True)),
        ("CCO", 2, (1, 1, HETERO, (2, 0, 0), False, False)),
        ("CC(C)Cl", 1, (1, 1, ALIPHATIC, (6, 0, 0), False, False)),
        ("CC(C)CC(N)Cl", 3, (1, 2, ALIPHATIC, (1, 1, 0), True, False)),
        ("C1CCCCC1", 0, (6, 2, ALIPHATIC, (0, 0, 0), True, False)),
        ("C=CC", 0, (1, 2, VINYL, (1, 0, 0), True, False)),
        ("Cc1ccccc1", 2, (2, 1, AROMATIC, (1, 0, 0), True, False)),
        ("Cc1ccc(Cl)cc1", 2, (2, 1, AROMATIC, (1, 0, 0), False, False)),
        ("Clc1ccc(Br)c(I)c1", 8, (1, 1, AROMATIC, (0, 0, 0), True, False)),
    ],
)
def test_couplings_as_the_graph_has_them(smiles, atom, expected) -> None:
    mols, lists = kept("H", [smiles], lambda i: 1.0 + i)
    (one,) = unpack("H", lists, mols=mols)
    found = Coupling.of(one.coupling)
    np.testing.assert_array_equal(found.bits(), one.coupling)
    at = next(i for i, atoms in enumerate(one.atoms) if atom in atoms)
    atoms, hydrogens, kind, partners, special, beside = (field[at] for field in found)
    assert (atoms, hydrogens, kind, PARTNERS[partners], bool(special), bool(beside)) == expected


def test_couplings_do_not_depend_on_the_order_of_atoms_or_on_company() -> None:
    first = kept("H", ["CCC(C)Cl", "Cc1ccccc1"], float)[1]
    turned = kept("H", ["Cc1ccccc1", "ClC(C)CC"], float)[1]
    halves = [first.take(np.array([i])).peaks["coupling"] for i in (0, 1)]
    assert sorted(halves[1]) == sorted(turned.take(np.array([0])).peaks["coupling"])
    assert sorted(halves[0]) == sorted(turned.take(np.array([1])).peaks["coupling"])


def test_deuterium_is_no_stumbling_block() -> None:
    mols, lists = kept("H", ["[2H]C([2H])(O)c1ccccc1"], float)
    assert len(unpack("H", lists, mols=mols)[0].atoms) == 5
