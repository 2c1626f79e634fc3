"""Aliases of array types."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float16s = npt.NDArray[np.float16]
Float32s = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
