"""What each atom of a molecule is predicted to show, by the node head of an NMR space."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt
import torch

from acml_search.chem.graph import MolGraph, collate
from acml_search.core.errors import ConfigError
from acml_search.encoders.card import missing_space
from acml_search.encoders.model import BATCH, Model
from acml_search.networks import TensorBatch
from acml_search.networks.nmr import Peaks, ShiftHead

_BATCH = 32
"""molecules at once: the trunk takes 40 ms for a shortlist of 200 this way, 47 at 64, 59 all at once"""


class Predicted(NamedTuple):
    """The peaks of one molecule, one per atom of the nucleus (13C: carbons; 1H: atoms that carry
    hydrogen), in the order of its graph's atoms.
    """

    atoms: npt.NDArray[np.int64]
    """(p,) numbers of the atoms in the molecule's graph"""
    position: npt.NDArray[np.float64]
    """(p,) ppm; equivalent atoms have the same but for rounding"""
    spread: npt.NDArray[np.float64]
    """(p,) ppm, mean absolute error expected (scale of a Laplace distribution)"""
    present: npt.NDArray[np.float64]
    """(p,) probability that a measured spectrum lists the peak"""


def predicts_peaks(model: Model, modality: str) -> bool:
    """Has the model a space for `modality` whose graph side predicts peaks?"""
    return modality in model.spaces and isinstance(model.network.heads[modality], ShiftHead)


@torch.inference_mode()
def predicted_peaks(model: Model, modality: str, graphs: Sequence[MolGraph]) -> list[Predicted]:
    """One `Predicted` per graph, as `model.featurise` gives them.

    Raises `ConfigError` when the model has no such space, or one that predicts no peaks.
    """
    if modality not in model.spaces:
        raise ConfigError(missing_space(model.card, modality))
    return encode_and_predict(model, graphs, (), (modality,), batch=_BATCH).peaks[modality]


class Encoded(NamedTuple):
    """The graph side of n molecules, and what its NMR spaces predicted on the way."""

    vectors: dict[str, npt.NDArray[np.float32]]
    """space -> (n, d) unit vectors, those of `model.encode_graphs`"""
    peaks: dict[str, list[Predicted]]
    """space -> one per molecule"""


@torch.inference_mode()
def encode_and_predict(
    model: Model,
    graphs: Sequence[MolGraph],
    spaces: Sequence[str],
    predicted: Sequence[str],
    *,
    batch: int = BATCH,
) -> Encoded:
    """Graph vectors in `spaces`, and the peaks that those in `predicted` predict, one pass of the trunk for
    all, `batch` molecules at once.

    Raises `ConfigError` where a space of `predicted` predicts no peaks.
    """
    for name in predicted:
        if not predicts_peaks(model, name):
            raise ConfigError(f"the space {name} of the model {model.card.name} predicts no peaks")
    network = model.network
    vectors = {name: np.empty((len(graphs), model.spaces[name].d), np.float32) for name in spaces}
    found: dict[str, list[Predicted]] = {name: [] for name in predicted}
    for start in range(0, len(graphs), batch):
        joined = collate(graphs[start : start + batch])
        tensors = TensorBatch.of(joined)
        states = network.trunk.node_states(tensors)
        pooled = network.trunk.pool(states, tensors)
        for name in dict.fromkeys([*spaces, *predicted]):
            head, tower = network.heads[name], network.tower(name)
            if name in found:
                peaks = cast("ShiftHead", head).peaks(states, pooled, tensors)
                found[name] += _by_molecule(peaks, joined.atom_offsets)
                embedded = cast("ShiftHead", head).embed(peaks, pooled, tower) if name in vectors else None
            else:
                embedded = head(states, pooled, tensors, tower)
            if embedded is not None:
                vectors[name][start : start + len(embedded)] = embedded.numpy()
    return Encoded(vectors, found)


def _by_molecule(peaks: Peaks, offsets: npt.NDArray[np.int64]) -> Iterator[Predicted]:
    """The peaks of a batch apart; `offsets` (b + 1,): where each molecule's atoms begin, and the end."""
    ends = np.searchsorted(peaks.graph_of.numpy(), np.arange(len(offsets)))
    atoms = peaks.atoms.numpy()
    values = [
        x.double().numpy() for x in (peaks.position, peaks.spread, torch.sigmoid(peaks.present.double()))
    ]
    for graph, first in enumerate(offsets[:-1].tolist()):
        mine = slice(int(ends[graph]), int(ends[graph + 1]))
        position, spread, present = (x[mine] for x in values)
        yield Predicted(atoms[mine] - first, position, spread, present)
