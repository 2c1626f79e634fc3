"""What a candidate explains of an observation, peak by peak, and the re-rankers that find it.

How much a re-ranker's score weighs against the cosine is fitted per space and stands in the model's card:
`spaces[modality]["rerank"] = {"cosine": a, "evidence": b, ...}`; a candidate's logit is a x cosine +
b x score.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from rdkit import Chem

    from acml_search.core.typing import Floats


@dataclass(frozen=True)
class Match:
    """An observed peak and what a candidate says it is. Positions in the unit of the modality."""

    observed: float
    predicted: float | None
    atoms: list[int]
    """numbers in the candidate, as its SMILES orders them"""
    error: float | None
    """observed - predicted, in the unit of the modality; of m/z, in ppm"""
    label: str | None = None
    """what the peak is in words: a fragment's formula, for instance"""


@dataclass(frozen=True)
class Missing:
    """A predicted peak that was not observed."""

    position: float
    atoms: list[int]
    present: float | None = None
    """probability that a measured spectrum lists it"""


@dataclass(frozen=True)
class Evidence:
    """How well a candidate explains an observation, peak by peak.

    score: a log-likelihood, higher is better; only differences between candidates of one observation mean
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
    """Compares an observation of one modality with candidates, peak by peak.

    `model` is an `encoders.Model`; `mols` are molecules as `chem.molecule.parse` returns them.
    """

    needs_filter: ClassVar[bool] = False
    """whether the scores hold only among candidates of about one mass, that is, where a filter is set"""

    def available(self, model: Any) -> bool:
        """Whether it can be used with this model."""
        return True

    def observed(self, item: Any, record: Any) -> Any:
        """What `scores` compares: `item` of the modality's `read`, with what the record says beyond it.
        Raises InvalidRecord where that cannot be used.
        """
        return item

    def prepare(self, model: Any, mols: Sequence[Chem.Mol]) -> list[Any]:
        """What the comparison needs of each candidate, whatever was observed: it may be cached."""
        return list(mols)

    def scores(self, model: Any, observed: Any, prepared: Sequence[Any]) -> Floats:
        """(n,) float64, the scores of `explain` alone, which may cost less."""
        import numpy as np

        return np.array([one.score for one in self.explain(model, observed, prepared)], np.float64)

    @abstractmethod
    def explain(self, model: Any, observed: Any, prepared: Sequence[Any]) -> list[Evidence]:
        """One `Evidence` per candidate, of what `observed` and `prepare` returned."""

    def evidence(self, model: Any, item: Any, mols: Sequence[Chem.Mol]) -> list[Evidence]:
        """`explain` for molecules. item: what the modality's `read` or `observed` returned."""
        return self.explain(model, item, self.prepare(model, mols))
