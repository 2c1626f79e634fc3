"""What every modality must keep, whichever it is: a new file is tested without a new test."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from acml_search import modalities
from acml_search.chem.graph import collate, featurise
from acml_search.core.errors import ConfigError, InvalidRecord, UnknownModality
from acml_search.encoders.card import read_card
from acml_search.modalities.base import Modality, register


@pytest.mark.parametrize("name", [name for name in modalities.names() if not modalities.get(name).made_of])
class TestNetwork:
    def test_an_example_goes_all_the_way(self, name: str) -> None:
        import torch

        from acml_search.networks import tensors

        modality = modalities.get(name)
        rng = np.random.default_rng(7)
        items = [modality.read(modality.example(rng)) for _ in range(3)]
        torch.manual_seed(7)
        tower = modality.encoder(**modality.tiny_config).eval()
        with torch.inference_mode():
            vectors = tower(tensors(modality.collate(items)))
            alone = tower(tensors(modality.collate(items[:1])))
        assert vectors.shape == (3, tower.width)
        assert torch.isfinite(vectors).all()
        assert torch.allclose(vectors[:1], alone, atol=1e-5)

    def test_the_graph_side_gives_unit_vectors_that_do_not_depend_on_the_batch(self, name: str) -> None:
        import torch
        from rdkit import Chem

        from acml_search.encoders.checkpoint import DualEncoder
        from acml_search.networks import TensorBatch

        modality = modalities.get(name)
        torch.manual_seed(7)
        head = {"hidden": 16, "d": 16}
        space = {"head": head, "encoder": modality.tiny_config, "projection": {"hidden": 16, "d": 16}}
        network = DualEncoder(
            {"trunk": {"width": 16, "hidden": 16, "layers": 2}, "spaces": {name: space}}
        ).eval()
        mols = [Chem.MolFromSmiles(s) for s in ("CCO", "c1ccccc1", "[Na+]", "CC(C)(C)C(=O)NC1CC1")]
        graphs = [featurise(mol) for mol in mols]
        with torch.inference_mode():
            together = network.graphs(TensorBatch.of(collate(graphs)))[name]
            ones = [TensorBatch.of(collate([graph])) for graph in graphs]
            for i, one in enumerate(ones):
                assert torch.allclose(together[i : i + 1], network.graphs(one)[name], atol=1e-5)
            gathered = network.graph_stage([network.node_stage(one) for one in ones])[name]
            assert torch.allclose(together, gathered, atol=1e-5)
        assert torch.allclose(together.norm(dim=1), torch.ones(4), atol=1e-5)


@pytest.mark.parametrize("name", [name for name in modalities.names() if modalities.get(name).made_of])
def test_what_is_made_of_other_spaces_needs_no_network(name: str) -> None:
    modality = modalities.get(name)
    rng = np.random.default_rng(7)
    items = [modality.read(modality.example(rng)) for _ in range(3)]
    features = read_card().features(name)
    vectors = modality.embed(items, features)
    assert vectors.shape == (3, features["d"])
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    assert modality.embed(items[:1], features) == pytest.approx(vectors[:1], abs=1e-6)
    assert set(modality.made_of) <= set(modalities.names())
    with pytest.raises(ConfigError, match="has no network"):
        modality.encoder()


@pytest.mark.parametrize("name", modalities.names())
class TestContract:
    def test_a_variation_is_read_like_a_record(self, name: str) -> None:
        modality = modalities.get(name)
        rng = np.random.default_rng(7)
        item = modality.read(modality.example(rng))
        varied = [modality.augment(item, rng) for _ in range(20)]
        if not modality.made_of:
            modality.collate(varied)

    def test_nonsense_is_refused_in_one_sentence(self, name: str) -> None:
        for nonsense in (None, "", b"\x00\x01", 3.5, []):
            with pytest.raises(InvalidRecord) as caught:
                modalities.get(name).read(nonsense)
            assert "\n" not in str(caught.value)

    def test_it_says_what_it_is(self, name: str) -> None:
        assert modalities.get(name).name == name
        assert type(modalities.get(name)).__doc__


def test_unknown_name_lists_the_known() -> None:
    with pytest.raises(UnknownModality, match="smiles"):
        modalities.get("aroma")


def test_a_taken_name_is_refused() -> None:
    class Second(Modality):
        """A rival."""

    with pytest.raises(ConfigError, match="twice"):
        register("smiles")(Second)


def test_modalities_are_found_by_threads_at_once() -> None:
    program = """
from threading import Barrier, Thread
from acml_search import modalities
at, found = Barrier(4), []
def ask():
    at.wait()
    found.append(modalities.get("c_nmr").name)
some = [Thread(target=ask) for _ in range(4)]
[one.start() for one in some]
[one.join() for one in some]
print(*found)
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["c_nmr"] * 4
