"""Indexes written by earlier versions open, verify and answer as they did."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from acml_search.index.directory import IndexDirectory
from acml_search.index.verify import verify

GOLDEN = sorted(path.parent for path in (Path(__file__).parents[1] / "golden").glob("*/manifest.json"))


def test_there_are_golden_indexes() -> None:
    assert {path.name for path in GOLDEN} >= {"v1-flat", "v1-ivf", "v3-ivf"}


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.name)
def test_it_opens_and_answers(path: Path) -> None:
    expected = json.loads((path / "expected.json").read_text())
    assert verify(path, sample=0) == []  # the network that made it may not exist any more
    with IndexDirectory(path) as index:
        assert index.manifest.counts == {
            "rows": 47,
            "molecules": 45,
            "rejected": 1,
            "duplicates": 1,
            "no_record": 0,
        }
        for side, wanted in expected.items():
            vectors = index.vectors("smiles", side)
            D, keys = vectors.search(vectors.stored(np.array([0, 20, 40])), 5)
            np.testing.assert_allclose(D, wanted["scores"], atol=2e-5)
            assert keys.tolist() == wanted["keys"]
        cheap = index.catalog.keys(where="number < 12 AND vendor = 'vendor 0'")
        assert cheap.tolist() == [0, 3, 6, 9]
        assert index.catalog.rows(cheap).column("smiles").to_pylist()[0] == "CO"
