"""Trains chemprop 2 with the defaults of its own command line and predicts; run by chemprop's own Python.

    python chemprop_train.py FOLDER

FOLDER holds `train.parquet` and `valid.parquet` (`smiles`, `y`: list of numbers, NaN = no label),
`test.parquet` (`smiles` alone: no test label leaves the benchmark) and `request.json`: `{"task":
"regression" | "classification", "seed": 0, "epochs": null}` (null: chemprop's default). Written there:
`predictions.npy` (n test, n targets) float64, the probability of class 1 for a classification, NaN where
chemprop refused the molecule, and `about.json` (versions, arguments, seconds).

`python chemprop_train.py --version` prints the versions that predictions depend on, as JSON.
"""

from __future__ import annotations

import csv
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from unittest import mock

import numpy as np
import pyarrow.parquet as pq


def versions() -> dict[str, str]:
    return {name: version(name) for name in ("chemprop", "torch", "rdkit")}


def main(folder: Path) -> None:
    import torch

    began = time.perf_counter()
    torch.set_num_threads(1)
    request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        targets = _write_training(folder, work / "data.csv")
        smiles = pq.read_table(folder / "test.parquet").column("smiles").to_pylist()
        _write(work / "test.csv", ["smiles"], ([text] for text in smiles))
        train = ["train", "--data-path", "data.csv", "--output-dir", "out", "--smiles-columns", "smiles"]
        train += ["--splits-column", "split", "--target-columns", *targets, "--task-type", request["task"]]
        seed = str(request["seed"])
        train += ["--pytorch-seed", seed, "--data-seed", seed, "--accelerator", "cpu", "-q"]
        if request["epochs"] is not None:
            train += ["--epochs", str(request["epochs"])]
        _run(work, train)
        # the checkpoint is the one just written here, never one from elsewhere
        predict = ["predict", "--test-path", "test.csv", "--model-paths", "out/model_0/best.pt"]
        _run(work, [*predict, "--preds-path", "predictions.csv", "--accelerator", "cpu", "-q"])
        predictions = _read(work / "predictions.csv", smiles, targets)
    np.save(folder / "predictions.npy", predictions, allow_pickle=False)
    about = {"versions": versions(), "arguments": train, "seconds": time.perf_counter() - began}
    (folder / "about.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def _write_training(folder: Path, path: Path) -> list[str]:
    """One CSV with the column `split`; returns the names given to the targets."""
    rows, targets = [], []
    for part, name in (("train", "train"), ("valid", "val")):
        table = pq.read_table(folder / f"{part}.parquet")
        for text, y in zip(table.column("smiles").to_pylist(), table.column("y").to_pylist(), strict=True):
            targets = targets or [f"t{i}" for i in range(len(y))]
            rows.append([text, name, *("" if one is None or one != one else repr(one) for one in y)])
    _write(path, ["smiles", "split", *targets], rows)
    return targets


def _write(path: Path, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head, *rows])


def _run(work: Path, arguments: list[str]) -> None:
    """chemprop's own command line, in this process: importing it twice takes longer than a small training."""
    from chemprop.cli.main import main as chemprop_main

    os.chdir(work)
    with mock.patch.object(sys, "argv", ["chemprop", *arguments]):
        chemprop_main()


def _read(path: Path, smiles: list[str], targets: list[str]) -> np.ndarray:
    """Predictions in the order of `smiles`; chemprop leaves out, or leaves empty, what it cannot read."""
    found: dict[str, list[float]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            found[row["smiles"]] = [_number(row[name]) for name in targets]
    missing = [float("nan")] * len(targets)
    return np.array([found.get(text, missing) for text in smiles], np.float64).reshape(-1, len(targets))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")  # chemprop writes a remark in place of a number


if __name__ == "__main__":
    if sys.argv[1] == "--version":
        print(json.dumps(versions()))
    else:
        main(Path(sys.argv[1]).resolve())
