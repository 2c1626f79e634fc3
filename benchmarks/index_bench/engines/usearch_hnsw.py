"""usearch's HNSW (https://github.com/unum-cloud/usearch), by inner product or cosine, in half precision or
8 bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.index_bench.engines.base import BLOCK, Engine, Floats, Positions, blocks

FILE = "index.usearch"


class UsearchHnsw(Engine):
    """Arguments are usearch's own; what a plan leaves out is usearch's default."""

    BUILD = ("metric", "dtype", "connectivity", "expansion_add")
    SEARCH = ("expansion_search",)
    PACKAGE = "usearch"
    DISTRIBUTION = "usearch"

    def __init__(self) -> None:
        self._index: Any = None
        self._threads = 1

    def build(
        self, base: Floats, typical: Floats, folder: Path, arguments: Mapping[str, Any], threads: int
    ) -> dict[str, Any]:
        from usearch.index import Index

        index = Index(ndim=base.shape[1], **arguments)
        for number, block in enumerate(blocks(base)):
            low = number * BLOCK
            index.add(np.arange(low, low + len(block)), block, threads=threads)
        index.save(str(folder / FILE))
        return {"connectivity": index.connectivity, "expansion_add": index.expansion_add}

    def open(self, folder: Path) -> None:
        from usearch.index import Index

        self._index = Index.restore(str(folder / FILE))

    def set(self, search: Mapping[str, Any], threads: int) -> dict[str, Any]:
        self._threads = threads
        if "expansion_search" in search:
            self._index.expansion_search = search["expansion_search"]
        return {"expansion_search": self._index.expansion_search}

    def search(self, xq: Floats, k: int) -> Positions:
        found = self._index.search(xq, k, threads=self._threads)
        if len(xq) == 1:  # one query gets a list without padding
            out = np.full((1, k), -1, np.int64)
            out[0, : len(found.keys)] = np.asarray(found.keys).ravel()
            return out
        keys = found.keys.astype(np.int64)
        keys[np.arange(keys.shape[1]) >= np.asarray(found.counts)[:, None]] = -1
        return keys
