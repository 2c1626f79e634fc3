"""What measured spectra say of an atom's environment, added to the shift that the network predicts.

A network of five layers smooths over what it has seen. Where training spectra show an environment, their mean
deviation from the prediction says more. As in HOSE codes (Bremser, Anal. Chim. Acta 1978), an environment is
what lies within so many bonds of an atom; here it is a hash of the graph's atoms and bonds, refined bond by
bond (Weisfeiler and Leman). The deepest environment that the table knows corrects the shift.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from acml_search.chem.graph import GraphBatch, flat_bonds
from acml_search.core.io import atomic
from acml_search.core.typing import Floats
from acml_search.encoders.card import ModelCard

DEPTHS = (1, 2, 3, 4, 5)
"""bonds from the atom; the deepest known decides"""
STEP = 0.005
"""ppm, of a stored correction"""
_CODES = 2**48  # a chance match of an unknown environment: 1 in 10^9


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
