"""The inner part that choices are made on: whole scaffolds, so that it holds chemistry the rest does not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from rdkit import Chem
from rdkit.Chem.Scaffolds import MurckoScaffold

VALID = 0.15
"""share of the molecules, at most"""


def scaffold_of(mol: Chem.Mol) -> str:
    """SMILES of the Bemis-Murcko scaffold (J. Med. Chem. 1996, 39, 2887) without configuration; "" for a
    molecule without ring.
    """
    flat = Chem.Mol(mol)
    Chem.RemoveStereochemistry(flat)
    return str(Chem.MolToSmiles(MurckoScaffold.GetScaffoldForMol(flat)))


def inner_split(
    mols: Sequence[Chem.Mol], y: npt.NDArray[np.float64], task: str, seed: int
) -> npt.NDArray[np.bool_]:
    """(n,) bool, the molecules that choices are made on.

    Scaffolds are taken in a seeded random order as long as they fit into the share; one that is larger than a
    fifth of it stays in the training part, and so do molecules without rings. Where that leaves a target
    without labels to judge by (for classes: without either), a seeded random choice is made instead.
    """
    groups: dict[str, list[int]] = {}
    for i, mol in enumerate(mols):
        groups.setdefault(scaffold_of(mol) or f"no ring {i}", []).append(i)
    rng = np.random.default_rng(seed)
    wanted = max(1, round(VALID * len(mols)))
    names = sorted(groups)
    chosen = np.zeros(len(mols), bool)
    for place in rng.permutation(len(names)).tolist():
        group = groups[names[place]]
        if len(group) <= max(1, wanted // 5) and chosen.sum() + len(group) <= wanted:
            chosen[group] = True
    if _judges(y[chosen], task) and _judges(y[~chosen], task):
        return chosen
    chosen[:] = False
    chosen[rng.permutation(len(mols))[:wanted]] = True
    return chosen


def _judges(y: npt.NDArray[np.float64], task: str) -> bool:
    known = [column[np.isfinite(column)] for column in y.T]
    return all(len(np.unique(one)) > 1 for one in known) if task == "classification" else all(map(len, known))
