"""The re-rankers of the modalities (`Modality.reranker`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from acml_search import modalities
from acml_search.core.errors import ConfigError
from acml_search.modalities.evidence import Evidence, Match, Missing, Reranker

if TYPE_CHECKING:
    from rdkit import Chem

    from acml_search.encoders.model import Model

__all__ = ["RERANKED", "Evidence", "Match", "Missing", "Reranker", "evidence", "reranker"]


def reranker(modality: str) -> Reranker:
    """The re-ranker of a modality. Raises ConfigError where there is none."""
    found = modalities.get(modality).reranker() if modality in modalities.names() else None
    if found is None:
        raise ConfigError(
            f"there is nothing to re-rank by for {modality!r}; re-ranked are: {', '.join(sorted(RERANKED))}"
        )
    return found


def evidence(model: Model, modality: str, item: Any, mols: Sequence[Chem.Mol]) -> list[Evidence]:
    """What each candidate explains of an observation: see `Reranker.evidence`.

    Raises ConfigError for a modality without re-ranker, and for a model that predicts no peaks there.
    """
    return reranker(modality).evidence(model, item, mols)


RERANKED = frozenset(name for name in modalities.names() if modalities.get(name).reranker() is not None)
"""modalities that have a re-ranker"""
