"""Which observed peak belongs to which predicted one, when a spectrum does not say."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def match_sorted(few: Floats, many: Floats) -> Ints:
    """Least total distance on a line: `few` (m,) and `many` (n,), both ascending, m <= n -> (m,) int64, the
    index in `many` of each one's partner, ascending.

    Optimal partners on a line never cross, so a dynamic programme over the two sorted lists finds them; for
    m = n they are simply the sorted order.
    """
    m, n = len(few), len(many)
    if m == n:
        return np.arange(n)
    cost = np.abs(few[:, None] - many[None, :])
    best = np.empty((m, n))
    best[0] = cost[0]
    for i in range(1, m):
        best[i, 0] = np.inf
        best[i, 1:] = cost[i, 1:] + np.minimum.accumulate(best[i - 1])[:-1]
    partners = np.empty(m, np.int64)
    end = n
    for i in range(m - 1, -1, -1):
        partners[i] = int(best[i, :end].argmin())
        end = partners[i]
    return partners


def match_peaks(predicted: Floats, observed: Floats) -> tuple[Ints, Floats, int]:
    """Partners of one spectrum's peaks.

    `predicted` (a,) ppm, a value per atom in any order; `observed` (p,) ppm, as listed. Matched are all atoms
    when the list has one value per atom, else distinct predictions with distinct values. Returns the atoms
    (k,) int64, the value each should have (k,), and the number of classes of equivalent atoms.
    """
    order = predicted.argsort(kind="stable")
    ordered = predicted[order]
    first = np.concatenate([[True], np.diff(ordered) > 1e-4])  # equivalent atoms are predicted equal
    classes = int(first.sum())
    distinct = np.unique(observed.round(2))
    # The same number of values as of atoms means repeated values, unless every atom is a class of its own.
    if len(observed) == len(predicted):
        return order, np.sort(observed), classes
    atoms, values = order[first], distinct
    if len(values) <= len(atoms):
        atoms = atoms[match_sorted(values, predicted[atoms])]
    else:
        values = values[match_sorted(predicted[atoms], values)]
    return atoms, values, classes
