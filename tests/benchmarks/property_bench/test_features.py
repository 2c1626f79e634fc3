"""Features: kept once per molecule, RDKit's own, in the range of the training molecules."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from acml_search.core.errors import ConfigError
from acml_search.encoders.card import read_card
from acml_search.evaluation.data.feature_store import FeatureStore
from benchmarks.property_bench import features
from benchmarks.property_bench.cells import Cleaner
from benchmarks.property_bench.features import Recipe, Task, columns_of, compute
from benchmarks.property_bench.plan import read_plan


def test_features_are_kept_once_per_molecule(tmp_path: Path) -> None:
    store = FeatureStore.of(tmp_path, "morgan", {"kind": "morgan"})
    smiles = ["CCO", "CCN", "CCO"]
    assert store.missing(smiles) == ["CCO", "CCN"]
    found = compute(Task(Recipe("morgan", ()), store.missing(smiles)))
    store.add(["CCO", "CCN"], found)
    again = FeatureStore(store.folder)
    assert again.missing([*smiles, "CCC"]) == ["CCC"]
    taken = again.take(smiles, (0, 1_000))
    assert taken.dtype == np.float32
    np.testing.assert_array_equal(taken, found[[0, 1, 0], :1_000])
    with pytest.raises(ConfigError, match="no features are kept for 1"):
        again.take(["CCC"])
    next(iter(store.folder.glob("*.npy"))).write_bytes(b"spoilt")
    with pytest.raises(ConfigError, match="cannot be read"):
        FeatureStore(store.folder).take(["CCO"])


def test_morgan_and_descriptors_are_rdkits() -> None:
    from rdkit import Chem
    from rdkit.Chem import AllChem, Descriptors

    mol = Chem.MolFromSmiles("CC(=O)Oc1ccccc1C(=O)O")
    bits = compute(Task(Recipe("morgan", ()), [Chem.MolToSmiles(mol)]))
    known = AllChem.GetMorganFingerprintAsBitVect
    generator = AllChem.GetMorganGenerator(radius=2, fpSize=2048)
    assert known is not None
    assert bits[0].nonzero()[0].tolist() == list(generator.GetFingerprint(mol).GetOnBits())
    table = compute(Task(Recipe("rdkit", ()), [Chem.MolToSmiles(mol), "[He]"]))
    assert np.isfinite(table).all()
    names = [name for name, _ in Descriptors.descList]
    assert table[0, names.index("MolWt")] == pytest.approx(180.16, abs=0.01)


def test_embeddings_of_one_model_are_worked_out_together(toy: Path, tiny_model: Path) -> None:
    plan = read_plan(toy)
    whole, all_columns = features.recipe_of(plan.systems["acml"], plan, None)
    trunk, mine = features.recipe_of(plan.systems["trunk"], plan, None)
    assert whole.key == trunk.key
    # five layers of 16, twice; 512 of two layers; a space of 32
    assert (all_columns, mine) == ((0, 1_216), (0, 80))
    both = compute(Task(whole, ["CCO", "CCN"]))
    assert both.shape == (2, 1_216)
    np.testing.assert_allclose(np.linalg.norm(both[:, 1_184:], axis=1), 1.0, atol=1e-5)
    random, _ = features.recipe_of(plan.systems["untrained"], plan, None)
    assert random.key != whole.key
    drawn = compute(Task(random, ["CCO", "CCN"]))
    assert drawn.shape == (2, 80)
    assert not np.allclose(drawn, both[:, :80])
    with pytest.raises(ConfigError, match="side by side"):
        columns_of(("trunk", "b"), ("trunk", "a", "b"), _card_with(tiny_model, "a", "b"))


def _card_with(model: Path, *names: str):
    from dataclasses import replace

    card = read_card(model)
    return replace(card, spaces=dict.fromkeys(names, card.spaces["smiles"]))


def test_values_are_brought_into_the_range_of_the_training_molecules() -> None:
    clean = Cleaner.of(np.array([[1, 5, 0], [3, 5, 1]], np.float32))
    np.testing.assert_array_equal(clean(np.array([[9, 7, -4]], np.float32)), [[3, 0]])
