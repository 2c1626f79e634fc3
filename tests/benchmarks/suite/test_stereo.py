"""Stereoisomers beside the pool: groups by full InChIKey, ties lost; and groups of isomers by their size."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from acml_search.evaluation.data.structures import describe
from acml_search.evaluation.measures.groups import by_size, sizes_of
from acml_search.evaluation.workers import Workers
from benchmarks.suite.run import SuiteOptions, measure_suite
from benchmarks.suite.stereo import groups_of, rank_in

SEEN = ["C[C@H](N)C(=O)O", "CC(N)C(=O)O", "C/C=C/C", "CCO"]
LIBRARY = ["C[C@@H](N)C(=O)O", "C/C=C\\C", "OCC", "CCN"]


@pytest.fixture
def folder(tmp_path) -> Path:
    rows = [{"smiles": smiles, "shifts": [10.0 + i, 50.0]} for i, smiles in enumerate(SEEN)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "q.parquet")
    (tmp_path / "library.smi").write_text("\n".join(LIBRARY) + "\n")
    (tmp_path / "q.toml").write_text(
        'library = ["library.smi"]\n[[question]]\nname = "q"\nmodality = "c_nmr"\nqueries = "q.parquet"\n'
        'filters = ["none", "formula"]\nisomers = true\nbatch = 0\n'
    )
    return tmp_path


def ask(folder: Path, model: Path) -> tuple[dict, list[dict]]:
    measure_suite(SuiteOptions((folder / "q.toml",), folder / "out", str(model), workers=1))
    found = json.loads((folder / "out" / "q.stereoisomers.json").read_text())
    return found, pq.read_table(folder / "out" / "q.stereoisomers.queries.parquet").to_pylist()


def test_groups_are_full_inchikeys_of_one_block() -> None:
    found = describe([(text, "smiles", None) for text in [*SEEN, *LIBRARY, "C1CC"]])
    wanted = {one.block for one in found[:4] if not isinstance(one, str)}
    with Workers(1) as workers:
        groups = groups_of(found, wanted, workers)
    sizes = sorted(len(group) for group in groups.values())
    assert sizes == [2, 3]  # the butenes; alanine drawn flat, left and right
    assert all(key.startswith(block) for block, group in groups.items() for key in group)


def test_a_model_that_reads_configuration_is_measured(folder, two_spaces) -> None:
    found, rows = ask(folder, two_spaces)
    assert [row["n_candidates"] for row in rows] == [3, 3, 2]
    assert found["n_groups"] == 2  # the two alanines are of one constitution
    assert found["group_size"]["max"] == 3
    assert found["chance"] == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert found["reads_stereo"] is True
    assert all(1 <= row["rank"] <= row["n_candidates"] for row in rows)


def test_a_model_that_reads_none_ties_and_loses(folder, two_spaces, tmp_path) -> None:
    from acml_search.encoders.card import digest_of

    model = Path(shutil.copytree(two_spaces, tmp_path / "flat"))
    card = json.loads((model / "card.json").read_text())
    card["hyper"]["reads_stereo"] = False
    card["digest"] = digest_of(model / "model.safetensors", card["hyper"])
    (model / "card.json").write_text(json.dumps(card))
    found, rows = ask(folder, model)
    assert [row["rank"] for row in rows] == [3, 3, 2]
    assert (found["accuracy"], found["reads_stereo"]) == (0.0, False)
    assert found["mrr"] == pytest.approx((1 / 3 + 1 / 2) / 2)


def test_rank_in_a_group_loses_ties_and_skips_what_has_no_vector() -> None:
    query = np.array([1.0, 0.0], np.float32)
    vectors = np.array([[0.5, 0], [0.9, 0], [0.5, 1], [np.nan, 0], [0.1, 0]], np.float32)
    assert [rank_in(query, vectors, truth) for truth in (0, 1, 2, 4)] == [3, 1, 3, 4]


def test_accuracy_by_the_size_of_the_group() -> None:
    # molecule 0 asks twice in a group of 2 (a hit, a miss), 1 in one of 4, 2 failed in one of 5
    found = by_size([1, 2, 1, np.inf], [0, 0, 1, 2], [2, 2, 4, 5])
    assert [one["size"] for one in found] == [[2, 2], [3, 5]]
    assert [one["n_molecules"] for one in found] == [1, 2]
    assert [one["accuracy"] for one in found] == [0.5, 0.5]
    assert [one["mrr"] for one in found] == [0.75, 0.5]
    assert [one["chance"] for one in found] == pytest.approx([0.5, (1 / 4 + 1 / 5) / 2])
    assert by_size([1.0], [0], [5_000])[0]["size"] == [1001, None]
    assert sizes_of(np.array([2, 4, 6])) == {"median": 4.0, "mean": 4.0, "p90": pytest.approx(5.6), "max": 6}
