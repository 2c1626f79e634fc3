"""A toy model and toy files for indexes that hold measured records."""

from __future__ import annotations

from pathlib import Path

import pytest
from spectra_files import SPECTRA, msp

from acml_search.core.workers import Workers
from acml_search.index import build


@pytest.fixture(scope="session")
def toy_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of an untrained checkpoint with the spaces `smiles`, `c_nmr` and `lc_ms`, d = 16."""
    import torch

    from acml_search import modalities
    from acml_search.encoders.checkpoint import DualEncoder, save_model

    torch.manual_seed(11)
    part = {"width": 16, "hidden": 16, "layers": 2}
    projection = {"hidden": 16, "d": 16}
    names = ("smiles", "c_nmr", "lc_ms")
    hyper = {
        "trunk": part,
        "spaces": {
            name: {"head": projection, "encoder": modalities.get(name).tiny_config, "projection": projection}
            for name in names
        },
    }
    directory = tmp_path_factory.mktemp("models") / "toy"
    scales = dict.fromkeys(names, 10.0)
    save_model(directory, "toy", DualEncoder(hyper), hyper, scales, {"data": "none: untrained"})
    return directory


@pytest.fixture(scope="session")
def spectra(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`SPECTRA` as an MSP file."""
    path = tmp_path_factory.mktemp("spectra") / "toy.msp"
    path.write_text(msp(SPECTRA))
    return path


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Builds of this test start no processes."""

    def here(n: int | None, *, engine: str, in_process: bool) -> Workers:
        return Workers(n if engine == "ray" else 1, engine=engine)

    monkeypatch.setattr(build, "Workers", here)
