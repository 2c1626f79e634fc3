"""Re-ranking: a shortlist is compared with the observation peak by peak.

A re-ranker is one file in this package, with a dictionary `RERANKERS` of modality -> `Reranker`; nothing
else is edited. How much its scores weigh against the cosine is fitted per space (`evaluation.rerank`) and
stands in the model's card: `spaces[modality]["rerank"] = {"cosine": a, "evidence": b, ...}`, so that a
candidate's logit is a x cosine + b x score.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from acml_search.core.errors import ConfigError
from acml_search.search.rerank.base import Evidence, Match, Missing, Reranker

if TYPE_CHECKING:
    from rdkit import Chem

    from acml_search.encoders.model import Model

__all__ = ["RERANKED", "Evidence", "Match", "Missing", "Reranker", "evidence", "reranker"]


def reranker(modality: str) -> Reranker:
    """The re-ranker of a modality. Raises ConfigError where there is none."""
    if modality not in RERANKED:
        raise ConfigError(
            f"there is nothing to re-rank by for {modality!r}; re-ranked are: {', '.join(sorted(RERANKED))}"
        )
    return _found()[modality]


def evidence(model: Model, modality: str, item: Any, mols: Sequence[Chem.Mol]) -> list[Evidence]:
    """What each candidate explains of an observation: see `Reranker.evidence`.

    Raises ConfigError for a modality without re-ranker, and for a model that predicts no peaks there.
    """
    return reranker(modality).evidence(model, item, mols)


@cache
def _found() -> dict[str, Reranker]:
    found: dict[str, Reranker] = {}
    for module in pkgutil.iter_modules(__path__):
        if module.name != "base":
            found |= importlib.import_module(f"{__name__}.{module.name}").RERANKERS
    return found


RERANKED = frozenset(_found())
"""modalities that have a re-ranker"""
