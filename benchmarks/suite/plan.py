"""Questions of a suite as TOML files name them, usually one a file.

    root = ".."                                      # paths are relative to this folder
    library = ["../shared/data/library.parquet"]     # further molecules of every pool
    [[question]]
    name = "c_nmr"
    modality = "c_nmr"
    queries = "../shared/data/nmr_c13.parquet"
    where = "split = 'valid' AND spectrum_rank = 0"
    filters = ["none", "formula", "5 Da"]
    [question.targets]
    "none@10" = 0.8
    [[fused]]                                        # several observations of one compound
    name = "c_nmr-h_nmr"
    parts = ["c_nmr", "h_nmr"]

The keys of each table are the fields of `SuiteFile`, `SuiteQuestion` (with those of
`acml_search.evaluation.retrieval.Question`) and `FusedQuestion`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from acml_search.chem.splits import is_dev
from acml_search.core.errors import ConfigError
from acml_search.core.toml import check_table, read_toml
from acml_search.evaluation.retrieval import Filter, Filters, Question
from acml_search.modalities import get
from benchmarks.suite.measures import BATCH


class Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SuiteQuestion(Question):
    isomers: bool = False
    """also among isomers, where a filter is `formula`"""
    stereoisomers: bool = False
    """also each molecule's configuration among its stereoisomers"""
    to_record: bool = False
    """also the other direction: molecules rank records"""
    pools: tuple[int, ...] = ()
    """recall against pool size: nested pools, without filter"""
    batch: int = BATCH
    """ACML's own metric in batches of this size; 0: not"""
    calibrate: str | None = None
    """SQL: the dev split of these rows fits temperature and re-ranking weights; without it, weights are those
    of the model's card"""
    card_weights: bool = False
    """re-ranked by the weights of the model's card all the same"""
    calibrate_on: Literal["dev", "all"] = "dev"
    """all: every one of these rows, where training saw none of them; then for re-ranking alone"""
    rerank_queries: int | None = None
    """so many of the queries are re-ranked, chosen at random (default: all)"""
    training: str | None = None
    """SQL: rows that baselines learn from, and that the similarity of queries is measured to"""
    baselines: tuple[str, ...] = ()
    peaks: bool = False
    """errors of the predicted shifts over the queries' spectra"""
    targets: Mapping[str, float] = {}
    """figures to be reached: "none@10", "isomers", "stereoisomers", "rerank none@1", "set error" """

    @model_validator(mode="after")
    def _consistent(self) -> SuiteQuestion:
        if not re.fullmatch(r"[\w.-]+", self.name):
            raise ValueError("the name goes into file names; use letters, digits, '-', '_' and '.'")
        if self.pools and min(self.pools) < 2:
            raise ValueError(f"a pool of {min(self.pools)} holds nothing but the truth")
        if self.pools and self.pool is not None:
            raise ValueError("it has `pool` and `pools`; take one of them out")
        if self.pools and Filter() not in self.filters:
            raise ValueError("`pools` are without filter; put 'none' into `filters`")
        return self

    def fits(self, inchikey14: str) -> bool:
        """Is a row of `calibrate` about this molecule one to fit on?"""
        return self.calibrate_on == "all" or is_dev(inchikey14)

    def below(self, root: Path, library: Sequence[Path]) -> SuiteQuestion:
        """With paths below `root`, and with a suite's `library` unless it has its own."""
        own = self.library if "library" in self.model_fields_set else library
        changes = {
            "queries": root / self.queries,
            "library": tuple(root / one for one in own),
            "once_per_molecule": get(self.modality).from_structure,
        }
        return self.model_copy(update=changes)


class FusedQuestion(Table):
    """Several observations of one compound, against each alone."""

    name: str
    parts: tuple[str, ...]
    """questions of this run, or of PART.toml beside the file"""
    filters: Filters = (Filter(),)
    calibrate: str | None = None
    """SQL: the dev split of these rows fits the factor of each part's logit"""
    targets: Mapping[str, float] = {}
    """"gain": in recall at 1, over the best part alone, without filter"""

    @field_validator("parts")
    @classmethod
    def _several(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(value) < 2:
            raise ValueError("it takes two parts at least")
        return value


class SuiteFile(Table):
    root: Path = Path()
    library: tuple[Path, ...] = ()
    trained_on: Mapping[str, str] = {}
    """by model, SQL: the rows it may have learned from, where these are not all of a question's `training`"""
    question: tuple[SuiteQuestion, ...] = ()
    fused: tuple[FusedQuestion, ...] = ()

    @model_validator(mode="after")
    def _asks(self) -> SuiteFile:
        if not self.question and not self.fused:
            raise ValueError("there is no [[question]]")
        return self


@dataclass(frozen=True)
class Suite:
    """Questions of several files, paths resolved. `beside`: parts of `fused` that are no questions here."""

    path: str
    """the files, for messages"""
    trained_on: Mapping[str, str]
    questions: tuple[SuiteQuestion, ...]
    fused: tuple[FusedQuestion, ...] = ()
    beside: tuple[SuiteQuestion, ...] = ()

    def part(self, name: str) -> SuiteQuestion:
        return next(one for one in (*self.questions, *self.beside) if one.name == name)


def read_suites(paths: Sequence[Path]) -> Suite:
    """Questions of all files, each file once. Raises ConfigError for a wrong key, or files that disagree."""
    if not paths:
        raise ConfigError("there is no file of questions; name one")
    files = {path: _read(path) for path in dict.fromkeys(paths)}
    named = ", ".join(map(str, files))
    questions = tuple(question for one in files.values() for question in one.question)
    fused = tuple(question for one in files.values() for question in one.fused)
    names = [one.name for one in (*questions, *fused)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"{named}: two questions are called {twice[0]!r}")
    beside: dict[str, SuiteQuestion] = {}
    for path, file in files.items():
        for part in (part for one in file.fused for part in one.parts if part not in names):
            beside[part] = _beside(path, part)
    trained_on = {name: where for one in files.values() for name, where in one.trained_on.items()}
    return Suite(named, trained_on, questions, fused, tuple(beside.values()))


def _read(path: Path) -> SuiteFile:
    file = check_table(read_toml(path, "suite"), SuiteFile, path)
    questions = (one.below(path.parent / file.root, file.library) for one in file.question)
    return file.model_copy(update={"question": tuple(questions)})


def _beside(path: Path, part: str) -> SuiteQuestion:
    """A part of a fused question in the file of that name beside its own."""
    other = path.with_name(f"{part}.toml")
    for one in _read(other).question if other.is_file() else ():
        if one.name == part:
            return one
    raise ConfigError(f"{path}: {part!r}, a part of [[fused]], is no question here, nor in {other.name}")
