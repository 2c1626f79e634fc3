"""Reads the files of a suite; what they say is explained in `plan`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from acml_search.core.errors import ConfigError
from acml_search.evaluation.data.toml_file import read_toml
from acml_search.evaluation.measures import within_batch
from acml_search.modalities import get
from benchmarks.suite.plan import SEEN, Assigned, Filter, FusedQuestion, Question, Suite

RECALL_AT = (1, 5, 10, 20, 100, 500)


def read_suites(paths: Sequence[Path]) -> Suite:
    """The questions of all files, in order; one that is named twice, by the same file, is asked once.

    Raises ConfigError, naming the file and the table, for what is missing or makes no sense, and where files
    ask with another seed or for recall at other ranks.
    """
    if not paths:
        raise ConfigError("there is no file of questions; name one")
    read = [_read(path) for path in dict.fromkeys(paths)]
    first = read[0]
    for one in read[1:]:
        if (one.seed, one.recall_at) != (first.seed, first.recall_at):
            raise ConfigError(
                f"{one.path} and {first.path} differ in `seed` or `recall_at`; ask them in two runs"
            )
    suite = Suite(
        paths=tuple(path for one in read for path in one.paths),
        seed=first.seed,
        recall_at=first.recall_at,
        trained_on={name: where for one in read for name, where in one.trained_on.items()},
        questions=tuple(question for one in read for question in one.questions),
        fused=tuple(question for one in read for question in one.fused),
    )
    names = [question.name for question in suite.questions] + [one.name for one in suite.fused]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"{suite.path}: two questions are called {twice[0]!r}")
    return _with_parts(suite, read)


def _with_parts(suite: Suite, read: Sequence[Suite]) -> Suite:
    """Look for the parts of fused questions among those asked, and in files beside."""
    known = {question.name for question in suite.questions}
    beside: dict[str, Question] = {}
    for file in read:
        for one in file.fused:
            if len(one.parts) < 2:
                raise ConfigError(f"{file.path}: fused {one.name!r}: it takes two parts at least")
            for part in one.parts:
                if part in known or part in beside:
                    continue
                path = file.paths[0].with_name(f"{part}.toml")
                found = _read(path).questions if path.is_file() else ()
                beside |= {question.name: question for question in found if question.name == part}
                if part not in beside:
                    raise ConfigError(
                        f"{file.path}: fused {one.name!r}: {part!r} is no question here, nor in {path.name}"
                    )
    return Suite(**{**vars(suite), "beside": tuple(beside.values())})


def _read(path: Path) -> Suite:
    data = read_toml(path, "suite")
    root = path.parent / data.pop("root", ".")
    library = tuple(root / name for name in data.pop("library", []))
    large = tuple(root / name for name in data.pop("large", []))
    tables, fused = data.pop("question", []), data.pop("fused", [])
    suite = Suite(
        paths=(path,),
        seed=int(data.pop("seed", 0)),
        recall_at=tuple(int(k) for k in data.pop("recall_at", RECALL_AT)),
        trained_on=data.pop("trained_on", {}),
        questions=tuple(
            _question(path, root, library, large, number, table) for number, table in enumerate(tables)
        ),
        fused=tuple(_fused(path, table) for table in fused),
    )
    if data:
        raise ConfigError(f"{path}: nobody reads the key {min(data)!r} of the suite")
    if not tables and not fused:
        raise ConfigError(f"{path}: there is no [[question]]")
    return suite


def _question(
    path: Path,
    root: Path,
    library: tuple[Path, ...],
    large: tuple[Path, ...],
    number: int,
    table: dict[str, Any],
) -> Question:
    what = f"{path}: question {table.get('name', number + 1)!r}"
    left = dict(table)
    try:
        modality = str(left.pop("modality"))
        derived = get(modality).derived
        question = Question(
            name=str(left.pop("name")),
            modality=modality,
            queries=root / left.pop("queries"),
            library=tuple(root / one for one in left.pop("library")) if "library" in left else library,
            where=left.pop("where", None),
            filters=tuple(Filter.of(text) for text in left.pop("filters", ["none"])),
            isomers=bool(left.pop("isomers", False)),
            to_record=bool(left.pop("to_record", False)),
            pool=left.pop("pool", None),
            once=bool(left.pop("once", derived)),
            batch=int(left.pop("batch", within_batch.BATCH)),
            calibrate=left.pop("calibrate", None),
            training=left.pop("training", None),
            peaks=bool(left.pop("peaks", False)),
            assigned=_assigned(root, left.pop("assigned", None)),
            must=left.pop("must", {}),
            rerank=bool(left.pop("rerank", False)),
            rerank_queries=left.pop("rerank_queries", None),
            pools=tuple(sorted(int(size) for size in left.pop("pools", []))),
            large=tuple(root / one for one in left.pop("large")) if "large" in left else large,
            baselines=tuple(str(one) for one in left.pop("baselines", [])),
            seen=str(left.pop("seen", "fail")),
            unseen=bool(left.pop("unseen", False)),
            limit=left.pop("limit", None),
            attached=bool(left.pop("attached", False)),
        )
    except KeyError as error:
        raise ConfigError(f"{what} lacks {error}") from None
    if left:
        raise ConfigError(f"{what}: nobody reads the key {min(left)!r}")
    if not re.fullmatch(r"[\w.-]+", question.name):
        raise ConfigError(f"{what}: the name goes into file names; use letters, digits, '-', '_' and '.'")
    _check(question, what)
    return question


def _check(question: Question, what: str) -> None:
    if question.seen not in SEEN:
        raise ConfigError(f"{what}: seen = {question.seen!r} is not one of {', '.join(SEEN)}")
    if question.pools and question.pools[0] < 2:
        raise ConfigError(f"{what}: a pool of {question.pools[0]} holds nothing but the truth")
    if question.pools and question.pool is not None:
        raise ConfigError(f"{what}: it has `pool` and `pools`; take one of them out")
    if question.pools and "none" not in [one.text for one in question.filters]:
        raise ConfigError(f"{what}: `pools` are asked without filter; put 'none' into `filters`")


def _fused(path: Path, table: dict[str, Any]) -> FusedQuestion:
    left = dict(table)
    try:
        question = FusedQuestion(
            str(left.pop("name")),
            tuple(left.pop("parts")),
            tuple(Filter.of(text) for text in left.pop("filters", ["none"])),
            left.pop("calibrate", None),
            left.pop("must", {}),
        )
    except KeyError as error:
        raise ConfigError(f"{path}: a [[fused]] lacks {error}") from None
    if left:
        raise ConfigError(f"{path}: fused {question.name!r}: nobody reads the key {min(left)!r}")
    return question


def _assigned(root: Path, table: dict[str, Any] | None) -> Assigned | None:
    if table is None:
        return None
    further = set(table) - {"file", "column", "where"}
    if further:
        raise ConfigError(f"nobody reads the key {min(further)!r} of a table [question.assigned]")
    return Assigned(root / table["file"], str(table["column"]), table.get("where"))
