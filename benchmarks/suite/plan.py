"""Questions of a suite as TOML files name them, usually one a file.

root = ".."                                    # paths are relative to this folder, itself to the file's
library = ["../shared/data/library.parquet"]   # further molecules of every pool
large = ["../shared/data/moses.parquet"]       # molecules for `pools` larger than the files' own molecules
recall_at = [1, 5, 10, 20, 100, 500]
seed = 0

[trained_on]                                   # rows a model may have learned from, where not all of `train`
acml-base = "NOT regexp_matches(license, 'NC|ND')"

[[question]]
name = "c_nmr"                                 # of the result files
modality = "c_nmr"
queries = "../shared/data/nmr_c13.parquet"
where = "split = 'valid' AND spectrum_rank = 0"  # SQL: the rows that are queries
leakage = "fail"                               # where training saw a query's molecule: "fail", "drop" these
                                               # queries, or only "report" them
limit = 2000                                   # at most so many queries, chosen at random (default: all)
filters = ["none", "formula", "5 Da", "10 ppm"]
pools = [1000, 10000, 100000]                  # recall against pool size: nested, without filter
isomers = true                                 # also among isomers, and among stereoisomers
to_record = false                              # also the other direction: molecules rank records
pool = 100000                                  # default: all molecules of queries' file and library
once_per_molecule = true                       # one query per molecule (default: where records are derived)
batch = 128                                    # ACML's own metric in batches of this size; 0: not
calibrate = "split = 'train'"                  # SQL: the dev split of these rows fits temperature and weights
rerank = true                                  # also with shortlists re-ranked peak by peak; the weights are
                                               # fitted on the dev split of `calibrate`, or the card's
rerank_queries = 1000                          # so many of the queries, chosen at random (default: all)
dept = true                                    # 13C: re-ranking compares the hydrogens of each carbon, of the
                                               # column `multiplicity`, as DEPT shows them (default: no)
training = "split = 'train'"                   # SQL: rows that queries' similarity is measured to
baselines = ["random", "formula"]              # with the same queries in the same pool
peaks = true                                   # errors of the predicted shifts over the queries' spectra ...
[question.assigned]                            # ... and over shifts that are assigned to atoms
file = "../shared/data/nmr_atoms.parquet"
column = "shift"
where = "split = 'valid'"

[question.targets]                             # figures to be reached, shown beside those that were
"none@10" = 0.8
"isomers" = 0.92
"rerank none@1" = 0.68                         # of the re-ranked answers

[[fused]]                                      # several observations of one compound, against each alone
name = "c_nmr-h_nmr"
parts = ["c_nmr", "h_nmr"]                     # questions of this run, or of c_nmr.toml, h_nmr.toml beside
filters = ["none", "formula"]
calibrate = "split = 'train'"                  # SQL: the dev split of these rows fits each part's factor
[fused.targets]
"gain" = 0.1                                   # in recall at 1, over the best part alone, without filter
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from acml_search.core.errors import ConfigError
from acml_search.core.toml import check_table, read_toml
from acml_search.evaluation.retrieval import Filter, Question
from acml_search.modalities import get
from benchmarks.suite.batches import BATCH

RECALL_AT = (1, 5, 10, 20, 100, 500)


class Assigned(BaseModel):
    """Shifts assigned to atoms: a file, its column with a list of ppm values, and which rows (SQL)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: Path
    column: str
    where: str | None = None


class SuiteQuestion(Question):
    """A question and everything a suite measures of it; see the module's docstring."""

    isomers: bool = False
    to_record: bool = False
    batch: int = BATCH
    calibrate: str | None = None
    training: str | None = None
    peaks: bool = False
    assigned: Assigned | None = None
    targets: Mapping[str, float] = Field(default_factory=dict)
    rerank_queries: int | None = None
    pools: tuple[int, ...] = ()
    large: tuple[Path, ...] = ()
    baselines: tuple[str, ...] = ()

    @field_validator("pools")
    @classmethod
    def _ascending(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted(value))

    def contradiction(self) -> str | None:
        """What is wrong with the keys together, if anything is."""
        if not re.fullmatch(r"[\w.-]+", self.name):
            return "the name goes into file names; use letters, digits, '-', '_' and '.'"
        if self.pools and self.pools[0] < 2:
            return f"a pool of {self.pools[0]} holds nothing but the truth"
        if self.pools and self.pool is not None:
            return "it has `pool` and `pools`; take one of them out"
        if self.pools and Filter() not in self.filters:
            return "`pools` are without filter; put 'none' into `filters`"
        return None


class FusedQuestion(BaseModel):
    """`parts`: names of the questions whose observations of one compound are fused. `calibrate`: SQL; the dev
    split of these rows fits the factor of each part's logit.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    parts: tuple[str, ...]
    filters: tuple[Filter, ...] = (Filter(),)
    calibrate: str | None = None
    targets: Mapping[str, float] = Field(default_factory=dict)

    @field_validator("filters", mode="before")
    @classmethod
    def _parse_filters(cls, value: Any) -> Any:
        return tuple(Filter.parse(one) if isinstance(one, str) else one for one in value)


@dataclass(frozen=True)
class Suite:
    """The questions of one or several files, with their paths resolved."""

    paths: tuple[Path, ...]
    seed: int
    recall_at: tuple[int, ...]
    trained_on: Mapping[str, str]
    questions: tuple[SuiteQuestion, ...]
    fused: tuple[FusedQuestion, ...] = ()
    beside: tuple[SuiteQuestion, ...] = ()
    """parts of `fused` that are no questions of this run"""

    @property
    def path(self) -> str:
        """The files, for messages."""
        return ", ".join(str(path) for path in self.paths)

    def part(self, name: str) -> SuiteQuestion:
        """The question of that name."""
        return next(one for one in (*self.questions, *self.beside) if one.name == name)


def read_suites(paths: Sequence[Path]) -> Suite:
    """The questions of all files, in order; a file that is named twice counts once.

    Raises ConfigError, naming the file and the table, for what is missing or wrong, and where files differ in
    seed or in the ranks of recall.
    """
    if not paths:
        raise ConfigError("there is no file of questions; name one")
    files = [_read(path) for path in dict.fromkeys(paths)]
    first = files[0]
    for one in files[1:]:
        if (one.seed, one.recall_at) != (first.seed, first.recall_at):
            raise ConfigError(
                f"{one.path} and {first.path} differ in `seed` or `recall_at`; ask them in two runs"
            )
    suite = Suite(
        paths=tuple(path for one in files for path in one.paths),
        seed=first.seed,
        recall_at=first.recall_at,
        trained_on={name: where for one in files for name, where in one.trained_on.items()},
        questions=tuple(question for one in files for question in one.questions),
        fused=tuple(question for one in files for question in one.fused),
    )
    names = [one.name for one in suite.questions] + [one.name for one in suite.fused]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"{suite.path}: two questions are called {twice[0]!r}")
    beside: dict[str, SuiteQuestion] = {}
    for file in files:
        for fused in file.fused:
            beside |= _parts_beside(file.paths[0], fused, {*names, *beside})
    return replace(suite, beside=tuple(beside.values()))


def _parts_beside(path: Path, fused: FusedQuestion, known: set[str]) -> dict[str, SuiteQuestion]:
    """Parts of a fused question that are in files beside its own."""
    if len(fused.parts) < 2:
        raise ConfigError(f"{path}: fused {fused.name!r}: it takes two parts at least")
    found: dict[str, SuiteQuestion] = {}
    for part in fused.parts:
        if part not in known:
            other = path.with_name(f"{part}.toml")
            questions = _read(other).questions if other.is_file() else ()
            found |= {one.name: one for one in questions if one.name == part}
            if part not in found:
                raise ConfigError(
                    f"{path}: fused {fused.name!r}: {part!r} is no question here, nor in {other.name}"
                )
    return found


def _read(path: Path) -> Suite:
    data = read_toml(path, "suite")
    root = path.parent / data.pop("root", ".")
    shared = {key: data.pop(key) for key in ("library", "large") if key in data}
    tables, fused = data.pop("question", []), data.pop("fused", [])
    suite = Suite(
        paths=(path,),
        seed=int(data.pop("seed", 0)),
        recall_at=tuple(int(k) for k in data.pop("recall_at", RECALL_AT)),
        trained_on=data.pop("trained_on", {}),
        questions=tuple(_question(path, root, shared | table, i) for i, table in enumerate(tables, 1)),
        fused=tuple(check_table(table, FusedQuestion, f"{path}: a [[fused]]") for table in fused),
    )
    if data:
        raise ConfigError(f"{path}: unknown key {min(data)!r} in the suite")
    if not tables and not fused:
        raise ConfigError(f"{path}: there is no [[question]]")
    return suite


def _question(path: Path, root: Path, table: dict[str, Any], number: int) -> SuiteQuestion:
    table = dict(table)
    for key in ("library", "large"):
        table[key] = [root / one for one in table.get(key, [])]
    if "queries" in table:
        table["queries"] = root / table["queries"]
    if "assigned" in table:
        table["assigned"] = {**table["assigned"], "file": root / table["assigned"]["file"]}
    if "modality" in table:
        table.setdefault("once_per_molecule", get(table["modality"]).from_structure)
    what = f"{path}: question {table.get('name', number)!r}"
    question = check_table(table, SuiteQuestion, what)
    contradiction = question.contradiction()
    if contradiction is not None:
        raise ConfigError(f"{what}: {contradiction}")
    return question
