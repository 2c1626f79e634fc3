"""Features of molecules for property heads: embeddings of the graph encoder, and RDKit's descriptors.

An embedding has parts, side by side: three poolings of the trunk's atom states and the vector in each space.

- `trunk`: the trunk's own sum over atoms;
- `maxima`: the largest value over atoms of each column;
- `environments`: which atom environments there are (`Environments`).

Retrieval has no use for the last two, but a property often depends on one group. They were chosen by scores
on valid parts of MoleculeNet and TDC, or inside their training parts, before any test part was scored.

Descriptors know by formula what a graph network has to learn from examples, such as logP by Crippen's atom
contributions. `DescriptorRange` clips them to the range of the training molecules, since a molecule unlike
these may have values a thousand times larger.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from acml_search.core.errors import ConfigError
from acml_search.core.progress import progress
from acml_search.core.typing import Float32s

if TYPE_CHECKING:
    from rdkit import Chem
    from torch import Tensor

    from acml_search.encoders.card import ModelCard
    from acml_search.encoders.checkpoint import Model
    from acml_search.networks import TensorBatch

TRUNK, MAXIMA, ENVIRONMENTS = "trunk", "maxima", "environments"
POOLED = (TRUNK, MAXIMA, ENVIRONMENTS)
"""parts that pool the trunk; the other parts are spaces"""
N_ENVIRONMENTS = 512
"""environment features of a layer"""
ENVIRONMENT_WIDTH = 0.1
"""of the Gaussian kernel: what squared distances of atoms are divided by, in their mean"""
_ENVIRONMENT_SEED = 1
_BATCH = 64


def part_names(model: Model, parts: Sequence[str] | None = None) -> list[str]:
    """`parts`, by default all of the model. Raises ConfigError for a part that it does not have."""
    known = [*POOLED, *model.networks]
    for part in parts or ():
        if part not in known:
            raise ConfigError(f"the model {model.card.name} has no part {part!r}; it has {', '.join(known)}")
    return known if parts is None else list(parts)


def part_of_columns(card: ModelCard, parts: Sequence[str] | None = None) -> npt.NDArray[np.str_]:
    """(D,) the part that each column of an embedding belongs to; `parts`: by default all of the model."""
    layers, width = (card.data["hyper"]["trunk"][name] for name in ("layers", "width"))
    widths = {name: card.learned(name) for name in card.spaces} | dict.fromkeys(POOLED, layers * width)
    widths[ENVIRONMENTS] = len(environment_layers(layers)) * N_ENVIRONMENTS
    names = [*POOLED, *card.networks] if parts is None else list(parts)
    return np.repeat(names, [widths[name] for name in names])


def embeddings(model: Model, mols: Sequence[Chem.Mol], parts: Sequence[str] | None = None) -> Float32s:
    """(n, D) float32: parts of each embedding side by side (default: all). Raises ConfigError."""
    import torch

    wanted = part_names(model, parts)
    out = np.empty((len(mols), len(part_of_columns(model.card, wanted))), np.float32)
    with torch.inference_mode():
        for start in progress(range(0, len(mols), _BATCH), desc="embedding", unit="batch"):
            graphs = [model.featurise(mol) for mol in mols[start : start + _BATCH]]
            parts_of_batch = embed_parts(model, model.graph_batch(graphs), wanted)
            out[start : start + len(graphs)] = torch.cat(parts_of_batch, dim=1).cpu().numpy()
    return out


def embeddings_by_part(model: Model, mols: Sequence[Chem.Mol], parts: Sequence[str]) -> dict[str, Float32s]:
    """Part -> (n, its width) float32, as `embeddings` has them side by side."""
    x, part_of = embeddings(model, mols, parts), part_of_columns(model.card, parts)
    return {part: np.ascontiguousarray(x[:, part_of == part]) for part in parts}


def embed_parts(model: Model, batch: TensorBatch, parts: Sequence[str]) -> list[Tensor]:
    """The parts of a batch of graphs, each (b, its width); with gradients where torch records them."""
    network = model.network
    states, pooled = network.trunk.states_and_pooled(batch)
    found = []
    for part in parts:
        if part == TRUNK:
            found.append(pooled)
        elif part == MAXIMA:
            found.append(max_pool(states, batch))
        elif part == ENVIRONMENTS:
            found.append(environments_of(model).pool(states, batch))
        else:
            found.append(network.head(part)(states, pooled, batch, network.tower(part)))
    return found


def max_pool(states: Sequence[Tensor], batch: TensorBatch) -> Tensor:
    """(b, layers * width): of each graph the largest value of every column of its atoms' states."""
    import torch

    stacked = torch.cat(list(states), dim=1)
    lowest = stacked.new_full((len(batch.ptr) - 1, stacked.shape[1]), float("-inf"))
    where = batch.batch.unsqueeze(1).expand_as(stacked)
    return lowest.scatter_reduce(0, where, stacked, "amax")


@dataclass(frozen=True)
class Environments:
    """A pooling of the trunk that counts atom environments, with no learned parameter.

    A sum over atoms blurs what a Morgan fingerprint keeps: that one environment is there. Here each atom's
    state goes through seeded random Fourier features (Rahimi and Recht, NIPS 2007) before the sum, so that
    the inner product of two molecules counts their pairs of like atoms: a soft fingerprint. It, its width
    (0.1 rather than 0.3) and the layers were chosen by scaffold folds of MoleculeNet's molecules that are in
    no test part; codebooks by k-means and signs of random projections were better on some sets and worse on
    more.

    `directions`: of each layer (width, N_ENVIRONMENTS) float32; `phases`: (N_ENVIRONMENTS,) float32 each.
    """

    layers: Sequence[int]
    directions: Sequence[Tensor]
    phases: Sequence[Tensor]

    def pool(self, states: Sequence[Tensor], batch: TensorBatch) -> Tensor:
        """(b, layers * N_ENVIRONMENTS) of every layer's atom states: sums over atoms, over sqrt(n)."""
        import torch

        sums = []
        for layer, direction, phase in zip(self.layers, self.directions, self.phases, strict=True):
            waves = torch.cos(states[layer] @ direction.to(states[layer]) + phase.to(states[layer]))
            sums.append(waves.new_zeros(len(batch.ptr) - 1, N_ENVIRONMENTS).index_add(0, batch.batch, waves))
        summed = torch.cat(sums, dim=1)
        return summed / batch.ptr.diff().to(summed.dtype).sqrt().unsqueeze(1)


_environments: WeakKeyDictionary[Any, Environments] = WeakKeyDictionary()


def environments_of(model: Model) -> Environments:
    """The environment pooling of a model, made once: trunks differ in the scale of their states, which is
    measured on the molecules of `reference.smi`.
    """
    import torch

    from acml_search.chem.molecule import parse

    if model in _environments:
        return _environments[model]
    # a caller may be in inference mode, whose tensors take no part in a later gradient
    with torch.inference_mode(False), torch.no_grad():
        graphs = [model.featurise(parse(smiles)[0]) for smiles in reference_smiles()]
        states = model.network.trunk.node_states(model.graph_batch(graphs))
        layers = environment_layers(len(states))
        # RandomState's numbers are fixed for good, those of a Generator may change with numpy
        rng = np.random.RandomState(_ENVIRONMENT_SEED)
        directions, phases = [], []
        for layer in layers:
            spread = states[layer].std(dim=0, correction=0).cpu()
            spread = torch.where(spread > 1e-6, spread, torch.ones_like(spread))
            drawn = torch.from_numpy(rng.standard_normal((len(spread), N_ENVIRONMENTS)).astype(np.float32))
            # the mean squared distance of columns of spread 1 is twice their number
            directions.append(drawn / spread.unsqueeze(1) / (ENVIRONMENT_WIDTH * len(spread)) ** 0.5)
            phases.append(torch.from_numpy(rng.uniform(0, 2 * np.pi, N_ENVIRONMENTS).astype(np.float32)))
    return _environments.setdefault(model, Environments(layers, directions, phases))


def reference_smiles() -> list[str]:
    """128 screening compounds and NCI compounds, drawn at random from those that come with RDKit. A saved
    property model depends on them: they never change.
    """
    text = files("acml_search.properties").joinpath("reference.smi").read_text(encoding="utf-8")
    return text.split()


def environment_layers(layers: int) -> list[int]:
    """Which of so many layers are read: the second, which sees as far as Morgan's radius 2, and the last."""
    return sorted({min(1, layers - 1), layers - 1})


def descriptor_names() -> list[str]:
    """Names of RDKit's 2-D descriptors, in the order of the columns."""
    from rdkit.Chem import Descriptors

    return [name for name, _ in Descriptors.descList]


def descriptors(mols: Sequence[Chem.Mol]) -> Float32s:
    """(n, f) float32, all of RDKit's 2-D descriptors of standardised molecules; 0 where one is not defined,
    such as a charge of an element without parameters.
    """
    from rdkit import rdBase
    from rdkit.Chem import Descriptors

    values = np.empty((len(mols), len(Descriptors.descList)), np.float64)
    with rdBase.BlockLogs():
        for i, mol in enumerate(progress(mols, desc="descriptors", unit="mol")):
            values[i] = list(Descriptors.CalcMolDescriptors(mol, missingVal=np.nan, silent=True).values())
    largest = float(np.finfo(np.float32).max)
    return np.nan_to_num(np.clip(values, -largest, largest), nan=0.0).astype(np.float32)


class DescriptorRange(NamedTuple):
    """Smallest and largest descriptors of the training molecules, `low` and `high` (f,) float32."""

    low: Float32s
    high: Float32s

    @classmethod
    def of(cls, train: Float32s) -> DescriptorRange:
        return cls(train.min(axis=0), train.max(axis=0))

    def clip(self, values: Float32s) -> Float32s:
        return np.clip(values, self.low, self.high)
