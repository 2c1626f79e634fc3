"""Corrections of predicted shifts by atoms' environments."""

import numpy as np
import pytest
from rdkit import Chem

from acml_search.chem.graph import collate, featurise
from acml_search.encoders.shifts import DEPTHS, Environments, environment_codes
from acml_search.training import environments
from acml_search.training.environments import LEAST, Deviations, certainties, learned


def codes_of(smiles, order=None):
    mol = Chem.MolFromSmiles(smiles)
    if order is not None:
        mol = Chem.RenumberAtoms(mol, order)
    return environment_codes(collate([featurise(mol)]))


def test_environments_do_not_depend_on_the_order_of_atoms_nor_on_configuration():
    plain = codes_of("CC=CC(O)F")
    order = [5, 2, 0, 4, 1, 3]
    assert np.array_equal(codes_of("CC=CC(O)F", order), plain[:, order])
    assert np.array_equal(codes_of("C/C=C/[C@H](O)F"), plain)


def test_environments_grow_by_a_bond_a_depth():
    short, long = codes_of("CCCCCCO"), codes_of("CCCCCCN")
    assert (short == long)[:, 0].tolist() == [depth < 6 for depth in DEPTHS]
    assert (short == long)[:, 5].tolist() == [False] * len(DEPTHS)
    assert (short == long)[:, 3].tolist() == [depth < 3 for depth in DEPTHS]
    benzene = codes_of("c1ccccc1")
    assert (benzene == benzene[:, :1]).all()
    assert codes_of("C").shape == (len(DEPTHS), 1)


def test_atoms_of_other_molecules_of_a_batch_do_not_matter():
    both = environment_codes(collate([featurise(Chem.MolFromSmiles(s)) for s in ("C", "CCO", "O")]))
    assert np.array_equal(both[:, 1:4], codes_of("CCO"))


def deviations(rows, measured=True):
    """From (SMILES, atom, ppm) of one molecule each."""
    return Deviations(
        np.stack([codes_of(smiles)[:, atom] for smiles, atom, _ in rows], axis=1),
        np.array([ppm for *_, ppm in rows]),
        np.ones(len(rows)),
        np.arange(len(rows)),
        np.full(len(rows), measured),
    )


SEEN = [("CCO", 0, 1.0), ("CCCCCCO", 0, 2.0), ("CCCCCCCO", 0, 2.0), ("CCN", 0, -3.0)]


def test_the_deepest_known_environment_corrects_a_shift(tmp_path):
    seen = deviations(SEEN)
    learned(seen, np.array([0.9, 0.8, 0.7, 0.6, 0.5])).write(tmp_path / "t.safetensors")
    table = Environments.read(tmp_path / "t.safetensors")
    batch = collate([featurise(Chem.MolFromSmiles(s)) for s in ("CCO", "CCCCCCCCO", "Oc1ccccc1")])
    shift, certainty = table.look_up(batch, np.array([0, 3, 15]))
    assert shift[0] == pytest.approx(1, abs=LEAST)  # all of it was seen
    assert shift[1] == pytest.approx(2, abs=LEAST)  # its first five bonds were
    assert shift[2] == 0
    assert certainty[2] == 1
    assert (certainty[:2] < 1).all()


def test_one_molecule_counts_less_than_several_and_another_program_less_than_a_measurement(monkeypatch):
    monkeypatch.setattr(environments, "LEAST", 0.0)

    def shift(*ppm, measured=True):
        table = learned(deviations([("CCCCCCO", 2, x) for x in ppm], measured), np.ones(len(DEPTHS)))
        return table.find(codes_of("CCCCCCO")[:, 2:3])[0][0]

    assert 0 < shift(1, measured=False) < shift(1) < shift(1, 1, 1, 1) < 1
    assert shift(90) < 20  # probably another atom's peak


def test_certainty_is_that_of_molecules_the_table_was_made_without():
    rng = np.random.default_rng(0)
    rows = [("CCO", 0, 2 + x) for x in rng.laplace(0, 0.5, 200)] + [
        ("CCN", 0, x) for x in rng.laplace(0, 0.5, 200)
    ]
    ratio, (before, after) = certainties(deviations(rows))
    assert before > 1
    assert after == pytest.approx(0.5, abs=0.1)
    assert ratio.min() == pytest.approx(0.5, abs=0.1)
