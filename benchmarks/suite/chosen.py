"""The rows of a question's file that ask."""

from __future__ import annotations

from acml_search.core.errors import ConfigError
from acml_search.encoders.card import ModelCard
from acml_search.evaluation.data.queries import QueryFile
from acml_search.evaluation.data.structures import Query, choose
from acml_search.evaluation.ranks import leakage
from acml_search.modalities import get
from benchmarks.suite.plan import Question


def chosen_of(question: Question, file: QueryFile, card: ModelCard, seed: int) -> list[Query]:
    """The rows that ask. Raises ConfigError where none is left, FilterError for a wrong condition, and
    ConfigError where training saw what is asked and the question does not allow it.
    """
    chosen = file.select(where=question.where)
    seen = leakage.seen_of(card, chosen)
    if question.unseen:
        chosen = [one for one, known in zip(chosen, seen.any.tolist(), strict=True) if not known]
        if not chosen:
            raise ConfigError(f"{question.name}: training saw every molecule that could ask")
    chosen = choose(chosen, question.limit, seed)
    if question.seen == "fail":
        seen = leakage.seen_of(card, chosen)
        leakage.check_seen(seen, chosen, question.name, card, get(question.modality).derived)
    return chosen
