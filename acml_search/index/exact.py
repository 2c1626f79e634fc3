"""Exact scores from the stored half-precision vectors, of some positions or of all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from acml_search.core.errors import IndexCorrupt
from acml_search.core.typing import Float16s, Float32s, Ints

BLOCK = 8_192  # vectors scored at once: 8 MB at 256 dimensions, which stays in the cache
SPARE = 32  # candidates kept beyond k, so that rounding inside a block cannot decide the last place


class VectorStore:
    """(n, d) float16 unit vectors, in memory or in a .npy file.

    A file is memory-mapped for picking vectors, and read in blocks for a whole scan: pages of a mapping count
    as this process's memory, read blocks do not.
    """

    def __init__(self, vectors: Float16s, path: Path | None = None) -> None:
        self._vectors = vectors
        self._path = path
        self.n, self.d = vectors.shape

    @classmethod
    def open(cls, path: Path) -> VectorStore:
        """The store in a .npy file. Raises IndexCorrupt when it is none, or is cut short."""
        try:
            vectors = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise IndexCorrupt(
                path, f"the stored vectors cannot be read ({error}); build the index again"
            ) from error
        if vectors.ndim != 2 or vectors.dtype != np.float16:
            raise IndexCorrupt(path, f"expected (n, d) float16, found {vectors.shape} {vectors.dtype}")
        return cls(vectors, path)

    @classmethod
    def of_codes(cls, index: Any) -> VectorStore:
        """The codes of a half-precision FAISS index, without a copy; they live as long as `index`."""
        size = index.codes.size()
        raw = faiss.rev_swig_ptr(index.codes.data(), size) if size else np.empty(0, np.uint8)
        return cls(raw.view(np.float16).reshape(index.ntotal, index.d))

    def take(self, positions: Ints) -> Float32s:
        """(m, d) float32: the stored vectors at `positions`."""
        return self._vectors[positions].astype(np.float32)

    def rank(self, q: Float32s, candidates: Ints, k: int) -> tuple[Float32s, Ints]:
        """The best k of `candidates` for `q` (d,): inner products and positions, best first, ties by
        position. Scored row by row: a score never depends on what else is scored, and equal vectors tie.
        """
        scores = np.einsum("nd,d->n", self.take(candidates), q, dtype=np.float32)
        order = np.lexsort((candidates, -scores))[:k]
        return scores[order], candidates[order]

    def search(self, xq: Float32s, k: int, positions: Ints | None = None) -> list[tuple[Float32s, Ints]]:
        """The exact best k of `positions` (ascending; None: all) for each of `xq` (nq, d), as `rank` gives
        them.
        """
        keep = k + SPARE
        best: list[tuple[Float32s, Ints]] = [(np.empty(0, np.float32), np.empty(0, np.int64))] * len(xq)
        for at, block in self._scanned(positions):
            for row, scores in enumerate(xq @ block.T):
                known, known_at = best[row]
                better = np.flatnonzero(scores > known[-1]) if len(known) == keep else np.arange(len(scores))
                if len(better) == 0:
                    continue
                merged, merged_at = np.append(known, scores[better]), np.append(known_at, at[better])
                order = np.lexsort((merged_at, -merged))[:keep]
                best[row] = merged[order], merged_at[order]
        return [self.rank(q, np.sort(at), k) for q, (_, at) in zip(xq, best, strict=True)]

    def _scanned(self, positions: Ints | None) -> Iterator[tuple[Ints, Float32s]]:
        """Positions (m,) and vectors (m, d) in blocks: of `positions`, or of all."""
        if positions is not None:
            for start in range(0, len(positions), BLOCK):
                at = positions[start : start + BLOCK]
                yield at, self.take(at)
            return
        start = 0
        for block in self.blocks():
            yield np.arange(start, start + len(block)), block.astype(np.float32)
            start += len(block)

    def blocks(self) -> Iterator[Float16s]:
        """All vectors, (m, d) float16, in blocks."""
        if not isinstance(self._vectors, np.memmap) or self._path is None:
            for start in range(0, self.n, BLOCK):
                yield self._vectors[start : start + BLOCK]
            return
        with self._path.open("rb") as file:
            file.seek(self._vectors.offset)
            for start in range(0, self.n, BLOCK):
                m = min(BLOCK, self.n - start)
                yield np.fromfile(file, np.float16, m * self.d).reshape(m, self.d)
