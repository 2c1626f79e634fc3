"""One cell: one system (with one head) on one run of one set. Predictions are stored, then scored.

    <out>/cells/<set>/<split>.<seed>.<system>.<head>.parquet   one row per molecule of valid and test
                                                      .json      what it scored, and the key it was made under

A linear head has no randomness: its seed is written `any`, and it stands for all seeds of a split.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from acml_search.core.errors import AcmlSearchError, ConfigError
from acml_search.evaluation.data.feature_store import Columns, Features, FeatureStore
from acml_search.evaluation.results import write_json
from benchmarks.property_bench import trained
from benchmarks.property_bench.plan import HIGHER_IS_BETTER, PropertySet, System
from benchmarks.property_bench.processor import one_thread, processor_seconds
from benchmarks.property_bench.rows import Floats, Parts, Rows
from benchmarks.property_bench.scores import score

HEADS = ("linear", "kernel", "boosted")
ONCE = ("linear", "kernel")
"""heads that are fitted once for all seeds of a split: one draws nothing, the other little"""
ANY = "any"
"""the seed of these"""


@dataclass(frozen=True)
class Cell:
    """What is to be done, sent to a worker. `index`: which of the set's runs, from 0."""

    asked: PropertySet
    system: System
    head: str
    """one of HEADS; "own" for a system that is trained as a whole"""
    split: str
    seed: int
    index: int
    rows: Rows
    parts: Parts
    out: Path
    key: str
    estimate: float
    """seconds, roughly: for the order and the bar"""
    features: Path | None = None
    columns: Columns = None
    model: str = ""
    python: str = ""
    seen_list: str | None = None
    """digest of the list of training molecules"""
    seen: npt.NDArray[np.bool_] | None = None
    """(n,) did the contrastive training see the molecule; None where no list is kept"""

    @property
    def path(self) -> Path:
        """Of the result; the predictions stand beside it."""
        return cell_path(self.out, self.asked.name, self.split, self.seed, self.system.name, self.head)


def cell_path(out: Path, name: str, split: str, seed: int, system: str, head: str) -> Path:
    """Where a cell's result stands."""
    said = ANY if head in ONCE else str(seed)
    return out / "cells" / name / f"{split}.{said}.{system}.{head}.json"


def key_of(*parts: str) -> str:
    """SHA-256 of what a cell depends on."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def kept(cell: Cell) -> dict[str, Any] | None:
    """The cell's result, when it was made under the same key before; None when there is work to do."""
    found = read_cell(cell.path)
    if found is None or found["key"] != cell.key or not predictions_of(cell.path).exists():
        return None
    if found["seen_list"] != cell.seen_list:  # a model trained anew saw others; the predictions hold
        found |= {**rescored(cell.path, cell.asked.metric, _seen(cell)), "seen_list": cell.seen_list}
        write_json(found, cell.path)
    return found


def read_cell(path: Path) -> dict[str, Any] | None:
    """A cell's result, None where there is none. Raises ConfigError for a damaged file."""
    if not path.exists():
        return None
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise ConfigError(f"{path}: this kept result is damaged ({error}); remove the file") from error


def predictions_of(path: Path) -> Path:
    """The predictions beside a cell's result."""
    return path.with_suffix(".parquet")


def run_cell(cell: Cell) -> dict[str, Any]:
    """Task of a worker: fit, predict, store, score. What a user can cause is told as `why_not`."""
    began, before = time.perf_counter(), processor_seconds()
    cell.path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with one_thread():
            predicted, more = _predict(cell)
    except AcmlSearchError as error:
        return _about(cell) | {"why_not": str(error)}
    _store(cell, predicted)
    result = _about(cell) | more | rescored(cell.path, cell.asked.metric, _seen(cell))
    result["seen_list"] = cell.seen_list
    result["seconds"] = round(time.perf_counter() - began, 2)
    result["processor_seconds"] = round(processor_seconds() - before, 2)
    write_json(result, cell.path)
    return result


def _seen(cell: Cell) -> dict[str, bool] | None:
    return None if cell.seen is None else dict(zip(cell.rows.blocks, cell.seen.tolist(), strict=True))


def _about(cell: Cell) -> dict[str, Any]:
    return {
        "kind": "property cell",
        "key": cell.key,
        "set": cell.asked.name,
        "split": cell.split,
        "seed": ANY if cell.head in ONCE else cell.seed,
        "index": cell.index,
        "system": cell.system.name,
        "head": cell.head,
        "metric": cell.asked.metric,
        "n_train": len(cell.parts.train),
        "n_valid": len(cell.parts.valid),
    }


def _predict(cell: Cell) -> tuple[Floats, dict[str, Any]]:
    """(n valid + n test, t) predictions, valid first, and what else is to be told."""
    rows, parts = cell.rows, cell.parts
    asked = np.concatenate([parts.valid, parts.test])
    if cell.head == "own":
        return trained.predict(
            trained.Job(
                system=cell.system,
                task=cell.asked.task,
                smiles=rows.smiles,
                y=rows.y,
                train=parts.train,
                valid=parts.valid,
                asked=asked,
                seed=cell.seed,
                model=cell.model,
                python=cell.python,
            )
        )
    if cell.features is None:
        raise ValueError(f"{cell.system.name} has a head and no features")
    from acml_search.properties.heads import fit_head

    store = FeatureStore(cell.features)

    def of(at: npt.NDArray[np.int64]) -> Features:
        return store.take([rows.smiles[i] for i in at.tolist()], cell.columns)

    train, valid, wanted = of(parts.train), of(parts.valid), of(asked)
    good = [np.asarray(np.isfinite(x).all(axis=1)) for x in (train, valid, wanted)]
    x, y = train[good[0]], rows.y[parts.train[good[0]]]
    clean = Cleaner.of(x)
    head = fit_head(
        cell.head,
        cell.asked.task,
        clean(x),
        y,
        clean(valid[good[1]]),
        rows.y[parts.valid[good[1]]],
        seed=cell.seed,
    )
    # a molecule without features is answered with the mean of the training labels: it is not left out
    predicted = np.tile(_means(rows.y[parts.train]), (len(asked), 1))
    predicted[good[2]] = head.predict(clean(wanted[good[2]]))
    n_failed = int(np.count_nonzero(~good[2][len(parts.valid) :]))
    return predicted, {"n_failed": n_failed, "n_features": int(x.shape[1])}


@dataclass(frozen=True)
class Cleaner:
    """Columns that vary over the training molecules, each value brought into their range.

    A descriptor of a molecule unlike all of these can be a thousand times larger than any of theirs.
    """

    varies: npt.NDArray[np.bool_]
    low: Features
    high: Features

    @classmethod
    def of(cls, train: Features) -> Cleaner:
        """Learned from the training molecules alone, (n, f)."""
        low, high = train.min(axis=0), train.max(axis=0)
        varies = high > low
        if not varies.any():
            varies = np.ones(len(low), bool)
        return cls(varies, low[varies], high[varies])

    def __call__(self, x: Features) -> Features:
        return np.asarray(np.clip(x[:, self.varies], self.low, self.high), np.float32)


def _means(y: Floats) -> Floats:
    """(t,) mean label of each target, 0 where there is none."""
    known = np.isfinite(y)
    sums, counts = np.where(known, y, 0.0).sum(axis=0), known.sum(axis=0)
    return np.asarray(sums / np.maximum(counts, 1), np.float64)


def _store(cell: Cell, predicted: Floats) -> None:
    """The predictions, before any of them is scored. `part`: valid or test."""
    rows, parts = cell.rows, cell.parts
    at = np.concatenate([parts.valid, parts.test])
    lists = pa.list_(pa.float32())
    table = pa.table(
        {
            "row": pa.array(rows.numbers[at]),
            "inchikey14": [rows.blocks[i] for i in at.tolist()],
            "part": ["valid"] * len(parts.valid) + ["test"] * len(parts.test),
            "y": pa.array(rows.y[at].astype(np.float32).tolist(), lists),
            "prediction": pa.array(predicted.astype(np.float32).tolist(), lists),
        }
    )
    path = predictions_of(cell.path)
    writing = path.with_name(f"{path.name}.{os.getpid()}.partial")
    pq.write_table(table, writing, compression="zstd")
    os.replace(writing, path)


def rescored(path: Path, metric: str, seen: dict[str, bool] | None) -> dict[str, Any]:
    """Scores of the stored predictions: `valid`, `test`, and `unseen`, test without the molecules that the
    contrastive training saw (None where no list is kept, or where what is left cannot be scored).

    `seen`: by InChIKey block.
    """
    table = pq.read_table(predictions_of(path))
    part = np.array(table.column("part").to_pylist())
    y, predicted = (
        np.array(table.column(name).to_pylist(), np.float64).reshape(len(part), -1)
        for name in ("y", "prediction")
    )
    test = part == "test"
    out: dict[str, Any] = {
        "n_test": int(test.sum()),
        "valid": score(metric, y[~test], predicted[~test]),
        "test": score(metric, y[test], predicted[test]),
        "n_test_seen": None,
        "unseen": None,
    }
    if seen is not None:
        blocks = [str(block) for block in table.column("inchikey14").to_pylist()]
        fresh = test & np.array([not seen[block] for block in blocks], np.bool_)
        out["n_test_seen"] = int(test.sum() - fresh.sum())
        out["unseen"] = score(metric, y[fresh], predicted[fresh])
    return out


def better(cells: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The cell of the head that does better on the valid part; of equals the first. Test has no say."""
    sign = 1.0 if HIGHER_IS_BETTER[cells[0]["metric"]] else -1.0

    def worth(cell: dict[str, Any]) -> float:
        return -np.inf if cell["valid"] is None else sign * float(cell["valid"])

    return max(cells, key=worth)
