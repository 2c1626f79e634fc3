"""Torch modules that encoders, heads and the graph trunk are made of."""

from acml_search.networks.heads import (
    Head,
    Hypotheses,
    MixtureEncoder,
    PooledHead,
    Projection,
    placement,
    tensors,
    weighted_mean,
    width_of,
)
from acml_search.networks.memory import KNNMemory, MemoryAugmentedHead, SimilarityHead
from acml_search.networks.trunk import GraphNet, TensorBatch, current_names

__all__ = [
    "GraphNet",
    "Head",
    "Hypotheses",
    "KNNMemory",
    "MemoryAugmentedHead",
    "MixtureEncoder",
    "PooledHead",
    "Projection",
    "SimilarityHead",
    "TensorBatch",
    "current_names",
    "placement",
    "tensors",
    "weighted_mean",
    "width_of",
]
