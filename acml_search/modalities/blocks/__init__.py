"""Torch parts that towers, heads and the graph trunk are made of."""

from acml_search.modalities.blocks.graph import GraphNet, TensorBatch
from acml_search.modalities.blocks.joint import (
    Choices,
    PooledHead,
    Projection,
    Undecided,
    averaged,
    tensors,
    width_of,
)

__all__ = [
    "Choices",
    "GraphNet",
    "PooledHead",
    "Projection",
    "TensorBatch",
    "Undecided",
    "averaged",
    "tensors",
    "width_of",
]
