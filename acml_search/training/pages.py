"""Pictures with their truth, brought to scale and packed on canvases: what a step of training reads."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from rdkit import Chem
from torch import Tensor

from acml_search.core.errors import InvalidRecord
from acml_search.ocsr.abbreviations import DEFINITIONS
from acml_search.ocsr.assemble import MAX_CHARGE, MAX_HYDROGENS, SYMBOLS
from acml_search.ocsr.depict import Drawing
from acml_search.ocsr.detector import BOND, SHARP, near_pairs
from acml_search.ocsr.image import ink_of, resized
from acml_search.ocsr.styles import Effect, apply_effects

CANVAS = 256
"""side of a canvas in units of a sixteenth of a bond"""
_GAP = 12  # white units between pictures of one canvas
_INDEX = {symbol: i for i, symbol in enumerate(SYMBOLS)}


class Sample(NamedTuple):
    """One picture of a molecule as its ink, and the truth in pixels of it."""

    ink: np.ndarray
    xy: np.ndarray
    symbols: np.ndarray
    hydrogens: np.ndarray
    charges: np.ndarray
    bonds: np.ndarray
    orders: np.ndarray
    length: float
    """pixels of a bond"""


class Pages(NamedTuple):
    """Samples packed on canvases, as tensors."""

    pictures: Tensor
    """(p, 1, SHARP * CANVAS, SHARP * CANVAS) float32"""
    page: Tensor
    xy: Tensor
    labels: Tensor
    """(n, 3) int64: symbol, hydrogens, charge + MAX_CHARGE"""
    pairs: Tensor
    """(m, 2) int64 atoms of the batch"""
    orders: Tensor


# What atoms of a valence are exchanged for, the usual ones named often.
_CARRY = {
    valence: tuple(often.split() * 5 + seldom.split())
    for valence, often, seldom in (
        (1, "F Cl Br I O S N", "Se P Si B P Si B C As Te Ge Sn Li Na"),
        (2, "O S N", "Se P Si B Se P Si B C Te Mg Zn Hg"),
        (3, "N P B", "C C As Al Si"),
        (4, "C Si", "Ge Sn S Se"),
        (6, "S", "Se"),
    )
}


def mutated(mol: Chem.Mol, rng: np.random.Generator, share: float = 0.3) -> Chem.Mol:
    """The molecule with some atoms exchanged for others of their valence, or for groups written as letters.

    No chemist would make most of these, but their letters are drawn like any other, and rare ones become
    frequent. Where RDKit refuses the result, the molecule itself.
    """
    new = Chem.RWMol(mol)
    for atom in new.GetAtoms():
        valence = sum(int(bond.GetBondTypeAsDouble()) for bond in atom.GetBonds())
        if rng.random() > share or atom.GetIsAromatic() or atom.GetFormalCharge() or valence not in _CARRY:
            continue
        atom.SetNumExplicitHs(0)
        atom.SetNoImplicit(False)
        atom.SetChiralTag(Chem.ChiralType.CHI_UNSPECIFIED)
        if valence == 1 and rng.random() < 0.5:
            group = DEFINITIONS[int(rng.integers(len(DEFINITIONS)))]
            atom.SetAtomicNum(0)
            atom.SetProp("atomLabel", group.label)
            atom.SetProp("_displayLabel", group.displayLabel)
            atom.SetProp("_displayLabelW", group.displayLabelW or group.displayLabel)
        else:
            choice = _CARRY[valence]
            atom.SetAtomicNum(Chem.Atom(choice[int(rng.integers(len(choice)))]).GetAtomicNum())
    whole = new.GetMol()
    if Chem.SanitizeMol(whole, catchErrors=True) != Chem.SanitizeFlags.SANITIZE_NONE:
        return mol
    Chem.AssignStereochemistry(whole, cleanIt=True, force=True)
    return whole


def sample_of(drawing: Drawing, effects: tuple[Effect, ...], rng: np.random.Generator) -> Sample | None:
    """A drawing, worn and read; None where nothing is left to see."""
    image, xy = apply_effects(drawing.image, drawing.xy, effects, rng)
    try:
        ink, (left, top, step) = ink_of(image)
    except InvalidRecord:
        return None
    xy = (xy - [left, top]) / step
    ends = xy[drawing.bonds]
    length = float(np.median(np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1)))
    if not 5 < length < 400:
        return None
    return Sample(
        ink=ink,
        xy=xy.astype(np.float32),
        symbols=np.array([_INDEX.get(s, len(SYMBOLS) - 1) for s in drawing.symbols], np.int64),
        hydrogens=drawing.hydrogens.clip(0, MAX_HYDROGENS),
        charges=drawing.charges.clip(-MAX_CHARGE, MAX_CHARGE) + MAX_CHARGE,
        bonds=drawing.bonds,
        orders=drawing.orders,
        length=length,
    )


def at_scale(sample: Sample, rng: np.random.Generator) -> Sample:
    """The sample with bonds of about 16 units, cut to what a canvas can hold; its ink is twice as sharp."""
    scale = BOND / sample.length * float(np.exp(rng.normal(0, 0.1)))
    # Only a window of a large picture is resized: it may be very large.
    side = (CANVAS - _GAP) / scale
    h, w = sample.ink.shape
    top = int(rng.integers(0, int(h - side) + 1)) if h > side else 0
    left = int(rng.integers(0, int(w - side) + 1)) if w > side else 0
    ink = resized(sample.ink[top : top + int(side), left : left + int(side)], SHARP * scale)
    xy = (sample.xy - [left, top]) * scale
    inside: np.ndarray = np.all((xy >= -1) & (xy < np.array(ink.shape[::-1]) / SHARP + 1), axis=1)
    place = np.cumsum(inside) - 1
    whole = np.all(inside[sample.bonds], axis=1)
    return Sample(
        ink, xy[inside].astype(np.float32), sample.symbols[inside], sample.hydrogens[inside],
        sample.charges[inside], place[sample.bonds[whole]], sample.orders[whole], sample.length * scale,
    )  # fmt: skip


def packed(waiting: list[Sample], n_pages: int, rng: np.random.Generator) -> Pages:
    """Samples side by side on canvases, in shelves; what found no room stays in `waiting`."""
    pictures = np.zeros((n_pages, 1, SHARP * CANVAS, SHARP * CANVAS), np.float32)
    shelves: list[list[int]] = []  # page, upper edge, height, first free column
    free = [0] * n_pages  # the first free row of each page
    kept: list[tuple[Sample, int, int, int]] = []
    left: list[Sample] = []
    for sample in sorted(waiting, key=lambda s: -s.ink.shape[0]):
        h, w = (-(-side // SHARP) + _GAP for side in sample.ink.shape)
        fitting = [s for s in shelves if s[2] >= h and s[3] + w <= CANVAS]
        shelf = min(fitting, key=lambda s: s[2]) if fitting else None
        if shelf is None:
            emptiest = min(range(n_pages), key=free.__getitem__)
            if free[emptiest] + h > CANVAS:
                left.append(sample)
                continue
            shelf = [emptiest, free[emptiest], h, 0]
            shelves.append(shelf)
            free[emptiest] += h
        dx, dy = shelf[3] + int(rng.integers(_GAP // 2 + 1)), shelf[1] + int(rng.integers(shelf[2] - h + 7))
        y, x = SHARP * dy, SHARP * dx
        pictures[shelf[0], 0, y : y + sample.ink.shape[0], x : x + sample.ink.shape[1]] = sample.ink
        kept.append((sample, shelf[0], dx, dy))
        shelf[3] += w
    waiting[:] = left
    start = 0
    parts: dict[str, list[np.ndarray]] = {k: [] for k in ("page", "xy", "labels", "pairs", "orders")}
    for sample, number, dx, dy in kept:
        n = len(sample.xy)
        parts["page"].append(np.full(n, number))
        parts["xy"].append(sample.xy + np.array([dx, dy], np.float32))
        parts["labels"].append(np.stack([sample.symbols, sample.hydrogens, sample.charges], axis=1))
        pairs = near_pairs(sample.xy)
        known = {(min(a, b), max(a, b)): o for (a, b), o in zip(sample.bonds, sample.orders, strict=True)}
        parts["orders"].append(np.array([known.get((a, b), 0) for a, b in pairs], np.int64))
        parts["pairs"].append(pairs + start)
        start += n
    whole = {k: torch.from_numpy(np.concatenate(v)) for k, v in parts.items()}
    return Pages(torch.from_numpy(pictures / 255), **whole)
