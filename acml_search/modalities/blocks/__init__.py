"""Torch parts that towers, heads and the graph trunk are made of."""

from acml_search.modalities.blocks.graph import GraphNet, TensorBatch
from acml_search.modalities.blocks.joint import PooledHead, Projection, tensors, width_of

__all__ = ["GraphNet", "PooledHead", "Projection", "TensorBatch", "tensors", "width_of"]
