"""Parquet parts of embeddings: `key` int64 and `vector` FixedSizeList<float16>[d], read in blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from acml_search.core.errors import IndexCorrupt
from acml_search.library.arrow import take

SAME = 0.999
"""Least cosine of a vector made again with the stored one: half precision costs 1e-6; another molecule, model
or order of vectors costs far more."""
BLOCK = 32_768  # vectors read at once: 16 MB at 256 dimensions


def table(keys: npt.NDArray[np.int64], vectors: npt.NDArray[np.float16]) -> pa.Table:
    """The table of `keys` (n,) and `vectors` (n, d) as parts store it."""
    flat = pa.array(np.ascontiguousarray(vectors).reshape(-1), pa.float16())
    return pa.table(
        {
            "key": pa.array(keys, pa.int64()),
            "vector": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
        }
    )


def count(parts: Sequence[Path]) -> int:
    """Rows in all `parts`, from their footers."""
    return sum(_open(part).metadata.num_rows for part in parts)


def width(parts: Sequence[Path]) -> int:
    """The dimension d of the vectors. Raises IndexCorrupt when parts differ."""
    found = {_open(part).schema_arrow.field("vector").type.list_size for part in parts}
    if len(found) != 1:
        raise IndexCorrupt(
            parts[0].parent if parts else "embeddings", f"vectors have dimensions {sorted(found)}"
        )
    return int(found.pop())


def read_vectors(parts: Sequence[Path]) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.float16]]]:
    """Keys (m,) int64 and vectors (m, d) float16, block by block in the order of `parts`."""
    for part in parts:
        with _open(part) as file:
            for batch in file.iter_batches(BLOCK, columns=["key", "vector"]):
                yield batch.column("key").to_numpy(), vectors_of(batch.column("vector"))


def vectors_of(column: Any) -> npt.NDArray[np.float16]:
    """(m, d) float16 view of a column of vectors."""
    return column.flatten().to_numpy(zero_copy_only=False).reshape(-1, column.type.list_size)


def sample_rows(parts: Sequence[Path], size: int, seed: int) -> npt.NDArray[np.float32]:
    """(size, d) float32: a random sample in a random order, the same for the same seed; one pass over
    `parts`.
    """
    total = count(parts)
    chosen = np.random.default_rng(seed).permutation(total)[: min(size, total)]
    place = np.full(total, -1, np.int32)
    place[chosen] = np.arange(len(chosen))
    out = np.empty((len(chosen), width(parts)), np.float32)
    start = 0
    for keys, vectors in read_vectors(parts):
        at = place[start : start + len(keys)]
        out[at[at >= 0]] = vectors[at >= 0]
        start += len(keys)
    return out


def vectors_at(files: Sequence[Path], at: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """(m, d) float32: the vectors at positions `at` (ascending) over all files."""
    picked, start = [], 0
    for keys, vectors in read_vectors(files):
        here = at[(at >= start) & (at < start + len(keys))] - start
        picked.append(vectors[here].astype(np.float32))
        start += len(keys)
    return np.concatenate(picked)


def rows_at(files: Sequence[Path], at: npt.NDArray[np.int64], columns: list[str] | None = None) -> pa.Table:
    """The rows at positions `at` (ascending) over all files, in `columns` (None: all)."""
    picked, start = [], 0
    for file in files:
        n = count([file])
        here = at[(at >= start) & (at < start + n)] - start
        if len(here):
            picked.append(take(pq.read_table(file, columns=columns), here))
        start += n
    return pa.concat_tables(picked)


def _open(part: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(part)
    except (OSError, pa.ArrowInvalid) as error:
        raise IndexCorrupt(
            part, f"it is not a readable Parquet file ({str(error).splitlines()[0]})"
        ) from error
