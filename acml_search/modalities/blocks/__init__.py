"""Torch parts that towers, heads and the graph trunk are made of."""

from acml_search.modalities.blocks.graph import GraphNet, TensorBatch
from acml_search.modalities.blocks.joint import (
    Choices,
    Head,
    PooledHead,
    Projection,
    Undecided,
    averaged,
    tensors,
    width_of,
)
from acml_search.modalities.blocks.memory import Kin, Memory, RememberingHead

__all__ = [
    "Choices",
    "GraphNet",
    "Head",
    "Kin",
    "Memory",
    "PooledHead",
    "Projection",
    "RememberingHead",
    "TensorBatch",
    "Undecided",
    "averaged",
    "tensors",
    "width_of",
]
