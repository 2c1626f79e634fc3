"""A benchmark of properties: its plan, its rows, its cells and what the result says, on toy data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from acml_search.core.errors import ConfigError, LibraryError
from acml_search.encoders.card import read_card
from acml_search.encoders.training_molecules import TrainingMolecules
from acml_search.evaluation.pool import describe
from acml_search.properties.features import part_of_columns
from benchmarks import properties
from benchmarks.properties import (
    Duel,
    PropertySet,
    best_head,
    compare,
    in_range,
    mean_ranks,
    measure,
    read_plan,
    read_rows,
)
from benchmarks.report import property_page

BENCHMARKS = Path(properties.__file__).parent
SYSTEMS = Path(__file__).with_name("toy").joinpath("properties.toml").read_text()


def toy_rows() -> list[dict[str, Any]]:
    """Chains; the target grows with their carbons. One row cannot be read, one molecule is in two parts."""
    rows: list[dict[str, Any]] = []
    for i in range(48):
        carbons, kind = 3 + i % 16, i // 16
        smiles = "C" * carbons + ("", "O", "N")[kind]
        part = ("train", "train", "train", "valid", "test", "train")[i % 6]
        rows.append({"smiles": smiles, "y": carbons + 0.3 * kind, "split": part})
    rows.append({"smiles": "C1CC", "y": 1.0, "split": "train"})
    tested = next(row for row in rows if row["split"] == "test")
    rows.append({"smiles": str(tested["smiles"])[::-1], "y": 99.0, "split": "train"})
    return rows


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def described(rows: list[dict[str, Any]]) -> list[Any]:
    return describe([(row["smiles"], "smiles", None) for row in rows])


def toy_set(path: Path, **more: Any) -> PropertySet:
    options = {"name": "toy", "task": "regression", "metric": "rmse", "splits": ["split"], "targets": ["y"]}
    return PropertySet(file=path, **(options | more))


@pytest.fixture
def toy(tmp_path: Path, tiny_model: Path) -> Path:
    """A benchmark of one regression set and one classification set."""
    rows = toy_rows()
    write(tmp_path / "toy.parquet", rows)
    write(tmp_path / "classes.parquet", [{**row, "y": float(row["y"] > 10)} for row in rows])
    path = tmp_path / "toy.toml"
    path.write_text(f'name = "toy"\nmodel = "{tiny_model}"\nseeds = [0, 1]\n{SYSTEMS}')
    return path


def run(toy: Path, **more: Any) -> dict[str, Any]:
    return measure(read_plan(toy), toy.parent / "out", n_workers=1, **more)


def test_the_shipped_benchmarks_hold_all_sets() -> None:
    moleculenet, tdc = (read_plan(BENCHMARKS / f"{name}.toml") for name in ("moleculenet", "tdc"))
    assert (len(moleculenet.set), len(tdc.set)) == (11, 28)
    metrics = {one.name: one.metric for one in (*moleculenet.set, *tdc.set)}
    assert metrics["muv"] == metrics["cyp2d6_substrate_carbonmangels"] == "pr-auc"
    assert metrics["esol"] == "rmse"
    assert metrics["vdss_lombardo"] == "spearman"
    assert [len(moleculenet.runs(one)) for one in moleculenet.set if one.name in ("esol", "sider")] == [3, 3]
    assert {"acml", "morgan", "rdkit", "finetuned", "untrained"} <= set(tdc.system)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('colour = "red"', "unknown key 'colour'"),
        ('[system.x]\nkind = "oracle"', "system.x.kind: input should be 'embedding'"),
        ('[system.x]\nkind = "morgan"\nwidth = 3', "unknown key 'system.x.width'"),
        ('[[duel]]\nname = "d"\na = "acml"\nb = "nobody"', "'nobody', which is no system"),
        ('[[set]]\nname = "s"\nfile = "f"\ntask = "regression"\nmetric = "r2"\nsplits = ["a"]', "metric"),
        ('[[set]]\nname = "carbons"\nfile = "f"\ntask = "regression"\nmetric = "mae"\nsplits = ["a"]', "two"),
        ("[[[", "this is not TOML"),
    ],
)
def test_a_plan_with_an_error_is_refused(toy: Path, line: str, message: str) -> None:
    text = toy.read_text()
    toy.write_text(f"{line}\n{text}" if line.startswith("colour") else f"{text}\n{line}\n")
    with pytest.raises(ConfigError, match=message):
        read_plan(toy)


def test_a_tested_molecule_is_taken_out_of_training_and_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "toy.parquet", toy_rows())
    rows = read_rows(toy_set(path), described(toy_rows()))
    parts, n_dropped = rows.parts("split")
    keys = {name: {rows.inchikey14[i] for i in of} for name, of in parts.items()}
    assert n_dropped == 1
    assert not keys["test"] & (keys["train"] | keys["valid"])
    assert 99.0 not in rows.y[parts["train"]]
    assert [one["row"] for one in rows.failed] == [48]
    assert len(rows) == 49


def test_only_rows_of_the_value_are_read(tmp_path: Path) -> None:
    rows = [{**row, "dataset": "ab"[i % 2]} for i, row in enumerate(toy_rows())]
    found = read_rows(toy_set(write(tmp_path / "x.parquet", rows), rows={"dataset": "b"}), described(rows))
    assert found.numbers.tolist() == [i for i in range(50) if i % 2 and i != 48]


def test_rows_that_cannot_be_used_say_why(tmp_path: Path) -> None:
    path, structures = write(tmp_path / "toy.parquet", toy_rows()), described(toy_rows())
    with pytest.raises(ConfigError, match="'logp', which is not there"):
        read_rows(toy_set(path, targets=["logp"]), structures)
    with pytest.raises(ConfigError, match="is no number"):
        read_rows(toy_set(path, targets=["smiles"]), structures)
    with pytest.raises(ConfigError, match="not 0 or 1"):
        read_rows(toy_set(path, task="classification"), structures)
    (tmp_path / "text.parquet").write_text("no table")
    with pytest.raises(LibraryError, match="Parquet"):
        read_rows(toy_set(tmp_path / "text.parquet"), structures)


def test_a_benchmark_from_end_to_end(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(toy, systems=("acml", "morgan", "gone"))
    assert result == json.loads((toy.parent / "out" / "toy.json").read_text())
    assert result["kind"] == "properties"
    carbons, long = result["sets"]
    assert (carbons["n"], carbons["n_failed"], carbons["n_targets"]) == (49, 1, 1)
    assert carbons["failed"][0]["row"] == 48
    assert carbons["n_dropped_from_training"] == {"split": 1}
    assert carbons["n_seen_in_training"] is None  # the tiny model names no list
    acml = carbons["systems"]["acml"]
    assert len(acml["values"]) == 2
    assert set(acml["heads"]) == {"linear", "kernel"}
    assert acml["values"][0] == acml["values"][1]  # heads draw nothing
    assert acml["mean"] < 2.5  # the spread of the target is 4.6: the trunk's sums do know the size
    assert "no such model" in carbons["systems"]["gone"]["why_not"]
    assert "rdkit" not in carbons["systems"]
    won = result["wins"]["acml against morgan"]
    assert won["n_ahead"] + won["n_within"] + won["n_behind"] == 2
    assert set(result["groups"]["features"]["ranks"]) == {"acml", "morgan"}
    page = property_page(result)
    assert "| set | metric | molecules | acml | morgan |" in page
    assert "| carbons | rmse ↓ | 49 |" in page

    # every figure is that of the predictions that the result names
    rows = pq.read_table(acml["predictions"][0]).to_pylist()
    errors = [row["y"][0] - row["linear"][0] for row in rows if row["part"] == "test"]
    assert acml["heads"]["linear"]["mean"] == pytest.approx(np.sqrt(np.mean(np.square(errors))), abs=1e-6)
    assert len({row["row"] for row in rows}) == len(rows)

    # again: nothing is done twice
    with monkeypatch.context() as patched:
        patched.setattr(properties, "fit_head", None)
        assert run(toy, systems=("acml", "morgan", "gone"))["sets"] == [carbons, long]
    more = run(toy, systems=("trunk", "untrained", "finetuned"), only=("carbons",))
    assert all(more["sets"][0]["systems"][name]["mean"] for name in ("untrained", "trunk", "finetuned"))


def test_no_label_of_the_test_part_reaches_a_prediction(toy: Path) -> None:
    def predictions() -> list[Path]:
        systems = run(toy, only=("carbons",), systems=("acml", "morgan"))["sets"][0]["systems"]
        return [Path(systems[name]["predictions"][0]) for name in ("acml", "morgan")]

    before = predictions()
    rows = [{**row, "y": -1000.0} if row["split"] == "test" else row for row in toy_rows()]
    write(toy.parent / "toy.parquet", rows)
    for old, new in zip(before, predictions(), strict=True):
        assert old != new  # another label is another measurement
        for head in ("linear", "kernel"):
            assert pq.read_table(old)[head] == pq.read_table(new)[head]


def test_molecules_that_training_saw_are_left_out_of_the_second_figure(
    toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tested = [row for row in toy_rows() if row["split"] == "test"]
    keys = [one.inchikey14 for one in described(tested)]
    monkeypatch.setattr(properties, "training_list", lambda card: TrainingMolecules.of(keys[:3], {}))
    result = run(toy, only=("carbons",), systems=("morgan",))
    assert result["sets"][0]["n_seen_in_training"] == 3
    morgan = result["sets"][0]["systems"]["morgan"]
    rows = [row for row in pq.read_table(morgan["predictions"][0]).to_pylist() if row["part"] == "test"]
    head = morgan["chosen"][0]
    errors = [row["y"][0] - row[head][0] for row in rows if row["inchikey14"] not in keys[:3]]
    assert len(errors) == len(rows) - 3
    assert morgan["unseen"] == pytest.approx(np.sqrt(np.mean(np.square(errors))))


def test_unknown_sets_and_systems_are_named(toy: Path) -> None:
    with pytest.raises(ConfigError, match="has no set 'esol'; it has carbons, long"):
        run(toy, only=("esol",))
    with pytest.raises(ConfigError, match="has no system 'oracle'"):
        run(toy, systems=("oracle",))


def test_columns_and_their_range(tiny_model: Path) -> None:
    part_of = part_of_columns(read_card(tiny_model)).tolist()
    # five layers of 16, twice; 512 of two layers; a space of 32
    assert [part_of.count(part) for part in dict.fromkeys(part_of)] == [80, 80, 1_024, 32]
    train, other = np.array([[1, 5, 0], [3, 5, 1]], np.float32), np.array([[9, 7, -4]], np.float32)
    np.testing.assert_array_equal(in_range(train, other)[1], [[3, 0]])


def test_the_head_is_chosen_on_the_valid_part_alone() -> None:
    def heads(**valid: float | None) -> dict[str, dict[str, Any]]:
        return {name: {"valid": value} for name, value in valid.items()}

    assert best_head(heads(linear=1.0, kernel=2.0), -1.0) == "linear"
    assert best_head(heads(linear=0.7, kernel=0.8), 1.0) == "kernel"
    assert best_head(heads(linear=1.0, kernel=1.0), -1.0) == "linear"
    assert best_head(heads(linear=None, kernel=5.0), -1.0) == "kernel"


def about(name: str, metric: str, **values: list[float | None]) -> dict[str, Any]:
    systems = {
        key: {"values": v, "mean": None if None in v else float(np.mean(np.array(v)))}
        for key, v in values.items()
    }
    return {"set": name, "metric": metric, "systems": systems}


def test_ahead_is_better_by_more_than_the_spread() -> None:
    sets = [
        about("lower", "rmse", a=[1.0, 1.2], b=[1.5, 1.7]),  # better by 0.5, spread 0.14
        about("higher", "roc-auc", a=[0.5, 0.7], b=[0.8, 1.0]),
        about("close", "roc-auc", a=[0.9, 0.7], b=[0.8, 0.7]),
        about("half", "rmse", a=[1.0, None], b=[2.0, 0.1]),  # only runs that both have
        about("none", "rmse", a=[1.0, 2.0], b=[None, None]),
    ]
    won = compare(Duel(name="d", a="a", b="b"), sets)
    assert won["ahead"] == ["lower", "half"]
    assert won["behind"] == ["higher"]
    assert won["within"] == ["close"]
    assert won["not_answered"] == ["none"]
    assert won["n_ahead"] == 2
    assert won["gain"]["lower"] == pytest.approx(0.5)


def test_ranks_are_over_sets_that_all_answered() -> None:
    sets = [
        about("one", "rmse", a=[1.0], b=[2.0], c=[2.0]),
        about("two", "roc-auc", a=[0.6], b=[0.9], c=[0.7]),
        about("three", "rmse", a=[9.0], b=[1.0], c=[None]),
    ]
    found = mean_ranks(["a", "b", "c"], sets)
    assert found == {"ranks": {"b": 1.75, "a": 2.0, "c": 2.25}, "sets": ["one", "two"]}
    assert mean_ranks(["a", "nobody"], sets) == {"ranks": {}, "sets": []}
