"""What is particular to electron-ionisation spectra."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rdkit import Chem

from acml_search import modalities
from acml_search.chem.graph import collate, featurise
from acml_search.core.errors import InvalidRecord
from acml_search.encoders.checkpoint import Tower
from acml_search.networks import TensorBatch, tensors
from acml_search.networks.ei import EISpectrumEncoder, SpectrumPredictor, nominal_masses

GC = modalities.get("gc_ms")


def test_masses_become_nominal_and_equal_ones_join() -> None:
    item = GC.read({"mzs": [57.0704, 57.0335, 71.0855, 500.52], "intensities": [30.0, 70.0, 25.0, 0.5]})
    assert item.mzs.tolist() == [57.0, 71.0, 500.0]
    # two peaks of one nominal mass add up by power, as intensities do
    assert np.allclose(item.intensities**2, [1.0, 0.25, 0.005], atol=1e-6)


def test_unit_resolution_stays_as_it_is() -> None:
    units = np.arange(40, 900, 11).astype(float)
    assert (
        GC.read({"mzs": units, "intensities": np.arange(len(units)) + 1.0}).mzs.tolist()
        == units[-80:].tolist()
    )


def test_the_end_is_the_highest_peak_that_counts() -> None:
    item = GC.read({"mzs": [43, 58, 120, 121], "intensities": [100, 60, 2, 0.1]})
    assert item.precursor == 120.0


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(InvalidRecord, match=r"at or below m/z 1000"):
        GC.read({"mzs": [1200.0], "intensities": [1.0]})
    with pytest.raises(InvalidRecord, match="3 m/z values but 1"):
        GC.read({"mzs": [1.0, 2.0, 3.0], "intensities": [1.0]})


@given(st.integers(0, 2**32 - 1))
def test_a_variation_is_a_spectrum(seed: int) -> None:
    rng = np.random.default_rng(seed)
    item = GC.read(GC.example(rng))
    varied = GC.augment(item, rng)
    assert set(varied.mzs) <= set(item.mzs)
    assert varied.intensities.max() == 1
    assert varied.precursor in varied.mzs


def test_the_tower_sees_losses_and_distances() -> None:
    """Shifting every peak by the same amount leaves distances as they are; the tower is told of both."""
    torch.manual_seed(3)
    tower = GC.encoder(**GC.tiny_config).eval()
    assert isinstance(tower, EISpectrumEncoder)
    first = GC.read({"mzs": [50, 93, 120], "intensities": [1, 4, 2]})
    batch = tensors(GC.collate([first]))
    lines = tower.binned(batch)
    assert lines.nonzero()[:, 1].tolist() == [50, 93, 120]
    assert torch.allclose(lines[0, [50, 93, 120]] ** 2, torch.tensor([0.25, 1.0, 0.5]))
    seen: list[torch.Tensor] = []
    tower.into.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.inference_mode():
        tower.embed(lines)
        tower.embed(lines.roll(30, dims=1))
        assert torch.allclose(tower(batch), tower.embed(5 * lines), atol=1e-5)  # the scale is of no matter
    here, there = seen[:2]
    assert torch.allclose(here[:, tower.masses :], there[:, tower.masses :], atol=1e-4)
    apart = here[0, tower.masses + tower.losses :]
    assert (apart > 1e-3).nonzero()[:, 0].tolist() == [0, 27, 43, 70]


def test_what_is_predicted_ends_at_the_molecule_and_can_be_learned() -> None:
    torch.manual_seed(3)
    graphs = [featurise(Chem.MolFromSmiles(s)) for s in ("CCO", "C" * 30, "ClC(Cl)(Cl)Cl")]
    batch = TensorBatch.of(collate(graphs))
    assert nominal_masses(batch).tolist() == [46, 422, 152]
    tower = Tower("gc_ms", GC.tiny_config, {"hidden": 16, "d": 8})
    head = SpectrumPredictor(6, tower, hidden=16)
    pooled = torch.randn(3, 6)
    lines = head.binned(pooled, batch)
    assert [int(line.nonzero().max()) for line in lines] == [49, 425, 155]
    vectors = head([], pooled, batch, tower)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(3), atol=1e-5)
    vectors[:, 0].sum().backward()
    for layer in (head.by_mass, head.by_loss, head.gate):
        assert layer.weight.grad is not None
        assert layer.weight.grad.abs().sum() > 0
