"""Which environments are in a molecule: a third pooling of the trunk, with no learned parameter.

A sum over atoms blurs what a Morgan fingerprint keeps: that one environment is there. Here each atom's state
goes through seeded random Fourier features (Rahimi and Recht, NIPS 2007) before the sum, so that the inner
product of two molecules counts their pairs of like atoms, like meaning near in the trunk: a soft fingerprint.

It was taken up by folds of whole scaffolds, of MoleculeNet's molecules that stand in no test part, and so
were how near is near (0.1 rather than 0.3) and how many layers are read (a third brought nothing). Codebooks
by k-means and signs of random projections, tried on fewer sets, were better on some and worse on more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from acml_search.properties.reference import REFERENCE

if TYPE_CHECKING:
    from torch import Tensor

    from acml_search.encoders.model import Model
    from acml_search.networks import TensorBatch

NUMBER = 512
"""features of a layer"""
NEAR = 0.1
"""what squared distances are divided by, in the mean squared distance of two atoms"""
_SEED = 1
_known: WeakKeyDictionary[Any, Environments] = WeakKeyDictionary()


def layers_read(layers: int) -> list[int]:
    """Which of so many layers: the second, as far as Morgan's radius 2 sees, and the last."""
    return sorted({min(1, layers - 1), layers - 1})


@dataclass(frozen=True)
class Environments:
    """`directions`: of each layer read (width, NUMBER) float32; `phases`: (NUMBER,) float32 each."""

    layers: Sequence[int]
    directions: Sequence[Tensor]
    phases: Sequence[Tensor]

    def pool(self, states: Sequence[Tensor], batch: TensorBatch) -> Tensor:
        """(b, layers read * NUMBER) of every layer's node states: sums over atoms, over sqrt(n)."""
        import torch

        found = []
        for layer, direction, phase in zip(self.layers, self.directions, self.phases, strict=True):
            waves = torch.cos(states[layer] @ direction + phase)
            found.append(waves.new_zeros(len(batch.sizes), NUMBER).index_add(0, batch.graph_of, waves))
        summed = torch.cat(found, dim=1)
        return summed / batch.sizes.to(summed.dtype).sqrt().unsqueeze(1)


def environments_of(model: Model) -> Environments:
    """Those of a model, made when first asked for: trunks differ in the scale of their numbers, which is
    measured on REFERENCE.
    """
    import torch

    found = _known.get(model)
    if found is None:
        # whoever asks first may be in inference mode, whose tensors take no part in a later gradient
        with torch.inference_mode(False), torch.no_grad():
            found = _known[model] = _made(model)
    return found


def _made(model: Model) -> Environments:
    import torch

    from acml_search.chem.graph import collate
    from acml_search.chem.molecule import parse
    from acml_search.networks import TensorBatch

    graphs = [model.featurise(parse(text)[0]) for text in REFERENCE]
    states = model.network.trunk.node_states(TensorBatch.of(collate(graphs)))
    layers = layers_read(len(states))
    # RandomState's numbers are fixed for good, those of a Generator may change with numpy
    rng = np.random.RandomState(_SEED)
    directions, phases = [], []
    for layer in layers:
        spread = states[layer].std(dim=0, correction=0)
        spread = torch.where(spread > 1e-6, spread, torch.ones_like(spread))
        drawn = torch.from_numpy(rng.standard_normal((len(spread), NUMBER)).astype(np.float32))
        # of columns of spread 1 the mean squared distance is twice their number
        directions.append(drawn / spread.unsqueeze(1) / (NEAR * len(spread)) ** 0.5)
        phases.append(torch.from_numpy(rng.uniform(0, 2 * np.pi, NUMBER).astype(np.float32)))
    return Environments(layers, directions, phases)
