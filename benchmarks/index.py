"""Vector indexes on the same vectors: how much of an exact search they find, how fast, in how much memory.

The vectors are the graph side of one space of an index that `build-index` made; a plan, such as
`benchmarks/index.toml`, names the records that ask, and the engines:

    [data]
    space = "c_nmr"
    queries = "nmr.parquet"
    where = "split = 'valid'"         # SQL: the rows that ask
    calibrate = "split = 'train'"     # SQL: the rows that an engine which measures itself may ask
    n_queries = 1000

    [[engine]]
    name = "ivf-pq"
    kind = "faiss"                    # ours, faiss or usearch
    [engine.build]
    factory = "IVF{lists},PQ64"       # {lists}: as many as `auto` takes for so many vectors
    [engine.search]                   # every combination of these is asked of the one build
    nprobe = [8, 32, 128]

Every build and every turn is a process of its own, so that memory and caches are one engine's alone; engines
take turns, so that what the machine does meanwhile falls on all of them. A neighbour is right if its score,
computed again here from the vectors, reaches that of the k-th exact one: scores that an engine claims are not
looked at, and equally near vectors are equally right. Bytes in memory are those of the files that an engine
reads whole; the vectors that ours re-scores with stay on disk.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import typer
from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from acml_search.cli.app import Model, command_line
from acml_search.core.errors import AcmlSearchError, ConfigError, InvalidRecord, SpaceMismatch
from acml_search.core.io import versions, write_json
from acml_search.core.progress import progress
from acml_search.core.toml import check_table, read_toml
from acml_search.core.typing import Float16s, Float32s, Ints
from acml_search.core.workers import cpu_count

BLOCK = 65_536  # vectors added at once: 64 MB at 256 dimensions
TYPICAL = 256  # queries that a calibration gets, as `build-index` gives them
TOLERANCE = 1e-6
SPARE = 32  # neighbours beyond k in single precision, so that its rounding cannot decide the last place
WARM = 20  # queries before the clock runs
SHOWN = ("recall_at_k", "p50_ms", "p95_ms", "bytes_in_memory", "bytes_per_vector", "build_seconds")


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Data(_Table):
    space: str
    queries: str
    where: str = "TRUE"
    calibrate: str | None = None
    n_queries: PositiveInt


class EngineTable(_Table):
    name: str = Field(pattern=r"^[\w.-]+$")
    kind: Literal["ours", "faiss", "usearch"]
    build: dict[str, Any] = {}
    search: dict[str, Any] = {}


class Plan(_Table):
    """root: of the paths, relative to the plan. k: neighbours. threads: of a build; a query has one."""

    root: str = "."
    seed: int = 0
    k: PositiveInt = 10
    rounds: PositiveInt = 3
    threads: PositiveInt = 2
    data: Data
    engine: list[EngineTable] = Field(min_length=1)


def read_plan(path: Path) -> Plan:
    """Raises ConfigError, naming the file and the key, for a plan that cannot be run."""
    plan = check_table(read_toml(path, "plan"), Plan, path)
    names = [table.name for table in plan.engine]
    if len(set(names)) < len(names):
        raise ConfigError(f"{path}: two engines are called {max(names, key=names.count)!r}")
    return plan


def _grid(grid: Mapping[str, Any]) -> list[dict[str, Any]]:
    values = [one if isinstance(one, list) else [one] for one in grid.values()]
    return [dict(zip(grid, chosen, strict=True)) for chosen in product(*values)]


# Engines: nearest vectors by inner product of unit vectors. One object lives in one process, of one thread or
# of as many as `OMP_NUM_THREADS` says.


class Engine:
    """PACKAGE, DISTRIBUTION: what must be installed."""

    PACKAGE: ClassVar[str] = "faiss"
    DISTRIBUTION: ClassVar[str] = "faiss-cpu"
    index: Any = None

    def build(self, base: Float16s, typical: Float32s, folder: Path, **how: Any) -> dict[str, Any]:
        """Index `base` (n, d) into `folder`; facts. `typical` (m, d): queries to calibrate by."""
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
    """`base` as `build-index` reads it from its shards; see `Embeddings`."""

    def __init__(self, base: Float16s) -> None:
        self.base, self.keys, self.d = base, np.arange(len(base)), base.shape[1]

    def __len__(self) -> int:
        return len(self.base)

    def blocks(self) -> Iterator[Float16s]:
        return (self.base[low : low + BLOCK] for low in range(0, len(self.base), BLOCK))

    def sample(self, size: int, seed: int) -> Float32s:
        chosen = np.random.default_rng(seed).permutation(len(self))[:size]
        return self.base[chosen].astype(np.float32)


class Ours(Engine):
    """The index of `build-index`; "calibrated": it looks as far as the build measured to be enough."""

    def build(self, base: Float16s, typical: Float32s, folder: Path, factory: str = "auto") -> dict[str, Any]:
        from acml_search.index.factory import build_vectors

        source: Any = _Shards(base)
        queries = typical if len(typical) else None
        return asdict(build_vectors(folder / "ours", source, factory, queries, grow=False))

    def open(self, folder: Path) -> None:
        from acml_search.index.vectors import VectorIndex

        self.index = VectorIndex.open(folder / "ours")
        self._calibrated = self.index.details

    def set(self, search: Mapping[str, Any]) -> dict[str, Any]:
        own = {"nprobe": "nprobe", "efSearch": "ef_search"}
        chosen = {own[name]: int(x) for name, x in search.items() if x != "calibrated"}
        details = replace(self._calibrated, **chosen)
        self.index = self.index.searched(details)
        return {name: x for name, at in own.items() if (x := getattr(details, at)) is not None}


class PlainFaiss(Engine):
    """FAISS as it comes: an index by its factory string, in memory."""

    def build(self, base: Float16s, typical: Float32s, folder: Path, factory: str = "Flat") -> dict[str, Any]:
        import faiss

        from acml_search.index import factory as factories

        n, d = base.shape
        factory = factory.replace("{lists}", str(factories.lists_for(n)))
        index = factories.make(factory, d)
        if not index.is_trained:
            size = factories.training_size(index, n)
            chosen = np.sort(np.random.default_rng(7).choice(n, size, replace=False))
            factories.train(index, factory, base[chosen].astype(np.float32))
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

    PACKAGE = DISTRIBUTION = "usearch"

    def build(self, base: Float16s, typical: Float32s, folder: Path, **how: Any) -> dict[str, Any]:
        from usearch.index import Index

        index = Index(ndim=base.shape[1], **how)
        for number, block in enumerate(_blocks(base)):
            keys = np.arange(number * BLOCK, number * BLOCK + len(block))
            index.add(keys, block, threads=int(os.environ["OMP_NUM_THREADS"]))
        index.save(str(folder / "index.usearch"))
        return {"connectivity": index.connectivity, "expansion_add": index.expansion_add}

    def open(self, folder: Path) -> None:
        from usearch.index import Index

        self.index = Index.restore(str(folder / "index.usearch"))

    def set(self, search: Mapping[str, Any]) -> dict[str, Any]:
        for name, value in search.items():
            getattr(self.index, name)  # raises for one that it does not have
            setattr(self.index, name, value)
        return {"expansion_search": self.index.expansion_search}

    def search(self, xq: Float32s, k: int) -> Ints:
        found = np.full((len(xq), k), -1, np.int64)
        for row, query in zip(found, xq, strict=True):
            keys = self.index.search(query, k, threads=1).keys
            row[: len(keys)] = keys
        return found


ENGINES: dict[str, type[Engine]] = {"ours": Ours, "faiss": PlainFaiss, "usearch": Usearch}


def _blocks(base: Float16s) -> Iterator[Float32s]:
    for low in range(0, len(base), BLOCK):
        yield base[low : low + BLOCK].astype(np.float32)


# One step of one engine, in a process of its own: `python -m benchmarks.index` reads a job and prints what it
# measured, as JSON.


def run_step(job: dict[str, Any]) -> dict[str, Any]:
    """What a build or a turn of one engine measured; of a turn also the `found` positions, if wanted."""
    engine, folder, data = ENGINES[job["kind"]](), Path(job["folder"]), Path(job["data"])
    if job["step"] == "build":
        base, typical = _base(job["facts"]), np.load(data / "typical.npy")
        began = time.perf_counter()
        facts = engine.build(base, typical, folder, **job["arguments"])
        seconds = time.perf_counter() - began
        files = {path.name: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return {
            "build_seconds": seconds,
            "bytes": sum(files.values()),
            "bytes_in_memory": sum(n for name, n in files.items() if name.endswith((".faiss", ".usearch"))),
            "build_peak_mb": peak / (1 << 20 if sys.platform == "darwin" else 1 << 10),
            "version": f"{engine.DISTRIBUTION} {version(engine.DISTRIBUTION)}",
            "built": facts,
        }
    engine.open(folder)
    queries, k = np.load(data / "queries.npy"), job["k"]
    settings: list[dict[str, Any]] = []
    for search in job["searches"]:
        setting = engine.set(search)
        if setting in [one["set"] for one in settings]:
            continue  # a word and a number may mean the same
        for query in queries[-WARM:]:  # what is mapped is in memory from here on, as in a running server
            engine.search(query[None], k)
        milliseconds, found = [], []
        for query in queries:
            began = time.perf_counter()
            found.append(engine.search(query[None], k)[0].tolist())
            milliseconds.append(1000 * (time.perf_counter() - began))
        answers = {"found": found} if job["answers"] else {}
        settings.append({"search": search, "set": setting, "milliseconds": milliseconds, **answers})
    return {"settings": settings}


def _base(facts: Mapping[str, Any]) -> Float16s:
    """The vectors that are indexed: mapped, where they are in an index."""
    vectors: Float16s = np.load(facts["vectors"], mmap_mode="r")[: facts["n"]]
    return vectors


@dataclass
class Contestant:
    """An engine, and what its build and its turns measured; `why_not`: why it could not go on."""

    table: EngineTable
    folder: Path
    """its index"""
    measured: list[dict[str, Any]] = field(default_factory=list)
    why_not: str | None = None

    def run(self, plan: Plan, step: str, **job: Any) -> None:
        if self.why_not is not None:
            return
        job |= {"step": step, "kind": self.table.kind, "folder": str(self.folder)}
        threads = str(plan.threads if step == "build" else 1)
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.index"],
            input=json.dumps(job),
            env={**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
            self.why_not = f"the {step} failed: {reason}"
        else:
            self.measured.append(json.loads(done.stdout.splitlines()[-1]))


# Vectors.


def make_vectors(
    plan: Plan, root: Path, folder: Path, index: Path, n: int | None, model: str
) -> dict[str, Any]:
    """Write queries.npy and typical.npy; facts. Raises ConfigError without the space, or SpaceMismatch."""
    from acml_search.encoders.card import read_card
    from acml_search.index.directory import IndexDirectory

    card = read_card(model)
    there, wanted = IndexDirectory(index).spaces.get(plan.data.space), card.spaces.get(plan.data.space)
    if there is None or wanted is None:
        raise ConfigError(f"{index} or the model {model} has no space {plan.data.space!r}")
    if there.digest != wanted.digest:
        raise SpaceMismatch(plan.data.space, there.digest, wanted.digest)
    vectors = index / "faiss" / f"{plan.data.space}.graph.fp16.npy"
    if not vectors.is_file():
        raise ConfigError(f"{index} keeps no vectors of {plan.data.space!r} outside FAISS: {vectors}")
    rows, d = np.load(vectors, mmap_mode="r").shape
    facts = {"n": min(n or rows, rows), "d": d, "space": plan.data.space, "model": model}
    facts |= {"model_digest": card.digest, "vectors": str(vectors)}
    return facts | _embed_queries(plan.data, root, folder, model, plan.seed)


def _embed_queries(data: Data, root: Path, folder: Path, model: str, seed: int) -> dict[str, Any]:
    """Vectors of a seeded choice of records; those that cannot be read are counted and left out."""
    import duckdb

    from acml_search import modalities
    from acml_search.encoders.checkpoint import load_model

    kind, loaded, facts = modalities.get(data.space), load_model(model, spaces=[data.space]), {}
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


def exact_scores(base: Float16s, queries: Float32s, k: int) -> np.ndarray:
    """(nq, k) float64: the best inner products of all of `base` for each query, best first."""
    import faiss
    from faiss.contrib.exhaustive_search import knn_ground_truth

    wanted = min(k + SPARE, len(base))
    _, at = knn_ground_truth(queries, _blocks(base), wanted, faiss.METRIC_INNER_PRODUCT, ngpu=0)
    return np.array(
        [np.sort(_scores(base, query, own))[::-1][:k] for query, own in zip(queries, at, strict=True)]
    )


def right(base: Float16s, queries: Float32s, truth: np.ndarray, found: Ints, k: int) -> Ints:
    """(nq,) of each query's `found` (nq, k), how many score as well as its true k-th. Raises ConfigError."""
    if found.max(initial=-1) >= len(base):
        raise ConfigError(f"an engine answered {found.max()}, of {len(base):,} vectors")
    k = min(k, truth.shape[1])
    out = np.zeros(len(queries), np.int64)
    for row, (at, query) in enumerate(zip(found, queries, strict=True)):
        scores = _scores(base, query, np.unique(at[at >= 0]))
        out[row] = min(k, int(np.sum(scores >= truth[row, k - 1] - TOLERANCE)))
    return out


def _scores(base: Float16s, query: Float32s, at: Ints) -> np.ndarray:
    return np.asarray(base[at].astype(np.float64) @ query.astype(np.float64))


def measure(
    path: Path,
    out: Path,
    *,
    index: Path,
    n: int | None = None,
    only: list[str] | None = None,
    k: int | None = None,
    model: str = "acml-base",
    command: str | None = None,
) -> dict[str, Any]:
    """Run the plan on the vectors of `index` and write OUT.json; an engine that fails says why."""
    began = time.perf_counter()
    plan, root = read_plan(path), path.parent
    plan = plan.model_copy(update={"k": k or plan.k})
    chosen = [table for table in plan.engine if not only or table.name in only]
    if unknown := sorted(set(only or ()) - {table.name for table in chosen}):
        there = ", ".join(table.name for table in plan.engine)
        raise ConfigError(f"{path}: there is no engine {unknown[0]!r}; there are {there}")
    with TemporaryDirectory(dir=out.parent, prefix=f"{out.stem}.") as temporary:
        data = Path(temporary)
        facts = make_vectors(plan, root / plan.root, data, index, n, model)
        contestants = [Contestant(table, data / table.name) for table in chosen]
        with progress(total=len(contestants) * (1 + plan.rounds), desc="engines", unit="step") as bar:
            for one in contestants:
                engine = ENGINES[one.table.kind]
                if find_spec(engine.PACKAGE) is None:
                    one.why_not = f"{engine.PACKAGE} is not installed: pip install {engine.DISTRIBUTION}"
                one.folder.mkdir()
                one.run(plan, "build", data=temporary, facts=facts, arguments=one.table.build)
                bar.update(1)
            for number in range(plan.rounds):
                for one in contestants if number % 2 == 0 else contestants[::-1]:  # there and back
                    job = {"k": plan.k, "searches": _grid(one.table.search), "answers": number == 0}
                    one.run(plan, "turn", data=temporary, **job)
                    bar.update(1)
        queries = np.load(data / "queries.npy")
    if all(one.why_not for one in contestants):
        first = contestants[0]
        raise AcmlSearchError(f"no engine could be measured; {first.table.name}: {first.why_not}")
    vectors = _base(facts)
    del facts["vectors"]
    result = {
        "kind": "index",
        **facts,
        "k": plan.k,
        "rounds": plan.rounds,
        "threads": {"query": 1, "build": plan.threads},
        "tie_rule": "an answer is right if its score, computed again, reaches the k-th exact one within "
        "tie_tolerance",
        "tie_tolerance": TOLERANCE,
        "engines": _rows(plan, contestants, vectors, queries, exact_scores(vectors, queries, plan.k)),
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
    plan: Plan, contestants: list[Contestant], base: Float16s, queries: Float32s, truth: np.ndarray
) -> list[dict[str, Any]]:
    """One row an engine and setting; of an engine that failed, one with `why_not`."""
    from acml_search.evaluation.metrics import bootstrap_interval

    rows: list[dict[str, Any]] = []
    for one in contestants:
        about = {"name": one.table.name, "engine": one.table.kind}
        if one.why_not:
            rows.append({**about, "params": one.table.build, "why_not": one.why_not})
            continue
        built, *turns = one.measured
        factory = {name: value for name, value in built["built"].items() if name == "factory"}
        for number, setting in enumerate(turns[0]["settings"]):
            found = np.array(setting["found"])
            shares = right(base, queries, truth, found, plan.k) / truth.shape[1]
            timed = [turn["settings"][number]["milliseconds"] for turn in turns]
            row = {
                **about,
                "params": {**one.table.build, **factory, **setting["set"]},
                "search": setting["search"],
                "recall_at_k": float(shares.mean()),
                "ci95": list(bootstrap_interval(shares, seed=plan.seed)),
                **{name: built[name] for name in ("build_seconds", "build_peak_mb", "version", "built")},
                "bytes_in_memory": built["bytes_in_memory"] / len(base),
                "bytes_per_vector": built["bytes"] / len(base),
            }
            for percent in (50, 95):
                values = np.percentile(timed, percent, axis=1)
                spread = [float(values.min()), float(values.max())]
                row |= {f"p{percent}_ms": float(np.median(values)), f"p{percent}_ms_range": spread}
            rows.append(row)
    return rows


def index(
    plan: Annotated[Path, typer.Argument(metavar="PLAN.toml", help="Records and engines.", readable=False)],
    vectors: Annotated[
        Path, typer.Option("--index", help="Index whose vectors are indexed again.", readable=False)
    ],
    out: Annotated[Path, typer.Option(help="JSON file to write.", readable=False)],
    n: Annotated[int | None, typer.Option("--n", min=1, help="Only so many of the first vectors.")] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="ENGINE", help="Only this engine; may be repeated.")
    ] = None,
    k: Annotated[int | None, typer.Option("--k", min=1, help="Neighbours asked for, not the plan's.")] = None,
    model: Model = "acml-base",
) -> None:
    """How much of an exact search do indexes find, how fast, in how much memory? FAISS and usearch are peers.

    \b
    python -m benchmarks index benchmarks/index.toml --index INDEX --out benchmarks/results/index.json
    """
    result = measure(plan, out, index=vectors, n=n, only=only, k=k, model=model, command=command_line())
    typer.echo(
        f"{result['n']:,} vectors of {result['d']} dimensions, {result['n_queries']:,} queries, "
        f"{result['rounds']} rounds, one thread"
    )
    line = "{:<28}{:<64}{:>9}{:>8}{:>8}{:>9}{:>9}{:>9}"
    heads = (f"recall@{result['k']}", "p50 ms", "p95 ms", "B memory", "B disk", "build s")
    typer.echo(line.format("engine", "how", *heads))
    for one in result["engines"]:
        how = one.get("why_not") or ", ".join(f"{key} {value}" for key, value in one["params"].items())
        values = [] if "why_not" in one else [one[name] for name in SHOWN]
        shown = [f"{x:.{digits}f}" for x, digits in zip(values, (4, 2, 2, 0, 0, 1), strict=False)]
        typer.echo(line.format(one["name"], how, *shown, *[""] * (6 - len(shown))).rstrip())


if __name__ == "__main__":
    print(json.dumps(run_step(json.load(sys.stdin))))
