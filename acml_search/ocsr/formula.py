"""Condensed formulas, as drawings write groups: `CO2Me`, `H3CO`, `N(CH2CH3)2`, `(CH2)3OH`, `NHBoc`, `13CH3`.

A formula has all its hydrogens, so valences decide what is bonded to what: an atom is bonded to the last one
with a free valence, by the highest order first; where something is left over at the end, lower orders are
tried. Nothing says that `CO2` is a carboxyl group: no other way leaves no valence free.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import count, islice
from typing import Literal, NamedTuple, get_args

from rdkit import Chem, rdBase

from acml_search.ocsr.abbreviations import ABBREVIATIONS

Side = Literal["left", "right"]
"""the end of the letters that their bond comes from"""

WAYS: tuple[tuple[Side, tuple[int, ...]], ...] = tuple(
    (side, orders) for orders in ((1,), (1, 1), (2,), (1, 2), (2, 1), ()) for side in get_args(Side)
)
"""in which letters are bonded"""
MAX_LETTERS = 60
_MAX_ATOMS = 100
_MAX_READINGS = 32
_MAX_STEPS = 3_000
"""bonds that are tried for one formula"""
_VALENCES = {"C": (4,), "N": (3,), "O": (2,), "S": (6, 4, 2), "F": (1,), "Cl": (1,), "Br": (1,), "I": (1,),
             "P": (5, 3), "B": (3,), "Si": (4,), "Se": (6, 4, 2), "Sn": (4,), "As": (5, 3), "D": (1,),
             "Li": (1,), "Na": (1,), "K": (1,)}  # fmt: skip
_CHARGED = {("N", 1): 4, ("P", 1): 4, ("O", 1): 3, ("S", 1): 3, ("O", -1): 1, ("S", -1): 1, ("B", -1): 4,
            ("P", -1): 6, ("Na", 1): 0, ("K", 1): 0, ("Li", 1): 0, ("Cl", -1): 0, ("Br", -1): 0,
            ("I", -1): 0}  # fmt: skip
"""valences of charged atoms"""
_HALOGENS = ("F", "Cl", "Br", "I")
_NAMES = sorted(ABBREVIATIONS, key=len, reverse=True)
_FIRST_ONLY = ("O2N", "HO3S", "H2O3P", "F5S")
"""written from right to left: elsewhere these letters are parts of other groups, as in SO2NH2"""
_ATOM = re.compile(r"(\[\d+)?(Cl|Br|Si|Se|Sn|As|Li|Na|[CNOSFIPBKHD])((?(1)\]))(\d*)")
_RUN = re.compile(r"C(?P<n>\d+)(?P<x>[HF])(?P<m>\d+)|(?P<y>[HF])(?P<k>\d+)C(?P<d>\d+)")
_ISOTOPE = re.compile(r"(\d{1,3})(Cl|[CNOFSIH])(?![a-z])")
_ISOTOPES = {
    "2H",
    "3H",
    "11C",
    "13C",
    "14C",
    "15N",
    "17O",
    "18O",
    "18F",
    "35S",
    "36Cl",
    "123I",
    "125I",
    "131I",
}


class _Unit(NamedTuple):
    """An atom or a group, once or several times on one neighbour."""

    symbol: str = ""
    group: str = ""
    """SMILES with the attachment as `*`"""
    n: int = 1
    hydrogens: int = 0
    charge: int = 0
    isotope: int = 0


_Item = _Unit | int | str
"""a unit, a number of hydrogens, a sign of charge"""


@lru_cache(4096)
def reading(text: str, side: Side = "left", orders: tuple[int, ...] = (1,)) -> str:
    """SMILES of the group that is written as `text`, "" where no structure has these letters. Its bond goes
    to `*`, or to `[*:1]` at the left and `[*:2]` at the right where there are two.

    side: where a single bond comes from. orders: of the bonds, one or two (left, right); none for a molecule.
    """
    text = re.sub(r"([+-])(\d)", r"\2\1", text.replace("\u2212", "-"))  # NH+3
    text = re.sub(r"\bn-?(?=C\d)", "", text)
    text = re.sub(r"(?<=[A-Z\d)])-(?=[A-Z(])", "", text)  # a bond: CH2-OCH3
    if not 0 < len(text) <= MAX_LETTERS or len(orders) > 2:
        return ""
    copies = re.match(r"[2-9](?=[A-Z])", text)
    if not orders and copies:  # 2HCl
        return ".".join([one] * int(copies[0])) if (one := reading(text[1:], side, ())) else ""
    mass = _ISOTOPE.match(text)
    if mass and mass[1] + mass[2] in _ISOTOPES:
        text = f"[{mass[0]}]{text[mass.end() :]}"
    first, last = (*orders, 0, 0)[:2]
    steps = count()
    for before in (False, True):
        for items in islice(_items(text), _MAX_READINGS):
            units = _with_hydrogens(items, before) or []
            ways = [(units, first, last)]
            if len(orders) == 2:
                ways.append((units[::-1], last, first))
            elif side == "right" and orders:
                ways = [(units[::-1], first, 0), (units, 0, first)]
            for i, way in enumerate(ways):
                if found := next(_built(*way, steps), ""):
                    return _swapped(found) if i and len(orders) == 2 else found
    return ""


def _swapped(smiles: str) -> str:
    """With the left attachment as the right one."""
    return smiles.replace(":1]", ":0]").replace(":2]", ":1]").replace(":0]", ":2]")


def _items(text: str, at: int = 0) -> Iterator[list[_Item]]:
    """What the letters from `at` name, in their order, in every way that they can be taken apart."""
    if at == len(text):
        yield []
    for heads, end in _heads(text, at):
        for head in heads:
            yield from (head + tail for tail in _items(text, end))


def _heads(text: str, at: int) -> Iterator[tuple[list[list[_Item]], int]]:
    """What may stand at one place of the letters: each with alternatives, and where it ends."""
    if at == len(text):
        return
    if text[at] in "+-":
        yield [[text[at]]], at + 1
    if text[at] == "(":
        depth, end = 1, at + 1
        while depth and end < len(text):
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            end += 1
        inner, (n, after) = text[at + 1 : end - 1], _number(text, end)
        if not depth and inner and n:
            yield _bracketed(inner, n), after
        return
    if run := _RUN.match(text, at):
        letter, n, m = run["x"] or run["y"], int(run["n"] or run["d"]), int(run["m"] or run["k"])
        if 1 < n <= _MAX_ATOMS and m == 2 * n + 1:
            yield [[_Unit(group="*" + ("C" * n if letter == "H" else "C(F)(F)" * n + "F"))]], run.end()
        elif 1 < n <= _MAX_ATOMS and m == 2 * n and run["n"]:
            yield [[_Unit("C"), 2] * n if letter == "H" else [_Unit("C"), _Unit("F", n=2)] * n], run.end()
    for name in _NAMES:
        if text.startswith(name, at) and (at == 0 or name not in _FIRST_ONLY):
            n, end = _number(text, at + len(name))
            yield [[_Unit(group=ABBREVIATIONS[name], n=n)]], end
    atom = _ATOM.match(text, at)
    while atom:
        n, mass = int(atom[4] or 1), int((atom[1] or "[0")[1:])
        if 0 < n <= _MAX_ATOMS:
            hydrogen = atom[2] == "H" and not mass
            unit = _Unit("D" if atom[2] == "H" else atom[2], n=n, isotope=mass)
            yield [[n if hydrogen else unit]], atom.end()
        # Si may be S before iPr.
        atom = _ATOM.match(text[: at + 1], at) if len(atom[2]) == 2 and not mass else None


def _bracketed(inner: str, n: int) -> list[list[_Item]]:
    """Letters in brackets with a number: n branches, or a chain of n links."""
    if inner == "H":
        return [[n]]
    alone = _ATOM.fullmatch(inner)
    if alone and not alone[1] and not alone[4]:
        return [[_Unit(alone[2], n=n)]]
    branches = dict.fromkeys(filter(None, (reading(inner, "left"), reading(inner, "right"))))
    chains = [links * n for links in islice(_items(inner), _MAX_READINGS) if len(links) * n <= _MAX_ATOMS]
    found: list[list[_Item]] = [[_Unit(group=one, n=n)] for one in branches]
    return found + chains


def _number(text: str, at: int) -> tuple[int, int]:
    end = at
    while end < len(text) and text[end].isdecimal() and text[end].isascii():
        end += 1
    n = int(text[at:end] or 1) if end - at < 4 else 0
    return (n if n <= _MAX_ATOMS else 0), end


def _with_hydrogens(items: Sequence[_Item], before: bool) -> list[_Unit] | None:
    """Units with their hydrogens and charges.

    before: hydrogens stand before their atom where they can (H3CO); else of two in a row the first belongs to
    what is before it, the second to what follows (C18H37HNOC).
    """
    units: list[_Unit] = []
    waiting = 0
    signs: list[str] = []
    for i, item in enumerate(items):
        if isinstance(item, _Unit):
            if waiting and item.group:
                return None
            units.append(item._replace(hydrogens=waiting))
            waiting = 0
        elif isinstance(item, int):
            to_next = i + 1 < len(items) and isinstance(items[i + 1], _Unit)
            # CF2H: the carbon's.
            at = next((k for k, one in reversed(list(enumerate(units))) if one.symbol not in _HALOGENS), None)
            taken = at is None or units[at].group or units[at].hydrogens
            if to_next and (before or taken):
                waiting = item
            elif taken or at is None:
                return None
            else:
                units[at] = units[at]._replace(hydrogens=item)
        else:
            signs.append(item)
            if i:
                units = _charged(units[::-1], item)[::-1]
    if signs and items[0] == signs[0]:  # -OOC
        units = _charged(units, signs[0])
    return units if sum(abs(one.charge) for one in units) == len(signs) else None


def _charged(units: list[_Unit], sign: str) -> list[_Unit]:
    """With the charge on the first unit that can carry it."""
    charge = 1 if sign == "+" else -1
    for i, one in enumerate(units):
        if (one.symbol, charge) in _CHARGED and not one.charge:
            return [*units[:i], one._replace(charge=charge), *units[i + 1 :]]
    return units


def _built(units: Sequence[_Unit], first: int, last: int, steps: Iterator[int]) -> Iterator[str]:
    """SMILES of units bonded in their order. first, last: orders of the attachments of the first atom, and of
    the one atom that has a valence left at the end; 0 where there is none.
    """
    atoms = [one._replace(n=k) for one in units for k in range(one.n)]  # n: its number among its kind
    many = [k + 1 < len(atoms) and atoms[k + 1].n > 0 for k in range(len(atoms))]
    # Hydrogens and charge are those of the last of several.
    atoms = [
        one._replace(hydrogens=0, charge=0) if more else one for one, more in zip(atoms, many, strict=True)
    ]
    if not 0 < len(atoms) <= _MAX_ATOMS:
        return

    def grow(free: tuple[int, ...], bonds: tuple[tuple[int, int], ...]) -> Iterator[str]:
        at = len(free)
        if at == len(atoms):
            left = [(i, n) for i, n in enumerate(free) if n]
            if [n for _, n in left] == [last][: bool(last)]:
                smiles = _smiles(atoms, bonds, first, left[0] if left else None)
                if smiles:
                    yield smiles
            return
        one = atoms[at]
        valences = _VALENCES.get(one.symbol, (1,))
        if one.charge:
            valences = (_CHARGED.get((one.symbol, one.charge), -1),)
        # Hydrogens are on atoms of the lowest valence.
        for valence in valences[-1:] if one.hydrogens else valences:
            able = valence - one.hydrogens
            if at == 0:
                if able >= first and (able > first or len(atoms) == 1 or many[0]):
                    yield from grow((able - first,), ())
                continue
            parent = (
                bonds[-1][0] if one.n and bonds else max((i for i, n in enumerate(free) if n), default=None)
            )
            if parent is None or (one.n and not bonds):
                continue
            for order in range(min(3, free[parent], able), 0, -1):
                if next(steps) > _MAX_STEPS:
                    return
                rest = tuple(n - order if i == parent else n for i, n in enumerate(free))
                yield from grow((*rest, able - order), (*bonds, (parent, order)))

    yield from grow((), ())


_ORDERS = (Chem.BondType.ZERO, Chem.BondType.SINGLE, Chem.BondType.DOUBLE, Chem.BondType.TRIPLE)


def _smiles(
    atoms: Sequence[_Unit], bonds: Sequence[tuple[int, int]], first: int, last: tuple[int, int] | None
) -> str:
    """SMILES of atoms, each bonded (to, order) to an earlier one; "" where RDKit refuses it."""
    mol = Chem.RWMol()
    places = []
    for one in atoms:
        if one.group:
            group = Chem.MolFromSmiles(one.group)
            Chem.Kekulize(group, clearAromaticFlags=True)
            start = next(a for a in group.GetAtoms() if a.GetAtomicNum() == 0)
            offset, inner = mol.GetNumAtoms(), start.GetNeighbors()[0].GetIdx()
            mol.InsertMol(group)
            mol.RemoveBond(offset + start.GetIdx(), offset + inner)
            mol.GetAtomWithIdx(offset + start.GetIdx()).SetProp("gone", "")
            places.append(offset + inner)
        else:
            atom = Chem.Atom({"D": "H"}.get(one.symbol, one.symbol))
            atom.SetFormalCharge(one.charge)
            atom.SetIsotope(one.isotope or (2 if one.symbol == "D" else 0))
            atom.SetNumExplicitHs(one.hydrogens)
            atom.SetNoImplicit(True)
            places.append(mol.AddAtom(atom))
    for i, (to, order) in enumerate(bonds):
        mol.AddBond(places[to], places[i + 1], _ORDERS[order])
    ends = [(0, first)] if first else []
    for number, (i, order) in enumerate([*ends, *([last] if last else [])], 1):
        end = mol.AddAtom(Chem.Atom(0))
        mol.GetAtomWithIdx(end).SetAtomMapNum(number if first and last else 0)
        mol.AddBond(end, places[i], _ORDERS[order])
    for atom in reversed(list(mol.GetAtoms())):
        if atom.HasProp("gone"):
            mol.RemoveAtom(atom.GetIdx())
    with rdBase.BlockLogs():
        if Chem.SanitizeMol(mol, catchErrors=True) != Chem.SanitizeFlags.SANITIZE_NONE:
            return ""
        return str(Chem.MolToSmiles(mol))
