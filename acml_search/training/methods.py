"""The ways to pretrain, by the name a configuration gives under `method`."""

from __future__ import annotations

import importlib
from pathlib import Path

from acml_search.core.errors import ConfigError
from acml_search.training.config import read_config

METHODS = {
    "views": "pretrain",  # two variations of a record made from the structure must meet
    "shifts": "shifts",  # atoms' shifts from unassigned peak lists
    "simulated": "denoise",  # predicted peaks must meet simulated and measured lists
    "measured": "measured",  # measured records and their molecules
    "pictures": "recognise",  # atoms and bonds found in pictures
    "explained": "explained",  # how molecules break, for re-ranking by mass spectra
}


def pretrain(path: Path | str) -> Path:
    """Pretrain as the configuration says; returns the directory of the result. Raises `ConfigError`."""
    method = read_config(path, ("method",)).data["method"]
    if method not in METHODS:
        raise ConfigError(f"{path}: there is no method {method!r}; there are {', '.join(METHODS)}")
    result: Path = importlib.import_module(f"acml_search.training.{METHODS[method]}").run(path)
    return result
