"""`encode`: molecules to vectors, without an index."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from acml_search.chem.molecule import parse
from acml_search.core.errors import ConfigError, InvalidMolecule
from acml_search.encoders.card import DEFAULT_MODEL

if TYPE_CHECKING:
    from rdkit import Chem

BATCH = 4096  # molecules held at once


def encode(
    smiles_list: Iterable[str], model: Path | str = DEFAULT_MODEL
) -> dict[str, npt.NDArray[np.float32]]:
    """The graph tower's vectors of molecules, standardised as a library is.

    model: name or directory of a checkpoint.
    Returns for each space of the model a (n, d) float32 array of unit vectors; the similarity of two
    molecules is their inner product.

    Raises InvalidMolecule naming the row (0-based) that cannot be read, or CheckpointError.
    """
    if isinstance(smiles_list, str):
        raise ConfigError("encode takes a list of SMILES, not one; write encode([smiles])")
    from acml_search.encoders.model import load_model

    loaded = load_model(model)
    mols = _parsed(smiles_list)
    blocks = [loaded.encode_molecules([])]  # no molecules are (0, d), not an error
    while batch := list(islice(mols, BATCH)):
        blocks.append(loaded.encode_molecules(batch))
    return {name: np.concatenate([block[name] for block in blocks]) for name in loaded.spaces}


def _parsed(smiles_list: Iterable[str]) -> Iterator[Chem.Mol]:
    for row, smiles in enumerate(smiles_list):
        try:
            yield parse(smiles)[0]
        except InvalidMolecule as error:
            raise InvalidMolecule(error.reason, smiles=error.smiles, row=row) from error
