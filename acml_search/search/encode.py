"""`encode`: molecules to vectors, without an index."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

from acml_search.chem.molecule import parse
from acml_search.core.errors import ConfigError, InvalidMolecule
from acml_search.encoders.card import DEFAULT_MODEL

if TYPE_CHECKING:
    from rdkit import Chem
    from torch_geometric.data import Data

BATCH = 4096  # molecules held at once


def encode(
    molecules: Iterable[str | Chem.Mol] | Data | Sequence[Data],
    model: Path | str = DEFAULT_MODEL,
    *,
    device: str = "auto",
) -> dict[str, npt.NDArray[np.float32]]:
    """The graph encoder's vectors of molecules, standardised as a library is.

    molecules: SMILES, InChI, mol blocks or RDKit molecules, or graphs of `acml_search.to_pyg` (a
    torch_geometric `Data`, `Batch`, or a list). model: name or directory of a checkpoint. device: auto (CUDA
    where there is one), cpu, cuda or mps.
    Returns for each space of the model a (n, d) float32 array of unit vectors; the similarity of two
    molecules is their inner product. In spaces that compare configuration the last columns are that: 0
    where none is stated, or a graph is given, and else what makes such a vector longer than 1.

    Raises InvalidMolecule naming the row (0-based) that cannot be read, CheckpointError, or ConfigError.
    """
    if isinstance(molecules, str):
        raise ConfigError("encode takes a list of SMILES, not one; write encode([smiles])")
    from acml_search.encoders.checkpoint import load_model

    loaded = load_model(model, device)
    first = molecules[0] if isinstance(molecules, Sequence) and molecules else molecules
    if hasattr(first, "edge_index"):
        from acml_search.networks.pyg import graphs_of

        return loaded.encode_graphs(graphs_of(cast("Data", molecules)))
    mols = _parsed(cast("Iterable[str | Chem.Mol]", molecules))
    blocks = [loaded.encode_molecules([])]  # no molecules are (0, d), not an error
    while batch := list(islice(mols, BATCH)):
        blocks.append(loaded.encode_molecules(batch))
    return {name: np.concatenate([block[name] for block in blocks]) for name in loaded.spaces}


def _parsed(structures: Iterable[str | Chem.Mol]) -> Iterator[Chem.Mol]:
    for row, structure in enumerate(structures):
        try:
            yield parse(structure)[0]
        except InvalidMolecule as error:
            raise InvalidMolecule(error.reason, smiles=error.smiles, row=row) from error
