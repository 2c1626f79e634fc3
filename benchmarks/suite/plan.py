"""Questions of a suite as TOML files name them, usually one a file.

root = ".."                                    # paths are relative to this folder, itself to the file's
library = ["../shared/data/library.parquet"]   # further molecules of every pool
large = ["../shared/data/moses.parquet"]       # molecules that only `pools` beyond the files' own take
recall_at = [1, 5, 10, 20, 100, 500]
seed = 0

[trained_on]                                   # rows a model may have learned from, where not all of `train`
acml-base = "NOT regexp_matches(license, 'NC|ND')"

[[question]]
name = "c_nmr"                                 # of the result files
modality = "c_nmr"
queries = "../shared/data/nmr_c13.parquet"
where = "split = 'valid' AND spectrum_rank = 0"  # SQL: the rows that ask
unseen = true                                  # of these, molecules that training saw in no way (default: no)
limit = 2000                                   # of these, so many, chosen at random (default: all)
filters = ["none", "formula", "5 Da", "10 ppm"]
pools = [1000, 10000, 100000]                  # recall against pool size: nested, without filter
isomers = true                                 # also among isomers, and among stereoisomers
to_record = false                              # also the other way: molecules rank records
pool = 100000                                  # default: all molecules of queries' file and library
once = true                                    # a molecule asks once (default: where records are derived)
batch = 128                                    # ACML's own metric; 0: not
calibrate = "split = 'train'"                  # SQL: its inner part fits the temperature
rerank = true                                  # ask again, shortlists re-scored peak by peak; weights are
                                               # fitted on the inner part of `calibrate`, or the card's
rerank_queries = 1000                          # so many of the queries, chosen at random (default: all)
attached = true                                # 13C: re-ranking compares hydrogens attached, of the column
                                               # `multiplicity`, as DEPT tells them (default: no)
training = "split = 'train'"                   # SQL: rows that queries' similarity is measured to
baselines = ["random", "formula"]              # asked the same in the same pool
seen = "fail"                                  # "allowed": molecules that training saw may ask

[question.must]                                # what is to be reached, shown beside what was
"none@10" = 0.8
"isomers" = 0.92
"rerank none@1" = 0.68                         # of the re-ranked answers

[[fused]]                                      # several observations of one compound, against each alone
name = "c_nmr-h_nmr"
parts = ["c_nmr", "h_nmr"]                     # questions asked along, or in c_nmr.toml, h_nmr.toml beside
filters = ["none", "formula"]
[fused.must]
"gain" = 0.1                                   # in recall at 1, over the best part alone, without filter
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from acml_search.core.errors import ConfigError

SEEN = ("fail", "allowed")


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
    pools: tuple[int, ...] = ()
    large: tuple[Path, ...] = ()
    baselines: tuple[str, ...] = ()
    seen: str = "fail"
    unseen: bool = False
    limit: int | None = None
    attached: bool = False


@dataclass(frozen=True)
class FusedQuestion:
    """`parts`: names of the questions whose observations of one compound are put together. `calibrate`: SQL;
    on the inner part of these rows it is fitted what each part's logit counts for.
    """

    name: str
    parts: tuple[str, ...]
    filters: tuple[Filter, ...]
    calibrate: str | None = None
    must: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Suite:
    """The questions of one or several files, with their paths resolved."""

    paths: tuple[Path, ...]
    seed: int
    recall_at: tuple[int, ...]
    trained_on: Mapping[str, str]
    questions: tuple[Question, ...]
    fused: tuple[FusedQuestion, ...] = ()
    beside: tuple[Question, ...] = ()
    """parts of `fused` that are not asked for themselves"""

    @property
    def path(self) -> str:
        """The files, for messages."""
        return ", ".join(str(path) for path in self.paths)

    def part(self, name: str) -> Question:
        """The question of that name, asked or not."""
        return next(one for one in (*self.questions, *self.beside) if one.name == name)
