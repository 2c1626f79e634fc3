"""RDKit's 2-D descriptors of molecules, which a property head may read beside the embedding.

They know by formula what a graph network has to learn from examples, such as logP by Crippen's atom
contributions. A molecule unlike the training ones may have values a thousand times larger than any of
theirs, so each is kept in their range.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from acml_search.core.errors import CheckpointError
from acml_search.core.progress import progress

if TYPE_CHECKING:
    from rdkit import Chem

Features = npt.NDArray[np.float32]

_FILE = "descriptors.safetensors"
_CHUNK = 64


def descriptor_names() -> list[str]:
    """Those of the RDKit that is installed, in the order of the columns."""
    from rdkit.Chem import Descriptors

    return [name for name, _ in Descriptors.descList]


def descriptors(mols: Sequence[Chem.Mol]) -> Features:
    """(n, f) float32, all of RDKit's 2-D descriptors of standardised molecules; 0 where one is not
    defined.
    """
    from rdkit import rdBase
    from rdkit.Chem import Descriptors

    values = np.empty((len(mols), len(Descriptors.descList)), np.float64)
    with rdBase.BlockLogs(), progress(total=len(mols), desc="descriptors", unit="mol") as bar:
        for i, mol in enumerate(mols):
            found = Descriptors.CalcMolDescriptors(mol, missingVal=float("nan"), silent=True)
            values[i] = list(found.values())
            bar.update(1)
    largest = float(np.finfo(np.float32).max)
    # one that is not defined (a charge of an element without parameters) is no refusal of the molecule
    return np.nan_to_num(np.clip(values, -largest, largest), nan=0.0).astype(np.float32)


@dataclass(frozen=True)
class Bounded:
    """Descriptors kept in the range of the training molecules: `low`, `high` (f,) float32."""

    low: Features
    high: Features

    @classmethod
    def of(cls, train: Features) -> Bounded:
        """Learned from the training molecules' descriptors (n, f)."""
        return cls(train.min(axis=0), train.max(axis=0))

    def __call__(self, values: Features) -> Features:
        return np.clip(values, self.low, self.high)

    def save(self, directory: Path) -> None:
        from safetensors.numpy import save_file

        save_file({"low": self.low, "high": self.high}, directory / _FILE)

    @classmethod
    def load(cls, directory: Path, fitted: Sequence[str]) -> Bounded:
        """What `save` wrote. Raises CheckpointError where it is damaged, or the descriptors `fitted` are not
        those of this RDKit.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        if list(fitted) != descriptor_names():
            raise CheckpointError(
                directory,
                "it reads descriptors of another version of RDKit; fit it again with the one installed here",
            )
        try:
            found = load_file(directory / _FILE)
            return cls(found["low"], found["high"])
        except (OSError, KeyError, SafetensorError) as error:
            raise CheckpointError(
                directory / _FILE, f"it cannot be read ({error}); fit the model again"
            ) from error
