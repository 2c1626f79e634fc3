"""Hydrogens that a 1H spectrum counts, and how well a molecule's number of them fits.

The signals of a printed line state how many hydrogens they are of. Their sum is the molecule's number of
hydrogens, or less: those on N, O and S exchange and are often not listed. It may be wrong by a missed OH, a
residue of solvent or one integral, so what does not fit counts against a molecule and never excludes it.
Of the 284 printed lines of `benchmarks.multiplicities.inner`, 204 count all hydrogens, 50 all but some
exchangeable ones, 11 are off by one and 19 by more, up to 50. The costs are near the logarithms of such
shares, times 1.25, and were chosen by how many shortlists of these lines hold the truth.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from acml_search.core.typing import Floats

HIDDEN = 2.0
"""nats, where some of the exchangeable hydrogens are not among those counted"""
OFF = 4.25
"""nats for the first hydrogen that was counted and that the molecule lacks, or that it has beyond those
counted and its exchangeable ones,"""
FURTHER = 0.75
"""and for each further one"""
WORST = 8.0
"""nats, at most"""
BANDS = (-2.0, 0.0)
"""priors down to which molecules are searched on their own, so that those that fit are all compared"""
STATED = 0.75
"""share of signals that must state a count for their sum to be one of the molecule"""


def stated_hydrogens(counts: Sequence[int | None]) -> int | None:
    """The sum of the counts that signals state; None where fewer than three quarters of them state one."""
    stated = [count for count in counts if count]
    return sum(stated) if stated and len(stated) >= STATED * len(counts) else None


def hydrogen_prior(observed: npt.ArrayLike, hydrogens: npt.ArrayLike, exchangeable: npt.ArrayLike) -> Floats:
    """Logarithms (nats) of how well molecules fit the number of hydrogens that a spectrum counts, 0 to -8.

    observed: of one spectrum, or of several; hydrogens, exchangeable: of the molecules (n,), whole numbers.
    float64 in the shape to which the three broadcast.
    """
    counted, present = np.asarray(observed, np.int32), np.asarray(hydrogens, np.int32)
    beyond = present - np.asarray(exchangeable, np.int32) - counted
    off = np.maximum(counted - present, beyond)
    within = np.where(counted == present, 0.0, HIDDEN)
    cost = np.where(off > 0, OFF + FURTHER * (off - 1), within)
    return np.asarray(0.0 - np.minimum(cost, WORST), np.float64)
