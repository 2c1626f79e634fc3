"""Vectors of one side of a space before they are indexed: Parquet parts with `key` and `vector`.

`vector` is FixedSizeList<float16>[d]. Parts are read in blocks; only their keys are in memory as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from acml_search.core.errors import IndexCorrupt
from acml_search.core.io import atomic, reading
from acml_search.core.typing import Float16s, Float32s, Ints

if TYPE_CHECKING:
    from acml_search.index.vectors import VectorIndex

BLOCK = 32_768  # vectors read at once: 16 MB at 256 dimensions


def embedding_table(keys: Ints, vectors: Float16s) -> pa.Table:
    """The table of `keys` (n,) and `vectors` (n, d) float16 as parts store it."""
    flat = pa.array(np.ascontiguousarray(vectors).reshape(-1), pa.float16())
    return pa.table(
        {
            "key": pa.array(keys, pa.int64()),
            "vector": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
        }
    )


def write_vectors(table: pa.Table, path: Path) -> None:
    """Write a part, atomically. Not compressed: the bits of vectors do not repeat."""
    with atomic(path) as temporary:
        pq.write_table(table, temporary, compression="none", use_dictionary=False)


def write_npy(path: Path, dtype: npt.DTypeLike, shape: tuple[int, ...], blocks: Iterable[np.ndarray]) -> None:
    """Write `blocks`, one after the other, as one array. Not by a mapping, where a full disk kills."""
    descr = np.lib.format.dtype_to_descr(np.dtype(dtype))
    with path.open("wb") as file:
        header = {"descr": descr, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for block in blocks:
            file.write(np.ascontiguousarray(block, dtype).data)


def vectors_of(column: Any) -> Float16s:
    """(m, d) view of a column of vectors."""
    return column.flatten().to_numpy(zero_copy_only=False).reshape(-1, column.type.list_size)


class Embeddings:
    """All vectors of a side: those of the index `before`, then those of `files` without the keys `dropped`.

    keys: (n,) int64, ascending. Raises IndexCorrupt for parts that cannot be read or do not fit together.
    """

    def __init__(
        self, files: Sequence[Path], dropped: Ints | None = None, before: VectorIndex | None = None
    ) -> None:
        self.before = before
        self._parts: list[tuple[Path, np.ndarray | None]] = []
        keys = [] if before is None else [np.asarray(before.keys)]
        widths = set() if before is None else {before.d}
        for path in files:
            with reading(path) as file:
                widths.add(file.schema_arrow.field("vector").type.list_size)
                own = file.read(columns=["key"]).column("key").to_numpy()
            kept = None if dropped is None else ~np.isin(own, dropped)
            self._parts.append((path, kept))
            keys.append(own if kept is None else own[kept])
        if len(widths) != 1:
            where = files[0].parent if files else "embeddings"
            raise IndexCorrupt(where, f"vectors have dimensions {sorted(widths)}")
        self.d = int(widths.pop())
        self.keys: Ints = np.concatenate(keys)
        if np.any(np.diff(self.keys) < 0):
            raise IndexCorrupt(files[0].parent, "the keys of the embeddings do not ascend")

    def __len__(self) -> int:
        return len(self.keys)

    def blocks(self) -> Iterator[Float16s]:
        """Vectors (m, d) float16, block by block in the order of the keys."""
        if self.before is not None:
            yield from self.before.blocks()
        for path, kept in self._parts:
            start = 0
            with reading(path) as file:
                for batch in file.iter_batches(BLOCK, columns=["vector"]):
                    block = vectors_of(batch.column("vector"))
                    yield block if kept is None else block[kept[start : start + len(block)]]
                    start += len(block)

    def take(self, positions: Ints) -> Float32s:
        """(m, d) float32: the vectors at `positions`, in any order; one pass over all."""
        order = np.argsort(positions, kind="stable")
        ascending = positions[order]
        out = np.empty((len(positions), self.d), np.float32)
        start = 0
        for block in self.blocks():
            low, high = np.searchsorted(ascending, (start, start + len(block)))
            out[order[low:high]] = block[ascending[low:high] - start]
            start += len(block)
        return out

    def sample(self, size: int, seed: int) -> Float32s:
        """(size, d) float32: a random sample in a random order, the same for the same seed."""
        return self.take(np.random.default_rng(seed).permutation(len(self))[:size])


def count_rows(files: Sequence[Path]) -> int:
    """Rows in all Parquet `files`, from their footers."""
    total = 0
    for path in files:
        with reading(path) as file:
            total += file.metadata.num_rows
    return total
