"""A suite of retrieval questions as a TOML file names them.

root = ".."                                    # paths are relative to this folder, itself to the file's
library = ["../shared/data/library.parquet"]   # further molecules of every pool
recall_at = [1, 5, 10, 20, 100, 500]
seed = 0

[trained_on]                                   # rows a model may have learned from, where not all of `train`
acml-base = "NOT regexp_matches(license, 'NC|ND')"

[[question]]
name = "c_nmr"                                 # of the result files
modality = "c_nmr"
queries = "../shared/data/nmr_c13.parquet"
where = "split = 'valid' AND spectrum_rank = 0"  # SQL: the rows that ask
filters = ["none", "formula", "5 Da", "10 ppm"]
isomers = true
to_record = false                              # also the other way: molecules rank records
pool = 100000                                  # default: all molecules of queries' file and library
once = true                                    # a molecule asks once (default: where records are derived)
batch = 128                                    # ACML's own metric; 0: not
calibrate = "split = 'train'"                  # SQL: its inner part fits the temperature
rerank = true                                  # ask again, shortlists re-scored peak by peak; weights are
                                               # fitted on the inner part of `calibrate`, or the card's
rerank_queries = 1000                          # so many of the queries, chosen at random (default: all)
training = "split = 'train'"                   # SQL: rows that queries' similarity is measured to

[question.must]                                # what is to be reached, shown beside what was
"none@10" = 0.8
"isomers" = 0.92
"rerank none@1" = 0.68                         # of the re-ranked answers

[[fused]]                                      # several observations of one compound, against each alone
name = "c_nmr-h_nmr"
parts = ["c_nmr", "h_nmr"]                     # questions of this suite
filters = ["none", "formula"]
[fused.must]
"gain" = 0.1                                   # in recall at 1, over the best part alone, without filter
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from acml_search.errors import ConfigError
from acml_search.evaluation import within_batch
from acml_search.modalities import get

RECALL_AT = (1, 5, 10, 20, 100, 500)


@dataclass(frozen=True)
class Filter:
    """Which candidates may answer. `text` as in the suite: none, formula, "5 Da", "10 ppm"."""

    text: str
    formula: bool = False
    da: float | None = None
    ppm: float | None = None

    @classmethod
    def of(cls, text: str) -> Filter:
        """Raises ConfigError for anything else."""
        if text in ("none", "formula"):
            return cls(text, formula=text == "formula")
        width = re.fullmatch(r"(\d+(?:\.\d+)?) (Da|ppm)", text)
        if width is None:
            raise ConfigError(
                f"the filter {text!r} is not none, formula, or a mass such as '5 Da' or '10 ppm'"
            )
        value = float(width[1])
        return cls(text, da=value) if width[2] == "Da" else cls(text, ppm=value)

    @property
    def slug(self) -> str:
        """As part of a file's name."""
        return self.text.replace(" ", "-").lower()


@dataclass(frozen=True)
class Assigned:
    """Shifts assigned to atoms: a file, its column with a list of ppm values, and which rows (SQL)."""

    file: Path
    column: str
    where: str | None = None


@dataclass(frozen=True)
class Question:
    """One modality's queries and all that is asked of them; see the module's docstring."""

    name: str
    modality: str
    queries: Path
    library: tuple[Path, ...]
    where: str | None
    filters: tuple[Filter, ...]
    isomers: bool
    to_record: bool
    pool: int | None
    once: bool
    batch: int
    calibrate: str | None
    training: str | None
    peaks: bool
    assigned: Assigned | None
    must: Mapping[str, float] = field(default_factory=dict)
    rerank: bool = False
    rerank_queries: int | None = None


@dataclass(frozen=True)
class FusedQuestion:
    """`parts`: names of the questions whose observations of one compound are put together."""

    name: str
    parts: tuple[str, ...]
    filters: tuple[Filter, ...]
    must: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Suite:
    """A suite as read, with its paths resolved."""

    path: Path
    seed: int
    recall_at: tuple[int, ...]
    trained_on: Mapping[str, str]
    questions: tuple[Question, ...]
    fused: tuple[FusedQuestion, ...] = ()


def read_suite(path: Path) -> Suite:
    """Raises ConfigError, naming the file and the table, for what is missing or makes no sense."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: the suite cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: this is not TOML: {error}") from error
    root = path.parent / data.pop("root", ".")
    library = tuple(root / name for name in data.pop("library", []))
    tables, fused = data.pop("question", []), data.pop("fused", [])
    suite = Suite(
        path=path,
        seed=int(data.pop("seed", 0)),
        recall_at=tuple(int(k) for k in data.pop("recall_at", RECALL_AT)),
        trained_on=data.pop("trained_on", {}),
        questions=tuple(_question(path, root, library, number, table) for number, table in enumerate(tables)),
        fused=tuple(_fused(path, table) for table in fused),
    )
    if data:
        raise ConfigError(f"{path}: nobody reads the key {min(data)!r} of the suite")
    names = [question.name for question in suite.questions]
    names += [one.name for one in suite.fused]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not names:
        raise ConfigError(
            f"{path}: two questions are called {twice[0]!r}" if twice else f"{path}: there is no [[question]]"
        )
    for one in suite.fused:
        unknown = sorted(set(one.parts) - set(names))
        if unknown or len(one.parts) < 2:
            what = f"{unknown[0]!r} is no question here" if unknown else "it takes two parts at least"
            raise ConfigError(f"{path}: fused {one.name!r}: {what}")
    return suite


def _question(
    path: Path, root: Path, library: tuple[Path, ...], number: int, table: dict[str, Any]
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
        )
    except KeyError as error:
        raise ConfigError(f"{what} lacks {error}") from None
    if left:
        raise ConfigError(f"{what}: nobody reads the key {min(left)!r}")
    if not re.fullmatch(r"[\w.-]+", question.name):
        raise ConfigError(f"{what}: the name goes into file names; use letters, digits, '-', '_' and '.'")
    return question


def _fused(path: Path, table: dict[str, Any]) -> FusedQuestion:
    left = dict(table)
    try:
        question = FusedQuestion(
            str(left.pop("name")),
            tuple(left.pop("parts")),
            tuple(Filter.of(text) for text in left.pop("filters", ["none"])),
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
