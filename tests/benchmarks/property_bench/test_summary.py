"""Which head is taken, who is ahead, who ranks where."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.property_bench.cells import better
from benchmarks.property_bench.paired import difference
from benchmarks.property_bench.plan import Duel
from benchmarks.property_bench.summary import duel, mean_ranks, summarise_system


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
