"""How well do frozen embeddings predict properties, against fingerprints and descriptors?

A benchmark is a TOML file of sets, splits and systems:

name = "moleculenet"
root = ".."                        # paths are relative to this folder, itself to the file's
model = "acml-base"                # of the systems that name no model of their own
seeds = [0, 1, 2]                  # where a set has one split; several splits take one seed each

[system.acml]
kind = "embedding"                 # embedding | untrained | morgan | rdkit | finetuned
parts = ["trunk", "maxima", "environments", "spaces"]  # of an embedding; or names of spaces
model = "runs/one/model"           # another model's folder, relative to root, or a shipped model's name
epochs = 30                        # of finetuned; left out: its default
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
of another on a set where its mean over runs is better by more than their pooled standard deviation.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import typer
from pydantic import BaseModel, ConfigDict, Field, model_validator

from acml_search.chem.fingerprints import RADIUS, morgan
from acml_search.chem.molecule import STANDARDISATION, parse
from acml_search.cli.app import Workers as WorkersOption
from acml_search.cli.app import command_line, names
from acml_search.core.errors import AcmlSearchError, ConfigError, LibraryError
from acml_search.core.io import digest_of, versions, write_json
from acml_search.core.progress import progress
from acml_search.core.toml import check_table, read_toml
from acml_search.core.typing import Float32s, Floats, Ints
from acml_search.core.workers import Workers, chunks
from acml_search.encoders.card import model_below, read_card
from acml_search.encoders.training_molecules import TrainingMolecules, training_list
from acml_search.evaluation.cache import Cache, code_digest
from acml_search.evaluation.pool import Described, described_file
from acml_search.properties import metrics
from acml_search.properties.features import POOLED, descriptors, embeddings, part_of_columns
from acml_search.properties.finetune import EPOCHS, finetune
from acml_search.properties.heads import KINDS, fit_head
from benchmarks.report import property_page

METRICS = {
    "rmse": metrics.rmse,
    "mae": metrics.mae,
    "spearman": metrics.spearman,
    "roc-auc": metrics.auroc,
    "pr-auc": metrics.auprc,
}
LOWER_IS_BETTER = {"rmse", "mae"}
MORGAN_BITS = 2_048
_CHUNK = 512
_STRUCTURES = {"smiles", "smiles_original", "inchikey", "inchikey14"}


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class System(_Table):
    kind: Literal["embedding", "untrained", "morgan", "rdkit", "finetuned"]
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
        used = {f"duel {one.name!r}": {one.a, one.b} for one in self.duel}
        used |= {f"group {one.name!r}": set(one.systems) for one in self.group}
        for where, systems in used.items():
            if unknown := sorted(systems - set(self.system)):
                raise ValueError(f"{where} names {unknown[0]!r}, which is no system here")
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
        """Positions of train, valid and test; how many of test the first two had. Raises ConfigError."""
        value, keys = self.splits[split].where(np.isfinite(self.y).any(axis=1)), pd.Series(self.inchikey14)
        tested = keys.isin(keys[value == "test"])
        masks = {name: (value == name) & ~tested for name in ("train", "valid")} | {"test": value == "test"}
        if empty := [name for name, mask in masks.items() if not mask.any()]:
            raise ConfigError(f"the {empty[0]} part of {split!r} is empty")
        dropped = value.isin(["train", "valid"]) & tested
        return {name: np.flatnonzero(mask) for name, mask in masks.items()}, int(dropped.sum())


def read_rows(asked: PropertySet, structures: Sequence[Described]) -> Rows:
    """The set's usable rows. Raises LibraryError or ConfigError where the file does not fit."""
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
    why_not: str | None = None


def ready(name: str, system: System, plan: Plan) -> ReadySystem:
    """Check a system and collect its key; `why_not` where it cannot be run."""
    code = code_digest(Path(metrics.__file__).parent)
    key = {"kind": system.kind, "epochs": system.epochs, "standard": STANDARDISATION, "code": code}
    found = ReadySystem(name, system, key)
    if system.kind == "rdkit":
        key["versions"] = versions("rdkit")
    elif system.kind == "morgan":
        key["bits"] = [MORGAN_BITS, RADIUS]
    else:
        try:
            found.model = plan.model if system.model is None else model_below(plan.root, system.model)
            card = read_card(found.model)
        except AcmlSearchError as error:
            found.why_not = str(error)
            return found
        known, listed = (*POOLED, *card.networks), system.parts or (*POOLED, "spaces")
        found.parts = tuple(part for one in listed for part in (card.networks if one == "spaces" else (one,)))
        if unknown := [part for part in found.parts if part not in known]:
            there = ", ".join(known)
            found.why_not = f"the model {card.name} has no part {unknown[0]!r}; it has {there}"
        # an untrained network has the shape of the model and nothing of its weights
        key["model"] = card.data["hyper"] if system.kind == "untrained" else card.digest
        key["parts"] = list(found.parts)
    return found


def features(one: ReadySystem, smiles: list[str], workers: Workers, cached: Cache) -> tuple[Path, Any]:
    """The file of a system's features (n, f), computed once a model, and which columns are its own."""
    kind = one.system.kind
    key = {**one.key, "parts": None, "smiles": hashlib.sha256("\n".join(smiles).encode()).hexdigest()}

    def compute() -> Any:
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
        parts = {name: of.tolist() for name, of in self.parts.items()}
        rows = [self.rows.digest(), parts, self.asked.task, self.seed, KINDS]
        return {**self.system.key, **versions("scikit-learn"), "rows": digest_of(rows)}

    def predictions(self, wanted: Ints) -> dict[str, Floats]:
        """Head (`own` where the system is trained as a whole) -> (m, t) for the rows `wanted` (m,)."""
        train, valid, y, task = self.parts["train"], self.parts["valid"], self.rows.y, self.asked.task
        if self.features is None:
            mols = [[parse(self.rows.smiles[i])[0] for i in at] for at in (train, valid, wanted)]
            model, epochs = _model("finetuned", self.system.model), self.system.system.epochs or EPOCHS
            tuned = finetune(model, mols[0], y[train], mols[1], y[valid], task, self.seed or 0, epochs)
            return {"own": tuned.predict(mols[2])}
        whole, own = Cache.read_array(self.features[0]), self.features[1]
        x = [np.asarray(whole[at], np.float32)[:, own] for at in (train, valid, wanted)]
        x = in_range(*x)
        heads = {kind: fit_head(kind, task, x[0], y[train], x[1], y[valid], seed=0) for kind in KINDS}
        return {kind: head.predict(x[2]) for kind, head in heads.items()}

    def table(self) -> pa.Table:
        """Row, InChIKey block, part and labels of valid and test, and a column of each head's predictions."""
        wanted = np.concatenate([self.parts["valid"], self.parts["test"]])
        columns: dict[str, Any] = {
            "row": self.rows.numbers[wanted],
            "inchikey14": [self.rows.inchikey14[i] for i in wanted],
            "part": np.repeat(["valid", "test"], [len(self.parts["valid"]), len(self.parts["test"])]),
        }
        for name, values in {"y": self.rows.y[wanted], **self.predictions(wanted)}.items():
            columns[name] = pa.array(values.astype(np.float32).tolist(), pa.list_(pa.float32()))
        return pa.table(columns)


def predict(task: Task) -> Path | str:
    """A worker's task: the file of the predictions. What a user can cause comes back as a sentence."""
    try:
        task.cache.table("predictions", task.key(), task.table)
    except AcmlSearchError as error:
        return str(error)
    return task.cache.path("predictions", task.key(), ".parquet")


def in_range(train: Float32s, *others: Float32s) -> list[Float32s]:
    """Columns that vary over the training molecules, clipped to their range: a descriptor may be huge."""
    low, high = train.min(axis=0), train.max(axis=0)
    varies = high > low if (high > low).any() else np.ones(len(low), bool)
    return [np.clip(x[:, varies], low[varies], high[varies]) for x in (train, *others)]


def score(metric: str, y: Floats, predicted: Any) -> float | None:
    """Mean over the targets that can be scored; None where none can."""
    value = METRICS[metric](y, np.asarray(predicted, np.float64)) if len(y) else math.nan
    return float(value) if math.isfinite(value) else None


def best_head(heads: dict[str, dict[str, Any]], sign: float) -> str:
    """The head that did best on the valid part, of equals the first."""
    return max(heads, key=lambda name: -math.inf if (one := heads[name]["valid"]) is None else sign * one)


def scored(asked: PropertySet, path: Path, seen: TrainingMolecules | None) -> dict[str, Any]:
    """One run: heads' scores, the chosen one's test score; `unseen`: of molecules not trained on."""
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
    test_score = heads[chosen]["test"]
    return {"chosen": chosen, "heads": heads, "unseen": unseen, "test": test_score, "path": str(path)}


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
    trained, limit = one.system.kind == "finetuned", one.system.max_rows
    if one.why_not is not None:
        return {"why_not": one.why_not}
    if limit is not None and len(rows) > limit:
        return {"why_not": f"{len(rows):,} rows are more than its limit of {limit:,}"}
    keys = [(split, seed if trained else None) for split, seed in runs]
    x = None if trained else features(one, rows.smiles, workers, cached)
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
        "predictions": each["path"].to_list(),
    }


def measure(
    plan: Plan,
    out: Path,
    *,
    only: Sequence[str] = (),
    systems: Sequence[str] = (),
    cache: Path | None = None,
    n_workers: int | None = None,
    command: str | None = None,
) -> dict[str, Any]:
    """Measure small sets first, and write `<benchmark>.json` after each; the result. What the cache holds is
    not computed again. Raises ConfigError for an unknown set or system, and what reading raises.
    """
    known = {"set": [one.name for one in plan.set], "system": list(plan.system)}
    for what, chosen in (("set", only), ("system", systems)):
        if unknown := [name for name in chosen if name not in known[what]]:
            raise ConfigError(f"{plan.name} has no {what} {unknown[0]!r}; it has {', '.join(known[what])}")
    cached, path = Cache(cache or out.parent / "cache"), out / f"{plan.name}.json"
    ready_systems = [ready(name, plan.system[name], plan) for name in systems or plan.system]
    try:
        seen = training_list(read_card(plan.model))
    except AcmlSearchError:  # other systems can be measured without the model
        seen = None
    sets: dict[str, Any] = {}
    with Workers(n_workers) as workers:
        wanted = [one for one in plan.set if one.name in (only or known["set"])]
        tables = [(one, read_rows(one, described_file(one.file, workers, cached))) for one in wanted]
        for asked, rows in sorted(tables, key=lambda one: one[1].y.size):
            about = about_set(asked, rows, plan.runs(asked), seen)
            answers = {
                one.name: answer(asked, rows, one, plan.runs(asked), workers, cached, seen)
                for one in ready_systems
            }
            sets[asked.name] = about | {"systems": answers}
            write_json(document(plan, sets, command), path)
    return document(plan, sets, command)


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
    return {
        "kind": "properties",
        "benchmark": plan.name,
        "sets": listed,
        "groups": {group.name: mean_ranks(group.systems, listed) for group in plan.group},
        "wins": {duel.name: compare(duel, listed) for duel in plan.duel},
        "spread": "pooled standard deviation over runs, sqrt((sd_a^2 + sd_b^2) / 2)",
        "command": command,
        "model": plan.model,
    }


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
    cache: Annotated[
        Path | None, typer.Option(help="Folder of cached features. Default: beside OUT.", readable=False)
    ] = None,
) -> None:
    """Measure how well frozen embeddings predict properties, against fingerprints and descriptors.

    Predictions are kept in the cache: the same command, or one with more sets or systems, goes on from them.

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
        cache=cache,
        n_workers=workers,
        command=command_line(),
    )
    typer.echo(property_page(result))
