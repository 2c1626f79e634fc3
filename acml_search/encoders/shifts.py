"""NMR spaces in NumPy, to answer a question: what the torch modules of a frozen checkpoint compute.

Importing torch takes longer than answering. `ShiftModel` stands in for `checkpoint.Model` where only NMR was
observed; it gives the numbers of `networks.nmr` and `networks.trunk` up to rounding.

A network of five layers smooths over what it has seen. Where training spectra show an atom's environment,
their mean deviation from the prediction says more: `Environments` adds it. As in HOSE codes (Bremser, Anal.
Chim. Acta 1978), an environment is what lies within so many bonds of an atom; here it is a hash of the
graph's atoms and bonds, refined bond by bond (Weisfeiler and Leman). The deepest environment that the table
knows corrects the shift.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from acml_search import modalities
from acml_search.chem.graph import ATOM_COLUMNS, GraphBatch, MolGraph, collate, featurise, flat_bonds
from acml_search.core.errors import CheckpointError
from acml_search.core.io import atomic
from acml_search.core.typing import Float32s, Floats, Ints
from acml_search.encoders.card import ModelCard, Space, checked_weights
from acml_search.modalities.base import sources
from acml_search.modalities.nmr import ShiftModality

if TYPE_CHECKING:
    from rdkit import Chem

BATCH = 32
"""molecules at once, whose node states stay in the processor's cache"""
DEPTHS = (1, 2, 3, 4, 5)
"""bonds from the atom; the deepest known decides"""
STEP = 0.005
"""ppm, of a stored correction"""
_CODES = 2**48  # a chance match of an unknown environment: 1 in 10^9
CARBON = 6
_ELEMENT, _HYDROGENS = 0, 3  # columns of a graph's atoms


class Predicted(NamedTuple):
    """One peak per atom of the nucleus (1H: atoms that carry hydrogen), in the order of the atoms."""

    atoms: Ints
    """(p,) numbers of the atoms in the molecule's graph"""
    position: Floats
    """(p,) ppm; equivalent atoms have the same but for rounding"""
    spread: Floats
    """(p,) ppm, mean absolute error expected (scale of a Laplace distribution)"""
    present: Floats
    """(p,) probability that a measured spectrum lists the peak"""


def by_molecule(
    batch: GraphBatch, atoms: Ints, arrays: Sequence[Floats | Float32s], table: Environments | None
) -> Iterator[Predicted]:
    """The peaks of `atoms` (a,), ascending, molecule by molecule.

    arrays: position, spread and present, (a,) each, as a network predicts them; the table of the space, if it
    has one, corrects the first two.
    """
    position, spread, present = (np.asarray(x, np.float64) for x in arrays)
    if table is not None:
        shift, certainty = table.look_up(batch, atoms)
        position, spread = position + shift, spread * certainty
    for start, (first, last) in zip(batch.ptr, pairwise(np.searchsorted(atoms, batch.ptr)), strict=False):
        mine = slice(first, last)
        yield Predicted(atoms[mine] - start, position[mine], spread[mine], present[mine])


def answers(card: ModelCard, spaces: Collection[str]) -> bool:
    """Whether `ShiftModel` can stand in for the model in these spaces."""
    config = card.data["hyper"]["spaces"]
    return bool(spaces) and all(
        name in config and not config[name].get("memory") and isinstance(modalities.get(name), ShiftModality)
        for space in spaces
        for name in (sources(space) if space in card.spaces else (space,))
    )


class ShiftModel:
    """NMR spaces of a checkpoint, for inference. Raises CheckpointError as `load_model` does."""

    def __init__(self, card: ModelCard, spaces: Collection[str]) -> None:
        self.card = card
        self.spaces: dict[str, Space] = {name: card.spaces[name] for name in spaces}
        needed = dict.fromkeys(source for name in spaces for source in sources(name))
        self._environments = tables_of(card, needed)
        wanted = ("trunk.", *(f"{part}.{name}." for part in ("heads", "towers") for name in needed))
        try:
            with safe_open(checked_weights(card), framework="np") as file:
                names = [name for name in file.keys() if name.startswith(wanted)]  # noqa: SIM118
                self._weights = {name: file.get_tensor(name).astype(np.float32) for name in names}
            self._layers = self._folded(card.data["hyper"]["trunk"]["layers"])
            offsets = np.cumsum([0, *ATOM_COLUMNS.values()])[:-1]
            self._atoms, self._offsets = self._weights["trunk.embed.weight"], offsets
        except (SafetensorError, KeyError, TypeError) as error:
            raise CheckpointError(card.weights, f"the network cannot be rebuilt ({error})") from error

    def featurise(self, mol: Chem.Mol) -> MolGraph:
        """As `checkpoint.Model.featurise`."""
        return featurise(mol, stereo=self.card.data["hyper"].get("reads_stereo", True))

    def encode_items(self, modality: str, items: Sequence[Float32s]) -> Float32s:
        """Record side: (n, d) float32 unit vectors of what the modality's `read` returned."""
        if modalities.get(modality).made_of:
            return modalities.get(modality).embed(items, self.card.features(modality))
        kind = cast("ShiftModality", modalities.get(modality))
        config = {**kind.encoder_defaults, **self.card.data["hyper"]["spaces"][modality]["encoder"]}
        encoder = f"towers.{modality}.encoder"
        low, high, step = config["low"], config["high"], config["step"]
        n_grid = round((high - low) / step) + 1
        sizes = np.array([len(item) for item in items])
        place = np.clip((np.concatenate(items) - np.float32(low)) / np.float32(step), 0, n_grid - 1)
        at = np.minimum(place.astype(np.int64), n_grid - 2)
        part = (place - at).astype(np.float32)[:, None]
        phi = [
            self._mlp(f"{encoder}.phi.0", f"{encoder}.phi.2", _bumps(low + step * grid, config))
            for grid in (at, at + 1)
        ]
        summed = np.add.reduceat((1 - part) * phi[0] + part * phi[1], np.cumsum(sizes) - sizes, axis=0)
        n = sizes[:, None].astype(np.float32)
        features = np.concatenate([summed / np.sqrt(4 + n), n / 20], axis=1)
        features = self._mlp(f"{encoder}.mlp.0", f"{encoder}.mlp.2", features)
        projection = f"towers.{modality}.projection.layers"
        vectors = self._mlp(f"{projection}.0", f"{projection}.2", features)
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)

    def predicts_peaks(self, modality: str) -> bool:
        """As `checkpoint.Model.predicts_peaks`."""
        return f"heads.{modality}.local.weight" in self._weights

    def predicted_peaks(self, modality: str, graphs: Sequence[MolGraph]) -> list[Predicted]:
        """As `checkpoint.Model.predicted_peaks`."""
        found: list[Predicted] = []
        for start in range(0, len(graphs), BATCH):
            batch = collate(graphs[start : start + BATCH])
            found += self._peaks(modality, batch, self._states(batch))
        return found

    def _peaks(self, modality: str, batch: GraphBatch, states: list[Float32s]) -> Iterator[Predicted]:
        """`ShiftHead.peaks`, molecule by molecule."""
        kind = cast("ShiftModality", modalities.get(modality))
        config = {**kind.head_defaults, **self.card.data["hyper"]["spaces"][modality]["head"]}
        head, ptr = f"heads.{modality}", batch.ptr
        chosen = np.flatnonzero(
            batch.x[:, _ELEMENT] == CARBON if kind.nucleus == "C" else batch.x[:, _HYDROGENS] > 0
        )
        graph_of = np.searchsorted(ptr, chosen, side="right") - 1
        mean = np.concatenate([np.add.reduceat(x, ptr[:-1], axis=0) for x in states], axis=1)
        mean /= np.diff(ptr)[:, None]
        context = mean @ self._weights[f"{head}.context.weight"].T + self._weights[f"{head}.local.bias"]
        local = np.concatenate([x[chosen] for x in states], axis=1) @ self._weights[f"{head}.local.weight"].T
        hidden = np.maximum(local + context[graph_of], 0)
        out = hidden @ self._weights[f"{head}.out.weight"].T + self._weights[f"{head}.out.bias"]
        position, spread, present = out.T
        scale = np.float32(config["scale"])
        arrays = [
            np.float32(config["centre"]) + scale * position,
            scale / 20 * np.logaddexp(0, spread) + scale / 200,
            1 / (1 + np.exp(-(present + 2).astype(np.float64))),
        ]
        return by_molecule(batch, chosen, arrays, self._environments.get(modality))

    def _states(self, batch: GraphBatch) -> list[Float32s]:
        """`GraphNet.fused`: every layer's node states, each (N, width).

        Nodes go by falling degree, so that their first, second, ... edges are those of the first nodes.
        """
        source, target = batch.edge_index
        degree = np.bincount(target, minlength=len(batch.x))
        order = np.argsort(-degree, kind="stable")
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        first = (np.cumsum(degree) - degree)[order]  # edges are ordered by target
        edges = [
            first[: np.count_nonzero(degree > slot)] + slot for slot in range(int(degree.max(initial=0)))
        ]
        slots = [(back[source[edge]], batch.edge_attr[edge]) for edge in edges]
        x = self._atoms[batch.x[order] + self._offsets].sum(axis=1)
        states = []
        for layer, (first_map, bias, second, second_bias) in enumerate(self._layers):
            links = self._weights[f"trunk.links.{layer}.weight"]
            inside = x.copy()
            for neighbours, codes in slots:
                message = x[neighbours]
                message += links[codes]
                inside[: len(message)] += np.maximum(message, 0, out=message)
            hidden = inside @ first_map + bias
            x = x + (np.maximum(hidden, 0, out=hidden) @ second + second_bias)
            states.append(x[back])
        return states

    def _mlp(self, first: str, second: str, x: Float32s) -> Float32s:
        """Two linear maps with a ReLU between."""
        w = self._weights
        hidden = np.maximum(x @ w[f"{first}.weight"].T + w[f"{first}.bias"], 0)
        return np.asarray(hidden @ w[f"{second}.weight"].T + w[f"{second}.bias"])

    def _folded(self, layers: int) -> list[tuple[Float32s, Float32s, Float32s, Float32s]]:
        """The two linear maps of each layer of the trunk, the normalisation before them merged into them."""
        names = ("convs.{}.nn.0", "convs.{}.nn.1", "convs.{}.nn.3")
        if "trunk.mlps.0.0.weight" in self._weights:  # of version 0.1
            names = ("norms.{}", "mlps.{}.0", "mlps.{}.2")
        folded = []
        for layer in range(layers):
            norm, first, second = ("trunk." + name.format(layer) for name in names)
            w = self._weights
            gain = w[f"{norm}.weight"] / np.sqrt(w[f"{norm}.running_var"] + np.float32(1e-5))
            shift = w[f"{norm}.bias"] - w[f"{norm}.running_mean"] * gain
            weight, bias = w[f"{first}.weight"], w[f"{first}.bias"]
            folded.append(
                (
                    np.ascontiguousarray((weight * gain).T),
                    bias + weight @ shift,
                    np.ascontiguousarray(w[f"{second}.weight"].T),
                    w[f"{second}.bias"],
                )
            )
        return folded


def _bumps(positions: Floats, config: dict[str, Any]) -> Float32s:
    """(n, features): what `ShiftTower` knows of `positions` in ppm: nearness to centres, at three widths."""
    low, high, blur = config["low"], config["high"], config["blur"]
    near = [
        np.exp(-0.5 * ((positions[:, None] - np.arange(low, high + scale, scale)) / scale) ** 2)
        for scale in (blur, 4 * blur, 16 * blur)
    ]
    return np.concatenate(near, axis=1).astype(np.float32)


def environment_codes(batch: GraphBatch) -> np.ndarray:
    """(len(DEPTHS), N) uint64 below 2^48: each atom's environment by depth, blind to configuration."""
    source, target = batch.edge_index
    bond = _mix(flat_bonds(batch.edge_attr).astype(np.uint64) + np.uint64(1 << 32))
    code = np.zeros(len(batch.x), np.uint64)
    for column in batch.x.T[:6].astype(np.uint64):  # the seventh is the configuration
        code = _mix(code + column)
    starts = np.searchsorted(target, np.arange(len(code)))
    alone = np.bincount(target, minlength=len(code)) == 0
    out = []
    for _ in DEPTHS:
        message = np.append(_mix(code[source] ^ bond), np.uint64(0))
        around = np.add.reduceat(message, starts)
        around[alone] = 0
        code = _mix(_mix(code) + around)
        out.append(code)
    return np.stack(out) % np.uint64(_CODES)


def _mix(values: np.ndarray) -> np.ndarray:
    """A bijection of uint64 that spreads every bit (the finaliser of splitmix64, after its increment)."""
    x = values + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


class Environments:
    """A table from environments to corrections, as `training.environments` makes it."""

    def __init__(self, known: Sequence[np.ndarray], shifts: Sequence[Floats], certainty: Floats) -> None:
        """By depth: environments, ascending (n,) uint64; what to add to a shift predicted there (n,) ppm; and
        what to multiply an expected spread by (len(DEPTHS),)."""
        self.known, self.shifts, self.certainty = known, shifts, certainty

    @classmethod
    def read(cls, path: Path) -> Environments:
        """The table that `write` wrote."""
        stored = load_file(path)
        known = [
            stored[f"{depth}.high"].astype(np.uint64) << np.uint64(16) | stored[f"{depth}.low"]
            for depth in DEPTHS
        ]
        return cls(known, [stored[f"{depth}.steps"] * STEP for depth in DEPTHS], stored["certainty"])

    def write(self, path: Path) -> None:
        """Write the table; 8 bytes an environment."""
        arrays = {"certainty": self.certainty.astype(np.float32)}
        for depth, known, shifts in zip(DEPTHS, self.known, self.shifts, strict=True):
            arrays[f"{depth}.high"] = (known >> np.uint64(16)).astype(np.uint32)
            arrays[f"{depth}.low"] = (known & np.uint64(0xFFFF)).astype(np.uint16)
            arrays[f"{depth}.steps"] = np.rint(shifts / STEP).astype(np.int16)
        with atomic(path) as temporary:
            save_file(arrays, temporary)

    def find(self, codes: np.ndarray) -> tuple[Floats, np.ndarray]:
        """Corrections (a,) in ppm for environments (len(DEPTHS), a), and the place in DEPTHS of the deepest
        that is known (a,), -1: none is."""
        shift, deepest = np.zeros(codes.shape[1]), np.full(codes.shape[1], -1)
        for depth, (known, shifts) in enumerate(zip(self.known, self.shifts, strict=True)):
            wanted = codes[depth]
            place = np.searchsorted(known, wanted)
            hit = place < len(known)
            hit[hit] = known[place[hit]] == wanted[hit]
            shift[hit], deepest[hit] = shifts[place[hit]], depth
        return shift, deepest

    def look_up(self, batch: GraphBatch, atoms: np.ndarray) -> tuple[Floats, Floats]:
        """What to add to the positions of `atoms` (a,) of a batch, in ppm, and what to multiply their spreads
        by: (a,) each."""
        shift, deepest = self.find(environment_codes(batch)[:, atoms])
        return shift, np.append(self.certainty, 1.0)[deepest]


def tables_of(card: ModelCard, spaces: Iterable[str]) -> dict[str, Environments]:
    """The tables of those `spaces` that have one."""
    stored = card.data["spaces"]
    files = {name: stored[name]["environments"]["file"] for name in spaces if "environments" in stored[name]}
    return {name: Environments.read(card.directory / files[name]) for name in files}
