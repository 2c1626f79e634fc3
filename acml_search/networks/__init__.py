"""Torch parts that towers, heads and the graph trunk are made of."""

from acml_search.networks.heads import (
    Choices,
    Head,
    PooledHead,
    Projection,
    Undecided,
    averaged,
    tensors,
    width_of,
)
from acml_search.networks.memory import Kin, Memory, RememberingHead
from acml_search.networks.trunk import GraphNet, TensorBatch

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
