"""A prior of structures: how frequent the environments of their atoms are in molecules.

A reader takes an S for an O, or bromine for Bz; the structure shows it, for bromine is hardly ever bonded to
oxygen. `environments.json` has atoms per million by `environment`: counted by
`training.detector.environments` over 50,000 molecules of the training corpus without its dev split (30,000
with measured spectra, 10,000 each of ChEMBL and ZINC's kind); environments met once are left out.
"""

from __future__ import annotations

import json
import math
from functools import cache
from importlib import resources

from rdkit import Chem

_COMMON = 1_000.0
"""atoms in a million from which an environment costs nothing"""
_UNSEEN = 0.5
_IMPOSSIBLE = 12.0
_PIECE = 2.0
_RARITY = 0.1
_ODD = 3.0
"""nats against an atom that is mostly a misread one"""
_NET = 1.0
"""nats against a charge without a counter-ion"""
_COUNTER_IONS = {"Cl", "Br", "I", "[Cl-]", "[Br-]", "[I-]", "[Na+]", "[K+]", "[Li+]"}
"""pieces that are written beside structures"""
_SELDOM = {"Sn", "Hg", "Ge", "Te", "Al", "Mg", "Zn", "Cu", "Co", "Fe", "Pt", "As", "Li", "K", "Na"}

_SIGNS = {
    Chem.BondType.SINGLE: "-",
    Chem.BondType.DOUBLE: "=",
    Chem.BondType.TRIPLE: "#",
    Chem.BondType.AROMATIC: ":",
}


def environment(atom: Chem.Atom) -> str:
    """An atom with charge, unpaired electrons, and its bonds and neighbours in a fixed order: `N-C-C=O`."""
    charge, radicals = atom.GetFormalCharge(), atom.GetNumRadicalElectrons()
    around = sorted(
        _SIGNS.get(bond.GetBondType(), "?") + bond.GetOtherAtom(atom).GetSymbol() for bond in atom.GetBonds()
    )
    signs = (f"{charge:+d}" if charge else "") + (f"*{radicals}" if radicals else "")
    return str(atom.GetSymbol() + signs + "".join(around))


def prior_cost(mol: Chem.Mol | None, smiles: str) -> float:
    """Cost of a structure in nats: for rare environments, for several pieces, and where RDKit refuses it
    (`mol` is None)."""
    pieces = _PIECE * max(sum(piece not in _COUNTER_IONS for piece in smiles.split(".")) - 1, 0)
    if mol is None:
        return pieces + _IMPOSSIBLE
    rare = _RARITY * sum(_rarity(environment(atom)) for atom in mol.GetAtoms() if atom.GetDegree())
    odd = _ODD * sum(_is_odd(atom) for atom in mol.GetAtoms())
    return pieces + rare + odd + _NET * abs(Chem.GetFormalCharge(mol))


def _is_odd(atom: Chem.Atom) -> bool:
    """Elements that are hardly drawn but as ions, oxygen with three bonds, unpaired electrons."""
    seldom = atom.GetSymbol() in _SELDOM and atom.GetDegree() > 0
    onium = atom.GetSymbol() == "O" and atom.GetFormalCharge() > 0
    return seldom or onium or atom.GetNumRadicalElectrons() > 0


def _rarity(name: str) -> float:
    return max(0.0, math.log(_COMMON / _counts().get(name, _UNSEEN)))


@cache
def _counts() -> dict[str, int]:
    text = resources.files(__package__).joinpath("environments.json").read_text(encoding="utf-8")
    found: dict[str, int] = json.loads(text)
    return found
