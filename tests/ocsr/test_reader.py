"""What the picture reader makes of what the detector finds."""

from __future__ import annotations

import pytest
import torch

from acml_search import modalities
from acml_search.encoders.checkpoint import Tower
from acml_search.networks import tensors
from acml_search.ocsr import reader
from acml_search.ocsr.assemble import SYMBOLS
from acml_search.ocsr.detector import Detector, atom_points

IMAGE, SMILES = modalities.get("image"), modalities.get("smiles")


@pytest.fixture
def tower() -> Tower:
    """Whatever an untrained network recognises: an oxygen at least."""
    torch.manual_seed(7)
    tower = Tower("image", IMAGE.tiny_config, {"hidden": 8, "d": 8}).eval()
    with torch.no_grad():
        tower.encoder.detector.points.bias[0] = 3.0
        tower.encoder.detector.symbol[-1].bias[SYMBOLS.index("O")] = 50.0
    return tower


@torch.inference_mode()
def test_a_picture_is_embedded_as_the_structures_that_it_may_show(tower: Tower) -> None:
    ink = IMAGE.read(IMAGE.derive("CCO"))
    vector = tower.encoder(tensors(IMAGE.collate([ink])))
    shares = tower.encoder.read(ink).alternatives
    assert shares[0][0]
    each = tower.encoder.smiles(tensors(SMILES.collate([SMILES.read(one) for one, _ in shares])))
    expected = sum(share * row for (_, share), row in zip(shares, each, strict=True))
    assert torch.allclose(vector[0], expected, atol=1e-5)


@torch.inference_mode()
def test_a_picture_is_read_once_until_the_weights_may_change(
    tower: Tower, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []
    detect = reader.detect
    monkeypatch.setattr(reader, "detect", lambda *given: looks.append(given) or detect(*given))
    ink, other = (IMAGE.read(IMAGE.derive(smiles)) for smiles in ("CCO", "CCN"))
    tower.encoder.detector.points.bias[0] = -20.0  # no atoms: quick
    tower.encoder(tensors(IMAGE.collate([ink])))
    once = len(looks)
    assert once
    tower.encoder.read(ink.copy())
    assert len(looks) == once
    tower.encoder.read(other)
    assert len(looks) > once
    again = len(looks)
    tower.train().eval()
    tower.encoder.read(ink)
    assert len(looks) > again


def test_a_single_point_has_no_bonds() -> None:
    network = Detector(8, 8, 1).eval()
    none = torch.zeros(0, dtype=torch.long)
    features, _ = network(torch.zeros(1, 1, 64, 64))
    found = network.bonds(features, none, torch.zeros(0, 2), torch.zeros(0, 2))
    assert [None if one is None else one.shape for one in found] == [(0, 6), (0, 6)]


def test_atoms_in_cells_side_by_side_are_two() -> None:
    points = torch.zeros(5, 6, 3)
    points[:, :, 0] = -9.0
    points[2, 1:5, 0] = torch.tensor([0.5, 3.0, 2.0, 0.5])
    points[2, 1:5, 1] = torch.tensor(
        [0.6, -0.4, 0.4, -0.6]
    )  # the outer cells see the atoms of the inner ones
    xy, probability = atom_points(points)
    assert xy[:, 0].tolist() == pytest.approx([8.4, 15.6])
    assert probability.tolist() == pytest.approx([0.953, 0.881], abs=1e-3)
