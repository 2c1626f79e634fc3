"""What each atom of a molecule is predicted to show, by the node head of an NMR space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from acml_search.chem.graph import MolGraph, collate
from acml_search.encoders.card import missing_space
from acml_search.encoders.model import Model
from acml_search.errors import ConfigError
from acml_search.modalities.blocks import TensorBatch
from acml_search.modalities.blocks.shifts import ShiftHead

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
    head = model.network.heads[modality]
    if not isinstance(head, ShiftHead):
        raise ConfigError(f"the space {modality} of the model {model.card.name} predicts no peaks")
    found: list[Predicted] = []
    for start in range(0, len(graphs), _BATCH):
        joined = collate(graphs[start : start + _BATCH])
        batch = TensorBatch.of(joined)
        states = model.network.trunk.node_states(batch)
        peaks = head.peaks(states, model.network.trunk.pool(states, batch), batch)
        ends = np.searchsorted(peaks.graph_of.numpy(), np.arange(len(joined.atom_offsets)))
        atoms = peaks.atoms.numpy()
        values = [
            x.double().numpy() for x in (peaks.position, peaks.spread, torch.sigmoid(peaks.present.double()))
        ]
        for graph, first in enumerate(joined.atom_offsets[:-1].tolist()):
            mine = slice(int(ends[graph]), int(ends[graph + 1]))
            position, spread, present = (x[mine] for x in values)
            found.append(Predicted(atoms[mine] - first, position, spread, present))
    return found
