"""What an option offers is what the code behind it knows, which `--help` does not import."""

from __future__ import annotations

from types import NoneType
from typing import Any, get_args, get_type_hints

from acml_search.cli.bench import Leakage
from acml_search.cli.index import build_index
from acml_search.cli.interpret import map_
from acml_search.cli.properties import fit
from acml_search.core.workers import ENGINES
from acml_search.evaluation.retrieval import Question
from acml_search.interpret.map import METHODS
from acml_search.properties.heads import KINDS, TASKS


def choices(annotated: Any) -> set[str]:
    """The words of `Annotated[Literal[...], ...]`, also where None may stand for them."""
    kind = get_args(annotated)[0]
    parts = [one for one in get_args(kind) if one is not NoneType]
    return {word for part in parts for word in (get_args(part) or (part,))}


def test_choices_are_those_of_the_code() -> None:
    building, mapping, fitting = (
        get_type_hints(one, include_extras=True) for one in (build_index, map_, fit)
    )
    assert choices(Leakage) == set(get_args(Question.model_fields["leakage"].annotation))
    assert choices(building["engine"]) == set(ENGINES)
    assert choices(mapping["method"]) == set(METHODS)
    assert choices(fitting["task"]) == set(TASKS)
    assert choices(fitting["head"]) == {"auto", *KINDS}
