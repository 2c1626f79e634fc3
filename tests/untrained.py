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


def flat(modality: str = "lc_ms", **changes: object) -> Any:
    """A `FragmentationModel` in which no piece is likelier than another."""
    import numpy as np

    from acml_search.ms.fragmenter import N_CODES, SHIFTS, FragmentationModel

    fields: dict[str, Any] = {
        "modality": modality, "features": {"X C2H6N1": 0}, "weights": np.zeros((2, 1)),
        "codes": np.zeros((2, N_CODES)), "depth": np.zeros((2, 4, 2)),
        "shifts": np.full((2, 4, len(SHIFTS)), 1 / len(SHIFTS)), "floor": 1e-5, "scale": 1.0,
        "ppm": 10.0, "da": 0.002, "power": 0.5, "prior": np.zeros(0), "about": {},
    }  # fmt: skip
    return FragmentationModel(**{**fields, **changes})
