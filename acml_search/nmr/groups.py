"""Predicted peaks as a spectrum shows them: equivalent atoms together, as one."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from acml_search.nmr.dept import ANY, Bits

Floats = npt.NDArray[np.float64]


class PeaksOfAtoms(Protocol):
    """What is predicted of one molecule's atoms (`encoders.predict.Predicted`), p of them."""

    @property
    def atoms(self) -> npt.NDArray[np.int64]: ...
    @property
    def position(self) -> Floats: ...
    @property
    def spread(self) -> Floats: ...
    @property
    def present(self) -> Floats: ...


class Groups(NamedTuple):
    """Predicted peaks of one molecule, equivalent atoms together: g groups, by position."""

    position: Floats
    """(g,) ppm, ascending: the mean of the atoms"""
    spread: Floats
    """(g,) ppm"""
    present: Floats
    """(g,) probability that a spectrum lists the peak"""
    atoms: list[list[int]]
    """numbers of the atoms of each group"""
    attached: Bits
    """(g,) bit n set: an atom of the group carries n hydrogens"""


def group_atoms(predicted: PeaksOfAtoms, alike: float, attached: Bits | None = None) -> Groups:
    """Atoms whose predicted positions follow one another within `alike` ppm as one peak. `attached` (p,):
    bit n set where the atom carries n hydrogens; None where nothing is to be compared with it.
    """
    if attached is None:
        attached = np.full(len(predicted.position), ANY, np.uint8)
    if not len(predicted.position):
        empty = np.zeros(0)
        return Groups(empty, empty, empty, [], attached)
    order = np.argsort(predicted.position, kind="stable")
    position = predicted.position[order]
    starts = np.flatnonzero(np.concatenate([[True], np.diff(position) > alike]))
    sizes = np.diff(np.append(starts, len(order)))
    numbers = predicted.atoms[order].tolist()
    ends = [*starts.tolist(), len(order)]
    return Groups(
        np.add.reduceat(position, starts) / sizes,
        np.add.reduceat(predicted.spread[order], starts) / sizes,
        np.add.reduceat(predicted.present[order], starts) / sizes,
        [numbers[first:last] for first, last in pairwise(ends)],
        np.bitwise_or.reduceat(attached[order], starts),
    )
