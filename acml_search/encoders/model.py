"""A trained model: one graph trunk, a projection per space, and the frozen towers it was taught to meet."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import torch
from rdkit import Chem
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from acml_search import modalities
from acml_search.chem.graph import ATOM_COLUMNS, N_BOND_CODES, MolGraph, collate, featurise
from acml_search.core.errors import CheckpointError, ConfigError
from acml_search.encoders.card import (
    CARD_FORMAT,
    DEFAULT_MODEL,
    ModelCard,
    Space,
    digest_of,
    missing_space,
    read_card,
)
from acml_search.networks import (
    GraphNet,
    Head,
    Kin,
    Memory,
    Projection,
    RememberingHead,
    TensorBatch,
    Undecided,
    averaged,
    tensors,
    width_of,
)
from acml_search.networks.memory import Laid

if TYPE_CHECKING:
    from acml_search.encoders.predict import Predicted

# Node states of small batches stay in the processor's cache: measured fastest at 32 to 128 molecules. What
# is made of whole molecules has small states and large weights, which each batch has to fetch anew.
BATCH = 64
GATHERED = 8 * BATCH


class Tower(nn.Module):
    """A frozen unimodal encoder and the projection into its space, beside which a memory may stand."""

    def __init__(
        self,
        modality: str,
        encoder: dict[str, Any],
        projection: dict[str, Any],
        memory: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.modality = modality
        self.encoder = modalities.get(modality).tower(**encoder)
        self.width = width_of(self.encoder)
        self.projection = Projection(self.width, **projection)
        self.memory = Memory(cast("Laid", self.encoder).n_lines, **memory) if memory else None

    def forward(self, batch: Any) -> Tensor:
        if isinstance(self.encoder, Undecided):
            features, records, shares = self.encoder.choices(batch)
            return F.normalize(averaged(self.projection(features), records, shares), dim=1)
        vectors: Tensor = self.projection(self.encoder(batch))
        if self.memory is None:
            return vectors
        return self.memory.beside(vectors, cast("Laid", self.encoder).lines(batch))


class Taken(NamedTuple):
    """What the graph side takes from b molecules while it has their atoms at hand."""

    pooled: Tensor
    """(b, trunk width) float32"""
    heads: dict[str, tuple[Tensor, ...]]
    """space -> what its `Head` takes"""


class DualEncoder(nn.Module):
    """All modules of a model, rebuilt from its hyper-parameters. A further one, `reads_stereo`, says whether
    configuration is part of the graphs (it is, unless that is false).

    `hyper`: `trunk` (width, hidden, layers) and `spaces`: name -> `head`, `encoder`, `projection`, and where
    there is one `memory` (that of `Memory`, and `hidden` of its `Kin`).
    """

    def __init__(self, hyper: dict[str, Any]) -> None:
        super().__init__()
        self.trunk = GraphNet(list(ATOM_COLUMNS.values()), N_BOND_CODES, **hyper["trunk"])
        self.heads = nn.ModuleDict()
        self.towers = nn.ModuleDict()
        for name, space in hyper["spaces"].items():
            memory = dict(space.get("memory") or {})
            hidden = memory.pop("hidden", 0)
            self.towers[name] = Tower(name, space["encoder"], space["projection"], memory)
            head = modalities.get(name).head(self.trunk, self.tower(name), **space["head"])
            if memory:
                head = RememberingHead(head, Kin(self.trunk.width, hidden, memory["d"]))
            self.heads[name] = head

    def tower(self, name: str) -> Tower:
        """The tower of one space."""
        return cast("Tower", self.towers[name])

    def graphs(self, batch: TensorBatch, spaces: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Graph side: one pass of the trunk, (b, d) unit vectors per space (all of them unless named)."""
        return self.made([self.taken(batch, spaces)])

    def taken(self, batch: TensorBatch, spaces: Sequence[str] | None = None) -> Taken:
        """The first step of `graphs`: the trunk, and what reads single atoms."""
        states = self.trunk.node_states(batch)
        pooled = self.trunk.pool(states, batch)
        names = self.heads if spaces is None else spaces
        return Taken(pooled, {name: self._head(name).taken(states, pooled, batch) for name in names})

    def made(self, taken: Sequence[Taken]) -> dict[str, Tensor]:
        """The second step, of what was taken from one batch or more: unit vectors per space, batch by
        batch.
        """
        pooled = torch.cat([one.pooled for one in taken])
        vectors = {}
        for name in taken[0].heads:
            joined = tuple(
                torch.cat(parts) for parts in zip(*(one.heads[name] for one in taken), strict=True)
            )
            vectors[name] = self._head(name).made(joined, pooled, self.tower(name))
        return vectors

    def _head(self, name: str) -> Head:
        return cast("Head", self.heads[name])


class Model:
    """A loaded checkpoint, for inference on one thread."""

    def __init__(self, card: ModelCard, network: DualEncoder) -> None:
        self.card = card
        self.network = network

    @property
    def spaces(self) -> dict[str, Space]:
        return self.card.spaces

    def encode_molecules(self, mols: Sequence[Chem.Mol]) -> dict[str, np.ndarray]:
        """Graph side of every space in one pass: name -> (n, d) float32 unit vectors.

        `mols` are standardised molecules as `chem.molecule.parse` gives them.
        """
        return self.encode_graphs([self.featurise(mol) for mol in mols])

    def featurise(self, mol: Chem.Mol) -> MolGraph:
        """The graph arrays that this model reads: with or without configuration."""
        return featurise(mol, stereo=self.card.data["hyper"].get("reads_stereo", True))

    @torch.inference_mode()
    def encode_graphs(
        self, graphs: Sequence[MolGraph], spaces: Sequence[str] | None = None
    ) -> dict[str, np.ndarray]:
        """As `encode_molecules`, from graph arrays; `spaces`: those wanted, instead of all."""
        wanted = list(self.spaces if spaces is None else spaces)
        out = {name: np.empty((len(graphs), self.spaces[name].d), np.float32) for name in wanted}
        for start in range(0, len(graphs), GATHERED):
            several = graphs[start : start + GATHERED]
            batches = (several[low : low + BATCH] for low in range(0, len(several), BATCH))
            taken = [self.network.taken(TensorBatch.of(collate(batch)), wanted) for batch in batches]
            for name, vectors in self.network.made(taken).items():
                out[name][start : start + len(vectors)] = vectors.numpy()
        return out

    def encode_records(self, modality: str, records: Sequence[Any]) -> np.ndarray:
        """Record side: (n, d) float32 unit vectors.

        Raises `ConfigError` when the model has no such space, `InvalidRecord` for a record that cannot be
        read.
        """
        reader = modalities.get(modality)
        return self.encode_items(modality, [reader.read(record) for record in records])

    @torch.inference_mode()
    def encode_items(self, modality: str, items: Sequence[Any]) -> np.ndarray:
        """As `encode_records`, of what the modality's `read` gave."""
        if modality not in self.spaces:
            raise ConfigError(missing_space(self.card, modality))
        reader, tower = modalities.get(modality), self.network.tower(modality)
        out = np.empty((len(items), self.spaces[modality].d), np.float32)
        for start in range(0, len(items), BATCH):
            vectors = tower(tensors(reader.collate(items[start : start + BATCH])))
            out[start : start + len(vectors)] = vectors.numpy()
        return out

    def predicts_peaks(self, modality: str) -> bool:
        """Whether the graph side of the space of `modality` predicts peaks."""
        from acml_search.encoders.predict import predicts_peaks

        return predicts_peaks(self, modality)

    def predicted_peaks(self, modality: str, graphs: Sequence[MolGraph]) -> list[Predicted]:
        """What each atom is predicted to show, one `Predicted` per graph of `featurise`."""
        from acml_search.encoders.predict import predicted_peaks

        return predicted_peaks(self, modality, graphs)


def load_model(name_or_dir: str | Path = DEFAULT_MODEL) -> Model:
    """Load a shipped model by name, or a model directory.

    Raises `CheckpointError` when weights are missing, damaged, or not those of the card.
    """
    card = read_card(name_or_dir)
    if not card.weights.exists():
        raise CheckpointError(
            card.weights, "the weights are missing; copy model.safetensors beside card.json"
        )
    if digest_of(card.weights, card.data["hyper"]) != card.digest:
        raise CheckpointError(
            card.weights, "the weights are damaged or not those of the card; copy the model again"
        )
    try:
        weights = load_file(card.weights)
        network = DualEncoder(card.data["hyper"])
        network.load_state_dict({name: value.float() for name, value in weights.items()}, strict=False)
        missing = set(network.state_dict()) - set(weights) - _counters(network)
        if missing:
            raise CheckpointError(card.weights, f"the weights lack {min(missing)}; this is another network")
    except (SafetensorError, KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(card.weights, f"the network cannot be rebuilt ({error})") from error
    network.eval()
    for module in network.modules():
        if isinstance(module, GraphNet):
            module.fold()
    return Model(card, network)


def save_model(
    directory: Path,
    name: str,
    network: DualEncoder,
    hyper: dict[str, Any],
    scales: dict[str, float],
    about: dict[str, Any],
    *,
    half: bool = False,
) -> ModelCard:
    """Write `model.safetensors` and `card.json`; `about` is everything a card says in words and figures.

    `half`: keep the weights as float16, half the size; they are computed with as float32 all the same.
    """
    directory.mkdir(parents=True, exist_ok=True)
    counters = _counters(network)
    weights = {k: v.detach().contiguous() for k, v in network.state_dict().items() if k not in counters}
    if half:
        weights = {k: v.half() if v.is_floating_point() else v for k, v in weights.items()}
    temporary = directory / "model.safetensors.writing"
    save_file(weights, temporary)
    os.replace(temporary, directory / "model.safetensors")
    card = {
        "format": CARD_FORMAT,
        "name": name,
        "digest": digest_of(directory / "model.safetensors", hyper),
        "spaces": {s: {"d": length_of(one), "scale": scales[s]} for s, one in hyper["spaces"].items()},
        "hyper": hyper,
        **about,
    }
    (directory / "card.json").write_text(
        json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    return read_card(directory)


def length_of(space: dict[str, Any]) -> int:
    """Length of a space's vectors, from its hyper-parameters."""
    return int(space["head"]["d"]) + int((space.get("memory") or {}).get("d", 0))


def _counters(network: nn.Module) -> set[str]:
    """Batch-normalisation counters: part of the state, of no meaning for inference."""
    return {name for name in network.state_dict() if name.endswith("num_batches_tracked")}
