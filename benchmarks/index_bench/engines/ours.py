"""Our own index as `build-index` makes and opens it: codes, a shortlist, exact scores from half precision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from acml_search.index import parts
from acml_search.index.vectors import Details, VectorIndex
from benchmarks.index_bench.engines.base import BLOCK, Engine, Floats, Positions

PARTS = "parts"
NAME = "ours"


class Ours(Engine):
    """`nprobe`: lists visited; `"calibrated"`: as many as the build measured to be enough."""

    BUILD = ("factory",)
    SEARCH = ("nprobe",)
    PREPARES = True
    PACKAGE = "faiss"
    DISTRIBUTION = "faiss-cpu"

    def __init__(self) -> None:
        self._path = Path()
        self._index: VectorIndex | None = None
        self._details: Details | None = None

    def prepare(self, base: Floats, folder: Path) -> None:
        """Write the Parquet parts that embedding a library leaves behind."""
        import pyarrow.parquet as pq

        (folder / PARTS).mkdir(parents=True, exist_ok=True)
        for number, low in enumerate(range(0, len(base), BLOCK)):
            vectors = base[low : low + BLOCK].astype(np.float16)
            table = parts.table(np.arange(low, low + len(vectors)), vectors)
            pq.write_table(table, folder / PARTS / f"part-{number:05d}.parquet")

    def build(
        self, base: Floats, typical: Floats, folder: Path, arguments: Mapping[str, Any], threads: int
    ) -> dict[str, Any]:
        import faiss

        faiss.omp_set_num_threads(threads)
        files = sorted((folder / PARTS).glob("*.parquet"))
        queries = typical if len(typical) else None
        made = VectorIndex.build(folder / NAME, files, arguments.get("factory", "auto"), queries)
        for file in files:
            file.unlink()  # not part of what is searched: not counted in bytes per vector
        return asdict(made)

    def open(self, folder: Path) -> None:
        self._path = folder / NAME
        self._index = VectorIndex.open(self._path)
        self._details = self._index.details

    def takes(self, search: Mapping[str, Any]) -> bool:
        """An exact scan visits everything: it is asked once."""
        assert self._details is not None
        return search.get("nprobe", "calibrated") == "calibrated" or self._details.nprobe is not None

    def set(self, search: Mapping[str, Any], threads: int) -> dict[str, Any]:
        import faiss

        assert self._index is not None
        assert self._details is not None
        faiss.omp_set_num_threads(threads)
        wanted = search.get("nprobe", "calibrated")
        nprobe = self._details.nprobe if wanted == "calibrated" else int(wanted)
        if nprobe != self._index.details.nprobe:
            self._index = self._index.searched(replace(self._details, nprobe=nprobe))
        return {"nprobe": nprobe} if nprobe is not None else {}

    def search(self, xq: Floats, k: int) -> Positions:
        assert self._index is not None
        return self._index.search(xq, k)[1]  # keys are positions here
