"""What a plan asks, and which rows of a set can be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from property_files import asked, described, toy_rows

from acml_search.core.errors import ConfigError, LibraryError
from benchmarks.property_bench.plan import read_plan
from benchmarks.property_bench.rows import parts_of, read_rows

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


def test_the_shipped_benchmarks_ask_all_sets() -> None:
    moleculenet, tdc = (read_plan(BENCHMARKS / f"{name}.toml") for name in ("moleculenet", "tdc"))
    assert len(moleculenet.sets) == 11
    assert len(tdc.sets) == 28
    metrics = {one.name: one.metric for one in (*moleculenet.sets, *tdc.sets)}
    assert metrics["muv"] == "pr-auc"
    assert metrics["esol"] == "rmse"
    assert metrics["vdss_lombardo"] == "spearman"
    assert metrics["cyp3a4_substrate_carbonmangels"] == "roc-auc"
    assert metrics["cyp2d6_substrate_carbonmangels"] == "pr-auc"
    assert [len(moleculenet.runs(one)) for one in moleculenet.sets if one.name in ("esol", "sider")] == [3, 3]
    assert {"acml", "morgan", "rdkit", "minimol", "chemprop", "untrained"} <= set(tdc.systems)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('colour = "red"', "nobody reads the key 'colour'"),
        ('[system.x]\nkind = "oracle"', "'oracle' is none of embedding"),
        ('[system.x]\nkind = "morgan"\nwidth = 3', "width"),
        ('[[duel]]\nname = "d"\na = "acml"\nb = "nobody"', "'nobody', which is no system"),
        ('[[set]]\nname = "s"\nfile = "f"\ntask = "regression"\nmetric = "r2"\nsplits = ["a"]', "the metric"),
        (
            '[[set]]\nname = "carbons"\nfile = "f"\ntask = "regression"\nmetric = "mae"\nsplits = ["a"]',
            "two sets",
        ),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(toy: Path, line: str, said: str) -> None:
    text = toy.read_text()
    toy.write_text(f"{line}\n{text}" if line.startswith("colour") else f"{text}\n{line}\n")
    with pytest.raises(ConfigError, match=said):
        read_plan(toy)


def test_a_tested_molecule_is_taken_out_of_training_and_counted(toy: Path) -> None:
    path = toy.parent / "toy.parquet"
    rows = read_rows(asked(path), described(path))
    parts = parts_of(asked(path), rows, "split")
    tested = {rows.blocks[i] for i in parts.test.tolist()}
    learned = {rows.blocks[i] for i in np.concatenate([parts.train, parts.valid]).tolist()}
    assert parts.n_dropped == 1
    assert not tested & learned
    assert 99.0 not in rows.y[parts.train]
    assert [row for row, _ in rows.failed] == [48]
    assert len(rows) == rows.n_file - 1 == 49


def test_only_rows_of_the_value_are_read(tmp_path: Path) -> None:
    rows = [{**row, "dataset": "ab"[i % 2]} for i, row in enumerate(toy_rows())]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "both.parquet")
    one = asked(tmp_path / "both.parquet", rows=(("dataset", "b"),))
    found = read_rows(one, described(tmp_path / "both.parquet"))
    assert found.n_file == 25
    assert found.numbers.tolist() == [i for i in range(50) if i % 2 and i != 48]


def test_rows_that_cannot_be_used_say_why(toy: Path, tmp_path: Path) -> None:
    path = toy.parent / "toy.parquet"
    structures = described(path)
    with pytest.raises(ConfigError, match="'logp', which is not there"):
        read_rows(asked(path, targets=("logp",)), structures)
    with pytest.raises(ConfigError, match="is no number"):
        read_rows(asked(path, targets=("smiles",)), structures)
    with pytest.raises(ConfigError, match="not 0 or 1"):
        read_rows(asked(path, task="classification"), structures)
    (tmp_path / "text.parquet").write_text("no table")
    with pytest.raises(LibraryError, match="Parquet"):
        read_rows(asked(tmp_path / "text.parquet"), structures)
