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
from acml_search.networks.heads import Hypotheses as Choices  # shim
from acml_search.networks.heads import MixtureEncoder as Undecided  # shim
from acml_search.networks.heads import weighted_mean as averaged  # shim
from acml_search.networks.memory import KNNMemory, MemoryAugmentedHead, SimilarityHead
from acml_search.networks.memory import KNNMemory as Memory  # shim
from acml_search.networks.memory import MemoryAugmentedHead as RememberingHead  # shim
from acml_search.networks.memory import SimilarityHead as Kin  # shim
from acml_search.networks.trunk import GraphNet, TensorBatch, current_names

__all__ = [
    "Choices",  # shim
    "GraphNet",
    "Head",
    "Hypotheses",
    "KNNMemory",
    "Kin",  # shim
    "Memory",  # shim
    "MemoryAugmentedHead",
    "MixtureEncoder",
    "PooledHead",
    "Projection",
    "RememberingHead",  # shim
    "SimilarityHead",
    "TensorBatch",
    "Undecided",  # shim
    "averaged",  # shim
    "current_names",
    "placement",
    "tensors",
    "weighted_mean",
    "width_of",
]
