"""What a head is told of a molecule where no graph trunk learns along: its Morgan bits, or what a frozen
trunk says of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from hashlib import sha256

import numpy as np
import torch
from torch import Tensor

from acml_search.core.progress import progress
from acml_search.encoders.model import DualEncoder
from acml_search.training.corpus import BITS, Corpus
from acml_search.training.shifts import graph_batch


class Known(ABC):
    """What is known of some molecules of a corpus."""

    width: int
    rows: np.ndarray
    """(n,) int64, the corpus rows of which it is known"""

    @abstractmethod
    def of(self, rows: np.ndarray) -> Tensor:
        """(len(rows), width) float32, of corpus rows that are among `rows`."""


class MorganBits(Known):
    """Bits of Morgan fingerprints, of all molecules of a corpus."""

    width = BITS

    def __init__(self, corpus: Corpus) -> None:
        self.corpus, self.rows = corpus, np.arange(len(corpus))

    def of(self, rows: np.ndarray) -> Tensor:
        return torch.from_numpy(self.corpus.bits(rows))


class FrozenTrunk(Known):
    """Pooled vectors of a trained trunk, computed once; kept as float16."""

    def __init__(self, network: DualEncoder, corpus: Corpus, rows: np.ndarray) -> None:
        self.width, self.rows = network.trunk.width, rows
        self.pooled = pooled_trunk(network, corpus, rows)
        self._place = np.full(len(corpus), -1)
        self._place[rows] = np.arange(len(rows))

    def of(self, rows: np.ndarray) -> Tensor:
        return torch.from_numpy(self.pooled[self._place[rows]].astype(np.float32))


@torch.inference_mode()
def pooled_trunk(network: DualEncoder, corpus: Corpus, rows: np.ndarray) -> np.ndarray:
    """(n, width of the trunk) float16: the pooled trunk of every molecule."""
    out = np.empty((len(rows), network.trunk.width), np.float16)
    for start in progress(range(0, len(rows), 64), desc="trunk", unit="batch"):
        batch = graph_batch(corpus, rows[start : start + 64])
        out[start : start + 64] = network.trunk(batch).numpy()
    return out


def trunk_digest(weights: Mapping[str, Tensor]) -> str:
    """What a trunk's vectors depend on, of a model's weights as they are kept; at half precision, for that is
    how most are.
    """
    digest = sha256()
    for name in sorted(name for name in weights if name.startswith("trunk.")):
        digest.update(name.encode() + weights[name].half().numpy().tobytes())
    return digest.hexdigest()
