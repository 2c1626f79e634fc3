"""Arrow and NumPy side by side without pandas.

Arrow's own conversions between its arrays and NumPy's import pandas when it is installed, half a second of
every cold start; by way of buffers they do not.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def take(table: pa.Table, places: npt.NDArray[np.int64]) -> pa.Table:
    """The rows of `table` at `places` (n,)."""
    buffer = pa.py_buffer(places.astype(np.int64).tobytes())
    return table.take(pa.Array.from_buffers(pa.int64(), len(places), [None, buffer]))


def int64s(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """The values of an int64 column without nulls, (n,)."""
    chunks = [
        np.frombuffer(cast("bytes", chunk.buffers()[1]), np.int64, len(chunk), chunk.offset * 8)
        for chunk in column.chunks
        if len(chunk)
    ]
    return np.concatenate(chunks) if chunks else np.zeros(0, np.int64)
