"""The readings of one picture: the likeliest, and those next to it where letters or bonds are unsure.

A reading is a choice for every point, letter and bond. The next ones differ from the first in one to three of
the least certain choices; each costs the logarithm of how much likelier what it gives up was. They are found
in the order of their costs (best-first search over sets of changes).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from acml_search.ocsr.assemble import MAX_CHARGE, MAX_HYDROGENS, MOST_BONDS, SYMBOLS

PRESENT = 0.3
"""probability from which a point is an atom"""
FAINT = 0.1
"""probability from which it may be one"""
MAX_BONDS = 6
_DEAREST = 3.0
"""nats that a reading may cost"""
_MOST = 8
_MOST_CHANGES = 12
_AT_ONCE = 3
_LONG_ODDS = 4.0


class Seen(NamedTuple):
    """What the network makes of a picture. n points, m pairs of them; log-probabilities are float32."""

    xy: np.ndarray
    """(n, 2) float32, in units of a sixteenth of a bond"""
    sure: np.ndarray
    """(n,) float32 probability of an atom, `FAINT` or more"""
    symbols: np.ndarray
    """(n, symbols) log-probabilities"""
    hydrogens: np.ndarray
    """(n, 5) log-probabilities"""
    charges: np.ndarray
    """(n, 5) log-probabilities, of -2 first"""
    pairs: np.ndarray
    """(m, 2) int64, without those that are clearly no bond"""
    orders: np.ndarray
    """(m, 6) log-probabilities, of no bond first"""


NOTHING = Seen(
    np.zeros((0, 2), np.float32),
    np.zeros(0, np.float32),
    np.zeros((0, len(SYMBOLS)), np.float32),
    np.zeros((0, MAX_HYDROGENS + 1), np.float32),
    np.zeros((0, 2 * MAX_CHARGE + 1), np.float32),
    np.zeros((0, 2), np.int64),
    np.zeros((0, 6), np.float32),
)


class Read(NamedTuple):
    """What a picture was read as. n atoms, m bonds; positions in units of a sixteenth of a bond."""

    xy: np.ndarray
    symbols: list[str]
    hydrogens: list[int]
    charges: list[int]
    bonds: list[tuple[int, int, int]]
    trust: float = 0.0
    """mean probability of what was read: atoms' places and symbols, bonds' orders; 0 without an atom"""


class Change(NamedTuple):
    """One other choice: what (point, symbol, charge or bond), of which, to what; its cost is in nats."""

    cost: float
    what: str
    at: int
    to: int


def best(seen: Seen, changes: Sequence[Change] = ()) -> Read:
    """The likeliest reading, but for `changes`."""
    if not len(seen.xy):
        return Read(seen.xy, [], [], [], [])
    present, orders = seen.sure >= PRESENT, seen.orders.argmax(axis=1)
    none = seen.orders[:, 0].copy()
    for one in changes:
        if one.what == "point":
            present[one.at] = bool(one.to)
        elif one.what == "bond":
            orders[one.at] = one.to
            none[one.at] = -np.inf
    bonds = _likely(seen.pairs, orders, none, present)
    symbols = _told(seen, bonds).argmax(axis=1)
    charges = seen.charges.argmax(axis=1) - MAX_CHARGE
    for one in changes:
        if one.what == "symbol":
            symbols[one.at] = one.to
        elif one.what == "charge":
            charges[one.at] = one.to - MAX_CHARGE
    place = np.cumsum(present) - 1
    return Read(
        seen.xy[present],
        [SYMBOLS[i] for i in symbols[present]],
        seen.hydrogens[present].argmax(axis=1).tolist(),
        charges[present].tolist(),
        [(int(place[a]), int(place[b]), order) for a, b, order in bonds],
        _trust(seen, present),
    )


def readings(seen: Seen) -> Iterator[tuple[float, Read]]:
    """Costs and readings, the likeliest first; at most eight."""
    first = best(seen)
    yield 0.0, first
    changes = _changes(seen)
    waiting: list[tuple[float, tuple[int, ...]]] = [(one.cost, (i,)) for i, one in enumerate(changes)]
    heapq.heapify(waiting)
    for _ in range(_MOST - 1):
        if not waiting:
            return
        cost, chosen = heapq.heappop(waiting)
        yield cost, best(seen, [changes[i] for i in chosen])
        taken = {(changes[i].what, changes[i].at) for i in chosen}
        if len(chosen) < _AT_ONCE:
            for i in range(chosen[-1] + 1, len(changes)):
                dearer = cost + changes[i].cost
                if dearer < _DEAREST and (changes[i].what, changes[i].at) not in taken:
                    heapq.heappush(waiting, (dearer, (*chosen, i)))


def _changes(seen: Seen) -> list[Change]:
    """The least costly changes of the likeliest reading, cheapest first."""
    if not len(seen.xy):
        return []
    present = seen.sure >= PRESENT
    bonds = _likely(seen.pairs, seen.orders.argmax(axis=1), seen.orders[:, 0], present)
    sure = np.clip(seen.sure.astype(float), 1e-6, 1 - 1e-6)
    odds = np.abs(np.log(sure / (1 - sure)) - np.log(PRESENT / (1 - PRESENT)))
    found = [
        Change(float(odds[i]), "point", int(i), int(not present[i])) for i in np.flatnonzero(odds < _DEAREST)
    ]
    ends = present[seen.pairs].all(axis=1)
    for what, table, rows in (
        ("symbol", _told(seen, bonds), present),
        ("charge", seen.charges, present),
        ("bond", seen.orders, ends),
    ):
        costs = table.max(axis=1, keepdims=True, initial=-np.inf) - table
        costs[~rows] = np.inf
        for row, column in np.argwhere((costs > 0) & (costs < _DEAREST)):
            found.append(Change(float(costs[row, column]), what, int(row), int(column)))
    return sorted(found)[:_MOST_CHANGES]


def _likely(
    pairs: np.ndarray, orders: np.ndarray, none: np.ndarray, present: np.ndarray
) -> list[tuple[int, int, int]]:
    """Pairs that are bonds, the most certain first, as far as the atoms can have them: six each, and three
    for two atoms in all. More is no structure, and RDKit may not come back from it.

    `orders` (m,) are those chosen, `none` (m,) the log-probabilities of no bond, `present` (n,) the atoms.
    """
    bonded = np.flatnonzero((orders > 0) & present[pairs].all(axis=1))
    degree = np.zeros(len(present), np.int64)
    bonds: list[tuple[int, int, int]] = []
    for i in bonded[np.argsort(none[bonded], kind="stable")]:
        a, b = pairs[i]
        if degree[a] < MAX_BONDS and degree[b] < MAX_BONDS and len(bonds) < 1.5 * present.sum():
            bonds.append((int(a), int(b), int(orders[i])))
            degree[[a, b]] += 1
    return bonds


def _told(seen: Seen, bonds: list[tuple[int, int, int]]) -> np.ndarray:
    """(n, symbols) log-probabilities of symbols, less what they lose where more bonds are drawn than they can
    carry."""
    carried = np.zeros(len(seen.xy))
    for a, b, order in bonds:
        carried[[a, b]] += {4: 1.5, 5: 1.0}.get(order, float(order))
    over = np.floor(carried)[:, None] - np.array(MOST_BONDS)[None, :]
    return np.asarray(seen.symbols - np.clip(over, 0, 1) * _LONG_ODDS)


def _trust(seen: Seen, present: np.ndarray) -> float:
    ends = present[seen.pairs].all(axis=1)
    doubts = [
        seen.sure[present],
        np.exp(seen.symbols[present].max(axis=1)),
        np.exp(seen.orders[ends].max(axis=1)),
    ]
    return float(np.concatenate(doubts).mean()) if present.any() else 0.0
