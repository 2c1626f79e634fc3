"""Fixtures every test may use. `tiny_model` is untrained on purpose: the engine must not depend on good
vectors."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says more about what else runs on the machine than about the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of a small, untrained checkpoint with one space, `smiles`, d = 32."""
    import torch

    from acml_search.encoders.checkpoint import DualEncoder, save_model

    torch.manual_seed(7)
    part = {"width": 16, "hidden": 16, "layers": 5}
    projection = {"hidden": 32, "d": 32}
    hyper = {
        "trunk": part,
        "spaces": {"smiles": {"head": projection, "encoder": part, "projection": projection}},
    }
    directory = tmp_path_factory.mktemp("models") / "tiny"
    save_model(directory, "tiny", DualEncoder(hyper), hyper, {"smiles": 14.0}, {"data": "none: untrained"})
    return directory
