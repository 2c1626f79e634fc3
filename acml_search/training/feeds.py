"""Where alignment takes the records of a space from, as its frozen encoder sees them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from acml_search import modalities
from acml_search.encoders.model import Tower
from acml_search.networks import tensors
from acml_search.training.corpus import Corpus
from acml_search.training.frozen import Frozen
from acml_search.training.observations import Observations
from acml_search.training.simulate import Simulated


class Feed(ABC):
    """Records of one space by corpus row."""

    @abstractmethod
    def has(self, rows: np.ndarray) -> np.ndarray:
        """(len(rows),) bool: is there a record to train with?"""

    @abstractmethod
    def encoded(self, rows: np.ndarray, rng: np.random.Generator) -> Tensor:
        """A random record of each row through the encoder: (len(rows), width). Every row must have one."""

    @abstractmethod
    def plain(self, rows: np.ndarray) -> Tensor:
        """As `encoded`, without variation, of rows in `real`: for measuring."""

    @abstractmethod
    def real(self, rows: np.ndarray) -> np.ndarray:
        """(len(rows),) bool: is there a record that is not simulated?"""


class DerivedFeed(Feed):
    """Frozen features of records made from structures."""

    def __init__(self, corpus: Corpus, rows: np.ndarray, frozen: Frozen) -> None:
        self.features = frozen.features
        self.at = np.full(len(corpus), -1)
        self.at[rows[frozen.readable]] = frozen.readable

    def has(self, rows: np.ndarray) -> np.ndarray:
        found: np.ndarray = self.at[rows] >= 0
        return found

    real = has

    def encoded(self, rows: np.ndarray, rng: np.random.Generator) -> Tensor:
        views = rng.integers(0, self.features.shape[1], len(rows))
        return torch.from_numpy(self.features[self.at[rows], views].astype(np.float32))

    def plain(self, rows: np.ndarray) -> Tensor:
        return torch.from_numpy(self.features[self.at[rows], 0].astype(np.float32))


@dataclass
class MeasuredFeed(Feed):
    """Measured records, each time varied and encoded anew; where a molecule has none and `simulated` is
    there, one drawn from the shift predictor's view of the molecule.
    """

    tower: Tower
    observations: Observations
    simulated: Simulated | None
    swap: float = 0.2
    """share of molecules with a measured list that get a simulated one all the same"""

    def has(self, rows: np.ndarray) -> np.ndarray:
        return self.real(rows) if self.simulated is None else self.simulated.has(rows) | self.real(rows)

    def real(self, rows: np.ndarray) -> np.ndarray:
        return self.observations.has(rows)

    def encoded(self, rows: np.ndarray, rng: np.random.Generator) -> Tensor:
        kind: Any = modalities.get(self.tower.modality)
        measured = self.real(rows)
        if self.simulated is not None:
            measured &= (rng.random(len(rows)) > self.swap) | ~self.simulated.has(rows)
        out = torch.empty(len(rows), self.tower.width)
        mine = np.flatnonzero(measured)
        if len(mine):
            items = [self.observations.items[i] for i in self.observations.draw(rows[mine], rng)]
            batch = kind.collate([kind.augment(item, rng) for item in items])
            out[torch.from_numpy(mine)] = self.tower.encoder(tensors(batch))
        rest = np.flatnonzero(~measured)
        if len(rest) and self.simulated is not None:
            drawn = self.simulated.draw(rows[rest], rng)
            out[torch.from_numpy(rest)] = self.tower.encoder(tensors(drawn))
        return out

    def plain(self, rows: np.ndarray) -> Tensor:
        kind = modalities.get(self.tower.modality)
        drawn = self.observations.draw(rows, np.random.default_rng(0))
        vectors: Tensor = self.tower.encoder(
            tensors(kind.collate([self.observations.items[i] for i in drawn]))
        )
        return vectors
