"""Training configurations: TOML files with paths relative to the root they name."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from acml_search.core.errors import ConfigError
from acml_search.training.corpus import Corpus, prepare_corpus


@dataclass(frozen=True)
class TrainingConfig:
    """A configuration as read, with its paths resolved."""

    path: Path
    root: Path
    out: Path
    seed: int
    data: dict[str, Any]

    def corpus(self, workers: int = 2) -> Corpus:
        """The corpus of the `[corpus]` table, or of the `file` it names, prepared on first use.

        Sources that the table lists under `skip` are in the corpus's files, but not in what is returned.
        """
        table = dict(self.data["corpus"])
        skip = frozenset(table.pop("skip", ()))
        if "file" in table:
            table = _read_toml(self.path.parent / table["file"])
        directory = self.root / table.pop("directory")
        corpus = prepare_corpus(table, self.root, directory, workers)
        return replace(corpus, skipped=skip, flat=not self.data.get("reads_stereo", True))


def read_config(path: Path | str, required: tuple[str, ...]) -> TrainingConfig:
    """Read a configuration. Raises `ConfigError` naming the file and the table or key that is missing."""
    path = Path(path)
    data = _read_toml(path)
    missing = [key for key in ("root", "out", "seed", *required) if key not in data]
    if missing:
        raise ConfigError(f"{path}: the configuration lacks {', '.join(missing)}")
    root = (path.parent / data["root"]).resolve()
    return TrainingConfig(path, root, root / data["out"], int(data["seed"]), data)


def _read_toml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ConfigError(f"{path}: there is no such configuration file")
    try:
        return tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: this is not TOML: {error}") from error
