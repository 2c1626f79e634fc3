"""A trained model: one graph trunk, a projection per space, and the frozen encoders it was aligned with."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from rdkit import Chem
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from acml_search import modalities
from acml_search.chem.configuration import configuration, joined
from acml_search.chem.graph import (
    ATOM_COLUMNS,
    N_BOND_CODES,
    GraphBatch,
    MolGraph,
    collate,
    featurise,
    flatten,
)
from acml_search.core.errors import CheckpointError, ConfigError
from acml_search.core.io import atomic
from acml_search.core.timing import step
from acml_search.core.typing import Float32s
from acml_search.encoders.card import (
    CARD_FORMAT,
    DEFAULT_MODEL,
    ModelCard,
    Space,
    checked_weights,
    digest_of,
    missing_space,
    read_card,
)
from acml_search.encoders.shifts import Environments, Predicted, by_molecule, tables_of
from acml_search.modalities.base import sources
from acml_search.networks import (
    GraphNet,
    Head,
    KNNMemory,
    MemoryAugmentedHead,
    MixtureEncoder,
    Projection,
    SimilarityHead,
    TensorBatch,
    current_names,
    tensors,
    weighted_mean,
    width_of,
)
from acml_search.networks.memory import BinnedSpectrum
from acml_search.networks.nmr import Peaks, ShiftHead

DEVICES = ("auto", "cpu", "cuda", "mps")

# Node states of small batches stay in the processor's cache: measured fastest at 32 to 128 molecules. The
# graph stage has small states and large weights, which each batch has to fetch anew.
BATCH = 64
GRAPH_STAGE_BATCH = 8 * BATCH
GPU_BATCH = 4096
PREDICTED_BATCH = 32  # a shortlist of 200 takes 40 ms this way, 47 at 64, 59 all at once


class Tower(nn.Module):
    """A frozen unimodal encoder and the projection into its space, with or without a kNN memory."""

    def __init__(
        self,
        modality: str,
        encoder: dict[str, Any],
        projection: dict[str, Any],
        memory: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.modality = modality
        self.encoder = modalities.get(modality).encoder(**encoder)
        self.width = width_of(self.encoder)
        self.projection = Projection(self.width, **projection)
        self.memory = KNNMemory(cast("BinnedSpectrum", self.encoder).n_bins, **memory) if memory else None

    def forward(self, batch: Any) -> Tensor:
        if isinstance(self.encoder, MixtureEncoder):
            features, records, probabilities = self.encoder.hypotheses(batch)
            return F.normalize(weighted_mean(self.projection(features), records, probabilities), dim=1)
        vectors: Tensor = self.projection(self.encoder(batch))
        if self.memory is None:
            return vectors
        return self.memory.concat(vectors, cast("BinnedSpectrum", self.encoder).binned(batch))


class TrunkOutput(NamedTuple):
    """The node stage of b molecules."""

    pooled: Tensor
    """(b, trunk width)"""
    heads: dict[str, tuple[Tensor, ...]]
    """space -> what the `node_stage` of its `Head` returned"""


class DualEncoder(nn.Module):
    """All modules of a model, built from its hyper-parameters.

    config: `trunk` (width, hidden, layers) and `spaces`: name -> `head`, `encoder`, `projection`, and where
    there is one `memory` (that of `KNNMemory`, and `hidden` of its `SimilarityHead`).
    """

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.trunk = GraphNet(list(ATOM_COLUMNS.values()), N_BOND_CODES, **config["trunk"])
        self.heads = nn.ModuleDict()
        self.towers = nn.ModuleDict()
        for name, space in config["spaces"].items():
            memory = dict(space.get("memory") or {})
            hidden = memory.pop("hidden", 0)
            self.towers[name] = Tower(name, space["encoder"], space["projection"], memory)
            head = modalities.get(name).head(self.trunk, self.tower(name), **space["head"])
            if memory:
                head = MemoryAugmentedHead(head, SimilarityHead(self.trunk.width, hidden, memory["d"]))
            self.heads[name] = head

    def tower(self, name: str) -> Tower:
        """The tower of one space."""
        return cast("Tower", self.towers[name])

    def head(self, name: str) -> Head:
        """The graph side of one space."""
        return cast("Head", self.heads[name])

    def graphs(self, batch: Any, spaces: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Graph side: one pass of the trunk over a `TensorBatch` or torch_geometric's `Batch`, (b, d) unit
        vectors per space (all of them unless named)."""
        return self.graph_stage([self.node_stage(batch, spaces)])

    def node_stage(self, batch: Any, spaces: Sequence[str] | None = None) -> TrunkOutput:
        """The first stage of `graphs`: the trunk, and what reads single atoms."""
        states, pooled = self.trunk.states_and_pooled(batch)
        names = self.heads if spaces is None else spaces
        return TrunkOutput(
            pooled, {name: self.head(name).node_stage(states, pooled, batch) for name in names}
        )

    def graph_stage(self, outputs: Sequence[TrunkOutput]) -> dict[str, Tensor]:
        """The second stage, of one batch or more: unit vectors per space, batch after batch."""
        pooled = torch.cat([one.pooled for one in outputs])
        vectors = {}
        for name in outputs[0].heads:
            nodes = tuple(
                torch.cat(parts) for parts in zip(*(one.heads[name] for one in outputs), strict=True)
            )
            vectors[name] = self.head(name).graph_stage(nodes, pooled, self.tower(name))
        return vectors


class Encoded(NamedTuple):
    """The graph side of n molecules, and the peaks that its NMR spaces predict."""

    vectors: dict[str, Float32s]
    """space -> (n, d) unit vectors, those of `Model.encode_graphs`"""
    peaks: dict[str, list[Predicted]]
    """space -> one per molecule"""


class Model:
    """A loaded checkpoint, for inference. Inputs go to the device and the precision of `network`, wherever
    that was moved; vectors come back as float32 arrays."""

    def __init__(self, card: ModelCard, network: DualEncoder) -> None:
        self.card = card
        self.network = network
        self.environments = tables_of(card, list(network.heads))

    @property
    def spaces(self) -> dict[str, Space]:
        """Those that were loaded, of the card's."""
        heads = self.network.heads
        return {
            name: space
            for name, space in self.card.spaces.items()
            if all(one in heads for one in sources(name))
        }

    @property
    def networks(self) -> dict[str, Space]:
        """Those that were loaded and have a network."""
        return {name: space for name, space in self.spaces.items() if name in self.network.heads}

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.network.trunk.offsets.device

    @property
    def batch_size(self) -> int:
        """Molecules or records at once where speed decides."""
        return BATCH if self.device.type == "cpu" else GPU_BATCH

    def featurise(self, mol: Chem.Mol) -> MolGraph:
        """The graph arrays that this model reads: with or without configuration."""
        stereo = self.card.data["hyper"].get("reads_stereo", True)
        graph = featurise(mol, stereo=stereo)
        if any(map(self.card.configuration, self.card.spaces)):
            return graph._replace(configuration=configuration(mol, flatten(graph) if stereo else graph))
        return graph

    def _joined(self, space: str, vectors: Float32s, stated: Sequence[Float32s | None]) -> Float32s:
        """Learned vectors (n, d) of a space, with configurations where it compares them."""
        weight = self.card.configuration(space)
        return vectors if weight is None else joined(vectors, stated, weight)

    def graph_batch(self, graphs: Sequence[MolGraph]) -> TensorBatch:
        """Graphs as one batch on the network's device."""
        return TensorBatch.of(collate(graphs), self.device)

    def encode_molecules(self, mols: Sequence[Chem.Mol]) -> dict[str, Float32s]:
        """Graph side of every space in one pass: name -> (n, d) float32 unit vectors.

        mols: standardised molecules as `chem.molecule.parse` gives them.
        """
        return self.encode_graphs([self.featurise(mol) for mol in mols])

    @torch.inference_mode()
    def encode_graphs(
        self, graphs: Sequence[MolGraph], spaces: Sequence[str] | None = None
    ) -> dict[str, Float32s]:
        """As `encode_molecules`, from graph arrays; `spaces`: those wanted, instead of all."""
        wanted = list(self.spaces if spaces is None else spaces)
        if any(modalities.get(name).made_of for name in wanted):
            return self.encode_and_predict(graphs, wanted, ()).vectors
        out = {name: np.empty((len(graphs), self.card.learned(name)), np.float32) for name in wanted}
        batch = self.batch_size
        gathered = max(GRAPH_STAGE_BATCH, batch)
        for start in range(0, len(graphs), gathered):
            several = graphs[start : start + gathered]
            outputs = [
                self.network.node_stage(self.graph_batch(several[low : low + batch]), wanted)
                for low in range(0, len(several), batch)
            ]
            for name, vectors in self.network.graph_stage(outputs).items():
                out[name][start : start + len(vectors)] = vectors.cpu().numpy()
        stated = [one.configuration for one in graphs]
        return {name: self._joined(name, vectors, stated) for name, vectors in out.items()}

    def encode_records(self, modality: str, records: Sequence[Any]) -> Float32s:
        """Record side: (n, d) float32 unit vectors.

        Raises `ConfigError` when the model has no such space, `InvalidRecord` for a record that cannot be
        read.
        """
        reader = modalities.get(modality)
        return self.encode_items(modality, [reader.read(record) for record in records])

    @torch.inference_mode()
    def encode_items(self, modality: str, items: Sequence[Any]) -> Float32s:
        """As `encode_records`, of what the modality's `read` returned."""
        if modality not in self.spaces:
            raise ConfigError(missing_space(self.card, modality))
        reader = modalities.get(modality)
        if reader.made_of:
            return reader.embed(items, self.card.features(modality))
        tower = self.network.tower(modality)
        out, batch = np.empty((len(items), self.spaces[modality].d), np.float32), self.batch_size
        for start in range(0, len(items), batch):
            some = items[start : start + batch]
            vectors = tower(tensors(reader.collate(some), like=tower)).cpu().numpy()
            if self.card.configuration(modality) is not None:
                vectors = self._joined(modality, vectors, reader.configurations(tower.encoder, some))
            out[start : start + len(vectors)] = vectors
        return out

    def predicts_peaks(self, modality: str) -> bool:
        """Whether the graph side of the space of `modality` predicts peaks."""
        return modality in self.spaces and isinstance(self.network.head(modality), ShiftHead)

    def predicted_peaks(self, modality: str, graphs: Sequence[MolGraph]) -> list[Predicted]:
        """The peak that each atom is predicted to show, one `Predicted` per graph of `featurise`.

        Raises `ConfigError` when the model has no such space, or one that predicts no peaks.
        """
        if modality not in self.spaces:
            raise ConfigError(missing_space(self.card, modality))
        return self.encode_and_predict(graphs, (), (modality,), batch=PREDICTED_BATCH).peaks[modality]

    @torch.inference_mode()
    def encode_and_predict(
        self,
        graphs: Sequence[MolGraph],
        spaces: Sequence[str],
        predicted: Sequence[str],
        *,
        batch: int | None = None,
    ) -> Encoded:
        """Graph vectors in `spaces`, and the peaks that the spaces `predicted` predict, in one pass of the
        trunk for all, `batch` molecules at once (default: `batch_size`).

        Raises `ConfigError` where a space of `predicted` predicts no peaks.
        """
        for name in predicted:
            if not self.predicts_peaks(name):
                raise ConfigError(f"the space {name} of the model {self.card.name} predicts no peaks")
        batch = batch or self.batch_size
        parts = {name: [np.zeros((0, self.card.learned(name)), np.float32)] for name in spaces}
        made = {name: kind for name in spaces if (kind := modalities.get(name)).made_of}
        own = [name for name in spaces if name not in made]
        needed = [*predicted, *(source for kind in made.values() for source in kind.made_of)]
        peaks: dict[str, list[Predicted]] = {name: [] for name in needed}
        for start in range(0, len(graphs), batch):
            step()
            arrays = collate(graphs[start : start + batch])
            tensors = TensorBatch.of(arrays, self.device)
            states, pooled = self.network.trunk.states_and_pooled(tensors)
            for name in dict.fromkeys([*own, *needed]):
                head, tower = self.network.head(name), self.network.tower(name)
                if name in peaks:
                    found = cast("ShiftHead", head).peaks(states, pooled, tensors)
                    peaks[name] += _by_molecule(found, arrays, self.environments.get(name))
                    vectors = cast("ShiftHead", head).embed(found, pooled, tower) if name in parts else None
                else:
                    vectors = head(states, pooled, tensors, tower)
                if vectors is not None:
                    parts[name].append(vectors.float().cpu().numpy())
            for name, kind in made.items():
                here = {source: peaks[source][start:] for source in kind.made_of}
                parts[name].append(kind.embed_predicted(here, self.card.features(name)))
        stated = [one.configuration for one in graphs]
        vectors_of = {
            name: self._joined(name, np.concatenate(several), stated) for name, several in parts.items()
        }
        return Encoded(vectors_of, {name: peaks[name] for name in predicted})


def _by_molecule(peaks: Peaks, batch: GraphBatch, table: Environments | None) -> Iterator[Predicted]:
    """The peaks of each molecule of a batch, corrected by what a table knows of their environments."""
    atoms = peaks.atoms.cpu().numpy()
    position, spread, present = (x.cpu().double() for x in (peaks.position, peaks.spread, peaks.present))
    arrays = position.numpy(), spread.numpy(), torch.sigmoid(present).numpy()
    return by_molecule(batch, atoms, arrays, table)


def device_of(name: str) -> torch.device:
    """The device called `name`, one of `DEVICES`; auto: CUDA where there is one, else the CPU.

    MPS needs the environment variable PYTORCH_ENABLE_MPS_FALLBACK=1 where torch lacks an operation for it.

    Raises `ConfigError` for another name, or a device that this machine lacks.
    """
    if name not in DEVICES:
        raise ConfigError(f"unknown device {name!r}; known are {', '.join(DEVICES)}")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    elif name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("this machine or this build of torch has no CUDA device; use --device cpu")
    elif name == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("this machine or this build of torch has no MPS device; use --device cpu")
    return torch.device(name)


class _WithoutInit(TorchFunctionMode):
    """No weights are drawn at random, as the checkpoint has them all."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == nn.init.__name__:
            return kwargs.get("tensor", args[0] if args else None)
        return func(*args, **kwargs)


def load_model(
    name_or_dir: str | Path | ModelCard = DEFAULT_MODEL,
    device: str = "cpu",
    *,
    spaces: Collection[str] | None = None,
) -> Model:
    """Load a shipped or installed model by name, a model directory, or the model of a card.

    spaces: load these alone, which takes a fraction of the time. device: see `device_of`. A single question
    is answered sooner by the CPU than CUDA starts; "auto" pays for many molecules.

    Raises `CheckpointError` when weights are missing, damaged, or not those of the card, `ConfigError` for a
    device that is not there.
    """
    where = device_of(device)
    card = read_card(name_or_dir)
    checked_weights(card)
    try:
        config = card.data["hyper"]
        needed = None if spaces is None else {one for name in spaces for one in sources(name)}
        wanted = [name for name in config["spaces"] if needed is None or name in needed]
        with _WithoutInit():
            network = DualEncoder({**config, "spaces": {name: config["spaces"][name] for name in wanted}})
        weights = stored_weights(card, wanted)
        missing = set(network.load_state_dict(weights, strict=False).missing_keys) - _counters(network)
        if missing:
            raise CheckpointError(card.weights, f"the weights lack {min(missing)}; this is another network")
    except (SafetensorError, KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(card.weights, f"the network cannot be rebuilt ({error})") from error
    network.eval()
    for module in network.modules():
        if isinstance(module, GraphNet):
            module.fold()
    return Model(card, network.to(where))


def stored_weights(card: ModelCard, spaces: Collection[str]) -> dict[str, Tensor]:
    """float32 weights of the trunk and of `spaces`, by the names of the network's parameters."""
    weights: dict[str, Tensor] = {}
    for path in (card.weights, *card.later_weights):
        with safe_open(path, framework="pt") as file:
            names = [name for name in file.keys() if _space_of(name) in (None, *spaces)]  # noqa: SIM118
            weights |= current_names({name: file.get_tensor(name).float() for name in names})
    return weights


def save_model(
    directory: Path,
    name: str,
    network: DualEncoder,
    config: dict[str, Any],
    scales: dict[str, float],
    about: dict[str, Any],
    *,
    half: bool = False,
    made: Mapping[str, Any] | None = None,
) -> ModelCard:
    """Write `model.safetensors` and `card.json`.

    scales: logit scale of each space. about: everything a card says in words and figures. half: store the
    weights as float16, half the size; they are computed with as float32 all the same. made: what the card
    says of spaces that are made of others.
    """
    directory.mkdir(parents=True, exist_ok=True)
    counters = _counters(network)
    weights = {k: v.detach().contiguous() for k, v in network.state_dict().items() if k not in counters}
    if half:
        weights = {k: v.half() if v.is_floating_point() else v for k, v in weights.items()}
    with atomic(directory / "model.safetensors") as temporary:
        save_file(weights, temporary)
    card = {
        "format": CARD_FORMAT,
        "name": name,
        "digest": digest_of(directory / "model.safetensors", config),
        "spaces": {
            **{s: {"d": length_of(one), "scale": scales[s]} for s, one in config["spaces"].items()},
            **(made or {}),
        },
        "hyper": config,
        **about,
    }
    with atomic(directory / "card.json") as temporary:
        temporary.write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return read_card(directory)


def length_of(space: dict[str, Any]) -> int:
    """Length of a space's vectors, from its hyper-parameters."""
    return int(space["head"]["d"]) + int((space.get("memory") or {}).get("d", 0))


def _space_of(parameter: str) -> str | None:
    """The space that a parameter is of; None for the trunk's. No table of environments names a space."""
    part, _, rest = parameter.partition(".")
    return None if part == "trunk" else rest.partition(".")[0]


def _counters(network: nn.Module) -> set[str]:
    """Batch-normalisation counters: part of the state, of no meaning for inference."""
    return {name for name in network.state_dict() if name.endswith("num_batches_tracked")}
