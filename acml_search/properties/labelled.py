"""Molecules with labels, read from a library file: one row per molecule, bad rows listed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rdkit import Chem

from acml_search.core.errors import ConfigError, LibraryError
from acml_search.core.progress import progress
from acml_search.library.prepare import MAX_INPUT, Accepted, Rejected, prepare
from acml_search.library.read import open_library

Floats = npt.NDArray[np.float64]

LEAST = 20
"""labelled molecules, below which nothing can be fitted and judged"""
_CHUNK = 500
_NOTHING = {"", "nan", "na", "n/a", "null", "none", "-"}
_CLASSES = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0, "active": 1.0, "inactive": 0.0}


@dataclass
class Labelled:
    """Molecules with their labels. `y` (n, t), NaN where a label is missing."""

    targets: list[str]
    task: str
    mols: list[Chem.Mol]
    smiles: list[str]
    blocks: list[str]
    """first blocks of the InChIKeys"""
    y: Floats
    rejected: list[Rejected] = field(default_factory=list)
    n_rows: int = 0
    n_merged: int = 0
    """rows that are the same molecule as an earlier one"""


def read_labelled(
    path: Path, targets: Sequence[str], task: str | None = None, smiles_column: str | None = None
) -> Labelled:
    """Read molecules and the columns `targets`. `task`: regression or classification; None: classification
    where all labels are 0 and 1.

    Rows of one molecule (InChIKey) become one: numbers are averaged, classes must agree. Raises LibraryError
    for a file that cannot be read or a column that is not there, ConfigError for too few labels or labels
    that are not of the task.
    """
    library = open_library([path], smiles_column=smiles_column)
    columns = {name.casefold(): name for name in library.metadata_columns}
    missing = [name for name in targets if name.casefold() not in columns]
    if missing:
        known = ", ".join(library.metadata_columns) or "none beside the structure"
        raise LibraryError(path, f"there is no column {missing[0]!r} to predict; its columns are {known}")
    wanted = [columns[name.casefold()] for name in targets]
    rejected: list[Rejected] = []
    kept: list[tuple[Accepted, list[float]]] = []
    n_rows = 0
    with progress(total=library.total, desc="reading", unit="row") as bar:
        for rows in library.batches(_CHUNK):
            n_rows += len(rows)
            prepared = prepare(rows)
            rejected += prepared.rejected
            for one in prepared.accepted:
                labels, bad = _labels(one.metadata, wanted)
                usable = not all(math.isnan(x) for x in labels)
                if bad:
                    rejected.append(_rejected(one, "; ".join(bad), labels))
                if usable:
                    kept.append((one, labels))
            bar.update(len(rows))
    found = _merged(list(targets), _task(path, targets, task, [labels for _, labels in kept]), kept, rejected)
    found.rejected = sorted(rejected, key=lambda one: one.row)
    found.n_rows = n_rows
    if len(found.mols) < LEAST:
        raise ConfigError(
            f"{path}: {len(found.mols)} molecules with a label of {', '.join(targets)} are too few; "
            f"{LEAST} are needed" + (f"; the first bad row: {found.rejected[0].reason}" if rejected else "")
        )
    if all(len(np.unique(column[np.isfinite(column)])) < 2 for column in found.y.T):
        value = found.y[np.isfinite(found.y)][0]
        raise ConfigError(
            f"{path}: every label of {', '.join(targets)} is {value:g}, so there is nothing to learn; give "
            "molecules of both classes, or with different values"
        )
    return found


def _labels(metadata: Mapping[str, object], wanted: Sequence[str]) -> tuple[list[float], list[str]]:
    """The labels of a row, NaN where there is none, and why some that are there cannot be used."""
    labels, bad = [], []
    for name in wanted:
        value = metadata.get(name)
        label = _number(value)
        if label is None:
            bad.append(f"the label {str(value)[:60]!r} of {name} is no number")
        labels.append(math.nan if label is None else label)
    return labels, bad


def _rejected(one: Accepted, why: str, labels: Sequence[float]) -> Rejected:
    """A row of which something cannot be used; what can is."""
    n = sum(not math.isnan(x) for x in labels)
    rest = f"; its {n} other label{'s are' if n > 1 else ' is'} used" if n else ""
    return Rejected(one.row, one.molecule.smiles[:MAX_INPUT], why + rest)


def _number(value: Any) -> float | None:
    """NaN for no label, None for text that is no number."""
    if value is None:
        return math.nan
    if isinstance(value, str):
        text = value.strip().casefold()
        if text in _NOTHING:
            return math.nan
        if text in _CLASSES:
            return _CLASSES[text]
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return None if math.isinf(number) else number


def _task(path: Path, targets: Sequence[str], task: str | None, labels: Sequence[Sequence[float]]) -> str:
    classes = {0.0, 1.0}
    other = {x for row in labels for x in row if not math.isnan(x)} - classes
    if task == "classification" and other:
        raise ConfigError(
            f"{path}: the label {min(other):g} of {', '.join(targets)} is no class; classes are 0 and 1, or "
            "leave out --task classification"
        )
    return task or ("regression" if other else "classification")


def _merged(
    targets: list[str], task: str, kept: list[tuple[Accepted, list[float]]], rejected: list[Rejected]
) -> Labelled:
    """One row per molecule; a label in which rows contradict each other is left out and listed."""
    groups: dict[str, list[tuple[Accepted, list[float]]]] = {}
    for one, labels in kept:
        groups.setdefault(one.molecule.inchikey, []).append((one, labels))
    found = Labelled(targets, task, [], [], [], np.zeros((0, len(targets))))
    values = []
    for same in groups.values():
        each = np.array([row for _, row in same])
        known = np.isfinite(each)
        mean = np.where(known, each, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        mean[~known.any(axis=0)] = np.nan
        torn = (mean > 0) & (mean < 1) if task == "classification" else np.zeros(len(mean), bool)
        if torn.any():
            mean[torn] = np.nan
            rows = ", ".join(str(one.row) for one, _ in same)
            of = ", ".join(name for name, here in zip(targets, torn.tolist(), strict=True) if here)
            why = f"rows {rows} are one molecule with different classes of {of}"
            rejected += [_rejected(one, why, mean.tolist()) for one, _ in same]
            if np.isnan(mean).all():
                continue
        first = same[0][0]
        found.mols.append(first.mol)
        found.smiles.append(first.molecule.smiles)
        found.blocks.append(first.molecule.inchikey[:14])
        values.append(mean)
        found.n_merged += len(same) - 1
    if values:
        found.y = np.stack(values)
    return found
