"""Small, untrained checkpoints: the engine must not depend on good vectors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

PART = {"width": 16, "hidden": 16, "layers": 2}
SHIFTS = {"curve": 8, "hidden": 16, "width": 16}


def save_untrained(
    directory: Path,
    spaces: Mapping[str, tuple[dict[str, Any], float]],
    *,
    seed: int,
    d: int = 32,
    layers: int = 5,
) -> Path:
    """A checkpoint with a trunk of so many layers and, by name, spaces of an encoder and a scale."""
    import torch

    from acml_search.encoders.checkpoint import DualEncoder, save_model

    torch.manual_seed(seed)
    projection = {"hidden": d, "d": d}
    parts = {
        name: {"head": projection, "encoder": encoder, "projection": projection}
        for name, (encoder, _) in spaces.items()
    }
    hyper = {"trunk": {**PART, "layers": layers}, "spaces": parts}
    scales = {name: scale for name, (_, scale) in spaces.items()}
    save_model(directory, directory.name, DualEncoder(hyper), hyper, scales, {"data": "none: untrained"})
    return directory
