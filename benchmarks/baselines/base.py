"""What a baseline is, what it may learn from, and how those there are are found.

A baseline is one file here that registers a class; nothing else is edited. It learns from the same training
rows as the model, tunes on the inner part, and scores the same pool for the same queries.
"""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from acml_search.chem.splits import is_inner
from acml_search.core.errors import ConfigError, InvalidRecord
from acml_search.evaluation.data.structures import Pool, Query
from acml_search.evaluation.vectors.stored import StoredVectors
from acml_search.evaluation.workers import Workers
from acml_search.modalities import get
from benchmarks.baselines.bits import packed_bits

Scores = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Rows:
    """Records that were read, with their molecules."""

    items: list[Any]
    """as the modality's `read` gives them"""
    smiles: list[str]
    blocks: list[str]
    """first blocks of the InChIKeys"""

    def __len__(self) -> int:
        return len(self.items)

    @classmethod
    def of(cls, queries: Sequence[Query], modality: str, most: int | None = None, seed: int = 0) -> Rows:
        """The rows whose record can be read; of each molecule at most `most`, a seeded choice."""
        reader, rows, taken = get(modality), cls([], [], []), dict[str, int]()
        order = np.random.default_rng(seed).permutation(len(queries)) if most else np.arange(len(queries))
        for i in order.tolist():
            query = queries[i]
            if query.structure is None or (most and taken.get(query.structure.block, 0) >= most):
                continue
            try:
                item = reader.read(query.metadata)
            except InvalidRecord:  # nothing to learn from
                continue
            taken[query.structure.block] = taken.get(query.structure.block, 0) + 1
            rows.items.append(item)
            rows.smiles.append(query.structure.smiles)
            rows.blocks.append(query.structure.block)
        return rows


RECORDS = 3
"""of a molecule that baselines learn from: MS/MS has many, and they weigh together as one"""


@dataclass
class Material:
    """What a baseline works with. `items` (nq): of the queries, None where one cannot be read; `truths` (nq,)
    positions in the pool; `training`: rows that may be learned from, the inner part among them.
    """

    modality: str
    pool: Pool
    items: list[Any]
    truths: Ints
    training: list[Query]
    workers: Workers
    cache: Path
    vectors: StoredVectors
    """of the pool, with what the model predicts of it"""
    seed: int = 0
    told: dict[str, Any] = field(default_factory=dict)
    """what a baseline says of itself, for its result"""

    @cached_property
    def train(self) -> Rows:
        """Training rows without the inner part. Raises ConfigError where there are none."""
        rows = [q for q in self.training if q.structure is not None and not is_inner(q.structure.block)]
        found = Rows.of(rows, self.modality, RECORDS, self.seed)
        if not len(found):
            raise ConfigError(
                f"the baselines of {self.modality} that learn have no row to learn from; name such rows with "
                "`training` in the question, or leave these baselines out"
            )
        return found

    @cached_property
    def inner(self) -> Rows:
        """The inner part, one record a molecule: what choices are made on."""
        rows = [q for q in self.training if q.structure is not None and is_inner(q.structure.block)]
        return Rows.of(rows, self.modality, 1, self.seed)

    @cached_property
    def bits(self) -> npt.NDArray[np.uint8]:
        """(n_pool, BITS / 8) uint8, packed Morgan bits of the pool, kept in the cache."""
        return packed_bits([one.smiles for one in self.pool.structures], self.workers, self.cache)


Score = Callable[[Ints], Scores]
"""scores (nq, n) of the pool's molecules at positions (n,)"""


class Baseline(ABC):
    """Ranks the pool without our model's space. `about`: a sentence for the report."""

    name: str
    about: str
    matches_peaks = False
    """the best of its list are compared peak by peak afterwards, by that alone"""

    def why_not(self, modality: str) -> str | None:
        """Why it makes no sense for a modality; None where it does."""
        return None

    @abstractmethod
    def prepare(self, material: Material) -> Score:
        """Learn, tune and return what scores blocks of the pool."""


_REGISTERED: dict[str, Baseline] = {}
B = TypeVar("B", bound=type[Baseline])


def register(kind: B) -> B:
    """Class decorator. Raises ValueError for a name that is taken."""
    if kind.name in _REGISTERED:
        raise ValueError(f"there is a baseline {kind.name!r} already")
    _REGISTERED[kind.name] = kind()
    return kind


def baseline(name: str) -> Baseline:
    """The baseline of that name. Raises ConfigError, naming those there are."""
    package = importlib.import_module("benchmarks.baselines")
    for module in pkgutil.iter_modules(package.__path__):
        if module.name not in ("base", "pyg"):
            importlib.import_module(f"{package.__name__}.{module.name}")
    if name not in _REGISTERED:
        known = ", ".join(sorted(_REGISTERED))
        raise ConfigError(f"there is no baseline {name!r}; there are {known}")
    return _REGISTERED[name]
