"""Scores of a molecule that can be shared out among its atoms: linear in what the network gives.

A score is `bias + ((v - mean) / scale) @ weights` of the trunk, a space's graph vector, or several side by
side: a linear probe, a linear property head, or the cosine with another molecule's vector.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from acml_search.core.errors import ConfigError
from acml_search.interpret.concepts import CONCEPTS, by_name, keep_asked
from acml_search.interpret.linear import fit
from acml_search.interpret.sample import Sample
from acml_search.interpret.views import TRUNK, scaffolds, trunk_and_spaces
from acml_search.properties.features import embed_parts

if TYPE_CHECKING:
    from torch import Tensor

    from acml_search.chem.graph import MolGraph
    from acml_search.encoders.model import Model
    from acml_search.networks import TensorBatch

BATCH = 64
Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Score:
    """parts: `trunk`, `maxima`, `environments` and names of spaces, side by side: f features in all. cosine:
    `v` is first divided by its length. All arrays (f,) float32.
    """

    name: str
    unit: str
    """what a value of it is: cosine, logit, or the concept's own unit"""
    parts: tuple[str, ...]
    weights: Singles
    mean: Singles
    scale: Singles
    bias: float = 0.0
    cosine: bool = False

    @property
    def title(self) -> str:
        """The name as a heading has it."""
        return self.name[0].upper() + self.name[1:]

    def of(self, model: Model, batch: TensorBatch) -> Tensor:
        """(b,) float32, one for each graph of the batch; with gradients where torch keeps them."""
        import torch
        from torch.nn import functional

        v = torch.cat(embed_parts(model, batch, self.parts), dim=1)
        if self.cosine:
            v = functional.normalize(v, dim=1)
        mean, scale, weights = (torch.from_numpy(x) for x in (self.mean, self.scale, self.weights))
        total: Tensor = ((v - mean) / scale) @ weights + self.bias
        return total


def similarity(model: Model, graph: MolGraph, part: str, name: str) -> Score:
    """Cosine with the molecule of `graph` in a space, or of the pooled trunks."""
    check_part(model, part)
    trunk, spaces = trunk_and_spaces(model, [graph], [] if part == TRUNK else [part])
    other = (trunk if part == TRUNK else spaces[part])[0]
    other = (other / np.linalg.norm(other)).astype(np.float32)
    zero = np.zeros_like(other)
    return Score(
        f"similarity to {name} in {part}", "cosine", (part,), other, zero, zero + 1, cosine=part == TRUNK
    )


def probe_score(sample: Sample, concept: str, part: str, *, seed: int) -> Score:
    """The linear probe of a concept, fitted on all molecules of the sample: a number in its own unit, or the
    logit of a group. Raises ConfigError for a concept that nobody knows or that the sample lacks.
    """
    check_part(sample.model, part)
    found = by_name(concept)
    if found is None:
        raise ConfigError(f"there is no concept {concept!r}; there are {', '.join(c.name for c in CONCEPTS)}")
    values = np.array([[found.of(mol)] for mol in sample.mols], np.float64)
    if left_out := keep_asked([found], values).left_out:
        why = left_out[0]
        raise ConfigError(
            f"{found.name} cannot be learned from {sample.source}: {why['why']} ({why['molecules']} of "
            f"{why['of']} molecules); fit on a larger library"
        )
    graphs = [sample.model.featurise(mol) for mol in sample.mols]
    trunk, spaces = trunk_and_spaces(sample.model, graphs, [] if part == TRUNK else [part])
    x = trunk if part == TRUNK else spaces[part]
    group = found.kind == "group"
    probes = fit(x, values, np.array([group]), scaffolds(sample.mols), seed=seed)
    return Score(
        f"{found.name}, by a linear probe of {part}",
        "logit" if group else found.about,
        (part,),
        np.ascontiguousarray(probes.weights[:, 0]),
        probes.scaler.mean,
        probes.scaler.scale,
        float(probes.bias[0]),
    )


def check_part(model: Model, part: str) -> None:
    """Raises ConfigError, listing what there is, for a space that the model has not."""
    if part != TRUNK and part not in model.spaces:
        raise ConfigError(
            f"the model {model.card.name} has no space {part!r}; it has {', '.join(model.spaces)} and {TRUNK}"
        )


def evaluate(
    model: Model,
    score: Score,
    graphs: Sequence[MolGraph],
    kept: Sequence[npt.NDArray[np.bool_]] | None = None,
) -> Floats:
    """(n,) scores of molecules. kept: per molecule which atoms (n atoms,) keep their features; the
    first-layer embedding of the others is set to zero, their bonds stay.
    """
    import torch

    from acml_search.chem.graph import collate
    from acml_search.networks import TensorBatch

    found = []
    with torch.no_grad():
        for start in range(0, len(graphs), BATCH):
            batch = TensorBatch.of(collate(graphs[start : start + BATCH]))
            if kept is None:
                found.append(score.of(model, batch).double().numpy())
                continue
            mask = torch.from_numpy(np.concatenate(kept[start : start + BATCH])).float().unsqueeze(1)
            with embedded(model, lambda x, mask=mask: x * mask):
                found.append(score.of(model, batch).double().numpy())
    return np.concatenate(found) if found else np.empty(0)


@contextmanager
def embedded(model: Model, change: Any) -> Iterator[None]:
    """Within, what the trunk's atom embedding gives, (N, width), goes through `change` first."""
    handle = model.network.trunk.embed.register_forward_hook(lambda module, given, out: change(out))
    try:
        yield
    finally:
        handle.remove()
