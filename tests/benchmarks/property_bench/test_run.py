"""A benchmark of properties from end to end, on toy data."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from property_files import options, toy_rows

from acml_search.core.errors import ConfigError
from acml_search.encoders.seen import SeenList
from benchmarks.property_bench import run as running
from benchmarks.property_bench.cells import predictions_of, read_cell, rescored
from benchmarks.property_bench.run import measure_properties


def test_a_benchmark_from_end_to_end(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = measure_properties(options(toy, systems=("acml", "morgan", "chemprop", "gone")))
    assert result == json.loads((toy.parent / "out" / "toy.json").read_text())
    assert result["kind"] == "properties"
    assert result["left"] == 0
    carbons, long = result["sets"]
    assert (carbons["n"], carbons["n_failed"], carbons["n_targets"]) == (49, 1, 1)
    assert carbons["failed"][0]["row"] == 48
    assert carbons["n_dropped_from_training"] == {"split": 1}
    assert carbons["n_seen_in_training"] is None  # the tiny model names no list
    acml = carbons["systems"]["acml"]
    assert len(acml["values"]) == 2
    assert acml["heads"]["linear"]["values"][0] == acml["heads"]["linear"]["values"][1]
    assert acml["heads"]["boosted"]["values"][1] is None  # boosted_runs = 1
    assert acml["mean"] < 2.5  # the spread of the target is 4.6: the trunk's sums do know the size
    assert "--peer-python" in carbons["systems"]["chemprop"]["why_not"]
    assert "no such model" in carbons["systems"]["gone"]["why_not"]
    assert carbons["systems"]["rdkit"]["why_not"] == "not measured yet"
    assert long["systems"]["rdkit"]["why_not"] == "for time"
    won = result["wins"]["acml against morgan"]
    assert won["n_ahead"] + won["n_within"] + won["n_behind"] == 2
    assert set(won["gain_ci95"]) == {"carbons", "long"}
    low, high = won["gain_ci95"]["carbons"]
    assert low <= won["gain"]["carbons"] <= high
    assert set(result["groups"]["features"]["ranks"]) == {"acml", "morgan"}

    # every figure is that of the predictions stored beside it
    path = toy.parent / "out" / "cells" / "carbons" / "split.any.acml.linear.json"
    table = pq.read_table(predictions_of(path)).to_pylist()
    tested = [row for row in table if row["part"] == "test"]
    rmse = np.sqrt(np.mean([(row["y"][0] - row["prediction"][0]) ** 2 for row in tested]))
    assert acml["heads"]["linear"]["mean"] == pytest.approx(rmse, abs=1e-6)
    assert len({row["row"] for row in table}) == len(table)

    # again: nothing is done twice, and what was measured stays when another system is added
    monkeypatch.setattr(running, "run_cell", _refuse)
    assert measure_properties(options(toy, systems=("acml", "morgan")))["sets"][0]["systems"]["acml"] == acml
    monkeypatch.undo()
    more = measure_properties(options(toy, systems=("rdkit", "trunk", "untrained"), only=("carbons",)))
    assert more["sets"][0]["systems"]["acml"] == acml
    assert more["sets"][0]["systems"]["untrained"]["mean"] is not None
    assert more["sets"][1] == long


def _refuse(cell: object) -> None:
    raise AssertionError("a finished cell was done again")


def test_no_label_of_the_test_part_reaches_a_prediction(toy: Path) -> None:
    measure_properties(options(toy, only=("carbons",), systems=("acml", "morgan")))
    folder = toy.parent / "out" / "cells" / "carbons"
    before = {path.name: pq.read_table(path) for path in folder.glob("*.parquet")}
    rows = toy_rows()
    for row in rows:
        if row["split"] == "test":
            row["y"] = -1000.0
    pq.write_table(pa.Table.from_pylist(rows), toy.parent / "toy.parquet")
    measure_properties(options(toy, only=("carbons",), systems=("acml", "morgan")))
    after = {path.name: pq.read_table(path) for path in folder.glob("*.parquet")}
    assert set(before) == set(after)
    for name, table in before.items():
        assert table.column("prediction") == after[name].column("prediction")
        assert table.column("y") != after[name].column("y")


def test_another_label_is_another_measurement(toy: Path) -> None:
    first = measure_properties(options(toy, only=("carbons",), systems=("morgan",)))
    rows = toy_rows()
    rows[0]["y"] = 40.0
    pq.write_table(pa.Table.from_pylist(rows), toy.parent / "toy.parquet")
    again = measure_properties(options(toy, only=("carbons",), systems=("morgan",)))
    assert first["sets"][0]["systems"]["morgan"]["values"] != again["sets"][0]["systems"]["morgan"]["values"]


def test_time_that_is_up_leaves_the_rest(toy: Path) -> None:
    result = measure_properties(options(toy, systems=("morgan",), minutes=0.0))
    assert result["left"] == 5  # the linear and the kernel head on both sets, trees on the first
    assert result["sets"][0]["systems"]["morgan"] == {"why_not": "not measured yet"}


def test_molecules_that_training_saw_are_left_out_of_the_second_figure(toy: Path) -> None:
    measure_properties(options(toy, only=("carbons",), systems=("morgan",)))
    path = toy.parent / "out" / "cells" / "carbons" / "split.any.morgan.linear.json"
    table = pq.read_table(predictions_of(path)).to_pylist()
    tested = [row for row in table if row["part"] == "test"]
    seen = SeenList.of([row["inchikey14"] for row in tested[:3]], {})
    blocks = [row["inchikey14"] for row in table]
    found = rescored(path, "rmse", dict(zip(blocks, seen.any(blocks).tolist(), strict=True)))
    left = tested[3:]
    rmse = np.sqrt(np.mean([(row["y"][0] - row["prediction"][0]) ** 2 for row in left]))
    assert found["n_test_seen"] == 3
    assert found["unseen"] == pytest.approx(rmse)
    kept = read_cell(path)
    assert kept is not None
    assert kept["unseen"] is None
    assert found["test"] == pytest.approx(kept["test"])


def test_unknown_sets_and_systems_are_named(toy: Path) -> None:
    with pytest.raises(ConfigError, match="has no set 'esol'; it has carbons, long"):
        measure_properties(options(toy, only=("esol",)))
    with pytest.raises(ConfigError, match="has no system 'oracle'"):
        measure_properties(options(toy, systems=("oracle",)))
