"""Fixtures every test may use. `tiny_model` is untrained on purpose: the engine must not depend on good
vectors."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from untrained import PART, save_untrained

# How long an example takes says more about what else runs on the machine than about the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of a small, untrained checkpoint with one space, `smiles`, d = 32."""
    return save_untrained(
        tmp_path_factory.mktemp("models") / "tiny", {"smiles": ({**PART, "layers": 5}, 14.0)}, seed=7
    )
