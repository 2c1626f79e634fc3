"""Measured records of a corpus's molecules, read once and drawn by molecule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rdkit import Chem

from acml_search import modalities
from acml_search.chem.molecule import parse
from acml_search.core.errors import ConfigError, InvalidMolecule, InvalidRecord
from acml_search.training.corpus import Corpus, read_table


@dataclass
class Observations:
    """Records of one modality that training may see, ordered by molecule."""

    items: list[Any]
    """what the modality read of each record"""
    rows: np.ndarray
    """(n,) int64, ascending: the corpus row each record belongs to"""
    molecules: np.ndarray
    """(m,) int64, ascending: distinct rows"""
    starts: np.ndarray
    """(m + 1,) int64, first record of each molecule"""
    records: list[dict[str, Any]]
    """the rows themselves, when they were asked for"""
    left_out: dict[str, int]
    """how many records were not used, by reason"""

    def has(self, rows: np.ndarray) -> np.ndarray:
        """(len(rows),) bool: is there a record of this corpus row?"""
        return np.isin(rows, self.molecules)

    def among(self, corpus: Corpus, others: int, seed: int) -> np.ndarray:
        """Corpus rows of all molecules with a record, in their order, then of `others` without one."""
        order = np.random.default_rng([seed, 1]).permutation(corpus.learned)
        return np.concatenate([self.molecules, order[~self.has(order)][:others]])

    def draw(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A random record of each corpus row, as indices into `items`; every row must have one."""
        at = np.searchsorted(self.molecules, rows)
        low, high = self.starts[at], self.starts[at + 1]
        return low + (rng.random(len(rows)) * (high - low)).astype(np.int64)


def read_observations(
    modality: str,
    entries: Sequence[dict[str, Any]],
    corpus: Corpus,
    root: Path,
    *,
    keep: bool = False,
) -> Observations:
    """Records of `entries` (path, optional where) whose molecule is in the corpus.

    A record that cannot be read, or whose molecule the corpus left out (an evaluation set, say), is
    counted by reason. With `keep`, the rows are kept beside what was read of them. Raises `ConfigError` when
    a file is missing or none is left.
    """
    kind = modalities.get(modality)
    at = {str(smiles): i for i, smiles in enumerate(corpus.smiles.to_pylist())}
    known: dict[str, int] = {}
    found: list[tuple[int, Any, Any]] = []
    left_out: dict[str, int] = {}
    for entry in entries:
        path = root / entry["path"]
        if not path.exists():
            raise ConfigError(f"{path} does not exist; the configuration names it for {modality}")
        relation = read_table(path, entry.get("where", "true"))
        present = [c for c in ("smiles", *kind.columns, *kind.optional) if c in relation.column_names]
        for row in relation.select(present).to_pylist():
            smiles = row["smiles"]
            if smiles not in known:
                known[smiles] = _corpus_row(smiles, at)
            if known[smiles] < 0:
                left_out["molecule not in the corpus"] = left_out.get("molecule not in the corpus", 0) + 1
                continue
            try:
                found.append((known[smiles], kind.read(row), row if keep else None))
            except InvalidRecord:
                left_out["unreadable record"] = left_out.get("unreadable record", 0) + 1
    if not found:
        raise ConfigError(f"no record of {modality} is left for training; look at `path` and `where`")
    found.sort(key=lambda pair: pair[0])
    rows = np.array([row for row, _, _ in found], np.int64)
    molecules, starts = np.unique(rows, return_index=True)
    return Observations(
        items=[item for _, item, _ in found],
        rows=rows,
        molecules=molecules,
        starts=np.append(starts, len(rows)),
        records=[row for _, _, row in found] if keep else [],
        left_out=left_out,
    )


def _corpus_row(smiles: str, at: dict[str, int]) -> int:
    try:
        return at.get(Chem.MolToSmiles(parse(smiles)[0]), -1)
    except InvalidMolecule:
        return -1
