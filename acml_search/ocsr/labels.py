"""Group labels: what letters spell takes the place of the points that a detector sees in them.

A label that is bonded as its letters need is a group; where its bonds are others, those give way that cost
least. What the letters may mean and what the detector says are weighed like all symbols (`ocsr.hypotheses`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from itertools import product
from typing import NamedTuple

import numpy as np
from rdkit import Chem

from acml_search.ocsr.assemble import GROUPS, MAX_CHARGE, MAX_HYDROGENS, SYMBOLS
from acml_search.ocsr.formula import WAYS, Side, reading
from acml_search.ocsr.hypotheses import ATOM_PROBABILITY, TURNED, Detections, bond_rows
from acml_search.ocsr.letters import Line

_MAX_CHANGE = 6.0
"""nats that other bonds than those drawn may cost"""
_MARGIN = 2.5
"""around a line of text, in sixteenths of a bond, where its atoms are"""
_BOND = 13.0
"""sixteenths of a bond, from which a bond within a line of text is a drawn one"""
_OTHER_SIDE = 2.0
_CLEAR = 1.5
_DISTRUST = 0.5
_MAX_CERTAIN = 0.98
_NEVER = -30.0
_UNLIKELY = -6.0
_MAX_ENDS = 3
_RETHOUGHT = 3
"""transcriptions for which other bonds than those drawn are thought of"""
_COUNTER_ION = re.compile(r"(Cl|Br|I|O)(\.(Cl|Br|I|O))*")
"""SMILES of what is written beside structures"""
_CAPTION = 3
"""letters from which a line without bonds that spells nothing is a caption"""
_ALONE = "NOSFPB"
"""letters that are read alone: strokes look like I, and H and C are parts of other labels"""
_NAMED = re.compile("[A-GI-Z]")


def with_labels(found: Detections, lines: Sequence[Line]) -> Detections:
    """Detections of a picture, with what its lines of text spell; boxes in the unit of positions.

    All points in a line are one atom, a group, where the line is read with some certainty.
    """
    for line in lines:
        found = _labelled(found, line)
    return found


def _labelled(found: Detections, line: Line) -> Detections:
    left, top, right, bottom = line.box
    x, y = found.xy[:, 0], found.xy[:, 1]
    inside = (x > left - _MARGIN) & (x < right + _MARGIN) & (y > top - _MARGIN) & (y < bottom + _MARGIN)
    present = found.probability >= ATOM_PROBABILITY
    text, cost = line.texts[0]
    if not (inside & present).any():
        apart = reading(text, orders=()) if cost < _CLEAR * len(text) else ""
        return _with_point(found, line, apart) if _COUNTER_ION.fullmatch(apart) else found
    rows = bond_rows(found.pairs, found.orders.argmax(axis=1), found.orders[:, 0], present)
    ends = found.xy[found.pairs]
    lengths = np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1)
    if any(inside[found.pairs[r]].all() and lengths[r] > _BOND for r in rows):
        return found  # a short chain, whose bonds look like letters
    crossing = [r for r in rows if inside[found.pairs[r]].sum() == 1]
    beyond = {r: float(x[found.pairs[r]][~inside[found.pairs[r]]][0]) for r in crossing}
    crossing.sort(key=beyond.__getitem__)
    alone = len(text) == 1
    if alone and (inside & present).sum() == 1:
        meanings = [_Meaning(c, c / _DISTRUST, text, ()) for text, c in line.texts if text in _ALONE]
    elif alone or len(crossing) > _MAX_ENDS:
        return found
    else:
        meanings = _meanings(found, line, crossing, beyond)
    if not meanings and not crossing and len(text) >= _CAPTION and cost < _CLEAR * len(text):
        return _kept(found, ~inside)
    if not meanings:
        unknown = cost < _CLEAR and _NAMED.search(text) and not any(reading(text, *way) for way in WAYS)
        return found._replace(doubts=(*found.doubts, text)) if unknown else found
    best = min(meanings)
    certain = _MAX_CERTAIN * float(np.exp(-_DISTRUST * best.by_letter))
    if certain < 0.5 and (inside & present).sum() > 1:
        return found
    orders = found.orders.copy()
    for r, order in zip(crossing, best.orders, strict=False):
        if order != _order(found.orders[r]):
            orders[r] = np.where(np.arange(orders.shape[1]) == order, np.log(certain), orders[r] + _UNLIKELY)
    found, at = _merged(found._replace(orders=orders), inside)
    probability = found.probability.copy()
    probability[at] = max(probability[at], certain)
    found = found._replace(probability=probability)
    odds: dict[str, float] = {}
    for one in meanings:
        if one.orders == best.orders:
            odds[one.symbol] = max(odds.get(one.symbol, 0.0), float(np.exp(best.cost - one.cost)))
    names = [*found.names, *(name for name in odds if name not in found.names)]
    symbols = np.pad(found.symbols, ((0, 0), (0, len(names) - len(found.names))), constant_values=_NEVER)
    spelt = np.array([odds.get(name, 0.0) for name in names])
    # The letters may be none of these: then it is what the detector says.
    chances = (1 - certain) * np.exp(symbols[at]) + certain * spelt / spelt.sum()
    symbols[at] = np.log(np.maximum(chances, np.exp(_NEVER)))
    return found._replace(names=tuple(names), symbols=symbols)


class _Meaning(NamedTuple):
    """What a line of text may be."""

    cost: float
    """nats, of letters and of changed bonds"""
    by_letter: float
    symbol: str
    orders: tuple[int, ...]
    """of its bonds from left to right, 0 for none"""


def _meanings(
    found: Detections, line: Line, crossing: Sequence[int], beyond: dict[int, float]
) -> list[_Meaning]:
    """All that a line of text may be with bonds `crossing` (rows of pairs), which end at x = `beyond`."""
    meanings: list[_Meaning] = []
    for i, (text, cost) in enumerate(line.texts):
        for changed, orders in _bonds(found, crossing):
            if changed and (i >= _RETHOUGHT or any(one.cost < changed for one in meanings)):
                break
            ends = [beyond[r] for r, order in zip(crossing, orders, strict=True) if order]
            for side, unusual in _sides(line, ends):
                if group := reading(text, side, tuple(order for order in orders if order)):
                    total = cost + changed + unusual
                    meanings.append(_Meaning(total, cost / len(text), _class(group), orders))
    return meanings


def _order(log_probabilities: np.ndarray) -> int:
    """The likeliest order, one that a label can have."""
    return {4: 1, 5: 1}.get(order := int(log_probabilities.argmax()), order)


def _bonds(found: Detections, rows: Sequence[int]) -> list[tuple[float, tuple[int, ...]]]:
    """Costs in nats and orders of the bonds of a label, 0 for none: as they are drawn, and changed as letters
    may need it, the likeliest first."""
    choices = []
    for r in rows:
        drawn, costs = _order(found.orders[r]), found.orders[r].max() - found.orders[r]
        choices.append([(0.0, drawn), *((float(costs[n]), n) for n in (0, 1, 2) if n != drawn)])
    ways = [(sum(cost for cost, _ in way), tuple(n for _, n in way)) for way in product(*choices)]
    return sorted(one for one in ways if one[0] < _MAX_CHANGE and sum(map(bool, one[1])) < _MAX_ENDS)


def _sides(line: Line, ends: Sequence[float]) -> list[tuple[Side, float]]:
    """Where a label's bond may come from, with costs in nats. ends: x of the atoms that it is bonded to."""
    if len(ends) != 1:
        return [("left", 0.0)]
    left, right = line.box[0], line.box[2]
    off = (ends[0] - (left + right) / 2) / (right - left)
    if abs(off) < 0.3:  # from above or below
        return [("left", 0.0), ("right", 0.1)] if off < 0 else [("right", 0.0), ("left", 0.1)]
    return [("left", 0.0), ("right", _OTHER_SIDE)] if off < 0 else [("right", 0.0), ("left", _OTHER_SIDE)]


def _merged(found: Detections, inside: np.ndarray) -> tuple[Detections, int]:
    """With one point in place of all points `inside`, and which one it is; it has the bonds of all."""
    at = int(np.flatnonzero(inside)[found.probability[inside].argmax()])
    kept = ~inside
    kept[at] = True
    merged = np.where(inside[found.pairs], at, found.pairs)
    pairs, wedges = np.sort(merged, axis=1), found.wedges
    surest = np.argsort(found.orders[:, 0], kind="stable")
    _, first = np.unique(pairs[surest], axis=0, return_index=True)
    rows = np.array(sorted(surest[first]), np.int64)
    rows = rows[pairs[rows, 0] != pairs[rows, 1]]
    if wedges is not None:
        wedges = np.where(merged[:, :1] > merged[:, 1:], wedges[:, TURNED], wedges)[rows]
    found = found._replace(pairs=pairs[rows], orders=found.orders[rows], wedges=wedges)
    return _kept(found, kept), int(kept[:at].sum())


def _kept(found: Detections, kept: np.ndarray) -> Detections:
    """Without the points that are not `kept`."""
    rows = kept[found.pairs].all(axis=1)
    place = np.cumsum(kept) - 1
    return found._replace(
        xy=found.xy[kept],
        probability=found.probability[kept],
        symbols=found.symbols[kept],
        hydrogens=found.hydrogens[kept],
        charges=found.charges[kept],
        pairs=place[found.pairs[rows]].reshape(-1, 2),
        orders=found.orders[rows],
        wedges=None if found.wedges is None else found.wedges[rows],
    )


def _with_point(found: Detections, line: Line, molecule: str) -> Detections:
    """With a point for a molecule that is written beside the structure, as HCl is."""
    name = _class(molecule)
    names = found.names if name in found.names else (*found.names, name)
    symbols = np.pad(found.symbols, ((0, 1), (0, len(names) - len(found.names))), constant_values=_NEVER)
    symbols[-1, names.index(name)] = np.log(_MAX_CERTAIN)
    none = (np.arange(n) == at for n, at in ((MAX_HYDROGENS + 1, 0), (2 * MAX_CHARGE + 1, MAX_CHARGE)))
    hydrogens, charges = (np.where(row, 0.0, _NEVER).astype(np.float32) for row in none)
    left, top, right, bottom = line.box
    return found._replace(
        xy=np.vstack([found.xy, np.array([(left + right) / 2, (top + bottom) / 2], np.float32)]),
        probability=np.append(found.probability, np.float32(_MAX_CERTAIN)),
        symbols=symbols,
        hydrogens=np.vstack([found.hydrogens, hydrogens]),
        charges=np.vstack([found.charges, charges]),
        names=names,
    )


@cache
def _class(group: str) -> str:
    """The symbol of the detector that means the same as a group's SMILES; else the SMILES."""
    mol = Chem.MolFromSmiles(group)
    atoms = [atom for atom in mol.GetAtoms() if atom.GetAtomicNum()]
    plain = atoms[0].GetFormalCharge() == atoms[0].GetIsotope() == 0
    if len(atoms) == 1 and plain and atoms[0].GetSymbol() in SYMBOLS:
        return str(atoms[0].GetSymbol())
    written = Chem.MolToSmiles(mol)
    return next((name for name, one in GROUPS.items() if Chem.CanonSmiles(one) == written), group)
