"""Hydrogens that a 1H spectrum counts, and how well a molecule's number of them fits.

The signals of a printed line state how many hydrogens they are of. Their sum is the molecule's number of
hydrogens, or less: those on N, O and S exchange and are often not listed. It may be wrong by a missed OH, a
residue of solvent or one integral, so what does not fit counts against a molecule and never excludes it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from acml_search.core.typing import Floats

MISSING = 1.2
"""nats for each hydrogen that was counted and that the molecule lacks"""
EXCESS = 0.5
"""nats for each that the molecule has beyond those counted and its exchangeable ones"""
WORST = 6.0
"""nats, at most"""
BANDS = (-3.0, 0.0)
"""priors down to which molecules are searched on their own, so that those that fit are all compared"""
STATED = 0.75
"""share of signals that must state a count for their sum to be one of the molecule"""


def stated_hydrogens(counts: Sequence[int | None]) -> int | None:
    """The sum of the counts that signals state; None where fewer than three quarters of them state one."""
    stated = [count for count in counts if count]
    return sum(stated) if stated and len(stated) >= STATED * len(counts) else None


def hydrogen_prior(observed: npt.ArrayLike, hydrogens: npt.ArrayLike, exchangeable: npt.ArrayLike) -> Floats:
    """Logarithms (nats) of how well molecules fit the number of hydrogens that a spectrum counts, 0 to -6.

    observed: of one spectrum, or of several; hydrogens, exchangeable: of the molecules (n,), whole numbers.
    float64 in the shape to which the three broadcast.
    """
    counted, present = np.asarray(observed, np.int32), np.asarray(hydrogens, np.int32)
    beyond = present - np.asarray(exchangeable, np.int32) - counted
    cost = MISSING * np.maximum(counted - present, 0) + EXCESS * np.maximum(beyond, 0)
    return np.asarray(0.0 - np.minimum(cost, WORST), np.float64)
