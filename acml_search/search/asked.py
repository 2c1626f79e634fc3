"""What is asked with observations, and the candidates that answer it, scored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from acml_search.search.candidates import Candidates
from acml_search.search.filters import Filters
from acml_search.search.observation import Observation


class Asked(NamedTuple):
    """Observations of one compound and what is the same for all of a call.

    passing: keys that pass the filter, ascending, None for all. wanted: answer about these keys, whatever
    their rank, instead of the first k. occlude: say which peaks of a mass spectrum matter most.
    """

    observations: Sequence[Observation]
    k: int
    filters: Filters
    passing: npt.NDArray[np.int64] | None
    rerank: bool = True
    wanted: npt.NDArray[np.int64] | None = None
    occlude: bool = False
    notes: Sequence[str] = ()
    seconds: float = 0.0
    """that the filter took"""


class Scored(NamedTuple):
    """Candidates in their final order.

    totals: (n,) float64 sum of the logits; parts: (n,) float64 by space; compared: spaces whose peaks were
    compared one by one, with `n_compared` candidates, the first ones.
    """

    candidates: Candidates
    totals: npt.NDArray[np.float64]
    parts: dict[str, npt.NDArray[np.float64]]
    compared: list[str]
    n_compared: int = 0
