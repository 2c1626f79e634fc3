"""FAISS as it comes: an index by its factory string, in memory, no exact score but what the string says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import faiss

from acml_search.core.errors import ConfigError
from acml_search.index import factory as factories
from benchmarks.index_bench.engines.base import Engine, Floats, Positions, blocks, sample

FILE = "index.faiss"


class FaissPlain(Engine):
    """`factory`: `{lists}` in it stands for as many inverted lists as `auto` takes for so many vectors.

    Training takes as many vectors as our own index trains on, and no less than FAISS asks for.
    """

    BUILD = ("factory", "efConstruction")
    SEARCH = ("nprobe", "efSearch", "k_factor")
    PACKAGE = "faiss"
    DISTRIBUTION = "faiss-cpu"

    def __init__(self) -> None:
        self._index: Any = None

    def build(
        self, base: Floats, typical: Floats, folder: Path, arguments: Mapping[str, Any], threads: int
    ) -> dict[str, Any]:
        n, d = base.shape
        faiss.omp_set_num_threads(threads)
        factory = arguments.get("factory", "Flat").replace("{lists}", str(factories.lists_for(n)))
        index = factories.make(factory, d)
        if "efConstruction" in arguments:
            if not isinstance(index, faiss.IndexHNSW):
                raise ConfigError(f"{factory} is no HNSW: efConstruction has no say")
            index.hnsw.efConstruction = arguments["efConstruction"]
        if not index.is_trained:
            factories.train(index, factory, sample(base, factories.training_size(index, n)))
        for block in blocks(base):
            index.add(block)
        faiss.write_index(index, str(folder / FILE))
        return {"factory": factory}

    def open(self, folder: Path) -> None:
        self._index = faiss.read_index(str(folder / FILE))

    def set(self, search: Mapping[str, Any], threads: int) -> dict[str, Any]:
        faiss.omp_set_num_threads(threads)
        owners = {
            "nprobe": factories.inverted_lists(self._index),
            "efSearch": getattr(self._index, "hnsw", None),
            "k_factor": self._index if isinstance(self._index, faiss.IndexRefine) else None,
        }
        for name, value in search.items():
            if owners[name] is None:
                raise ConfigError(f"{type(self._index).__name__} has nothing that {name} could set")
            setattr(owners[name], name, value)
        return dict(search)

    def search(self, xq: Floats, k: int) -> Positions:
        return self._index.search(xq, k)[1]
