"""How molecules break, as learned: the weights of `ms.annotation`, and their file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from acml_search.core.errors import CheckpointError

FORMAT = 1
POSITIVE, NEGATIVE, ELECTRONS = range(3)
"""the modes: ways of ionisation"""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Fragmentation:
    """How molecules break, as learned. Tables have one row per mode."""

    modality: str
    features: dict[str, int]
    """text of a feature -> column of `weights`"""
    weights: Floats
    """(modes, features)"""
    codes: Floats
    """(modes, N_CODES)"""
    depth: Floats
    """(modes, bonds broken - 1, 0 for one cut and 1 for two)"""
    shifts: Floats
    """(modes, bonds broken - 1, hydrogens), probabilities"""
    floor: float
    """likelihood of a peak that nothing explains"""
    scale: float
    """of the sum of logarithms: peaks of a spectrum are not independent"""
    ppm: float
    da: float
    """tolerance, whichever is wider"""
    prior: Floats
    """(bits,) weight of each Morgan bit (radius 2)"""
    about: dict[str, Any]

    def row(self, mode: int) -> int:
        """Of the tables, for a mode; the first where nothing was learned of it (electrons have one row)."""
        return mode if mode < len(self.weights) else 0


@cache
def read_fragmentation(path: Path) -> Fragmentation:
    """Learned weights from their JSON file. Raises `CheckpointError`."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise CheckpointError(path, f"it has format {data['format']}, this version reads {FORMAT}")
        names = sorted(data["features"])
        tables = {name: np.array(data[name], np.float64) for name in ("codes", "depth", "shifts", "prior")}
        numbers = np.array([data["features"][name] for name in names], np.float64)
        return Fragmentation(
            modality=data["modality"],
            features={name: i for i, name in enumerate(names)},
            weights=numbers.reshape(len(names), len(tables["codes"])).T,
            floor=float(data["floor"]),
            scale=float(data["scale"]),
            ppm=float(data["ppm"]),
            da=float(data["da"]),
            about=data["about"],
            **tables,
        )
    except OSError as error:
        raise CheckpointError(path, f"the weights of the re-ranking cannot be read ({error})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(path, f"the weights of the re-ranking lack or garble {error}") from error


def write_fragmentation(path: Path, learned: Fragmentation) -> None:
    """As JSON, four digits."""

    def short(values: npt.NDArray[Any]) -> Any:
        return np.round(values, 4).tolist()

    data = {
        "format": FORMAT,
        "modality": learned.modality,
        "about": learned.about,
        **{name: getattr(learned, name) for name in ("floor", "scale", "ppm", "da")},
        **{name: short(getattr(learned, name)) for name in ("codes", "depth", "shifts", "prior")},
        "features": {name: short(learned.weights[:, i]) for name, i in learned.features.items()},
    }
    path.write_text(json.dumps(data, separators=(",", ":"), sort_keys=True) + "\n", encoding="utf-8")
