"""Splits that depend on the molecule alone: the dev split, and Bemis-Murcko scaffolds.

The dev split is the part of the training molecules that no training step sees; hyper-parameters, checkpoints
and temperatures are chosen on it, so that `valid` stays unseen. A hash of the InChIKey's first block fixes
it, about one molecule in fifty, the same for every file and modality.
"""

from __future__ import annotations

import hashlib

from rdkit import Chem

DEV_ONE_IN = 50


def inchikey14_hash(inchikey14: str) -> int:
    """A 63-bit number for the first block of an InChIKey, the same on every machine."""
    return int.from_bytes(hashlib.sha256(inchikey14.encode()).digest()[:8], "big") >> 1


def is_dev(inchikey14: str) -> bool:
    """Is the molecule in the dev split?"""
    return inchikey14_hash(inchikey14) % DEV_ONE_IN == 0


def dev_fold(inchikey14: str, folds: int) -> int:
    """Which of `folds` equal parts of the dev split a molecule is in, from 0."""
    return inchikey14_hash(inchikey14) // DEV_ONE_IN % folds


def scaffold(mol: Chem.Mol) -> str:
    """SMILES of the Bemis-Murcko scaffold (J. Med. Chem. 1996, 39, 2887), flat; "" without a ring."""
    from rdkit.Chem.Scaffolds import MurckoScaffold

    flat = Chem.Mol(mol)
    Chem.RemoveStereochemistry(flat)
    return str(Chem.MolToSmiles(MurckoScaffold.GetScaffoldForMol(flat)))
