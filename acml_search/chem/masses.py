"""Masses of atoms, of the proton and of the electron."""

from __future__ import annotations

import numpy as np
from rdkit import Chem

HYDROGEN = 1.00782503
PROTON = 1.00727647
ELECTRON = 0.000548579909
"""all in Da (CODATA 2018)"""
_TABLE = Chem.GetPeriodicTable()
_MASS_OF = np.array([0.0] + [_TABLE.GetMostCommonIsotopeMass(z) for z in range(1, 119)] + [0.0])


def atom_masses(elements: np.ndarray, hydrogens: np.ndarray) -> np.ndarray:
    """(N,) float64 masses in Da of atoms of the most common isotope with their hydrogens.

    `elements`: atomic numbers below 120; `hydrogens`: how many are attached.
    """
    return np.asarray(_MASS_OF[elements] + HYDROGEN * hydrogens)
