"""The descriptions of a molecule that are compared: spaces, trunk, Morgan bits, an untrained trunk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from acml_search.core.progress import progress
from acml_search.interpret.sample import Sample

if TYPE_CHECKING:
    from rdkit import Chem

    from acml_search.chem.graph import MolGraph
    from acml_search.encoders.model import Model
    from acml_search.networks import GraphNet

TRUNK, MORGAN, UNTRAINED = "trunk", "Morgan", "untrained"
MORGAN_BITS, MORGAN_RADIUS = 2_048, 2
_BLOCK = 64  # molecules at once, as `encoders.model.BATCH`

Floats = npt.NDArray[np.float32]


def views(sample: Sample, *, seed: int) -> dict[str, Floats]:
    """Name -> (n, f) float32, spaces first. Spaces come from the index where it keeps those of these weights,
    else from the model; `untrained` is the same trunk with weights drawn by `seed`.
    """
    model = sample.model
    graphs = [model.featurise(mol) for mol in sample.mols]
    missing = [name for name in model.spaces if name not in sample.stored]
    trunk, made = trunk_and_spaces(model, graphs, missing)
    found = {name: sample.stored[name] if name in sample.stored else made[name] for name in model.spaces}
    found[TRUNK] = trunk
    found[MORGAN] = morgan(sample.mols)
    found[UNTRAINED] = pooled(untrained(model, graphs, seed), graphs)
    return found


def trunk_and_spaces(
    model: Model, graphs: Sequence[MolGraph], spaces: Sequence[str]
) -> tuple[Floats, dict[str, Floats]]:
    """Pooled trunk (n, layers x width), and the graph vectors of `spaces`, in one pass of the trunk."""
    import torch

    from acml_search.chem.graph import collate
    from acml_search.networks import TensorBatch

    network = model.network
    pools: list[Floats] = []
    vectors: dict[str, list[Floats]] = {name: [] for name in spaces}
    with torch.inference_mode(), progress(total=len(graphs), desc="embedding", unit="mol") as bar:
        for start in range(0, len(graphs), _BLOCK):
            batch = TensorBatch.of(collate(graphs[start : start + _BLOCK]))
            states = network.trunk.node_states(batch)
            whole = network.trunk.pool(states, batch)
            pools.append(whole.numpy())
            for name in spaces:
                made = network.heads[name](states, whole, batch, network.tower(name))
                vectors[name].append(made.numpy())
            bar.update(len(whole))
    return np.concatenate(pools), {name: np.concatenate(parts) for name, parts in vectors.items()}


def pooled(trunk: GraphNet, graphs: Sequence[MolGraph]) -> Floats:
    """(n, layers x width) float32: what a trunk makes of molecules."""
    import torch

    from acml_search.chem.graph import collate
    from acml_search.networks import TensorBatch

    with torch.inference_mode():
        parts = [
            trunk(TensorBatch.of(collate(graphs[start : start + _BLOCK]))).numpy()
            for start in range(0, len(graphs), _BLOCK)
        ]
    return np.concatenate(parts)


def untrained(model: Model, graphs: Sequence[MolGraph], seed: int) -> GraphNet:
    """The model's trunk before any training: weights as torch draws them, from `seed`.

    Its normalisations are set to the mean and variance of `graphs` (no labels take part): with torch's 0 and
    1, the layers of a random network would drown in the size of the first, and the comparison be too easy.
    """
    import torch
    from torch import nn

    from acml_search.chem.graph import ATOM_COLUMNS, N_BOND_CODES, collate
    from acml_search.networks import GraphNet, TensorBatch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        trunk = GraphNet(list(ATOM_COLUMNS.values()), N_BOND_CODES, **model.card.data["hyper"]["trunk"])
    for module in trunk.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.momentum = None  # the plain mean over all batches
    trunk.train()
    with torch.no_grad():
        for start in range(0, len(graphs), 4 * _BLOCK):
            trunk(TensorBatch.of(collate(graphs[start : start + 4 * _BLOCK])))
    trunk.eval()
    trunk.fold()
    return trunk


def morgan(mols: Sequence[Chem.Mol]) -> Floats:
    """(n, 2048) float32 of 0 and 1: Morgan bits of radius 2 (Rogers and Hahn 2010), no chirality."""
    from rdkit.Chem import rdFingerprintGenerator

    generator = rdFingerprintGenerator.GetMorganGenerator(radius=MORGAN_RADIUS, fpSize=MORGAN_BITS)
    bits = np.empty((len(mols), MORGAN_BITS), np.float32)
    for i, mol in enumerate(mols):
        bits[i] = generator.GetFingerprintAsNumPy(mol)
    return bits


def scaffolds(mols: Sequence[Chem.Mol]) -> npt.NDArray[np.int64]:
    """(n,) the number of each molecule's Bemis-Murcko scaffold (1996). Each molecule without a ring has a
    number of its own: sharing "no scaffold" does not make two of them alike.
    """
    from rdkit.Chem.Scaffolds import MurckoScaffold

    numbers: dict[str, int] = {}
    found = []
    for i, mol in enumerate(mols):
        text = MurckoScaffold.MurckoScaffoldSmiles(mol=mol)
        found.append(numbers.setdefault(text or f"acyclic {i}", len(numbers)))
    return np.array(found, np.int64)
