"""Which atoms a score comes from: gradient x input, and occlusion.

Both ask about the first-layer embedding of an atom, E (width,), which holds its element, degree, charge,
hydrogens and ring:

- gradient x input (Shrikumar et al. 2016; for graphs Pope et al. 2019): the sum of E * d score / d E, what
  the score would change by, were it linear, without the atom's features;
- occlusion (Zeiler and Fergus 2014): the score minus the score with this atom's E set to zero, its bonds
  still there.

Positive: the atom raises the score. Atoms do not add up to the score; neither method is a claim about
chemistry, only about what the network looks at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from acml_search.core.errors import ConfigError
from acml_search.interpret.score import BATCH, Score, embedded, evaluate

if TYPE_CHECKING:
    from torch import Tensor

    from acml_search.chem.graph import MolGraph
    from acml_search.encoders.model import Model

Floats = npt.NDArray[np.float64]


def attribute(model: Model, score: Score, graphs: Sequence[MolGraph], method: str) -> list[Floats]:
    """Per molecule (n atoms,) float64, in the score's unit. Raises ConfigError for an unknown method."""
    if method not in METHODS:
        raise ConfigError(f"there is no method {method!r}; there are {', '.join(METHODS)}")
    return METHODS[method](model, score, graphs)


def gradient(model: Model, score: Score, graphs: Sequence[MolGraph]) -> list[Floats]:
    """Gradient x input of every atom."""
    import torch

    from acml_search.chem.graph import collate
    from acml_search.networks import TensorBatch

    # Tables that towers keep from inference cannot take part in a gradient; they are made anew without it.
    model.network.eval()
    found: list[Floats] = []
    for start in range(0, len(graphs), BATCH):
        joined = collate(graphs[start : start + BATCH])
        batch = TensorBatch.of(joined)
        with torch.no_grad():
            score.of(model, batch)
        leaves: list[Tensor] = []

        def leaf(x: Tensor, leaves: list[Tensor] = leaves) -> Tensor:
            leaves.append(x.detach().requires_grad_())
            return leaves[0]

        with torch.enable_grad(), embedded(model, leaf):
            (slope,) = torch.autograd.grad(score.of(model, batch).sum(), leaves)
        atoms = (slope * leaves[0]).detach().sum(dim=1).double().numpy()
        found += np.split(atoms, joined.atom_offsets[1:-1])
    return found


def occlusion(model: Model, score: Score, graphs: Sequence[MolGraph]) -> list[Floats]:
    """Score minus score without the atom's features, of every atom."""
    whole = evaluate(model, score, graphs)
    repeated = [graph for graph in graphs for _ in range(len(graph.atoms))]
    masks = [mask for graph in graphs for mask in ~np.eye(len(graph.atoms), dtype=bool)]
    without = evaluate(model, score, repeated, masks)
    ends = np.cumsum([len(graph.atoms) for graph in graphs])[:-1]
    return [full - part for full, part in zip(whole, np.split(without, ends), strict=True)]


METHODS: dict[str, Callable[[Model, Score, Sequence[MolGraph]], list[Floats]]] = {
    "gradient": gradient,
    "occlusion": occlusion,
}
