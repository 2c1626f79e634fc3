"""Toy sets for `bench properties`: chains whose target grows with their carbons."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from acml_search.evaluation.data.structures import describe
from benchmarks.property_bench.plan import PropertySet
from benchmarks.property_bench.run import PropertyOptions

SYSTEMS = """
[system.acml]
kind = "embedding"
[system.trunk]
kind = "embedding"
parts = ["trunk"]
[system.untrained]
kind = "untrained"
parts = ["trunk"]
[system.morgan]
kind = "morgan"
[system.rdkit]
kind = "rdkit"
[system.chemprop]
kind = "chemprop"
[system.gone]
kind = "embedding"
model = "runs/none/model"
[[duel]]
name = "acml against morgan"
a = "acml"
b = "morgan"
must_be_ahead = 1
[[group]]
name = "features"
systems = ["acml", "morgan"]
"""


def toy_rows(n: int = 48) -> list[dict[str, object]]:
    """Chains; the target grows with their carbons. One row cannot be read, one molecule is in two parts."""
    rows: list[dict[str, object]] = []
    for i in range(n):
        carbons, kind = 3 + i % 16, i // 16
        smiles = ["C" * carbons, "C" * carbons + "O", "C" * carbons + "N"][kind]
        part = ("train", "train", "train", "valid", "test", "train")[i % 6]
        rows.append({"smiles": smiles, "y": carbons + 0.3 * kind, "split": part})
    rows.append({"smiles": "C1CC", "y": 1.0, "split": "train"})
    tested = next(row for row in rows if row["split"] == "test")
    rows.append({"smiles": str(tested["smiles"])[::-1], "y": 99.0, "split": "train"})
    return rows


def options(toy: Path, **more: object) -> PropertyOptions:
    return PropertyOptions(benchmark=toy, out=toy.parent / "out", workers=1, **more)  # type: ignore[arg-type]


def asked(path: Path, **more: object) -> PropertySet:
    given = {"name": "toy", "task": "regression", "metric": "rmse", "splits": ("split",), "targets": ("y",)}
    return PropertySet(file=path, **(given | more))  # type: ignore[arg-type]


def described(path: Path) -> list:
    smiles = pq.read_table(path).column("smiles").to_pylist()
    return describe([(text, "smiles", None) for text in smiles])
