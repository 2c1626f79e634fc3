"""Hypotheses on the structure in one picture: the likeliest, and its neighbours where letters or bonds are
uncertain.

A hypothesis is a choice for every point, letter and bond. The next ones differ from the first in one to three
of the least certain choices; a change costs the logarithm of how much likelier the first choice was. They are
found in the order of their costs (best-first search over sets of changes).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from acml_search.ocsr.assemble import MAX_CHARGE, MAX_HYDROGENS, SYMBOLS, max_bonds

ATOM_PROBABILITY = 0.3
"""probability from which a point is an atom"""
MIN_ATOM_PROBABILITY = 0.1
"""probability from which it may be one"""
MAX_BONDS = 6
MAX_COST, MAX_HYPOTHESES = 3.0, 8
"""nats, and hypotheses within them, that are weighed where one is a molecule"""
_MAX_CHANGES = 12
_MAX_CHANGES_AT_ONCE = 3
_WEDGE_PRIOR = np.array([0.2, 1.0, 1.0, 1.0, 1.0, 0.2])
"""weights of what the network says of a line: it was taught waves more often than they are drawn. Chosen on
scans.
"""
_STRAIGHT = -0.98
"""cosine of two bonds that may be one"""
_LONG = (1.8, 2.3)
"""usual bonds, up to which a bond, or a wedge, is long that was read as two"""
_OVERVALENCE_COST = 4.0
"""nats against a symbol that has more bonds than it can carry"""


class Detections(NamedTuple):
    """What the network detects in a picture. n points, m pairs of them; log-probabilities are float32."""

    xy: np.ndarray
    """(n, 2) float32, in units of a sixteenth of a bond"""
    probability: np.ndarray
    """(n,) float32 of an atom, `MIN_ATOM_PROBABILITY` or more"""
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
    names: tuple[str, ...] = SYMBOLS
    """what the columns of `symbols` stand for: `SYMBOLS`, then SMILES of the groups that letters spell"""
    doubts: tuple[str, ...] = ()
    """letters that spell no group"""
    wedges: np.ndarray | None = None
    """(m, 6) log-probabilities: plain, solid wedge with its narrow end at the first atom of the pair, at the
    second, hashed wedge likewise, wavy; None of a network that does not look for them"""


TURNED = [0, 2, 1, 4, 3, 5]
"""columns of wedges for pairs that are turned round"""
NO_DETECTIONS = Detections(
    np.zeros((0, 2), np.float32),
    np.zeros(0, np.float32),
    np.zeros((0, len(SYMBOLS)), np.float32),
    np.zeros((0, MAX_HYDROGENS + 1), np.float32),
    np.zeros((0, 2 * MAX_CHARGE + 1), np.float32),
    np.zeros((0, 2), np.int64),
    np.zeros((0, 6), np.float32),
)

Bond = tuple[int, int, int]
"""first atom, second atom, order"""


class Hypothesis(NamedTuple):
    """One structure that a picture may show. Positions in units of a sixteenth of a bond."""

    xy: np.ndarray
    symbols: list[str]
    hydrogens: list[int]
    charges: list[int]
    bonds: list[Bond]
    confidence: float = 0.0
    """mean probability of atoms' places and symbols and of bonds' orders; 0 without an atom"""
    wedges: Sequence[int] = ()
    """of each bond, a column of `Detections.wedges`"""
    certainties: Sequence[float] = ()
    """of each atom: that it is there, and its symbol and its least certain bond are as read"""


class Change(NamedTuple):
    """One other choice: what (point, symbol, charge or bond), of which, to what; its cost is in nats."""

    cost: float
    what: str
    at: int
    to: int


def best_hypothesis(found: Detections, changes: Sequence[Change] = ()) -> Hypothesis:
    """The likeliest hypothesis, but for `changes`."""
    if not len(found.xy):
        return Hypothesis(found.xy, [], [], [], [])
    present, orders = found.probability >= ATOM_PROBABILITY, found.orders.argmax(axis=1)
    no_bond = found.orders[:, 0].copy()
    for one in changes:
        if one.what == "point":
            present[one.at] = bool(one.to)
        elif one.what == "bond":
            orders[one.at] = one.to
            no_bond[one.at] = -np.inf
    rows = bond_rows(found.pairs, orders, no_bond, present)
    bonds = _bonds(found.pairs, orders, rows)
    symbols = _within_valence(found, bonds).argmax(axis=1)
    charges = found.charges.argmax(axis=1) - MAX_CHARGE
    for one in changes:
        if one.what == "symbol":
            symbols[one.at] = one.to
        elif one.what == "charge":
            charges[one.at] = one.to - MAX_CHARGE
    place = np.cumsum(present) - 1
    # From left to right: so a group that letters spell knows its ends.
    rows.sort(key=lambda row: float(found.xy[found.pairs[row], 0].sum()))
    read = Hypothesis(
        found.xy[present],
        [found.names[i] for i in symbols[present]],
        found.hydrogens[present].argmax(axis=1).tolist(),
        charges[present].tolist(),
        _bonds(place[found.pairs], orders, rows),
        _confidence(found, present),
        _wedges(found, orders, rows),
        _certainties(found)[present].tolist(),
    )
    return _without_crossings(read) if rows else read


def _without_crossings(read: Hypothesis) -> Hypothesis:
    """The hypothesis without corners that are none: on a straight bond, or where two bonds cross, as they do
    in bridged rings. The pieces of such a bond are short; those at a quaternary carbon are not.
    """
    ends = np.array([bond[:2] for bond in read.bonds])
    start, ways = ends.T.ravel(), np.diff(read.xy[np.vstack([ends, ends[:, ::-1]])], axis=1)[:, 0]
    length = np.linalg.norm(ways, axis=1)
    turned = (ways @ ways.T < _STRAIGHT * np.outer(length, length)) & (start[:, None] == start)
    if not turned.any():
        return read
    usual = float(np.median(length))
    drawn = {(a, b): (order, wedge) for (a, b, order), wedge in zip(read.bonds, read.wedges, strict=True)}
    around: list[set[int]] = [set() for _ in read.symbols]
    for a, b in drawn:
        around[a].add(b)
        around[b].add(a)
    gone = []
    for i in [i for i in np.unique(start[turned.any(axis=1)]).tolist() if not read.symbols[i]]:
        near = sorted(around[i])
        ways = (read.xy[near] - read.xy[i]) / usual
        far = np.linalg.norm(ways, axis=1)
        straight = np.argwhere(np.triu(ways @ ways.T < _STRAIGHT * np.outer(far, far))).tolist()
        own = [(min(i, k), max(i, k)) for k in near]
        kinds = [drawn[one][1] for one in own]
        alike = all((kinds[a] + 1) // 2 == (kinds[b] + 1) // 2 for a, b in straight)
        crossed = 0 < 2 * len(straight) == len(near) and alike and all(drawn[one][0] == 1 for one in own)
        if crossed and max(far[a] + far[b] for a, b in straight) < _LONG[all(0 < kind < 5 for kind in kinds)]:
            gone.append(i)
            for k, one in zip(near, own, strict=True):
                around[k].remove(i)
                del drawn[one]
            for a, b in straight:
                # The narrow end of a wedge is that of its pieces.
                first = near[a] == own[a][1 - kinds[a] % 2] or i == own[b][1 - kinds[b] % 2]
                wedge = 2 * ((kinds[a] + 1) // 2) - first if kinds[a] % 5 else 0
                drawn.setdefault((near[a], near[b]), (1, wedge))
                around[near[a]].add(near[b])
                around[near[b]].add(near[a])
        else:  # a bond through an atom is the two that end there
            for a, b in straight:
                drawn.pop((near[a], near[b]), None)
                around[near[a]].discard(near[b])
                around[near[b]].discard(near[a])
    if len(drawn) == len(read.bonds):
        return read
    kept = [i for i in range(len(read.symbols)) if i not in gone]
    place = {i: at for at, i in enumerate(kept)}
    return read._replace(
        xy=read.xy[kept],
        symbols=[read.symbols[i] for i in kept],
        hydrogens=[read.hydrogens[i] for i in kept],
        charges=[read.charges[i] for i in kept],
        bonds=[(place[a], place[b], order) for (a, b), (order, _) in drawn.items()],
        wedges=[wedge for _, wedge in drawn.values()],
        certainties=[read.certainties[i] for i in kept],
    )


def hypotheses(
    found: Detections, max_cost: float = MAX_COST, at_most: int = MAX_HYPOTHESES
) -> Iterator[tuple[float, Hypothesis]]:
    """Costs and hypotheses, the likeliest first."""
    yield 0.0, best_hypothesis(found)
    changes = _changes(found, max_cost)
    waiting: list[tuple[float, tuple[int, ...]]] = [(one.cost, (i,)) for i, one in enumerate(changes)]
    heapq.heapify(waiting)
    for _ in range(at_most - 1):
        if not waiting:
            return
        cost, chosen = heapq.heappop(waiting)
        yield cost, best_hypothesis(found, [changes[i] for i in chosen])
        changed = {(changes[i].what, changes[i].at) for i in chosen}
        if len(chosen) < _MAX_CHANGES_AT_ONCE:
            for i in range(chosen[-1] + 1, len(changes)):
                total = cost + changes[i].cost
                if total < max_cost and (changes[i].what, changes[i].at) not in changed:
                    heapq.heappush(waiting, (total, (*chosen, i)))


def _changes(found: Detections, max_cost: float) -> list[Change]:
    """The least costly changes of the likeliest hypothesis, cheapest first."""
    if not len(found.xy):
        return []
    present = found.probability >= ATOM_PROBABILITY
    orders = found.orders.argmax(axis=1)
    bonds = _bonds(found.pairs, orders, bond_rows(found.pairs, orders, found.orders[:, 0], present))
    p = np.clip(found.probability.astype(float), 1e-6, 1 - 1e-6)
    odds = np.abs(np.log(p / (1 - p)) - np.log(ATOM_PROBABILITY / (1 - ATOM_PROBABILITY)))
    changes = [
        Change(float(odds[i]), "point", int(i), int(not present[i])) for i in np.flatnonzero(odds < max_cost)
    ]
    for what, table, rows in (
        ("symbol", _within_valence(found, bonds), present),
        ("charge", found.charges, present),
        ("bond", found.orders, present[found.pairs].all(axis=1)),
    ):
        costs = table.max(axis=1, keepdims=True, initial=-np.inf) - table
        costs[~rows] = np.inf
        for row, column in np.argwhere((costs > 0) & (costs < max_cost)):
            changes.append(Change(float(costs[row, column]), what, int(row), int(column)))
    return sorted(changes)[:_MAX_CHANGES]


def _bonds(pairs: np.ndarray, orders: np.ndarray, rows: Sequence[int]) -> list[Bond]:
    return [(int(pairs[i, 0]), int(pairs[i, 1]), int(orders[i])) for i in rows]


def bond_rows(pairs: np.ndarray, orders: np.ndarray, no_bond: np.ndarray, present: np.ndarray) -> list[int]:
    """Which pairs are bonds, the most certain first, up to six an atom and three for two atoms in all: more
    is no structure, and RDKit may not come back from it.

    orders: (m,) chosen. no_bond: (m,) log-probabilities of no bond. present: (n,) which points are atoms.
    """
    bonded = np.flatnonzero((orders > 0) & present[pairs].all(axis=1))
    degree = np.zeros(len(present), np.int64)
    rows: list[int] = []
    for i in bonded[np.argsort(no_bond[bonded], kind="stable")]:
        if (degree[pairs[i]] < MAX_BONDS).all() and len(rows) < 1.5 * present.sum():
            rows.append(int(i))
            degree[pairs[i]] += 1
    return rows


def _within_valence(found: Detections, bonds: list[Bond]) -> np.ndarray:
    """(n, symbols) log-probabilities of symbols, less a cost where more bonds are drawn than they can
    carry."""
    carried = np.zeros(len(found.xy))
    for a, b, order in bonds:
        carried[[a, b]] += {4: 1.5, 5: 1.0}.get(order, float(order))
    excess = np.floor(carried)[:, None] - np.array([max_bonds(name) for name in found.names])[None, :]
    return np.asarray(found.symbols - np.clip(excess, 0, 1) * _OVERVALENCE_COST)


def _wedges(found: Detections, orders: np.ndarray, rows: Sequence[int]) -> list[int]:
    """What is drawn of the bonds `rows`: only single ones are more than plain."""
    if found.wedges is None:
        return [0] * len(rows)
    chances = np.exp(found.wedges[rows]) * _WEDGE_PRIOR
    plain, solid, hashed, wavy = np.split(chances, (1, 3, 5), axis=1)
    kinds = np.hstack([one.sum(axis=1, keepdims=True) for one in (plain, solid, hashed, wavy)]).argmax(axis=1)
    drawn = np.choose(kinds, [0, 1 + solid.argmax(axis=1), 3 + hashed.argmax(axis=1), 5])
    return [int(kind) for kind in np.where(orders[rows] == 1, drawn, 0)]


def _certainties(found: Detections) -> np.ndarray:
    certain = found.probability * np.exp(found.symbols.max(axis=1))
    weakest = np.ones(len(certain))
    for end in (0, 1):
        np.minimum.at(weakest, found.pairs[:, end], np.exp(found.orders.max(axis=1, initial=-np.inf)))
    return np.asarray(certain * weakest)


def _confidence(found: Detections, present: np.ndarray) -> float:
    if not present.any():
        return 0.0
    ends = present[found.pairs].all(axis=1)
    certain = [
        found.probability[present],
        np.exp(found.symbols[present].max(axis=1)),
        np.exp(found.orders[ends].max(axis=1)),
    ]
    return float(np.concatenate(certain).mean())
