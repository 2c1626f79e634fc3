"""`bench properties` on toy data: what is dropped, what is chosen by what, what is kept, who is ahead."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from acml_search.encoders.card import read_card
from acml_search.encoders.seen import SeenList
from acml_search.errors import ConfigError, LibraryError
from acml_search.evaluation.data.structures import describe
from acml_search.evaluation.property_bench import features, peers
from acml_search.evaluation.property_bench import run as running
from acml_search.evaluation.property_bench.cells import Cleaner, better, predictions_of, read_cell, rescored
from acml_search.evaluation.property_bench.features import Recipe, Task, columns_of, compute
from acml_search.evaluation.property_bench.paired import difference
from acml_search.evaluation.property_bench.plan import Duel, PropertySet, read_plan
from acml_search.evaluation.property_bench.rows import parts_of, read_rows
from acml_search.evaluation.property_bench.run import PropertyOptions, measure_properties
from acml_search.evaluation.property_bench.store import FeatureStore
from acml_search.evaluation.property_bench.summary import duel, mean_ranks, summarise_system

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"

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


def options(toy: Path, **more: object) -> PropertyOptions:
    return PropertyOptions(benchmark=toy, out=toy.parent / "out", workers=1, **more)  # type: ignore[arg-type]


def asked(path: Path, **more: object) -> PropertySet:
    given = {"name": "toy", "task": "regression", "metric": "rmse", "splits": ("split",), "targets": ("y",)}
    return PropertySet(file=path, **(given | more))  # type: ignore[arg-type]


def described(path: Path) -> list:
    smiles = pq.read_table(path).column("smiles").to_pylist()
    return describe([(text, "smiles", None) for text in smiles])


# ---- the plan


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


# ---- rows


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


# ---- features


def test_features_are_kept_once_per_molecule(tmp_path: Path) -> None:
    store = FeatureStore.of(tmp_path, "morgan", {"kind": "morgan"})
    smiles = ["CCO", "CCN", "CCO"]
    assert store.missing(smiles) == ["CCO", "CCN"]
    found = compute(Task(Recipe("morgan", ()), store.missing(smiles)))
    store.add(["CCO", "CCN"], found)
    again = FeatureStore(store.folder)
    assert again.missing([*smiles, "CCC"]) == ["CCC"]
    taken = again.take(smiles, (0, 1_000))
    assert taken.dtype == np.float32
    np.testing.assert_array_equal(taken, found[[0, 1, 0], :1_000])
    with pytest.raises(ConfigError, match="no features are kept for 1"):
        again.take(["CCC"])
    next(iter(store.folder.glob("*.npy"))).write_bytes(b"spoilt")
    with pytest.raises(ConfigError, match="cannot be read"):
        FeatureStore(store.folder).take(["CCO"])


def test_morgan_and_descriptors_are_rdkits() -> None:
    from rdkit import Chem
    from rdkit.Chem import AllChem, Descriptors

    mol = Chem.MolFromSmiles("CC(=O)Oc1ccccc1C(=O)O")
    bits = compute(Task(Recipe("morgan", ()), [Chem.MolToSmiles(mol)]))
    known = AllChem.GetMorganFingerprintAsBitVect
    generator = AllChem.GetMorganGenerator(radius=2, fpSize=2048)
    assert known is not None
    assert bits[0].nonzero()[0].tolist() == list(generator.GetFingerprint(mol).GetOnBits())
    table = compute(Task(Recipe("rdkit", ()), [Chem.MolToSmiles(mol), "[He]"]))
    assert np.isfinite(table).all()
    names = [name for name, _ in Descriptors.descList]
    assert table[0, names.index("MolWt")] == pytest.approx(180.16, abs=0.01)


def test_embeddings_of_one_model_are_worked_out_together(toy: Path, tiny_model: Path) -> None:
    plan = read_plan(toy)
    whole, all_columns = features.recipe_of(plan.systems["acml"], plan, None)
    trunk, mine = features.recipe_of(plan.systems["trunk"], plan, None)
    assert whole.key == trunk.key
    assert (all_columns, mine) == ((0, 192), (0, 80))  # five layers of 16, twice; a space of 32
    both = compute(Task(whole, ["CCO", "CCN"]))
    assert both.shape == (2, 192)
    np.testing.assert_allclose(np.linalg.norm(both[:, 160:], axis=1), 1.0, atol=1e-5)
    random, _ = features.recipe_of(plan.systems["untrained"], plan, None)
    assert random.key != whole.key
    drawn = compute(Task(random, ["CCO", "CCN"]))
    assert drawn.shape == (2, 80)
    assert not np.allclose(drawn, both[:, :80])
    with pytest.raises(ConfigError, match="side by side"):
        columns_of(("trunk", "b"), ("trunk", "a", "b"), _card_with(tiny_model, "a", "b"))


def _card_with(model: Path, *names: str):
    from dataclasses import replace

    card = read_card(model)
    return replace(card, spaces=dict.fromkeys(names, card.spaces["smiles"]))


def test_values_are_brought_into_the_range_of_the_training_molecules() -> None:
    clean = Cleaner.of(np.array([[1, 5, 0], [3, 5, 1]], np.float32))
    np.testing.assert_array_equal(clean(np.array([[9, 7, -4]], np.float32)), [[3, 0]])


# ---- summary


def cell(head: str, valid: float | None, test: float, *, seed: object = 0, metric: str = "rmse") -> dict:
    return {
        "head": head,
        "valid": valid,
        "test": test,
        "split": "s",
        "seed": seed,
        "metric": metric,
        "unseen": test,
        "seconds": 1.0,
    }


def test_the_head_is_chosen_on_the_valid_part_alone() -> None:
    assert better([cell("linear", 1.0, 9.0), cell("boosted", 2.0, 0.1)])["head"] == "linear"
    auc = [cell("linear", 0.7, 0.1, metric="roc-auc"), cell("boosted", 0.8, 0.0, metric="roc-auc")]
    assert better(auc)["head"] == "boosted"
    assert better([cell("linear", 1.0, 9.0), cell("boosted", 1.0, 0.1)])["head"] == "linear"
    assert better([cell("linear", None, 9.0), cell("boosted", 5.0, 0.1)])["head"] == "boosted"


def test_a_linear_head_stands_for_all_seeds() -> None:
    cells = [cell("linear", 1.0, 0.5, seed="any"), cell("boosted", 0.5, 0.4, seed=1)]
    found = summarise_system(cells, [("s", 0), ("s", 1), ("s", 2)])
    assert found["values"] == [0.5, 0.4, 0.5]
    assert found["chosen"] == ["linear", "boosted", "linear"]
    assert found["heads"]["boosted"]["values"] == [None, 0.4, None]
    assert found["mean"] == pytest.approx(1.4 / 3)
    assert found["sd"] == pytest.approx(np.std([0.5, 0.4, 0.5], ddof=1))


def about(name: str, metric: str, **values: list) -> dict:
    systems = {
        key: {"values": v, "mean": None if None in v else float(np.mean(v))} for key, v in values.items()
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
    won = duel(Duel("d", "a", "b", must_be_ahead=2), sets)
    assert won["ahead"] == ["lower", "half"]
    assert won["behind"] == ["higher"]
    assert won["within"] == ["close"]
    assert won["not_answered"] == ["none"]
    assert (won["n_ahead"], won["must_be_ahead"]) == (2, 2)
    assert won["gain"]["lower"] == pytest.approx(0.5)


def test_ranks_are_over_sets_that_all_answered() -> None:
    sets = [
        about("one", "rmse", a=[1.0], b=[2.0], c=[2.0]),
        about("two", "roc-auc", a=[0.6], b=[0.9], c=[0.7]),
        about("three", "rmse", a=[9.0], b=[1.0], c=[None]),
    ]
    found = mean_ranks(["a", "b", "c"], sets)
    assert found["sets"] == ["one", "two"]
    assert found["ranks"] == {"b": 1.75, "a": 2.0, "c": 2.25}
    assert mean_ranks(["a", "nobody"], sets) == {"ranks": {}, "sets": []}


def predictions(path: Path, predicted: list[float]) -> Path:
    y = [[float(i)] for i in range(len(predicted))]
    parts = ["valid", *["test"] * (len(predicted) - 1)]
    pq.write_table(pa.table({"part": parts, "y": y, "prediction": [[p] for p in predicted]}), path)
    return path


def test_a_paired_bootstrap_sees_the_difference_not_the_noise_that_both_share(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 3, 60)
    y = np.arange(60.0)
    worse = predictions(tmp_path / "worse.parquet", (y + 1.3 * noise).tolist())
    better_ = predictions(tmp_path / "better.parquet", (y + noise).tolist())
    found = difference([(better_, worse)], "rmse")
    assert found is not None
    assert found[0] < found[1] < 0  # a smaller error
    swapped = difference([(worse, better_)], "rmse")
    assert swapped == pytest.approx((-found[1], -found[0]))
    assert difference([(worse, worse)], "rmse") == (0.0, 0.0)
    assert difference([], "rmse") is None


# ---- the whole


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
    assert result["left"] == 3  # the linear head on both sets, trees on the first
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


# ---- peers


PEER = """
import json, sys
from pathlib import Path
if sys.argv[1] == "--version":
    print(json.dumps({"toy": "1"}))
    raise SystemExit
import numpy as np
import pyarrow.parquet as pq
folder = Path(sys.argv[1])
train, test = (pq.read_table(folder / f"{name}.parquet") for name in ("train", "test"))
assert test.column_names == ["smiles"], test.column_names
y = np.array(train.column("y").to_pylist())
answers = np.tile(y.mean(axis=0), (test.num_rows, 1))
answers[0] = np.nan
np.save(folder / "predictions.npy", answers)
(folder / "about.json").write_text(json.dumps({"versions": {"toy": "1"}}))
"""


def test_a_peer_is_asked_through_files_and_sees_no_test_label(
    toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts = toy.parent / "peers"
    scripts.mkdir()
    (scripts / "chemprop_train.py").write_text(PEER)
    (scripts / "minimol_embed.py").write_text("raise SystemExit('no such thing')")
    monkeypatch.setattr(peers, "SCRIPTS", scripts)
    peers.peer_versions.cache_clear()
    python = Path(sys.executable)
    result = measure_properties(options(toy, only=("carbons",), systems=("chemprop",), peer_python=python))
    found = result["sets"][0]["systems"]["chemprop"]
    train = [row["y"] for row in toy_rows() if row["split"] == "train" and row["y"] not in (99.0, 1.0)]
    tested = [row["y"] for row in toy_rows() if row["split"] == "test"]
    expected = np.sqrt(np.mean((np.array(tested) - np.mean(train)) ** 2))
    assert found["values"] == pytest.approx([expected, expected], abs=1e-5)
    assert found["n_failed"] == 0  # the first one asked is of the valid part
    (scripts / "chemprop_train.py").write_text(PEER + "\nraise SystemExit('out of luck')")
    for path in (toy.parent / "out" / "cells").rglob("*.json"):
        path.unlink()
    result = measure_properties(options(toy, only=("carbons",), systems=("chemprop",), peer_python=python))
    assert "out of luck" in result["sets"][0]["systems"]["chemprop"]["why_not"]


def test_a_peer_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the peer's Python cannot be run"):
        peers.run_peer(tmp_path / "python", "minimol_embed.py", [])
    with pytest.raises(ConfigError, match="the script is not here"):
        peers.run_peer(sys.executable, "nothing.py", [])
