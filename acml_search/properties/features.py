"""What the graph encoder says of molecules, as features for a property: trunk and spaces, in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from acml_search.errors import ConfigError
from acml_search.progress import progress

if TYPE_CHECKING:
    from rdkit import Chem

    from acml_search.encoders.model import Model

TRUNK = "trunk"
_BATCH = 64


def names(model: Model, parts: Sequence[str] | None = None) -> list[str]:
    """The parts of an embedding, by default all: "trunk" and the model's spaces.

    Raises ConfigError for a part that the model does not have.
    """
    known = [TRUNK, *model.spaces]
    wanted = known if parts is None else list(parts)
    for part in wanted:
        if part not in known:
            raise ConfigError(f"the model {model.card.name} has no part {part!r}; it has {', '.join(known)}")
    return wanted


def embeddings(
    model: Model, mols: Sequence[Chem.Mol], parts: Sequence[str] | None = None
) -> npt.NDArray[np.float32]:
    """(n, D) float32: the pooled trunk and the vector in each space, side by side as `parts` names them.

    `mols`: standardised molecules as `chem.molecule.parse` gives them. Raises ConfigError for a part that the
    model does not have.
    """
    import torch

    from acml_search.chem.graph import collate
    from acml_search.modalities.blocks import TensorBatch

    wanted = names(model, parts)
    network = model.network
    widths = {TRUNK: network.trunk.width, **{name: space.d for name, space in model.spaces.items()}}
    out = np.empty((len(mols), sum(widths[part] for part in wanted)), np.float32)
    with torch.inference_mode():
        for start in progress(range(0, len(mols), _BATCH), desc="embedding", unit="batch"):
            graphs = [model.featurise(mol) for mol in mols[start : start + _BATCH]]
            batch = TensorBatch.of(collate(graphs))
            states = network.trunk.node_states(batch)
            pooled = network.trunk.pool(states, batch)
            column = 0
            for part in wanted:
                found = (
                    pooled
                    if part == TRUNK
                    else network.heads[part](states, pooled, batch, network.tower(part))
                )
                out[start : start + len(graphs), column : column + widths[part]] = found.numpy()
                column += widths[part]
    return out
