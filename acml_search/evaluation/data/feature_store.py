"""Features of molecules, worked out once per distinct molecule and kept.

    <cache>/features/<kind>/<key>/about.json          what the features depend on
                                  <part>.npy           (k, f) uint8 or float32, a row of NaN: refused
                                  <part>.json          the k SMILES of those rows

The key covers the recipe (model digest, versions of libraries, code); a part is named by its SMILES, so that
an interrupted run, or two at a time, do nothing twice and spoil nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from acml_search.core.errors import ConfigError

Features = npt.NDArray[np.float32]
Number = TypeVar("Number", bound=np.generic)
Columns = tuple[int, int] | None
"""first and one past the last of the columns that are wanted; None for all"""


class FeatureStore:
    """The kept features of one recipe. `folder` need not exist."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._at: dict[str, tuple[str, int]] = {}
        self._read: set[str] = set()

    @classmethod
    def of(cls, cache: Path, kind: str, recipe: Mapping[str, Any]) -> FeatureStore:
        """The store of a recipe, which is written beside the features as `about.json`."""
        text = json.dumps(recipe, sort_keys=True, indent=1)
        folder = cache / "features" / kind / hashlib.sha256(text.encode()).hexdigest()[:24]
        folder.mkdir(parents=True, exist_ok=True)
        _write_text(folder / "about.json", text + "\n")
        return cls(folder)

    def refresh(self) -> None:
        """Learn of the parts that were written since."""
        if not self.folder.is_dir():
            return
        for path in sorted(self.folder.glob("*.json")):
            if path.stem in self._read or path.name == "about.json":
                continue
            try:
                smiles = json.loads(path.read_text(encoding="utf-8"))
            except ValueError as error:
                raise ConfigError(f"{path}: kept features are damaged ({error}); remove the file") from error
            for row, text in enumerate(smiles):
                self._at.setdefault(text, (path.stem, row))
            self._read.add(path.stem)

    def missing(self, smiles: Sequence[str]) -> list[str]:
        """Those that have no features here, each once."""
        self.refresh()
        return [text for text in dict.fromkeys(smiles) if text not in self._at]

    def add(self, smiles: Sequence[str], features: npt.NDArray[Any]) -> None:
        """Keep the features (k, f) of k molecules; the list of SMILES comes last and makes the part whole."""
        name = hashlib.sha256("\n".join(smiles).encode()).hexdigest()[:24]
        writing = self.folder / f"{name}.{os.getpid()}.writing"
        with writing.open("wb") as file:
            np.save(file, features, allow_pickle=False)
        os.replace(writing, self.folder / f"{name}.npy")
        _write_text(self.folder / f"{name}.json", json.dumps(list(smiles), ensure_ascii=False))

    def take(self, smiles: Sequence[str], columns: Columns = None) -> Features:
        """(n, f) float32 in the order of `smiles`. Raises ConfigError for one that is not kept."""
        return self.take_as(np.float32, smiles, columns)

    def take_as(
        self, dtype: type[Number], smiles: Sequence[str], columns: Columns = None
    ) -> npt.NDArray[Number]:
        """(n, f) of `dtype` in the order of `smiles`. Raises ConfigError for one that is not kept."""
        if any(text not in self._at for text in smiles):
            self.refresh()
        absent = [text for text in smiles if text not in self._at]
        if absent:
            raise ConfigError(f"{self.folder}: no features are kept for {len(absent):,} molecules")
        places = [self._at[text] for text in smiles]
        rows_of: dict[str, list[int]] = {}
        for i, (part, _) in enumerate(places):
            rows_of.setdefault(part, []).append(i)
        out: npt.NDArray[Number] | None = None
        for part, here in rows_of.items():
            array = self._load(part)[:, slice(*columns or (None,))]
            if out is None:
                out = np.empty((len(smiles), array.shape[1]), dtype)
            out[here] = array[[places[i][1] for i in here]]
        return np.empty((0, 0), dtype) if out is None else out

    def _load(self, part: str) -> npt.NDArray[Any]:
        path = self.folder / f"{part}.npy"
        try:
            array: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise ConfigError(f"{path}: kept features cannot be read ({error}); remove the folder") from error
        return array


def _write_text(path: Path, text: str) -> None:
    writing = path.with_name(f"{path.name}.{os.getpid()}.writing")
    writing.write_text(text, encoding="utf-8")
    os.replace(writing, path)
