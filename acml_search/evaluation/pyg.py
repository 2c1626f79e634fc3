"""The pipeline most projects write: PyG's `from_smiles`, its DataLoader, then the network.

The network is the model's own trunk and heads at their own size, folded and batched as ours, with embedding
tables for PyG's atom and bond columns and random weights (speed does not depend on their values): what
differs is the way from text to tensors. PyG's own GINEConv at that size runs at the same speed. Needs the
extra `bench` (torch-geometric).
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

BATCH = 64


def available() -> bool:
    """Whether torch-geometric is installed."""
    return find_spec("torch_geometric") is not None


class PygPipeline:
    """SMILES -> vectors the plain way. `hyper`: the hyper-parameters in a model's card."""

    def __init__(self, hyper: dict[str, Any]) -> None:
        from torch_geometric.utils.smiles import e_map, x_map

        from acml_search.networks import GraphNet, Projection

        self._sizes = [len(values) for values in e_map.values()]
        n_links = self._sizes[0] * self._sizes[1] * self._sizes[2]
        self._trunk = GraphNet([len(values) for values in x_map.values()], n_links, **hyper["trunk"]).eval()
        self._trunk.fold()
        heads = [space["head"] for space in hyper["spaces"].values()]  # each a plain projection here
        self._heads = [
            Projection(self._trunk.width, head.get("hidden", head["d"]), head["d"]).eval() for head in heads
        ]

    def embed(self, texts: list[str]) -> list[Any]:
        """A float32 array (n, d) for each space."""
        import torch
        from torch_geometric.loader import DataLoader
        from torch_geometric.utils import from_smiles

        graphs = [from_smiles(text) for text in texts]
        found: list[list[Any]] = [[] for _ in self._heads]
        with torch.inference_mode():
            for batch in DataLoader(graphs, BATCH):
                pooled = self._trunk(self._batch(batch))
                for vectors, head in zip(found, self._heads, strict=True):
                    vectors.append(head(pooled))
        return [torch.cat(vectors).numpy() for vectors in found]

    def _batch(self, batch: Any) -> Any:
        from acml_search.networks import TensorBatch

        _, stereo, conjugated = self._sizes
        kind = batch.edge_attr
        return TensorBatch(
            x=batch.x,
            edge_index=batch.edge_index,
            edge_attr=(kind[:, 0] * stereo + kind[:, 1]) * conjugated + kind[:, 2],
            batch=batch.batch,
            ptr=batch.ptr,
        )
