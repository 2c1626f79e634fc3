"""What is particular to peak lists of shifts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from rdkit import Chem

from acml_search import modalities
from acml_search.chem.graph import collate, featurise
from acml_search.core.errors import InvalidRecord
from acml_search.encoders.checkpoint import DualEncoder
from acml_search.networks import TensorBatch, tensors
from acml_search.networks.nmr import Peaks, ShiftHead, ShiftTower, coincident_peaks


@pytest.mark.parametrize("name", ["c_nmr", "h_nmr"])
def test_repeated_values_and_order_do_not_matter(name: str) -> None:
    kind = modalities.get(name)
    once = kind.read({"shifts": [7.26, 3.3]})
    assert np.array_equal(kind.read({"shifts": [3.3, 7.26, 7.26, 7.262]}), once)
    assert np.array_equal(kind.read([7.26, 3.3]), once)


@pytest.mark.parametrize(
    ("shifts", "said"),
    [
        ([], "empty"),
        ([1300.0], "1300 ppm is no shift"),
        ([float("nan")], "nan ppm"),
        (["a"], "not numbers"),
        ([1.0] * 2000, "2,000 peaks"),
    ],
)
def test_what_cannot_be_a_peak_list_is_refused_with_the_reason(shifts: list[object], said: str) -> None:
    with pytest.raises(InvalidRecord, match=said):
        modalities.get("c_nmr").read({"shifts": shifts})
    with pytest.raises(InvalidRecord, match="no `shifts`"):
        modalities.get("c_nmr").read({"peaks": shifts})


def test_a_sharp_prediction_is_embedded_as_the_observed_peak_is() -> None:
    torch.manual_seed(7)
    tower = ShiftTower(low=0, high=200, step=0.5, blur=1.0, curve=16, hidden=16, width=16).eval()
    kind = modalities.get("c_nmr")
    with torch.inference_mode():
        observed = tower(tensors(kind.collate([kind.read([20.3, 128.7])])))
        two, one = torch.ones(2), torch.ones(1)
        phi = tower.expected(torch.tensor([20.3, 128.7]), two * 1e-6, two, torch.tensor([2]))
        predicted = tower.finish(phi, torch.tensor([2.0]))
        sharp = tower.expected(torch.tensor([20.3]), one * 1e-6, one, torch.tensor([1]))
        blurred = tower.expected(torch.tensor([20.3]), one * 4, one, torch.tensor([1]))
    assert torch.allclose(observed, predicted, atol=1e-5)
    assert not torch.allclose(sharp, blurred, atol=1e-2)


def test_the_tower_follows_its_weights() -> None:
    """The kept table must not outlive a change of the weights."""
    tower = ShiftTower(low=0, high=200, step=1.0, blur=1.0, curve=8, hidden=8, width=8).eval()
    kind = modalities.get("c_nmr")
    batch = tensors(kind.collate([kind.read([20.3, 128.7])]))
    with torch.no_grad():
        before = tower(batch)
        tower.train()
        tower.phi[2].bias.add_(1.0)  # type: ignore[union-attr, operator]
        tower.eval()
        assert not torch.allclose(before, tower(batch))


def test_equivalent_atoms_count_as_one_peak() -> None:
    position = torch.tensor([128.0, 20.0, 128.0, 128.0])
    peaks = Peaks(torch.arange(4), torch.tensor([0, 0, 0, 1]), position, position * 0 + 1, position * 0)
    assert coincident_peaks(peaks, 0.1).tolist() == pytest.approx([2.0, 1.0, 2.0, 1.0])


def test_what_counts_as_one_peak_follows_a_gaussian_and_ends_at_five_on_either_side() -> None:
    torch.manual_seed(7)
    position = torch.cat([torch.rand(40) * 2, torch.full((9,), 60.0)])
    graph_of = torch.cat([torch.arange(20).repeat(2), torch.full((9,), 20)])
    order = torch.randperm(len(position))
    position, graph_of = position[order], graph_of[order]
    apart = (position[:, None] - position[None, :]) / 0.5
    expected = (torch.exp(-apart.square()) * (graph_of[:, None] == graph_of[None, :])).sum(dim=1)
    found = coincident_peaks(Peaks(torch.arange(49), graph_of, position, position, position), 0.5)
    assert torch.allclose(found[graph_of < 20], expected[graph_of < 20], atol=1e-4)
    assert sorted(found[graph_of == 20].tolist()) == pytest.approx([6, 6, 7, 7, 8, 8, 9, 9, 9])


def test_protons_sit_on_every_atom_that_carries_hydrogen() -> None:
    space = {"head": {"hidden": 8, "d": 8}, "encoder": {"curve": 8, "hidden": 8, "width": 8}}
    hyper = {
        "trunk": {"width": 8, "hidden": 8, "layers": 2},
        "spaces": {n: {**space, "projection": {"hidden": 8, "d": 8}} for n in ("c_nmr", "h_nmr")},
    }
    network = DualEncoder(hyper).eval()
    batch = TensorBatch.of(
        collate([featurise(Chem.MolFromSmiles(s)) for s in ("CC(=O)O", "N", "ClC(Cl)(Cl)Cl")])
    )
    states = network.trunk.node_states(batch)
    pooled = network.trunk.pool(states, batch)
    found = {}
    for name, head in network.heads.items():
        assert isinstance(head, ShiftHead)
        found[name] = head.peaks(states, pooled, batch)
    assert found["c_nmr"].atoms.tolist() == [0, 1, 6]  # CH3, C=O; none in ammonia; CCl4
    assert found["h_nmr"].atoms.tolist() == [0, 3, 4]  # CH3, OH; NH3
