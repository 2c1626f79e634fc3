"""What every modality must keep, whichever it is: a new file is tested without a new test."""

from __future__ import annotations

import numpy as np
import pytest

from acml_search import modalities
from acml_search.errors import ConfigError, InvalidRecord, UnknownModality
from acml_search.modalities.base import Modality, register

HYPER = {"width": 16, "hidden": 16, "layers": 2}


@pytest.mark.parametrize("name", modalities.names())
class TestContract:
    def test_an_example_goes_all_the_way(self, name: str) -> None:
        import torch

        from acml_search.modalities.blocks import TensorBatch

        modality = modalities.get(name)
        rng = np.random.default_rng(7)
        items = [modality.read(modality.example(rng)) for _ in range(3)]
        torch.manual_seed(7)
        tower = modality.tower(**HYPER).eval()
        with torch.inference_mode():
            vectors = tower(TensorBatch.of(modality.collate(items)))
            alone = tower(TensorBatch.of(modality.collate(items[:1])))
        assert vectors.shape == (3, tower.width)
        assert torch.isfinite(vectors).all()
        assert torch.allclose(vectors[:1], alone, atol=1e-5)

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

    with pytest.raises(ConfigError, match="taken"):
        register("smiles")(Second)
