"""A property benchmark as a TOML file names it: sets, splits, systems, and what is compared.

name = "moleculenet"
root = ".."                        # paths are relative to this folder, itself to the file's
model = "acml-base"                # of the systems that name no model of their own
seeds = [0, 1, 2]                  # where a set has one split; several splits take one seed each

[system.acml]
kind = "embedding"                 # embedding | untrained | morgan | rdkit | minimol | chemprop | finetuned
parts = ["trunk", "maxima", "environments", "spaces"]  # of an embedding; or names of spaces
model = "runs/one/model"           # another model's folder, relative to root, or a shipped model's name
epochs = 30                        # of chemprop and finetuned; left out: their default
max_rows = 10000                   # a larger set is not asked of this system
runs = 1                           # only the first of a set's runs

[[set]]
name = "esol"
file = "../shared/data/moleculenet/esol.parquet"
rows = { dataset = "esol" }        # only rows with this value in this column
task = "regression"                # or classification
metric = "rmse"                    # rmse, mae, spearman, roc-auc, pr-auc: mean over targets
targets = ["y"]                    # default: every column that is neither a structure nor a split
splits = ["split_scaffold_kpgt0"]  # columns that say train, valid, test
boosted_runs = 3                   # in how many runs the boosted head is tried (default: all)
seeds = [0]                        # instead of the benchmark's
leave_out = ["minimol"]            # systems not asked, and why:
why = "its fingerprints of 93,087 molecules take an hour"

[[duel]]                           # ahead, behind or within the spread, set by set
name = "acml against morgan"
a = "acml"
b = "morgan"
must_be_ahead = 8                  # of the sets; or must_not_be_behind

[[group]]                          # mean ranks among these, over the sets that all of them answered
name = "modalities"
systems = ["full", "single-c_nmr"]
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acml_search.core.errors import ConfigError
from acml_search.evaluation.data.toml_file import read_toml

TASKS = ("regression", "classification")
KINDS = ("embedding", "untrained", "morgan", "rdkit", "minimol", "chemprop", "finetuned")
TRAINED = ("chemprop", "finetuned")
"""kinds that learn from the molecules themselves and take no head"""
HIGHER_IS_BETTER = {"rmse": False, "mae": False, "spearman": True, "roc-auc": True, "pr-auc": True}


@dataclass(frozen=True)
class System:
    """Something that predicts properties; see the module's docstring for what its keys mean."""

    name: str
    kind: str
    model: str | None = None
    parts: tuple[str, ...] = ()
    epochs: int | None = None
    max_rows: int | None = None
    runs: int | None = None

    @property
    def trained(self) -> bool:
        return self.kind in TRAINED


@dataclass(frozen=True)
class PropertySet:
    """One data set and how it is asked."""

    name: str
    file: Path
    task: str
    metric: str
    splits: tuple[str, ...]
    targets: tuple[str, ...] = ()
    rows: tuple[tuple[str, str], ...] = ()
    boosted_runs: int | None = None
    seeds: tuple[int, ...] = ()
    leave_out: tuple[str, ...] = ()
    why: str = ""


@dataclass(frozen=True)
class Duel:
    """Two systems, compared on every set. `must`: on so many sets a is to be ahead, or not behind."""

    name: str
    a: str
    b: str
    must_be_ahead: int | None = None
    must_not_be_behind: int | None = None


@dataclass(frozen=True)
class Plan:
    """A benchmark as read, with its paths resolved."""

    path: Path
    root: Path
    name: str
    model: str
    seeds: tuple[int, ...]
    systems: Mapping[str, System]
    sets: tuple[PropertySet, ...]
    duels: tuple[Duel, ...] = ()
    groups: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def runs(self, asked: PropertySet) -> list[tuple[str, int]]:
        """(split column, seed) of every run of a set."""
        if len(asked.splits) == 1:
            return [(asked.splits[0], seed) for seed in asked.seeds or self.seeds]
        return [(split, self.seeds[i % len(self.seeds)]) for i, split in enumerate(asked.splits)]


def read_plan(path: Path) -> Plan:
    """Raises ConfigError, naming the file and the table, for what is missing or makes no sense."""
    data = read_toml(path, "benchmark")
    root = path.parent / data.pop("root", ".")
    systems = {name: _system(path, name, table) for name, table in data.pop("system", {}).items()}
    sets = tuple(_set(path, root, number, table) for number, table in enumerate(data.pop("set", [])))
    duels = tuple(_read(path, "duel", table, Duel) for table in data.pop("duel", []))
    groups = tuple(
        (str(table.get("name")), tuple(table.get("systems", []))) for table in data.pop("group", [])
    )
    plan = Plan(
        path=path,
        root=root,
        name=str(data.pop("name", path.stem)),
        model=str(data.pop("model", "acml-base")),
        seeds=tuple(int(seed) for seed in data.pop("seeds", [0, 1, 2])),
        systems=systems,
        sets=sets,
        duels=duels,
        groups=groups,
    )
    if data:
        raise ConfigError(f"{path}: nobody reads the key {min(data)!r} of the benchmark")
    _check(plan)
    return plan


def _check(plan: Plan) -> None:
    """Raises ConfigError for an empty plan, a name that stands twice, and a system that nobody described."""
    if not plan.sets or not plan.systems or not plan.seeds:
        raise ConfigError(f"{plan.path}: it takes a [[set]], a [system.NAME] and a seed at least")
    names = [one.name for one in plan.sets]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"{plan.path}: two sets are called {twice[0]!r}")
    named = [(f"set {one.name!r}", name) for one in plan.sets for name in one.leave_out]
    named += [(f"duel {one.name!r}", name) for one in plan.duels for name in (one.a, one.b)]
    named += [(f"group {name!r}", one) for name, systems in plan.groups for one in systems]
    for where, name in named:
        if name not in plan.systems:
            raise ConfigError(f"{plan.path}: {where} names {name!r}, which is no system here")
    for name in (*names, *plan.systems):
        if not re.fullmatch(r"[\w-]+", name):
            raise ConfigError(f"{plan.path}: {name!r} goes into file names; use letters, digits, '-' and '_'")


def check_named(plan: Plan, sets: Sequence[str], systems: Sequence[str]) -> None:
    """Raises ConfigError for the name of a set or of a system that the benchmark does not have."""
    known = {"set": [one.name for one in plan.sets], "system": list(plan.systems)}
    for what, asked in (("set", sets), ("system", systems)):
        unknown = [name for name in asked if name not in known[what]]
        if unknown:
            raise ConfigError(f"{plan.path} has no {what} {unknown[0]!r}; it has {', '.join(known[what])}")


def _system(path: Path, name: str, table: dict[str, Any]) -> System:
    system = _read(path, f"system {name!r}", {"name": name, **table}, System)
    if system.kind not in KINDS:
        raise ConfigError(f"{path}: system {name!r}: the kind {system.kind!r} is none of {', '.join(KINDS)}")
    return system


def _set(path: Path, root: Path, number: int, table: dict[str, Any]) -> PropertySet:
    what = f"set {table.get('name', number + 1)!r}"
    rows = tuple(sorted((str(key), str(value)) for key, value in table.get("rows", {}).items()))
    asked = _read(path, what, {**table, "rows": rows, "file": root / table.get("file", "")}, PropertySet)
    if asked.task not in TASKS or asked.metric not in HIGHER_IS_BETTER or not asked.splits:
        raise ConfigError(
            f"{path}: {what}: the task is one of {', '.join(TASKS)}, the metric one of "
            f"{', '.join(HIGHER_IS_BETTER)}, and a split is needed"
        )
    if asked.leave_out and not asked.why:
        raise ConfigError(f"{path}: {what}: say why systems are left out, with `why`")
    return asked


def _read(path: Path, what: str, table: dict[str, Any], kind: type[Any]) -> Any:
    """A dataclass from a table. Raises ConfigError for a key it does not have or lacks."""
    try:
        return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in table.items()})
    except TypeError as error:
        raise ConfigError(f"{path}: {what}: {str(error).partition(') ')[2] or error}") from None
