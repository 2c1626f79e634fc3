"""Which molecules meet in a batch: isomers and molecules of one mass, because they must be told apart."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from acml_search.chem.masses import atom_masses
from acml_search.training.corpus import Corpus

ISOMER_PREFERENCE = 3.0
"""how many times as readily an isomer is drawn as another molecule of the same mass"""


def isomer_batches(
    rows: np.ndarray, formulas: np.ndarray, batch_size: int, group_size: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Every row once, in batches of `batch_size`, `group_size` rows of one formula side by side where there
    are as many.

    `rows` (n,) int64 are the molecules to visit, `formulas` (all molecules,) int. The last, short batch is
    left out: a contrastive loss over few molecules is another loss.
    """
    shuffled = rng.permutation(rows)
    by_formula = shuffled[np.argsort(formulas[shuffled], kind="stable")]
    cut = len(by_formula) - len(by_formula) % group_size
    groups = rng.permutation(by_formula[:cut].reshape(-1, group_size))
    flat = np.concatenate([groups.ravel(), by_formula[cut:]])
    for start in range(0, len(flat) - batch_size + 1, batch_size):
        yield flat[start : start + batch_size]


class IsomerPool:
    """Molecules to draw isomers from: `rows` (n,) int64, which index `formulas` (all molecules,) int."""

    def __init__(self, rows: np.ndarray, formulas: np.ndarray) -> None:
        self.formulas = formulas
        self._rows = rows[np.argsort(formulas[rows], kind="stable")]
        self._sorted = formulas[self._rows]

    def draw(self, rows: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
        """(len(rows) * n,) int64: `n` molecules of the formula of each row, the row itself among those that
        may be drawn. Every row must be in the pool.
        """
        wanted = np.repeat(self.formulas[rows], n)
        low = np.searchsorted(self._sorted, wanted)
        high = np.searchsorted(self._sorted, wanted, side="right")
        drawn: np.ndarray = self._rows[low + (rng.random(len(wanted)) * (high - low)).astype(np.int64)]
        return drawn


class MoleculeSampler:
    """A share of every batch: `n` molecules of `rows`, `group_size` of one formula side by side where there
    are as many. `isomer_negatives` molecules of the same formula, from anywhere in the corpus, follow each
    one: they have no record, but are what its record must be told from.
    """

    def __init__(
        self, corpus: Corpus, rows: np.ndarray, n: int, group_size: int = 1, isomer_negatives: int = 0
    ) -> None:
        self.rows, self.n, self.group_size, self.isomer_negatives = rows, n, group_size, isomer_negatives
        self.formulas = corpus.formulas
        self.isomers = IsomerPool(corpus.train_rows, corpus.formulas)
        self.size = n * (1 + isomer_negatives)

    def draw(self, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """Batches without end, each (size,) int64."""
        while True:
            for rows in isomer_batches(self.rows, self.formulas, self.n, self.group_size, rng):
                if self.isomer_negatives:
                    rows = np.concatenate([rows, self.isomers.draw(rows, self.isomer_negatives, rng)])
                yield rows


class MassPool:
    """Molecules of nearly the same mass, found by bisection. `rows`: those that may be found."""

    def __init__(self, corpus: Corpus, rows: np.ndarray, ppm: float) -> None:
        self.inchikey_hashes, self.formulas, self.ppm = corpus.inchikey_hashes, corpus.formulas, ppm
        atoms = np.asarray(corpus.atoms)
        self.masses = np.add.reduceat(atom_masses(atoms[:, 0], atoms[:, 3]), corpus.atom_offsets[:-1])
        self.rows = rows[np.argsort(self.masses[rows], kind="stable")]
        self._sorted = self.masses[self.rows]

    def same_mass(self, row: int) -> np.ndarray:
        """Rows within the tolerance of a molecule's mass, without the molecule and its stereoisomers."""
        mass = self.masses[row]
        limits = [mass * (1 - self.ppm * 1e-6), mass * (1 + self.ppm * 1e-6)]
        low, high = np.searchsorted(self._sorted, limits)
        found = self.rows[low:high]
        return np.asarray(found[self.inchikey_hashes[found] != self.inchikey_hashes[row]])

    def draw(self, row: int, n: int, rng: np.random.Generator) -> np.ndarray:
        """At most `n` of them, isomers preferred."""
        found = self.same_mass(row)
        if len(found) <= n:
            return found
        preference = np.where(self.formulas[found] == self.formulas[row], ISOMER_PREFERENCE, 1.0)
        # The n smallest of exponential waiting times: drawn without replacement, by weight.
        return np.asarray(found[np.argpartition(rng.exponential(size=len(found)) / preference, n)[:n]])
