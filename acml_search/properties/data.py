"""Molecules with labels from a library file, and the inner split that choices are made on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rdkit import Chem

from acml_search.chem.splits import scaffold
from acml_search.core.errors import ConfigError, LibraryError
from acml_search.core.progress import progress
from acml_search.core.typing import Bools, Floats
from acml_search.library.standardise import MAX_INPUT, Accepted, Rejected, prepare
from acml_search.library.stream import open_library

MIN_MOLECULES = 20
"""labelled molecules below which nothing can be fitted and judged"""
VALID_SHARE = 0.15
"""share of the molecules that choices are made on, at most"""
_CHUNK = 500
_NO_LABEL = {"", "nan", "na", "n/a", "null", "none", "-"}
_CLASSES = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0, "active": 1.0, "inactive": 0.0}


@dataclass
class LabelledMolecules:
    """n distinct molecules with labels of t targets: `y` (n, t) float64, NaN where a label is missing."""

    targets: list[str]
    task: str
    """regression or classification"""
    mols: list[Chem.Mol]
    smiles: list[str]
    y: Floats
    rejected: list[Rejected] = field(default_factory=list)
    """rows that are not used, or in part, by row"""
    n_rows: int = 0
    n_merged: int = 0
    """rows that are the same molecule as an earlier one"""


def read_labelled(
    path: Path, targets: Sequence[str], task: str | None = None, smiles_column: str | None = None
) -> LabelledMolecules:
    """Read molecules and the columns `targets`. `task` None: classification where all labels are 0 and 1.

    Rows of one molecule (InChIKey) become one: numbers are averaged, classes must agree. Raises LibraryError
    for a file that cannot be read or a column that is not there, ConfigError for too few labels or labels
    that do not fit the task.
    """
    library = open_library([path], smiles_column=smiles_column)
    known_columns = {name.casefold(): name for name in library.metadata_columns}
    for name in targets:
        if name.casefold() not in known_columns:
            known = ", ".join(library.metadata_columns) or "none beside the structure"
            raise LibraryError(path, f"there is no column {name!r} to predict; its columns are {known}")
    columns = [known_columns[name.casefold()] for name in targets]
    rejected: list[Rejected] = []
    by_inchikey: dict[str, list[tuple[Accepted, list[float]]]] = {}
    n_rows = n_labelled = 0
    with progress(total=library.total, desc="reading", unit="row") as bar:
        for rows in library.batches(_CHUNK):
            n_rows += len(rows)
            prepared = prepare(rows)
            rejected += prepared.rejected
            for item in prepared.accepted:
                labels, unreadable = _labels(item.metadata, columns)
                if unreadable:
                    rejected.append(_rejection(item, "; ".join(unreadable), labels))
                if not all(map(math.isnan, labels)):
                    by_inchikey.setdefault(item.molecule.inchikey, []).append((item, labels))
                    n_labelled += 1
            bar.update(len(rows))
    every = [labels for same in by_inchikey.values() for _, labels in same]
    data = LabelledMolecules(
        list(targets), _task(path, targets, task, every), [], [], np.zeros((0, len(targets))), n_rows=n_rows
    )
    merged = []
    for same in by_inchikey.values():
        label = _merged(data, same, rejected)
        if not np.isnan(label).all():
            first = same[0][0]
            data.mols.append(first.mol)
            data.smiles.append(first.molecule.smiles)
            merged.append(label)
            data.n_merged += len(same) - 1
    data.y = np.array(merged).reshape(len(merged), len(targets))
    data.rejected = sorted(rejected, key=lambda item: item.row)
    _check(path, data)
    return data


def inner_split(mols: Sequence[Chem.Mol], y: Floats, task: str, seed: int) -> Bools:
    """(n,) the valid part: whole scaffolds, so that it holds chemistry that the training part lacks.

    Scaffolds are drawn in random order as long as they fit into the share; one that is larger than a fifth of
    it stays in the training part, and so do molecules without rings. Where that leaves a target without
    labels to judge by (for classes: without either), molecules are drawn at random instead.
    """
    groups: dict[str, list[int]] = {}
    for i, mol in enumerate(mols):
        groups.setdefault(scaffold(mol) or f"no ring {i}", []).append(i)
    rng = np.random.default_rng(seed)
    wanted = max(1, round(VALID_SHARE * len(mols)))
    names = sorted(groups)
    valid = np.zeros(len(mols), bool)
    for i in rng.permutation(len(names)).tolist():
        group = groups[names[i]]
        if len(group) <= max(1, wanted // 5) and valid.sum() + len(group) <= wanted:
            valid[group] = True
    if not (_can_judge(y[valid], task) and _can_judge(y[~valid], task)):
        valid[:] = False
        valid[rng.permutation(len(mols))[:wanted]] = True
    return valid


def _can_judge(y: Floats, task: str) -> bool:
    least = 2 if task == "classification" else 1
    return all(len(np.unique(column[np.isfinite(column)])) >= least for column in y.T)


def _check(path: Path, data: LabelledMolecules) -> None:
    named = ", ".join(data.targets)
    if len(data.mols) < MIN_MOLECULES:
        first = f"; the first bad row: {data.rejected[0].reason}" if data.rejected else ""
        raise ConfigError(
            f"{path}: {len(data.mols)} molecules with a label of {named} are too few; {MIN_MOLECULES} are "
            f"needed{first}"
        )
    if all(len(np.unique(column[np.isfinite(column)])) < 2 for column in data.y.T):
        value = data.y[np.isfinite(data.y)][0]
        raise ConfigError(
            f"{path}: every label of {named} is {value:g}, so there is nothing to learn; give molecules of "
            "both classes, or with different values"
        )


def _labels(metadata: Mapping[str, object], columns: Sequence[str]) -> tuple[list[float], list[str]]:
    """The labels of a row, NaN where there is none, and why some cannot be used."""
    labels, unreadable = [], []
    for name in columns:
        label = _number(metadata.get(name))
        if label is None:
            unreadable.append(f"the label {str(metadata.get(name))[:60]!r} of {name} is no number")
        labels.append(math.nan if label is None else label)
    return labels, unreadable


def _number(value: Any) -> float | None:
    """NaN for no label, None for text that is no number."""
    if value is None:
        return math.nan
    if isinstance(value, str):
        value = value.strip().casefold()
        if value in _NO_LABEL:
            return math.nan
        value = _CLASSES.get(value, value)
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return None if math.isinf(number) else number


def _rejection(item: Accepted, why: str, labels: Sequence[float]) -> Rejected:
    """A row that is not used; its other labels are."""
    n = sum(not math.isnan(label) for label in labels)
    rest = f"; its {n} other label{'s are' if n > 1 else ' is'} used" if n else ""
    return Rejected(item.row, item.molecule.smiles[:MAX_INPUT], why + rest)


def _task(path: Path, targets: Sequence[str], task: str | None, labels: Sequence[Sequence[float]]) -> str:
    numbers = {label for row in labels for label in row if not math.isnan(label)} - {0.0, 1.0}
    if task == "classification" and numbers:
        raise ConfigError(
            f"{path}: the label {min(numbers):g} of {', '.join(targets)} is no class; classes are 0 and 1, "
            "or leave out --task classification"
        )
    return task or ("regression" if numbers else "classification")


def _merged(
    data: LabelledMolecules, same: list[tuple[Accepted, list[float]]], rejected: list[Rejected]
) -> Floats:
    """(t,) labels of the rows of one molecule; contradictory classes are left out and listed."""
    labels = np.array([row for _, row in same])
    known = np.isfinite(labels)
    mean = np.where(known, labels, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    mean[~known.any(axis=0)] = np.nan
    if data.task == "classification":
        contradictory = (mean > 0) & (mean < 1)
        mean[contradictory] = np.nan
        if contradictory.any():
            rows = ", ".join(str(item.row) for item, _ in same)
            named = ", ".join(np.array(data.targets)[contradictory].tolist())
            why = f"rows {rows} are one molecule with different classes of {named}"
            rejected += [_rejection(item, why, mean.tolist()) for item, _ in same]
    return mean
