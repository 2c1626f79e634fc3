"""What `bench index` measures, as a TOML file says it.

root = ".."                       # paths are relative to this folder, itself to the file's
seed = 0
k = [1, 10, 100]                  # recall at each
k_timed = 10                      # the k that is timed, and the one of `recall_at_k`
single = 100                      # queries asked one by one in a turn, for the latency
rounds = 3                        # every engine is timed this often, in turns
threads = 2                       # of a build and of a batched search; a single query has one
limit_minutes = 30                # a build or a turn that takes longer is given up, and said to be

[data]
kind = "embeddings"               # real ones: molecules, and the records that ask for them
space = "c_nmr"
base = ["../shared/data/library.parquet"]
queries = "../shared/data/nmr_c13.parquet"
where = "split = 'valid'"         # SQL: the rows that ask
calibrate = "split = 'train'"     # SQL: the rows that an engine which measures itself may ask
n_queries = 1000

[data]
kind = "synthetic"                # or clustered unit vectors
n = 20000
d = 64
clusters = 100
n_queries = 200

[[engine]]
name = "ivf-pq"
kind = "faiss"                    # a class in engines/
[engine.build]                    # every combination is built once
factory = "IVF{lists},PQ64"       # {lists}: as many as `auto` takes for so many vectors
[engine.search]                   # and every combination of these is asked of each build
nprobe = [8, 32, 128]

The two grids are separate because one build serves many searches, as in ann-benchmarks (Aumüller et al.,
doi 10.1016/j.is.2019.02.006).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from acml_search.core.errors import ConfigError
from acml_search.evaluation.data.toml_file import read_toml

Setting = Mapping[str, Any]

DATA_KEYS = {
    "embeddings": {"space", "base", "queries", "where", "calibrate", "n_queries"},
    "synthetic": {"n", "d", "clusters", "n_queries"},
}
OPTIONAL = {"where", "calibrate"}


@dataclass(frozen=True)
class Build:
    """One engine with one set of build arguments, and the settings its searches are asked with."""

    name: str
    kind: str
    arguments: Setting
    searches: tuple[Setting, ...]

    @property
    def digest(self) -> str:
        """Of what makes the built index."""
        return digest([self.kind, dict(self.arguments)])


@dataclass(frozen=True)
class Plan:
    """The file as read. `root`: the folder that paths are relative to."""

    path: Path
    root: Path
    seed: int
    ks: tuple[int, ...]
    k_timed: int
    single: int
    rounds: int
    threads: int
    limit_minutes: float
    data: Mapping[str, Any]
    builds: tuple[Build, ...]


def digest(recipe: Any) -> str:
    """16 hexadecimal digits of SHA-256 over `recipe` as JSON."""
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:16]


def read_plan(path: Path) -> Plan:
    """Raises ConfigError, naming the file and the key, for what is missing or makes no sense."""
    left = read_toml(path, "benchmark")
    root = path.parent / left.pop("root", ".")
    data = _data(path, left.pop("data", {}))
    engines = left.pop("engine", [])
    numbers: dict[str, Any] = {
        name: left.pop(name, default)
        for name, default in {
            "seed": 0,
            "k_timed": 10,
            "single": 100,
            "rounds": 3,
            "threads": 2,
            "limit_minutes": 30.0,
        }.items()
    }
    ks = tuple(sorted(int(k) for k in left.pop("k", [1, 10, 100])))
    if left:
        raise ConfigError(f"{path}: nobody reads the key {min(left)!r}")
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or value < (name != "seed"):
            raise ConfigError(f"{path}: {name} is {value!r}; give a positive number")
    if numbers["k_timed"] not in ks or ks[0] < 1:
        raise ConfigError(f"{path}: k_timed, {numbers['k_timed']}, is none of k, {list(ks)}")
    builds = tuple(build for table in engines for build in _builds(path, table))
    names = [build.name for build in builds]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not names:
        what = f"two engines are called {twice[0]!r}" if twice else "there is no [[engine]]"
        raise ConfigError(f"{path}: {what}")
    return Plan(path=path, root=root, ks=ks, data=data, builds=builds, **numbers)


def _data(path: Path, table: dict[str, Any]) -> dict[str, Any]:
    kind = table.get("kind")
    if kind not in DATA_KEYS:
        raise ConfigError(f"{path}: [data] kind is {kind!r}; it is one of {', '.join(DATA_KEYS)}")
    known = DATA_KEYS[kind]
    for name in sorted(known - OPTIONAL - set(table)):
        raise ConfigError(f"{path}: [data] lacks {name!r}")
    for name in sorted(set(table) - known - {"kind"}):
        raise ConfigError(f"{path}: [data]: nobody reads the key {name!r}")
    return table


def _builds(path: Path, table: dict[str, Any]) -> list[Build]:
    """Every combination of the build grid, with every combination of the search grid."""
    from benchmarks.index_bench.engines import ENGINES

    left = dict(table)
    name, kind = str(left.pop("name", "")), left.pop("kind", None)
    build, search = left.pop("build", {}), left.pop("search", {})
    what = f"{path}: engine {name!r}"
    if not re.fullmatch(r"[\w.-]+", name):
        raise ConfigError(f"{what}: the name goes into file names; use letters, digits, '-', '_' and '.'")
    if kind not in ENGINES:
        raise ConfigError(f"{what}: there is no kind {kind!r}; known are {', '.join(ENGINES)}")
    engine = ENGINES[kind]
    for grid, known in ((build, engine.BUILD), (search, engine.SEARCH), (left, ())):
        for key in sorted(set(grid) - set(known)):
            raise ConfigError(f"{what}: nobody reads the key {key!r}; known are {', '.join(known) or 'none'}")
    searches = tuple(_combinations(search))
    several = {key for key, values in build.items() if isinstance(values, list) and len(values) > 1}
    found = []
    for arguments in _combinations(build):
        told = "".join(f"-{key}-{arguments[key]}" for key in sorted(several))
        found.append(Build(re.sub(r"[^\w.-]", "_", name + told), kind, arguments, searches))
    return found


def _combinations(grid: Mapping[str, Any]) -> list[dict[str, Any]]:
    values: list[Sequence[Any]] = [one if isinstance(one, list) else [one] for one in grid.values()]
    return [dict(zip(grid, chosen, strict=True)) for chosen in product(*values)]
