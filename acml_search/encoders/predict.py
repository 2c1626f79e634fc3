"""What each atom of a molecule is predicted to show, by the node head of an NMR space."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, cast

import torch

from acml_search.chem.graph import MolGraph
from acml_search.core.errors import ConfigError
from acml_search.core.typing import Float32s
from acml_search.encoders.card import missing_space
from acml_search.encoders.checkpoint import Model
from acml_search.encoders.shifts import Predicted
from acml_search.networks.nmr import Peaks, ShiftHead

_BATCH = 32
"""molecules at once: the trunk takes 40 ms for a shortlist of 200 this way, 47 at 64, 59 all at once"""


class Encoded(NamedTuple):
    """The graph side of n molecules, and the peaks that its NMR spaces predict."""

    vectors: dict[str, Float32s]
    """space -> (n, d) unit vectors, those of `model.encode_graphs`"""
    peaks: dict[str, list[Predicted]]
    """space -> one per molecule"""


def predicts_peaks(model: Model, modality: str) -> bool:
    """Has the model a space for `modality` whose graph side predicts peaks?"""
    return modality in model.spaces and isinstance(model.network.head(modality), ShiftHead)


def predicted_peaks(model: Model, modality: str, graphs: Sequence[MolGraph]) -> list[Predicted]:
    """One `Predicted` per graph, as `model.featurise` gives them.

    Raises `ConfigError` when the model has no such space, or one that predicts no peaks.
    """
    if modality not in model.spaces:
        raise ConfigError(missing_space(model.card, modality))
    return encode_and_predict(model, graphs, (), (modality,), batch=_BATCH).peaks[modality]


@torch.inference_mode()
def encode_and_predict(
    model: Model,
    graphs: Sequence[MolGraph],
    spaces: Sequence[str],
    predicted: Sequence[str],
    *,
    batch: int | None = None,
) -> Encoded:
    """Graph vectors in `spaces`, and the peaks that the spaces `predicted` predict, in one pass of the trunk
    for all, `batch` molecules at once (default: `model.batch_size`).

    Raises `ConfigError` where a space of `predicted` predicts no peaks.
    """
    for name in predicted:
        if not predicts_peaks(model, name):
            raise ConfigError(f"the space {name} of the model {model.card.name} predicts no peaks")
    batch = batch or model.batch_size
    parts: dict[str, list[torch.Tensor]] = {name: [] for name in spaces}
    peaks: dict[str, list[Predicted]] = {name: [] for name in predicted}
    for start in range(0, len(graphs), batch):
        tensors = model.graph_batch(graphs[start : start + batch])
        states, pooled = model.network.trunk.states_and_pooled(tensors)
        for name in dict.fromkeys([*spaces, *predicted]):
            head, tower = model.network.head(name), model.network.tower(name)
            if name in peaks:
                found = cast("ShiftHead", head).peaks(states, pooled, tensors)
                peaks[name] += _by_molecule(found, tensors.ptr)
                if name in parts:
                    parts[name].append(cast("ShiftHead", head).embed(found, pooled, tower))
            else:
                parts[name].append(head(states, pooled, tensors, tower))
    empty = {name: torch.zeros(0, model.spaces[name].d) for name in spaces}
    vectors = {
        name: torch.cat(several or [empty[name]]).float().cpu().numpy() for name, several in parts.items()
    }
    return Encoded(vectors, peaks)


def _by_molecule(peaks: Peaks, ptr: torch.Tensor) -> Iterator[Predicted]:
    """The peaks of each molecule of a batch; `ptr` (b + 1,): first atom of each molecule, then all."""
    ends = torch.searchsorted(peaks.graph_of, torch.arange(len(ptr), device=ptr.device)).tolist()
    atoms, first = peaks.atoms.cpu().numpy(), ptr.tolist()
    position, spread, present = (x.cpu().double() for x in (peaks.position, peaks.spread, peaks.present))
    arrays = position.numpy(), spread.numpy(), torch.sigmoid(present).numpy()
    for graph in range(len(ptr) - 1):
        mine = slice(ends[graph], ends[graph + 1])
        yield Predicted(atoms[mine] - first[graph], *(values[mine] for values in arrays))
