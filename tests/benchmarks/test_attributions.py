"""The deletion test of attributions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from acml_search.chem.molecule import parse
from acml_search.encoders.checkpoint import load_model
from benchmarks.attributions import cut, measure_deletion, removed_size


def test_cutting_leaves_a_graph_of_the_rest(tiny_model: Path) -> None:
    graph = load_model(tiny_model).featurise(parse("CCO")[0])
    rest = cut(graph, np.array([True, False, True]))
    assert rest.x.tolist() == graph.x[[0, 2]].tolist()
    assert rest.edge_index.shape == (2, 0)
    end = cut(graph, np.array([False, True, True]))
    assert sorted(map(tuple, end.edge_index.T.tolist())) == [(0, 1), (1, 0)]
    assert len(end.edge_attr) == 2


def test_deletion_is_paired_and_says_what_it_did(tiny_model: Path) -> None:
    result = measure_deletion(None, str(tiny_model), n=10, fit_on=300, seed=0, command="x")
    assert result["n_molecules"] == 10
    names = {row["score"] for row in result["scores"]}
    assert names >= {"similarity to the nearest in smiles", "probe of trunk: logP"}
    for row in result["scores"]:
        assert [(t["method"], t["removal"]) for t in row["tests"]] == [
            ("gradient", "mask"),
            ("gradient", "cut"),
            ("occlusion", "mask"),
            ("occlusion", "cut"),
        ]
        for test in row["tests"]:
            moved = test["moved"]
            assert test["gain_over_random"] == pytest.approx(moved["named"] - moved["random"], abs=1e-9)
            low, high = test["gain_over_random_ci95"]
            assert low <= test["gain_over_random"] <= high
    assert len(result["summary"]) == 4
    assert all(one["n_scores"] == len(result["scores"]) for one in result["summary"])
    json.dumps(result, allow_nan=False)


def test_at_least_two_atoms_are_removed() -> None:
    assert [removed_size(n) for n in (8, 10, 13, 40)] == [2, 2, 3, 8]
