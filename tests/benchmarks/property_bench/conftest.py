"""A benchmark of properties on toy data."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from property_files import SYSTEMS, toy_rows


@pytest.fixture
def toy(tmp_path: Path, tiny_model: Path) -> Path:
    """A benchmark of one regression set and one classification set."""
    rows = toy_rows()
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "toy.parquet")
    classes = [{**row, "y": float(float(str(row["y"])) > 10)} for row in rows]
    pq.write_table(pa.Table.from_pylist(classes), tmp_path / "classes.parquet")
    path = tmp_path / "toy.toml"
    path.write_text(
        f'name = "toy"\nmodel = "{tiny_model}"\nseeds = [0, 1]\n{SYSTEMS}'
        '[[set]]\nname = "carbons"\nfile = "toy.parquet"\ntask = "regression"\nmetric = "rmse"\n'
        'splits = ["split"]\nboosted_runs = 1\n'
        '[[set]]\nname = "long"\nfile = "classes.parquet"\ntask = "classification"\nmetric = "roc-auc"\n'
        'splits = ["split"]\nboosted_runs = 0\nleave_out = ["rdkit"]\nwhy = "for time"\n'
    )
    return path
