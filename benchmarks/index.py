"""Vector indexes on the same vectors: how much of an exact search they find, how fast, in how much room.

A plan (`benchmarks/index.toml` shows one) names the vectors and the engines:

    [data]
    kind = "embeddings"               # graph vectors of `base`, asked by the record vectors of `queries`
    space = "c_nmr"
    base = ["library.parquet"]
    queries = "nmr.parquet"
    where = "split = 'valid'"         # SQL: the rows that ask
    calibrate = "split = 'train'"     # SQL: the rows that an engine which measures itself may ask
    n_queries = 1000

    [data]
    kind = "synthetic"                # or clustered unit vectors: n, d, clusters, n_queries

    [[engine]]
    name = "ivf-pq"
    kind = "faiss"                    # ours, faiss or usearch
    [engine.build]                    # every combination is built once
    factory = "IVF{lists},PQ64"       # {lists}: as many as `auto` takes for so many vectors
    [engine.search]                   # and every combination of these is asked of each build
    nprobe = [8, 32, 128]

The two grids are separate because one build serves many searches, as in ann-benchmarks (Aumüller et al.,
doi 10.1016/j.is.2019.02.006). Every build and every turn is a process of its own, so that memory and caches
are one engine's alone; engines take turns, so that what the machine does meanwhile falls on all of them. A
neighbour is right if its score, computed again here from the vectors, reaches that of the k-th exact one:
scores that an engine claims are not looked at, and equally near vectors are equally right.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from importlib.metadata import version
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pandas as pd
import typer
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

from acml_search.cli.app import command_line
from acml_search.cli.options import Model, Workers
from acml_search.core.errors import AcmlSearchError, ConfigError, InvalidRecord
from acml_search.core.io import digest_of, versions, write_json
from acml_search.core.progress import progress
from acml_search.core.toml import check_table, read_toml
from acml_search.core.typing import Float16s, Float32s, Ints
from acml_search.core.workers import cpu_count
from acml_search.evaluation.metrics import bootstrap_interval

BLOCK = 65_536  # vectors added at once: 64 MB at 256 dimensions
TYPICAL = 256  # queries that a calibration gets, as `build-index` gives them
TOLERANCE = 1e-6
SPARE = 32  # neighbours beyond k in single precision, so that its rounding cannot decide the last place
WARM = 20  # single queries before the clock runs
BATCH_SECONDS, BATCH_TIMES = 0.5, 20  # a batch is asked again until so much time has passed, or so often
REFERENCES = ("flat", "auto")  # engines that all others are compared with: their first setting


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Embedded(_Table):
    kind: Literal["embeddings"]
    space: str
    base: list[str]
    queries: str
    where: str = "TRUE"
    calibrate: str | None = None
    n_queries: PositiveInt


class Synthetic(_Table):
    kind: Literal["synthetic"]
    n: PositiveInt
    d: PositiveInt
    clusters: PositiveInt
    n_queries: PositiveInt


class EngineTable(_Table):
    name: str = Field(pattern=r"^[\w.-]+$")
    kind: Literal["ours", "faiss", "usearch"]
    build: dict[str, Any] = {}
    search: dict[str, Any] = {}


class Plan(_Table):
    """root: folder of the paths, relative to the plan. k: recall is measured at each; k_timed: and speed at
    this. single: queries asked one by one. threads: of a build and of a batch; a single query has one.
    """

    root: str = "."
    seed: int = 0
    k: list[PositiveInt] = [1, 10, 100]
    k_timed: PositiveInt = 10
    single: PositiveInt = 100
    rounds: PositiveInt = 3
    threads: PositiveInt = 2
    limit_minutes: PositiveFloat = 30.0
    data: Embedded | Synthetic = Field(discriminator="kind")
    engine: list[EngineTable] = Field(min_length=1)


def read_plan(path: Path) -> Plan:
    """Raises ConfigError, naming the file and the key, for a plan that cannot be run."""
    plan = check_table(read_toml(path, "plan"), Plan, path)
    names = [build.name for build in builds(plan)]
    if len(set(names)) < len(names):
        raise ConfigError(f"{path}: two engines are called {max(names, key=names.count)!r}")
    if plan.k_timed not in plan.k:
        raise ConfigError(f"{path}: k_timed, {plan.k_timed}, is not one of k, {plan.k}")
    for table in plan.engine:
        engine = ENGINES[table.kind]
        for grid, known in ((table.build, engine.BUILD), (table.search, engine.SEARCH)):
            for key in sorted(set(grid) - set(known)):
                raise ConfigError(
                    f"{path}: engine {table.name!r}: unknown key {key!r}; known are {', '.join(known)}"
                )
    return plan


class Build(_Table):
    """One engine with one set of build arguments, and the settings its searches are asked with."""

    name: str
    kind: str
    arguments: dict[str, Any]
    searches: list[dict[str, Any]]


def builds(plan: Plan) -> list[Build]:
    """Every combination of each engine's build grid."""
    found = []
    for table in plan.engine:
        several = sorted(key for key, values in table.build.items() if isinstance(values, list))
        for arguments in _grid(table.build):
            suffix = "".join(f"-{key}-{arguments[key]}" for key in several)
            name = re.sub(r"[^\w.-]", "_", table.name + suffix)
            found.append(Build(name=name, kind=table.kind, arguments=arguments, searches=_grid(table.search)))
    return found


def _grid(grid: Mapping[str, Any]) -> list[dict[str, Any]]:
    values = [one if isinstance(one, list) else [one] for one in grid.values()]
    return [dict(zip(grid, chosen, strict=True)) for chosen in product(*values)]


# Engines: nearest vectors by inner product of unit vectors. One object lives in one process.


class Engine:
    """BUILD and SEARCH: the keys that a plan may give. PACKAGE, DISTRIBUTION: what must be installed.
    `threads`: of an engine that does not keep to `threadpool_limits`, within which all of it runs.
    """

    BUILD: ClassVar[tuple[str, ...]] = ("factory",)
    SEARCH: ClassVar[tuple[str, ...]] = ("nprobe",)
    PACKAGE: ClassVar[str] = "faiss"
    DISTRIBUTION: ClassVar[str] = "faiss-cpu"
    index: Any = None

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def build(self, base: Float32s, typical: Float32s, folder: Path, **how: Any) -> dict[str, Any]:
        """Index `base` (n, d) and write it into `folder`; returns facts for the result.

        `typical` (m, d): queries that are not measured, for an engine that calibrates itself.
        """
        raise NotImplementedError

    def open(self, folder: Path) -> None:
        """Make the index in `folder` ready to be searched."""
        raise NotImplementedError

    def set(self, search: Mapping[str, Any]) -> dict[str, Any]:
        """Search like this from now on; returns the setting in numbers."""
        raise NotImplementedError

    def search(self, xq: Float32s, k: int) -> Ints:
        """(nq, k) positions in `base`, best first, -1 where there are fewer."""
        found: Ints = self.index.search(xq, k)[1]
        return found


class _Shards:
    """`base` as `build-index` reads it from its shards: half precision, in blocks; see `Embeddings`."""

    def __init__(self, base: Float32s) -> None:
        self.base, self.keys, self.d = base, np.arange(len(base)), base.shape[1]

    def __len__(self) -> int:
        return len(self.base)

    def blocks(self) -> Iterator[Float16s]:
        return (block.astype(np.float16) for block in _blocks(self.base))

    def sample(self, size: int, seed: int) -> Float32s:
        chosen = np.random.default_rng(seed).permutation(len(self))[:size]
        return self.base[chosen].astype(np.float16).astype(np.float32)


class Ours(Engine):
    """The index of `build-index`. nprobe "calibrated": as many lists as the build measured to be enough."""

    def build(self, base: Float32s, typical: Float32s, folder: Path, **how: Any) -> dict[str, Any]:
        from acml_search.index.factory import build_vectors

        source: Any = _Shards(base)
        queries = typical if len(typical) else None
        return asdict(build_vectors(folder / "ours", source, how.get("factory", "auto"), queries, grow=False))

    def open(self, folder: Path) -> None:
        from acml_search.index.vectors import VectorIndex

        self.index = VectorIndex.open(folder / "ours")
        self._calibrated = self.index.details

    def set(self, search: Mapping[str, Any]) -> dict[str, Any]:
        wanted = search.get("nprobe", "calibrated")
        if self._calibrated.nprobe is None:  # an exact scan
            return {}
        nprobe = self._calibrated.nprobe if wanted == "calibrated" else int(wanted)
        self.index = self.index.searched(replace(self._calibrated, nprobe=nprobe))
        return {"nprobe": nprobe}


class PlainFaiss(Engine):
    """FAISS as it comes: an index by its factory string, in memory."""

    BUILD = ("factory", "efConstruction")
    SEARCH = ("nprobe", "efSearch", "k_factor")

    def build(self, base: Float32s, typical: Float32s, folder: Path, **how: Any) -> dict[str, Any]:
        import faiss

        from acml_search.index import factory as factories

        n, d = base.shape
        factory = how.get("factory", "Flat").replace("{lists}", str(factories.lists_for(n)))
        index = factories.make(factory, d)
        if "efConstruction" in how:
            index.hnsw.efConstruction = how["efConstruction"]
        if not index.is_trained:
            size = factories.training_size(index, n)
            chosen = np.sort(np.random.default_rng(7).choice(n, size, replace=False))
            factories.train(index, factory, np.ascontiguousarray(base[chosen]))
        for block in _blocks(base):
            index.add(block)
        faiss.write_index(index, str(folder / "index.faiss"))
        return {"factory": factory}

    def open(self, folder: Path) -> None:
        import faiss

        self.index = faiss.read_index(str(folder / "index.faiss"))

    def set(self, search: Mapping[str, Any]) -> dict[str, Any]:
        import faiss

        for name, value in search.items():
            own = "k_factor_rf" if name == "k_factor" else name
            faiss.ParameterSpace().set_index_parameter(self.index, own, value)
        return dict(search)


class Usearch(Engine):
    """usearch's HNSW (https://github.com/unum-cloud/usearch); arguments are its own."""

    BUILD = ("metric", "dtype", "connectivity", "expansion_add")
    SEARCH = ("expansion_search",)
    PACKAGE = DISTRIBUTION = "usearch"

    def build(self, base: Float32s, typical: Float32s, folder: Path, **how: Any) -> dict[str, Any]:
        from usearch.index import Index

        index = Index(ndim=base.shape[1], **how)
        for number, block in enumerate(_blocks(base)):
            keys = np.arange(number * BLOCK, number * BLOCK + len(block))
            index.add(keys, block, threads=self.threads)
        index.save(str(folder / "index.usearch"))
        return {"connectivity": index.connectivity, "expansion_add": index.expansion_add}

    def open(self, folder: Path) -> None:
        from usearch.index import Index

        self.index = Index.restore(str(folder / "index.usearch"))

    def set(self, search: Mapping[str, Any]) -> dict[str, Any]:
        if "expansion_search" in search:
            self.index.expansion_search = search["expansion_search"]
        return {"expansion_search": self.index.expansion_search}

    def search(self, xq: Float32s, k: int) -> Ints:
        found = self.index.search(xq, k, threads=self.threads)
        keys = np.full((len(xq), k), -1, np.int64)
        rows = np.asarray(found.keys, np.int64).reshape(len(xq), -1)  # one query: a list without padding
        counts = np.asarray(getattr(found, "counts", [rows.shape[1]])).reshape(-1)
        for row, (own, count) in enumerate(zip(rows, counts, strict=True)):
            keys[row, :count] = own[:count]
        return keys


ENGINES: dict[str, type[Engine]] = {"ours": Ours, "faiss": PlainFaiss, "usearch": Usearch}


def _blocks(base: Float32s) -> Iterator[Float32s]:
    for low in range(0, len(base), BLOCK):
        yield np.ascontiguousarray(base[low : low + BLOCK])


# One step of one engine, in a process of its own: `python -m benchmarks.index JOB.json`.


def run_step(job: dict[str, Any]) -> dict[str, Any]:
    """What a build or a turn of one engine measured."""
    from threadpoolctl import threadpool_limits

    engine, folder, data = ENGINES[job["kind"]](job["threads"]), Path(job["folder"]), Path(job["data"])
    base, queries = np.load(data / "base.npy", mmap_mode="r"), np.load(data / "queries.npy")
    if job["step"] == "build":
        with threadpool_limits(job["threads"]):
            began = time.perf_counter()
            typical = np.load(data / "typical.npy")
            facts = engine.build(base, typical, folder, **job["arguments"])
            seconds = time.perf_counter() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return {
            "build_seconds": seconds,
            "bytes": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
            "build_peak_mb": peak / (1 << 20 if sys.platform == "darwin" else 1 << 10),
            "version": f"{engine.DISTRIBUTION} {version(engine.DISTRIBUTION)}",
            "built": facts,
        }
    importlib.import_module(engine.PACKAGE)  # its code is no part of an index's memory
    before = _resident_mb()
    engine.open(folder)
    settings: list[dict[str, Any]] = []
    answers: dict[str, Any] = {}
    for search in job["searches"]:
        setting = engine.set(search)
        if setting in [one["set"] for one in settings]:
            continue  # a word and a number may mean the same
        with threadpool_limits(job["threads"]):
            for k in job["k"] if job["answers"] else ():
                answers[f"{len(settings)}.{k}"] = engine.search(queries, k)
        settings.append({"search": search, "set": setting, **_timed(engine, queries, job)})
    after = _resident_mb()
    if job["answers"]:
        np.savez(job["answers"], **answers)
    grown = None if after is None or before is None else after - before
    return {"memory_mb": grown, "settings": settings}


def _timed(engine: Engine, queries: Float32s, job: Any) -> dict[str, Any]:
    from threadpoolctl import threadpool_limits

    k = job["k_timed"]
    with threadpool_limits(job["threads"]):
        engine.search(queries, k)  # what is mapped is in memory from here on, as in a running server
        times, began = 0, time.perf_counter()
        while times == 0 or (times < BATCH_TIMES and time.perf_counter() - began < BATCH_SECONDS):
            engine.search(queries, k)
            times += 1
        rate = times * len(queries) / (time.perf_counter() - began)
    milliseconds = []
    engine.threads = 1
    with threadpool_limits(1):
        for query in queries[-WARM:]:
            engine.search(query[None], k)
        for query in queries[: job["single"]]:
            began = time.perf_counter()
            engine.search(query[None], k)
            milliseconds.append(1000 * (time.perf_counter() - began))
    engine.threads = job["threads"]
    return {"milliseconds": milliseconds, "queries_per_second_batched": rate}


def _resident_mb() -> float | None:
    """Resident memory of this process (Linux only)."""
    path = Path("/proc/self/statm")
    return int(path.read_text().split()[1]) * resource.getpagesize() / 2**20 if path.exists() else None


class Contestant:
    """One build of one engine: its steps are files in `folder`, so that an interrupted run goes on."""

    def __init__(self, plan: Plan, build: Build, data: Path) -> None:
        asked = plan.model_dump(include={"k", "k_timed", "single", "threads"})
        key = digest_of([build.model_dump(), asked])[:16]
        self.plan, self.build, self.data, self.folder = plan, build, data, data / f"{build.name}-{key}"
        self.index, self.answers = self.folder / "index", self.folder / "answers.npz"
        engine = ENGINES[build.kind]
        missing = find_spec(engine.PACKAGE) is None
        install = f"{engine.PACKAGE} is not installed: pip install {engine.DISTRIBUTION}"
        self.why_not = install if missing else None

    def make(self) -> None:
        if not (self.folder / "build.json").exists():
            shutil.rmtree(self.index, ignore_errors=True)
            self.index.mkdir(parents=True)
            self._step("build", arguments=self.build.arguments)

    def turn(self, number: int) -> None:
        answers = None if number else str(self.answers)
        self._step("turn", f"turn-{number}", searches=self.build.searches, answers=answers)

    def read(self, step: str) -> dict[str, Any]:
        return dict(json.loads((self.folder / f"{step}.json").read_text(encoding="utf-8")))

    def _step(self, step: str, name: str | None = None, **job: Any) -> None:
        result = self.folder / f"{name or step}.json"
        if self.why_not or result.exists():
            return
        plan = self.plan.model_dump(include={"k", "k_timed", "single", "threads"})
        about = {"step": step, "kind": self.build.kind, "data": str(self.data), "folder": str(self.index)}
        write_json({**plan, **about, **job, "result": str(result)}, self.folder / "job.json")
        threads = str(self.plan.threads)
        try:
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.index", str(self.folder / "job.json")],
                env={**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=60 * self.plan.limit_minutes,
            )
        except subprocess.TimeoutExpired:
            self.why_not = f"the {step} took longer than {self.plan.limit_minutes:g} minutes (limit_minutes)"
            return
        if done.returncode < 0:
            self.why_not = f"the {step} was ended by signal {-done.returncode}, as for want of memory"
        elif done.returncode:
            self.why_not = f"the {step} failed: {(done.stderr.strip().splitlines() or ['no reason'])[-1]}"


# Vectors.


def clustered(n: int, d: int, clusters: int, seed: int, part: int = 0) -> Float32s:
    """(n, d) unit vectors around `clusters` random centres, the same for any `part` of one seed.

    The noise is as long as the way to the centre, spread over a quarter of the dimensions in each cluster, so
    that neighbours differ in score as embeddings do, and a few dimensions tell them apart.
    """
    rng = np.random.default_rng([seed, 0])
    centres = rng.standard_normal((clusters, d)).astype(np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    inner = max(1, d // 4)
    ways = rng.standard_normal((clusters, inner, d)).astype(np.float32) / np.sqrt(inner * d)
    rng = np.random.default_rng([seed, 1 + part])
    cluster_of, noise = rng.integers(clusters, size=n), rng.standard_normal((n, inner)).astype(np.float32)
    out = np.empty((n, d), np.float32)
    for cluster in range(clusters):
        here = np.flatnonzero(cluster_of == cluster)
        out[here] = centres[cluster] + noise[here] @ ways[cluster]
    return out / np.linalg.norm(out, axis=1, keepdims=True)


def make_vectors(
    plan: Plan, root: Path, folder: Path, n: int | None, model: str, workers: int | None
) -> dict[str, Any]:
    """Write base.npy (n, d), queries.npy and typical.npy into `folder` unless they are there; their facts."""
    about = folder / "data.json"
    if not about.exists():
        folder.mkdir(parents=True, exist_ok=True)
        data = plan.data
        if isinstance(data, Synthetic):
            sizes = {"base": n or data.n, "queries": data.n_queries, "typical": TYPICAL}
            for part, (name, size) in enumerate(sizes.items()):
                np.save(folder / f"{name}.npy", clustered(size, data.d, data.clusters, plan.seed, part))
            facts: dict[str, Any] = {"n": sizes["base"], "d": data.d, "space": None}
        else:
            facts = {
                **_embed_base(data, root, folder, n, model, workers),
                **_embed_queries(data, root, folder, model, plan.seed),
            }
        write_json(facts, about)  # last: the folder is complete
    return dict(json.loads(about.read_text(encoding="utf-8")))


def _embed_base(
    data: Embedded, root: Path, folder: Path, n: int | None, model: str, workers: int | None
) -> dict[str, Any]:
    """Graph vectors of the distinct molecules of `base`, or of its first `n` rows."""
    from acml_search.index.build import embed_library
    from acml_search.index.embeddings import Embeddings

    files = [root / name for name in data.base]
    report = embed_library(files, folder / "embeddings", model=model, workers=workers, limit=n)
    if data.space not in report.manifest.spaces:
        raise ConfigError(f"the model {model} has no space {data.space!r}")
    parts = sorted((folder / "embeddings" / "embeddings" / data.space / "graph").glob("*.parquet"))
    source = Embeddings(parts)
    out = np.lib.format.open_memmap(folder / "base.npy", "w+", np.float32, (len(source), source.d))
    start = 0
    for block in source.blocks():
        vectors = block.astype(np.float32)
        out[start : start + len(block)] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        start += len(block)
    digest = report.manifest.model["digest"]
    return {"n": len(source), "d": source.d, "space": data.space, "model": model, "model_digest": digest}


def _embed_queries(data: Embedded, root: Path, folder: Path, model: str, seed: int) -> dict[str, Any]:
    """Vectors of a seeded choice of records; those that cannot be read are counted and left out."""
    import duckdb

    from acml_search import modalities
    from acml_search.encoders.checkpoint import load_model

    kind, loaded, facts = modalities.get(data.space), load_model(model), {}
    wanted = {"queries": (data.where, data.n_queries), "typical": (data.calibrate, TYPICAL)}
    for name, (where, size) in wanted.items():
        rows: list[dict[str, Any]] = []
        if where is not None:
            with duckdb.connect() as db:
                query = f"SELECT * FROM read_parquet(?) WHERE smiles IS NOT NULL AND ({where})"
                rows = db.sql(query, params=[str(root / data.queries)]).to_arrow_table().to_pylist()
        chosen = np.sort(np.random.default_rng(seed).permutation(len(rows))[:size])
        items, failed = [], 0
        for row in (rows[i] for i in chosen):
            try:
                record = {key: value for key, value in row.items() if value is not None}
                items.append(kind.read(kind.derive(row["smiles"]) if kind.from_structure else record))
            except InvalidRecord:
                failed += 1
        if name == "queries" and not items:
            raise ConfigError(f"{data.queries}: no record can be read as {data.space}")
        empty = np.empty((0, loaded.card.spaces[data.space].d), np.float32)
        vectors = loaded.encode_items(data.space, items) if items else empty
        np.save(folder / f"{name}.npy", vectors.astype(np.float32))
        facts |= {f"n_{name}": len(items), f"n_{name}_failed": failed}
    return facts


# Judging.


def exact_scores(base: Float32s, queries: Float32s, k: int) -> np.ndarray:
    """(nq, k) float64: the best inner products of all of `base` for each query, best first."""
    import faiss
    from faiss.contrib.exhaustive_search import knn_ground_truth

    wanted = min(k + SPARE, len(base))
    _, at = knn_ground_truth(queries, _blocks(base), wanted, faiss.METRIC_INNER_PRODUCT, ngpu=0)
    return np.array(
        [np.sort(_scores(base, query, own))[::-1][:k] for query, own in zip(queries, at, strict=True)]
    )


def right(base: Float32s, queries: Float32s, truth: np.ndarray, found: Ints, k: int) -> Ints:
    """(nq,) how many of each query's `found` (nq, k) score as well as its true k-th; each counts once.

    Raises ConfigError for a position that no vector has: such an engine is broken.
    """
    if found.max(initial=-1) >= len(base):
        raise ConfigError(f"an engine answered {found.max()}, of {len(base):,} vectors")
    k = min(k, truth.shape[1])
    out = np.zeros(len(queries), np.int64)
    for row, (at, query) in enumerate(zip(found, queries, strict=True)):
        scores = _scores(base, query, np.unique(at[at >= 0]))
        out[row] = min(k, int(np.sum(scores >= truth[row, k - 1] - TOLERANCE)))
    return out


def _scores(base: Float32s, query: Float32s, at: Ints) -> np.ndarray:
    return np.asarray(base[at].astype(np.float64) @ query.astype(np.float64))


def measure(
    path: Path,
    out: Path,
    *,
    base: list[Path] | None = None,
    n: int | None = None,
    rounds: int | None = None,
    only: list[str] | None = None,
    model: str = "acml-base",
    workers: int | None = None,
    restart: bool = False,
    command: str | None = None,
) -> dict[str, Any]:
    """Run the plan at `path`, write OUT.json and return it.

    An engine that cannot run, or fails, has a row that says why. Raises ConfigError for a wrong plan and
    AcmlSearchError where every engine failed.
    """
    began = time.perf_counter()
    plan, root = read_plan(path), path.parent
    root = root / plan.root
    if base:
        if isinstance(plan.data, Synthetic):
            raise ConfigError(f"{path}: its vectors are no molecules'; leave --base out")
        names = [os.path.relpath(file, root) for file in base]
        plan = plan.model_copy(update={"data": plan.data.model_copy(update={"base": names})})
    chosen = [build for build in builds(plan) if not only or build.name in only]
    unknown = sorted(set(only or ()) - {build.name for build in chosen})
    if unknown:
        there = ", ".join(build.name for build in builds(plan))
        raise ConfigError(f"{path}: there is no engine {unknown[0]!r}; there are {there}")
    rounds = rounds or plan.rounds
    folder = out.with_name(f"{out.stem}.engines")
    if restart:
        shutil.rmtree(folder, ignore_errors=True)
    recipe = json.dumps([plan.data.model_dump(), n, plan.seed, model], sort_keys=True)
    data = folder / hashlib.sha256(recipe.encode()).hexdigest()[:16]
    facts = make_vectors(plan, root, data, n, model, workers)
    contestants = [Contestant(plan, build, data) for build in chosen]
    with progress(total=len(contestants) * (1 + rounds), desc="engines", unit="step") as bar:
        for one in contestants:
            one.make()
            bar.update(1)
        for number in range(rounds):
            for one in contestants if number % 2 == 0 else contestants[::-1]:  # there and back
                one.turn(number)
                bar.update(1)
    for one in contestants:
        shutil.rmtree(one.index, ignore_errors=True)
    if all(one.why_not for one in contestants):
        first = contestants[0]
        raise AcmlSearchError(f"no engine could be measured; {first.build.name}: {first.why_not}")
    vectors, queries = np.load(data / "base.npy", mmap_mode="r"), np.load(data / "queries.npy")
    truth = exact_scores(vectors, queries, min(max(plan.k), len(vectors)))
    rows = _rows(contestants, rounds, vectors, queries, truth)
    result = {
        "kind": "index",
        **facts,
        "vectors": plan.data.kind,
        "n_queries": len(queries),
        "k": plan.k_timed,
        "ks": plan.k,
        "rounds": rounds,
        "single_queries": min(plan.single, len(queries)),
        "threads": {"single": 1, "batched": plan.threads, "build": plan.threads},
        "tie_rule": "an answer is right if its score, computed again, reaches the k-th exact one within "
        "tie_tolerance",
        "tie_tolerance": TOLERANCE,
        "ratios": f"queries per second in a batch, times faster than {' and '.join(REFERENCES)} in the same "
        "round; median, lowest and highest round",
        "engines": rows,
        "plan": str(path),
        "data": plan.data.model_dump(),
        "seed": plan.seed,
        "command": command,
        "seconds": time.perf_counter() - began,
        "versions": {**versions("acml-search", "faiss-cpu", "numpy"), "cores": str(cpu_count())},
    }
    write_json(result, out)
    return result


def _rows(
    contestants: list[Contestant], rounds: int, base: Float32s, queries: Float32s, truth: np.ndarray
) -> list[dict[str, Any]]:
    """One row an engine and setting; of an engine that failed, one with `why_not`."""
    turns = {
        one.build.name: [one.read(f"turn-{number}") for number in range(rounds)]
        for one in contestants
        if not one.why_not
    }
    rows: list[dict[str, Any]] = []
    for one in contestants:
        build, plan = one.build, one.plan
        about = {"name": build.name, "engine": build.kind, "arguments": build.arguments}
        if one.why_not:
            rows.append({**about, "params": build.arguments, "why_not": one.why_not})
            continue
        built, own = one.read("build"), turns[build.name]
        factory = {name: value for name, value in built["built"].items() if name == "factory"}
        memory = pd.Series([turn["memory_mb"] for turn in own], dtype=float).median()
        common = {
            "memory_mb": None if np.isnan(memory) else memory,
            **{name: built[name] for name in ("build_seconds", "build_peak_mb", "version", "built")},
            "bytes_per_vector": built["bytes"] / len(base),
        }
        with np.load(one.answers) as answers:
            for number, setting in enumerate(own[0]["settings"]):
                recall, spread = {}, {}
                for k in plan.k:
                    found = right(base, queries, truth, answers[f"{number}.{k}"], k)
                    shares = found / min(k, truth.shape[1])
                    recall[str(k)] = float(shares.mean())
                    spread[str(k)] = list(bootstrap_interval(shares, seed=plan.seed))
                speeds = _speeds(own, number)
                row = {
                    **about,
                    "params": {**build.arguments, **factory, **setting["set"]},
                    "search": setting["search"],
                    "recall_at_k": recall[str(plan.k_timed)],
                    "ci95": spread[str(plan.k_timed)],
                    "recall": recall,
                    "recall_ci95": spread,
                    **common,
                }
                for name, values in speeds.items():
                    row |= {name: values.median(), f"{name}_range": [values.min(), values.max()]}
                for name in REFERENCES:
                    reference = _speeds(turns[name], 0) if name in turns else None
                    row[f"ratio_to_{name}"] = None if reference is None else _ratio(speeds, reference)
                rows.append(row)
    return rows


def _speeds(turns: list[dict[str, Any]], number: int) -> pd.DataFrame:
    """A row per round: milliseconds of single queries, and queries per second in a batch."""
    timed = [turn["settings"][number] for turn in turns]
    single = np.percentile([one["milliseconds"] for one in timed], [50, 95], axis=1)
    batched = [one["queries_per_second_batched"] for one in timed]
    return pd.DataFrame({"p50_ms": single[0], "p95_ms": single[1], "queries_per_second_batched": batched})


def _ratio(a: pd.DataFrame, b: pd.DataFrame) -> dict[str, float]:
    """Queries per second of `a` over those of `b`, round by round."""
    ratios = a["queries_per_second_batched"] / b["queries_per_second_batched"]
    return {"median": ratios.median(), "low": ratios.min(), "high": ratios.max()}


def index(
    plan: Annotated[Path, typer.Argument(metavar="PLAN.toml", help="Vectors and engines.", readable=False)],
    out: Annotated[Path, typer.Option(help="JSON file to write.", readable=False)],
    base: Annotated[
        list[Path] | None,
        typer.Option(help="Molecules to index instead of the plan's; may be repeated.", readable=False),
    ] = None,
    n: Annotated[int | None, typer.Option("--n", min=1, help="Index only so many of the first rows.")] = None,
    rounds: Annotated[
        int | None, typer.Option(min=1, help="Turns of every engine. Default: the plan's.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="ENGINE", help="Only this engine; may be repeated.")
    ] = None,
    model: Model = "acml-base",
    workers: Workers = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Measure anew what an earlier run left in `OUT.engines`.")
    ] = False,
) -> None:
    """How much of an exact search do indexes find, how fast, in how much room? FAISS and usearch are peers.

    Interrupted, the same command goes on where it stopped.

    \b
    python -m benchmarks index benchmarks/index.toml --out benchmarks/results/index.json
    """
    options: dict[str, Any] = {"base": base, "n": n, "rounds": rounds, "only": only, "model": model}
    result = measure(plan, out, **options, workers=workers, restart=restart, command=command_line())
    typer.echo(
        f"{result['n']:,} vectors of {result['d']} dimensions, {result['n_queries']:,} queries, "
        f"{result['rounds']} rounds; threads: 1 for one query, {result['threads']['batched']} for a batch"
    )
    table = pd.DataFrame(map(_shown, result["engines"])).fillna("")
    typer.echo(table.rename(columns={"recall": f"recall@{result['k']}"}).to_string(index=False))


def _shown(one: dict[str, Any]) -> dict[str, Any]:
    """A row of the table."""
    if "why_not" in one:
        return {"engine": one["name"], "how": one["why_not"]}
    ratios = {f"x {name}": one[f"ratio_to_{name}"] for name in REFERENCES}
    return {
        "engine": one["name"],
        "how": ", ".join(f"{key} {value}" for key, value in one["params"].items()),
        "recall": f"{one['recall_at_k']:.4f}",
        "p50 ms": f"{one['p50_ms']:.2f}",
        "p95 ms": f"{one['p95_ms']:.2f}",
        "q/s batched": round(one["queries_per_second_batched"]),
        **{
            name: "" if ratio is None else "{median:.2f} ({low:.2f} to {high:.2f})".format(**ratio)
            for name, ratio in ratios.items()
        },
        "build s": f"{one['build_seconds']:.1f}",
        "B/vector": f"{one['bytes_per_vector']:.0f}",
        "MB": "" if one["memory_mb"] is None else round(one["memory_mb"]),
    }


if __name__ == "__main__":
    this_job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    write_json(run_step(this_job), Path(this_job["result"]))
