"""Benchmarks as TOML files."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from acml_search.core.errors import ConfigError


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """The content of a file. Raises ConfigError, which calls it `what`, where it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: the {what} cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: this is not TOML: {error}") from error
