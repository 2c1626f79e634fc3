"""Exact scores from the stored half-precision vectors, of some positions or of all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from acml_search.core.errors import IndexCorrupt

Positions = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

BLOCK = 8_192  # vectors scored at once: 8 MB at 256 dimensions, which stays in the cache
SPARE = 32  # candidates kept beyond k, so that rounding inside a block cannot decide the last place


class ExactStore:
    """(n, d) float16 unit vectors, in memory or in a .npy file.

    A file is memory-mapped for picking vectors, and read in blocks for a whole scan: pages of a mapping count
    as this process's memory, read blocks do not. `mapped=False` picks by reading too, for the same reason.
    """

    def __init__(
        self, vectors: npt.NDArray[np.float16], path: Path | None = None, mapped: bool = True
    ) -> None:
        self._vectors = vectors
        self._path = path
        self._mapped = mapped or path is None
        self.n, self.d = vectors.shape

    @classmethod
    def open(cls, path: Path, mapped: bool = True) -> ExactStore:
        """The store in a .npy file. Raises IndexCorrupt when it is none, or is cut short."""
        try:
            vectors = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise IndexCorrupt(
                path, f"the stored vectors cannot be read ({error}); build the index again"
            ) from error
        if vectors.ndim != 2 or vectors.dtype != np.float16:
            raise IndexCorrupt(path, f"expected (n, d) float16, found {vectors.shape} {vectors.dtype}")
        return cls(vectors, path, mapped)

    def take(self, positions: Positions) -> Floats:
        """(m, d) float32: the stored vectors at `positions`."""
        if self._mapped:
            return self._vectors[positions].astype(np.float32)
        assert isinstance(self._vectors, np.memmap)
        assert self._path is not None
        width = self.d * 2
        with self._path.open("rb", buffering=0) as file:
            rows = []
            for position in positions.tolist():
                file.seek(self._vectors.offset + position * width)
                rows.append(file.read(width))
        return np.frombuffer(b"".join(rows), np.float16).reshape(-1, self.d).astype(np.float32)

    def scores(self, q: Floats, positions: Positions) -> Floats:
        """(m,) float32 inner products of `q` (d,) with the vectors at `positions`.

        Row by row, so that a score never depends on what else is scored with it: equal vectors tie exactly.
        """
        return np.einsum("nd,d->n", self.take(positions), q, dtype=np.float32)

    def rank(self, q: Floats, candidates: Positions, k: int) -> tuple[Floats, Positions]:
        """The best k of `candidates` for `q`: scores and positions, best first, ties by position."""
        scores = self.scores(q, candidates)
        order = np.lexsort((candidates, -scores))[:k]
        return scores[order], candidates[order]

    def search(
        self, xq: Floats, k: int, positions: Positions | None = None
    ) -> list[tuple[Floats, Positions]]:
        """The exact best k of `positions` (ascending; None: all) for each of `xq` (nq, d), as `rank` gives
        them.
        """
        keep = k + SPARE
        best: list[tuple[Floats, Positions]] = [(np.empty(0, np.float32), np.empty(0, np.int64))] * len(xq)
        for at, block in self.blocks(positions):
            table = xq @ block.T
            for row, scores in enumerate(table):
                known, known_at = best[row]
                better = np.flatnonzero(scores > known[-1]) if len(known) == keep else np.arange(len(scores))
                if len(better) == 0:
                    continue
                merged, merged_at = np.append(known, scores[better]), np.append(known_at, at[better])
                order = np.lexsort((merged_at, -merged))[:keep]
                best[row] = merged[order], merged_at[order]
        return [self.rank(q, np.sort(at), k) for q, (_, at) in zip(xq, best, strict=True)]

    def sample(self, size: int, seed: int) -> Floats:
        """(size, d) float32: a random sample in a random order, the same for the same seed; one pass."""
        chosen = np.random.default_rng(seed).permutation(self.n)[:size]
        place = np.full(self.n, -1, np.int64)
        place[chosen] = np.arange(len(chosen))
        out = np.empty((len(chosen), self.d), np.float32)
        for at, block in self.blocks():
            here = place[at]
            out[here[here >= 0]] = block[here >= 0]
        return out

    def blocks(self, positions: Positions | None = None) -> Iterator[tuple[Positions, Floats]]:
        """Positions (m,) and vectors (m, d) float32 in blocks: of `positions` (ascending), or of all."""
        if positions is not None:
            for start in range(0, len(positions), BLOCK):
                at = positions[start : start + BLOCK]
                yield at, self.take(at)
            return
        if not isinstance(self._vectors, np.memmap) or self._path is None:
            for start in range(0, self.n, BLOCK):
                stop = min(start + BLOCK, self.n)
                yield np.arange(start, stop), self._vectors[start:stop].astype(np.float32)
            return
        with self._path.open("rb") as file:
            file.seek(self._vectors.offset)
            for start in range(0, self.n, BLOCK):
                stop = min(start + BLOCK, self.n)
                block = np.fromfile(file, np.float16, (stop - start) * self.d).reshape(-1, self.d)
                yield np.arange(start, stop), block.astype(np.float32)


class NpyWriter:
    """Writes a C-ordered .npy file by appending, so that memory stays small; use in a `with` statement."""

    def __init__(self, path: Path, dtype: type[np.generic], shape: tuple[int, ...]) -> None:
        self._path, self._dtype, self._shape = path, np.dtype(dtype), shape
        self._rows = 0

    def __enter__(self) -> NpyWriter:
        self._file = self._path.open("wb")
        header = {
            "descr": np.lib.format.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": self._shape,
        }
        np.lib.format.write_array_header_1_0(self._file, header)
        return self

    def append(self, rows: npt.NDArray[np.generic]) -> None:
        """Append rows of the declared type and width."""
        assert rows.dtype == self._dtype
        assert rows.shape[1:] == self._shape[1:]
        np.ascontiguousarray(rows).tofile(self._file)
        self._rows += len(rows)

    def __exit__(self, kind: object, *rest: object) -> None:
        self._file.close()
        if kind is None and self._rows != self._shape[0]:
            raise IndexCorrupt(
                self._path, f"{self._shape[0]:,} vectors were announced and {self._rows:,} came"
            )
