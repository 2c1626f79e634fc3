"""What contrast needs: which molecules meet in a batch, what their pairs cost, and how many find each other.

Isomers and molecules of one mass meet, because they must be told apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

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
        """(len(rows) * n,) int64: `n` molecules of each row's formula, the row itself among them."""
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
        atoms = np.asarray(corpus.graphs["atoms"])
        starts = corpus.graphs["atom_offsets"][:-1]
        self.masses = np.add.reduceat(atom_masses(atoms[:, 0], atoms[:, 3]), starts)
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


def same_molecules(own: Tensor, others: Tensor) -> Tensor:
    """(n, m) bool: `others` (m,) that are the molecule of `own` (n,), the first n, but not the partner."""
    same = own[:, None] == others[None]
    rows = torch.arange(len(own), device=own.device)
    same[rows, rows] = False
    return same


class ContrastiveLoss(nn.Module):
    """Symmetric InfoNCE with a learned logit scale (Radford et al. 2021).

    `forward(a, b, same)`: unit vectors `a` (n, d) and `b` (r, d); `at` (r,) int64 says which row of `a` each
    row of `b` belongs to, by default its own number. Rows of `a` without partner are further negatives.
    `same` (n,) int64 is equal where two rows of `a` are the same molecule: those are no negatives. The scale
    is kept below 100.

    alignment_weight: of a further term, the mean of 1 - cosine of the pairs (alignment, Wang and Isola 2020).
    Once a batch's negatives are told apart, InfoNCE has nothing left to teach, and this goes on.
    """

    def __init__(self, scale: float = 14.0, alignment_weight: float = 0.0) -> None:
        super().__init__()
        self.alignment_weight = alignment_weight
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))

    @property
    def scale(self) -> Tensor:
        return self.log_scale.exp().clamp(max=100.0)

    def forward(self, a: Tensor, b: Tensor, same: Tensor, at: Tensor | None = None) -> Tensor:
        rows = torch.arange(len(b), device=b.device)
        if at is None:
            at = rows
        logits = self.scale * b @ a.T
        duplicate = same[at][:, None] == same[None, :]
        duplicate[rows, at] = False
        logits = logits.masked_fill(duplicate, -torch.inf)
        to_a = F.cross_entropy(logits, at)
        to_b = F.cross_entropy(logits[:, at].T, rows)
        return (to_a + to_b) / 2 + self.alignment_weight * (1 - (a[at] * b).sum(dim=1)).mean()


def pair_recall(a: Tensor, b: Tensor, same: Tensor, block: int = 1024, k: int = 1) -> float:
    """Share of rows of `a` whose partner in `b`, the row of the same number, is strictly closer than all but
    k - 1 other molecules of `b`.

    The whole of `b` (at least as long as `a`) is the pool; rows of the same molecule (`same` (len(b),) equal)
    do not compete; a tie is a miss.
    """
    hits = 0
    for start in range(0, len(a), block):
        scores = a[start : start + block] @ b.T
        rows = torch.arange(len(scores), device=scores.device)
        truth = scores[rows, rows + start]
        scores = scores.masked_fill(same[start : start + len(scores), None] == same[None, :], -torch.inf)
        hits += int(((scores >= truth[:, None]).sum(dim=1) < k).sum())
    return hits / len(a)
