"""What the graph encoder says of molecules, as features for a property: trunk and spaces, in one pass.

The trunk is pooled three times: its own sum over atoms, the greatest value over atoms of each of its numbers,
and which environments there are (environments.py). Retrieval has no use for the last two, but a property
often hangs on one group being there. They were taken up by scores on valid parts of MoleculeNet and TDC, or
inside their training parts, before any test part was asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from acml_search.core.errors import ConfigError
from acml_search.core.progress import progress
from acml_search.properties.environments import NUMBER, environments_of, layers_read

if TYPE_CHECKING:
    from rdkit import Chem
    from torch import Tensor

    from acml_search.encoders.model import Model
    from acml_search.networks import TensorBatch

TRUNK, MAXIMA, ENVIRONMENTS = "trunk", "maxima", "environments"
POOLED = (TRUNK, MAXIMA, ENVIRONMENTS)
"""what is read from the trunk; the other parts of an embedding are spaces"""
_BATCH = 64


def names(model: Model, parts: Sequence[str] | None = None) -> list[str]:
    """The parts of an embedding, by default all: "trunk", "maxima", "environments" and the model's spaces.

    Raises ConfigError for a part that the model does not have.
    """
    known = [*POOLED, *model.spaces]
    wanted = known if parts is None else list(parts)
    for part in wanted:
        if part not in known:
            raise ConfigError(f"the model {model.card.name} has no part {part!r}; it has {', '.join(known)}")
    return wanted


def width_of(part: str, layers: int, width: int, spaces: Mapping[str, int]) -> int:
    """Columns of a part: of the trunk `layers` x `width`, of a space its dimensions."""
    if part == ENVIRONMENTS:
        return len(layers_read(layers)) * NUMBER
    return layers * width if part in POOLED else spaces[part]


def maxima(states: Sequence[Tensor], batch: TensorBatch) -> Tensor:
    """(b, layers * width): of each graph the greatest value of every column of its nodes' states."""
    import torch

    stacked = torch.cat(list(states), dim=1)
    lowest = stacked.new_full((len(batch.sizes), stacked.shape[1]), float("-inf"))
    where = batch.graph_of.unsqueeze(1).expand_as(stacked)
    return lowest.scatter_reduce(0, where, stacked, "amax")


def parts_of(model: Model, batch: TensorBatch, wanted: Sequence[str]) -> list[Tensor]:
    """The parts `wanted` of a batch of graphs, each (b, its width); with gradients where torch keeps them."""
    network = model.network
    states = network.trunk.node_states(batch)
    pooled = network.trunk.pool(states, batch)
    pools = {
        TRUNK: lambda: pooled,
        MAXIMA: lambda: maxima(states, batch),
        ENVIRONMENTS: lambda: environments_of(model).pool(states, batch),
    }
    return [
        pools[part]() if part in pools else network.heads[part](states, pooled, batch, network.tower(part))
        for part in wanted
    ]


def embeddings(
    model: Model, mols: Sequence[Chem.Mol], parts: Sequence[str] | None = None
) -> npt.NDArray[np.float32]:
    """(n, D) float32: the trunk, its maxima, its environments and the vector in each space, side by side as
    `parts` names them.

    `mols`: standardised molecules as `chem.molecule.parse` gives them. Raises ConfigError for a part that the
    model does not have.
    """
    import torch

    from acml_search.chem.graph import collate
    from acml_search.networks import TensorBatch

    wanted = names(model, parts)
    trunk = model.card.data["hyper"]["trunk"]
    spaces = {name: space.d for name, space in model.spaces.items()}
    widths = [width_of(part, trunk["layers"], trunk["width"], spaces) for part in wanted]
    out = np.empty((len(mols), sum(widths)), np.float32)
    with torch.inference_mode():
        for start in progress(range(0, len(mols), _BATCH), desc="embedding", unit="batch"):
            graphs = [model.featurise(mol) for mol in mols[start : start + _BATCH]]
            found = parts_of(model, TensorBatch.of(collate(graphs)), wanted)
            out[start : start + len(graphs)] = torch.cat(found, dim=1).numpy()
    return out
