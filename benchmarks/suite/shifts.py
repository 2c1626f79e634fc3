"""How well the node head of an NMR space knows what each atom shows: errors in ppm.

- **Set error**: over spectra that show as many distinct peaks (to 0.01 ppm) as the molecule has symmetry
  classes of the nucleus, the mean distance between predicted and observed shifts, both sorted: the best
  matching there is in one dimension, so an optimist's figure. Averaged by molecule.
- **Assigned error**: mean absolute error over atoms whose shift is assigned. A molecule whose atoms
  standardisation reorders or changes is left out and counted.

Intervals are 95 % percentile bootstraps over molecules. Equivalent atoms count as one class; configuration
is not looked at, so the two protons of a diastereotopic pair are one class.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from acml_search.core.errors import ConfigError, InvalidMolecule
from acml_search.core.typing import Floats
from acml_search.core.workers import Workers, chunks
from acml_search.evaluation import workers as processes
from acml_search.evaluation.metrics import RESAMPLES, bootstrap_interval, per_molecule
from acml_search.evaluation.pool import Query

CHUNK = 256


class AtomShifts(NamedTuple):
    """What a molecule's atoms of one nucleus are predicted to show."""

    atoms: npt.NDArray[np.int64]
    """(k,) numbers of the atoms in the standardised molecule"""
    elements: npt.NDArray[np.int64]
    """(n,) atomic numbers of all its atoms"""
    classes: npt.NDArray[np.int64]
    """(k,) equal for symmetry-equivalent atoms"""
    ppm: Floats
    """(k,) predicted shifts"""

    def by_class(self) -> Floats:
        """(classes,) mean shift of each class, ascending."""
        _, group, sizes = np.unique(self.classes, return_inverse=True, return_counts=True)
        return np.sort(np.bincount(group, weights=self.ppm) / sizes)


def measure_shifts(space: str, asked: Sequence[Query], workers: Workers, *, seed: int = 0) -> dict[str, Any]:
    """Set error over the asked spectra (rows with `shifts`). Raises ConfigError where none can be used."""
    usable = [query for query in asked if query.structure is not None and query.metadata.get("shifts")]
    smiles = [query.structure.smiles for query in usable if query.structure is not None]
    errors, molecules = [], []
    for query, found in zip(usable, _predicted(space, smiles, workers), strict=True):
        error = None if found is None else set_error(found, query.metadata["shifts"])
        if error is not None and query.structure is not None:
            errors.append(error)
            molecules.append(query.structure.inchikey14)
    if not errors:
        raise ConfigError(f"no spectrum shows as many peaks as its molecule has classes of atoms ({space})")
    values = per_molecule(errors, molecules)
    return {
        "set_error": float(values.mean()),
        "ci95": list(bootstrap_interval(np.round(values, 4), seed=seed)),
        "median": float(np.median(values)),
        "p90": float(np.quantile(values, 0.9)),
        "n_asked": len(asked),
        "n_spectra": len(errors),
        "n_molecules": len(values),
        "unit": "ppm",
    }


def measure_assigned(
    space: str, rows: Sequence[tuple[str, Sequence[float | None]]], workers: Workers, *, seed: int = 0
) -> dict[str, Any]:
    """Mean absolute error over atoms of (SMILES, shift per heavy atom in the order RDKit reads it, or None).

    Raises ConfigError where no molecule can be used.
    """
    sums: list[float] = []
    counts: list[int] = []
    left_out = 0
    for (text, shifts), found in zip(
        rows, _predicted(space, [text for text, _ in rows], workers), strict=True
    ):
        known = np.array([np.nan if x is None else x for x in shifts], np.float64)
        if found is None or not np.array_equal(found.elements, _elements(text)):
            left_out += 1
            continue
        error = np.abs(found.ppm - known[found.atoms])
        error = error[np.isfinite(error)]
        if len(error):
            sums.append(float(error.sum()))
            counts.append(len(error))
    if not sums:
        raise ConfigError(
            f"none of {len(rows):,} molecules has an assigned shift that can be compared ({space})"
        )
    total, number = np.array(sums), np.array(counts)
    drawn = np.random.default_rng(seed).integers(len(sums), size=(RESAMPLES, len(sums)))
    low, high = np.quantile(total[drawn].sum(axis=1) / number[drawn].sum(axis=1), [0.025, 0.975])
    return {
        "mean_absolute_error": float(total.sum() / number.sum()),
        "ci95": [float(low), float(high)],
        "n_atoms": int(number.sum()),
        "n_molecules": len(sums),
        "n_left_out": left_out,
        "unit": "ppm",
    }


def set_error(predicted: AtomShifts, observed: Iterable[float]) -> float | None:
    """Mean distance (ppm) after sorted matching; None where peaks are not as many as classes of atoms."""
    peaks = np.unique(np.round(np.asarray(list(observed), np.float64), 2))
    classes = predicted.by_class()
    return float(np.abs(peaks - classes).mean()) if len(peaks) == len(classes) > 0 else None


def has_node_head(space: str) -> bool:
    """Task: does the space predict what atoms show?"""
    return hasattr(processes.model().network.heads[space], "peaks")


def predict(task: tuple[str, list[str]]) -> list[AtomShifts | None]:
    """Task: (space, SMILES) -> what their atoms show; None for a SMILES that is refused."""
    from rdkit import Chem

    from acml_search.chem import molecule

    space, smiles = task
    model = processes.model()
    mols = []
    for text in smiles:
        try:
            mols.append(molecule.parse(text)[0])
        except InvalidMolecule:
            mols.append(None)
    graphs = [model.featurise(mol) for mol in mols if mol is not None]
    predicted = iter(model.predicted_peaks(space, graphs))
    found: list[AtomShifts | None] = []
    for mol in mols:
        if mol is None:
            found.append(None)
            continue
        peaks = next(predicted)
        ranks = np.array(
            Chem.CanonicalRankAtoms(mol, breakTies=False, includeChirality=False), dtype=np.int64
        )
        elements = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()], dtype=np.int64)
        found.append(AtomShifts(peaks.atoms, elements, ranks[peaks.atoms], peaks.position))
    return found


def _predicted(space: str, smiles: Sequence[str], workers: Workers) -> list[AtomShifts | None]:
    parts = workers.map(predict, ((space, part) for part in chunks(smiles, CHUNK)))
    return [one for part in parts for one in part]


def _elements(smiles: str) -> npt.NDArray[np.int64]:
    """Atomic numbers in the order RDKit reads a SMILES; empty where it cannot."""
    from rdkit import Chem

    mol = Chem.MolFromSmiles(smiles)
    return np.array([] if mol is None else [atom.GetAtomicNum() for atom in mol.GetAtoms()], dtype=np.int64)
