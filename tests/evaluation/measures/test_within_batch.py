"""ACML's metric on batches that can be worked out."""

from __future__ import annotations

import numpy as np
import pytest

from acml_search.evaluation.measures.within_batch import within_batches

UNIT = np.eye(8, dtype=np.float32)


def test_a_perfect_model_is_always_first() -> None:
    found = within_batches(UNIT, UNIT, range(8), batch=4, shuffles=3)
    assert found["to-molecule"] == {"top": {"1": 1.0, "5": 1.0}, "spread": {"1": 0.0, "5": 0.0}}
    assert found["to-record"] == found["to-molecule"]
    assert found["chance"] == {"1": 0.25, "5": 1.0}
    assert "not comparable" in found["note"]


def test_ties_lose() -> None:
    same = np.ones((8, 2), np.float32)
    found = within_batches(same, same, range(8), batch=4, ks=(1, 3, 4))
    assert found["to-molecule"]["top"] == {"1": 0.0, "3": 0.0, "4": 1.0}


def test_one_direction_may_be_easier() -> None:
    # every record is like molecule 0 most, and like its own second; every molecule likes its own record
    records = UNIT + 2 * UNIT[0]
    records[0] = UNIT[0]
    found = within_batches(records, UNIT, range(8), batch=8, ks=(1, 2))
    assert found["to-molecule"]["top"] == {"1": pytest.approx(1 / 8), "2": 1.0}
    # molecule 0 scores 1 with its record and 2 with all others; the others score 1 with theirs, 0 elsewhere
    assert found["to-record"]["top"]["1"] == pytest.approx(7 / 8)


def test_records_of_one_molecule_never_share_a_batch() -> None:
    twice = np.concatenate([UNIT, UNIT])
    found = within_batches(twice, twice, [*range(8), *range(8)], batch=8)
    assert found["n_molecules"] == 8
    assert found["to-molecule"]["top"]["1"] == 1.0


def test_the_last_incomplete_batch_is_left_out_and_fewer_than_one_is_nothing() -> None:
    assert within_batches(UNIT, UNIT, range(8), batch=9) is None
    assert within_batches(UNIT, UNIT, range(8), batch=5, shuffles=1)["to-molecule"]["top"]["1"] == 1.0


def test_shuffles_are_seeded() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 50, 4)).astype(np.float32)
    one, two, three = (within_batches(a, b, range(50), batch=8, seed=seed) for seed in (1, 1, 2))
    assert one == two
    assert one["to-molecule"] != three["to-molecule"]
