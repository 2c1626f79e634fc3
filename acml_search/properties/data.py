"""Molecules with labels from a library file, and the inner split that choices are made on."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
_WORDS = dict.fromkeys(("", "nan", "na", "n/a", "null", "none", "-"), math.nan)
_WORDS |= {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0, "active": 1.0, "inactive": 0.0}
"""labels that are words; NaN is no label"""


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
    columns = {name.casefold(): name for name in library.metadata_columns}
    for name in targets:
        if name.casefold() not in columns:
            known = ", ".join(library.metadata_columns) or "none beside the structure"
            raise LibraryError(path, f"there is no column {name!r} to predict; its columns are {known}")
    rejected: list[Rejected] = []
    by_inchikey: dict[str, list[tuple[Accepted, Floats]]] = {}
    n_rows = 0
    with progress(total=library.total, desc="reading", unit="row") as bar:
        for rows in library.batches(_CHUNK):
            n_rows += len(rows)
            prepared = prepare(rows)
            rejected += prepared.rejected
            for item in prepared.accepted:
                texts = {name: item.metadata.get(columns[name.casefold()]) for name in targets}
                labels = np.array([_number(text) for text in texts.values()])
                if np.isinf(labels).any():
                    bad = [name for name, label in zip(targets, labels, strict=True) if np.isinf(label)]
                    labels[np.isinf(labels)] = np.nan
                    why = "; ".join(
                        f"the label {str(texts[name])[:60]!r} of {columns[name.casefold()]} is no number"
                        for name in bad
                    )
                    rejected.append(_rejection(item, why, labels))
                if not np.isnan(labels).all():
                    by_inchikey.setdefault(item.molecule.inchikey, []).append((item, labels))
            bar.update(len(rows))
    every = {float(label) for same in by_inchikey.values() for _, labels in same for label in labels}
    numbers = {label for label in every if not math.isnan(label)} - {0.0, 1.0}
    if task == "classification" and numbers:
        raise ConfigError(
            f"{path}: the label {min(numbers):g} of {', '.join(targets)} is no class; classes are 0 and 1, "
            "or leave out --task classification"
        )
    task = task or ("regression" if numbers else "classification")
    molecules = []
    for same in by_inchikey.values():
        label = np.ma.masked_invalid([labels for _, labels in same]).mean(axis=0).filled(np.nan)
        contradictory = (label > 0) & (label < 1)
        if task == "classification" and contradictory.any():
            label[contradictory] = np.nan
            numbered = ", ".join(str(item.row) for item, _ in same)
            named = ", ".join(np.array(targets)[contradictory].tolist())
            why = f"rows {numbered} are one molecule with different classes of {named}"
            rejected += [_rejection(item, why, label) for item, _ in same]
        if not np.isnan(label).all():
            molecules.append((same[0][0], label, len(same) - 1))
    rejected.sort(key=lambda item: item.row)
    data = LabelledMolecules(
        list(targets),
        task,
        [item.mol for item, *_ in molecules],
        [item.molecule.smiles for item, *_ in molecules],
        np.array([label for _, label, _ in molecules]).reshape(len(molecules), len(targets)),
        rejected,
        n_rows,
        sum(n_merged for *_, n_merged in molecules),
    )
    _check(path, data)
    return data


def _number(value: Any) -> float:
    """NaN for no label, infinity for what is no number."""
    if value is None:
        return math.nan
    if isinstance(value, str):
        value = value.strip().casefold()
        value = _WORDS.get(value, value)
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.inf


def _rejection(item: Accepted, why: str, labels: Floats) -> Rejected:
    """A row that is not used; its other labels are."""
    n = int(np.isfinite(labels).sum())
    rest = f"; its {n} other label{'s are' if n > 1 else ' is'} used" if n else ""
    return Rejected(item.row, item.molecule.smiles[:MAX_INPUT], why + rest)


def _check(path: Path, data: LabelledMolecules) -> None:
    """Raise ConfigError where there is too little to learn from."""
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
    least = 2 if task == "classification" else 1
    parts = [column[part] for part in (valid, ~valid) for column in y.T]
    if any(len(np.unique(labels[np.isfinite(labels)])) < least for labels in parts):
        valid[:] = False
        valid[rng.permutation(len(mols))[:wanted]] = True
    return valid
