"""What a re-ranker is, and what it says of a candidate."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from rdkit import Chem

    from acml_search.encoders.model import Model


@dataclass(frozen=True)
class Match:
    """An observed peak and what a candidate says it is. Positions in ppm or m/z."""

    observed: float
    predicted: float | None
    atoms: list[int]
    """numbers in the candidate, as its SMILES orders them"""
    error: float | None
    """observed - predicted in ppm: of the shift, or of the m/z"""
    label: str | None = None
    """what the peak is in words: a fragment's formula, for instance"""


@dataclass(frozen=True)
class Missing:
    """A predicted peak that was not observed. `position` in ppm or m/z."""

    position: float
    atoms: list[int]
    present: float | None = None
    """probability that a measured spectrum lists it"""


@dataclass(frozen=True)
class Evidence:
    """How well a candidate explains an observation, peak by peak.

    `score`: a log-likelihood, higher is better; only differences between candidates of one observation mean
    something.
    """

    score: float
    matched: list[Match] = field(default_factory=list)
    unmatched_observed: list[float] = field(default_factory=list)
    unmatched_predicted: list[Missing] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return asdict(self)


class Reranker(ABC):
    """Compares an observation of one modality with candidates, peak by peak."""

    def available(self, model: Model) -> bool:
        """Can it be used with this model?"""
        return True

    def observed(self, item: Any, record: Any) -> Any:
        """What is compared: `item` as the modality's `read` gave it, with what the record says beyond it.
        Raises InvalidRecord where that cannot be used.
        """
        return item

    @abstractmethod
    def evidence(self, model: Model, item: Any, mols: Sequence[Chem.Mol]) -> list[Evidence]:
        """One `Evidence` per candidate. `item`: what the modality's `read` gave, or `observed`; `mols`: as
        `chem.molecule.parse` gives them.
        """

    def prepare(self, model: Model, mols: Sequence[Chem.Mol]) -> list[Any]:
        """What `scores` needs to know of each candidate, whatever was observed: it may be kept."""
        return list(mols)

    def scores(self, model: Model, item: Any, prepared: Sequence[Any]) -> npt.NDArray[np.float64]:
        """(n,) the scores of `evidence` alone, which may be had for less; of what `prepare` gave."""
        return np.array([one.score for one in self.evidence(model, item, prepared)], np.float64)
