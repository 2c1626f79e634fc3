"""What is particular to tandem mass spectra."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from acml_search import modalities
from acml_search.core.errors import InvalidRecord
from acml_search.networks import tensors
from acml_search.networks.msms import MassKernel, PeakTower

LC = modalities.get("lc_ms")


def record(**more: Any) -> dict[str, Any]:
    return {"mzs": [50.0, 100.0, 150.0], "intensities": [1.0, 4.0, 0.25], **more}


def test_peaks_are_sorted_rooted_and_cut_above_the_precursor() -> None:
    item = LC.read(
        {"mzs": [200.0, 90.0, 301.0, 80.0], "intensities": [1, 100, 400, 0], "precursor_mz": 200.5}
    )
    assert item.mzs.tolist() == [90.0, 200.0]
    assert np.allclose(item.intensities, [1.0, 0.1])
    assert item.precursor == 200.5


def test_the_strongest_peaks_are_kept() -> None:
    item = LC.read({"mzs": np.arange(100, 300), "intensities": np.arange(1, 201)})
    assert item.mzs.tolist() == list(range(236, 300))


def test_metadata_is_understood_or_left_unknown() -> None:
    known = LC.read(record(adduct="[M-H]-", ce_value=20.0, ce_unit="eV", precursor_mz=160.0))
    assert known.tokens == (2, 2, 1)  # the mode follows from the adduct
    assert known.energy == 20
    assert LC.read(record(collision_energy="35 (nominal)")).tokens == (0, 0, 2)
    assert LC.read(record(collision_energy="35  % (nominal)")).energy == 35
    assert LC.read(record(ion_mode="+", adduct="[2M+H]+", ce_value=5)).tokens == (13, 1, 3)
    nothing = LC.read(record(adduct=None, precursor_mz=None, ce_value=float("nan"), ion_mode=None))
    assert nothing[2:] == (0.0, (0, 0, 0), 0.0)
    assert LC.read(record(adduct="[M+HCO2]-")).tokens == LC.read(record(adduct="[M+HCOO]-")).tokens


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"mzs": []}, "mzs is missing or empty"),
        ({"intensities": None}, "intensities is missing"),
        ({"intensities": [1.0]}, "3 m/z values but 1"),
        ({"mzs": [1.0, float("nan"), 3.0]}, "not a finite number"),
        ({"mzs": [-1.0, 2.0, 3.0]}, "not positive"),
        ({"intensities": [0.0, 0.0, 0.0]}, "every intensity is 0"),
        ({"precursor_mz": 30.0}, "at or below m/z 35.0"),
        ({"precursor_mz": "heavy"}, "'heavy', not a number"),
        ({"precursor_mz": -3.0}, "zero or more"),
        ({"mzs": ["a", "b", "c"]}, "not a list of numbers"),
        ({"mzs": [[1.0, 2.0, 3.0]]}, "missing or empty|not a list"),
    ],
)
def test_what_is_wrong_is_said(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRecord, match=said):
        LC.read(record(**wrong))


def vectors(items: list[Any], tower: torch.nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        return tower(tensors(LC.collate(items)))


def test_padding_and_scale_change_nothing_but_energy_and_precursor_do() -> None:
    torch.manual_seed(3)
    tower = LC.encoder(**LC.tiny_config, kernel=8).eval()
    assert isinstance(tower, PeakTower)
    item = LC.read(record(precursor_mz=170.0, ce_value=20.0, ce_unit="eV"))
    long = LC.read({"mzs": np.linspace(60, 300, 60), "intensities": np.ones(60)})
    assert torch.allclose(vectors([item, long], tower)[:1], vectors([item], tower), atol=1e-5)
    louder = {"mzs": [150.0, 50.0, 100.0], "intensities": [25.0, 100.0, 400.0]}
    assert torch.allclose(vectors([LC.read(record())], tower), vectors([LC.read(louder)], tower), atol=1e-5)
    for other in ({"precursor_mz": 171.0}, {"ce_value": 60.0}, {"ce_unit": "NCE"}):
        changed = LC.read(record(**{"precursor_mz": 170.0, "ce_value": 20.0, "ce_unit": "eV", **other}))
        assert not torch.allclose(vectors([item], tower), vectors([changed], tower), atol=1e-4)


def test_the_kernel_tells_masses_apart_at_a_few_millidalton() -> None:
    kernel = MassKernel(2048)

    def alike(a: float, b: float) -> float:
        first, second = (torch.cat(kernel(torch.tensor(m))) for m in (a, b))
        return float(first @ second / 2048)

    assert alike(300.0, 300.0) == pytest.approx(1.0, abs=1e-4)
    assert alike(300.0, 300.001) > 0.97
    assert 0.3 < alike(300.0, 300.02) < 0.6  # only the coarse half takes them for one
    assert abs(alike(300.0, 310.0)) < 0.1


@given(st.integers(0, 2**32 - 1))
def test_a_variation_is_a_spectrum(seed: int) -> None:
    rng = np.random.default_rng(seed)
    item = LC.augment(LC.read(LC.example(rng)), rng)
    assert len(item.mzs) == len(item.intensities) >= 1
    assert item.intensities.max() == 1
    assert (item.mzs > 0).all()
    assert len(item.tokens) == 3
