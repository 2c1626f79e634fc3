"""Scripts of `benchmarks`: what each prints."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from report_files import write_recall

from acml_search.core.errors import ConfigError
from benchmarks.ablations import figures
from benchmarks.by_column import by_column
from benchmarks.check import _heavy, auroc
from benchmarks.nmr_text import judge
from benchmarks.report import Entry, read_results


@pytest.mark.parametrize(
    ("text", "annotation", "kind"),
    [
        ("13C NMR (100 MHz, CDCl3) δ 170.1, 60.2, 14.1.", "δ 170.1, 60.2, 14.1", "read"),
        ("13C NMR (100 MHz, CDCl3) δ 170.1, 60.2, 14.1.", "δ 170.1, 60.2", "wrong"),
        ("nothing of the kind", "δ 170.1", "refused"),
        ("nothing of the kind", None, "rightly refused"),
    ],
)
def test_printed_lines_are_judged_against_their_annotation(text, annotation, kind) -> None:
    assert judge(text, annotation, "c_nmr")[0] == kind


def test_recall_by_a_column_of_either_file(tmp_path) -> None:
    source = tmp_path / "spectra.parquet"
    pq.write_table(pa.table({"complete": [True, True, False, None]}), source)
    write_recall(tmp_path, "c_nmr", [1, 3, 50, None], nearest=[0.2, 0.4, 0.6, 0.8], queries=str(source))
    found = by_column(tmp_path / "c_nmr.json", "complete", [])
    assert {name: (n, x["recall"]["10"]) for name, (n, x) in found.items()} == {
        "True": (2, 1.0), "False": (1, 0.0), "unknown": (1, 0.0),
    }  # fmt: skip
    found = by_column(tmp_path / "c_nmr.json", "nearest_training", [0.5])
    assert {name: x["recall"]["1"] for name, (_, x) in found.items()} == {"0: < 0.5": 0.5, "1: >= 0.5": 0.0}
    with pytest.raises(ConfigError, match="no column 'colour'; its columns are complete"):
        by_column(tmp_path / "c_nmr.json", "colour", [])


def test_an_ablation_is_compared_with_the_full_recipe_query_by_query(tmp_path) -> None:
    def entry(name: str, ranks: list[int]) -> Entry:
        write_recall(tmp_path / name, "c_nmr", ranks)
        return read_results([tmp_path / name])[0][0]

    full = entry("full", [1] * 10)
    assert "difference" not in figures(full, full)
    found = figures(entry("pooled", [1] * 6 + [2] * 4), full)
    assert found["difference"] == pytest.approx(-0.4)
    assert found["difference_ci95"][0] < -0.4 < found["difference_ci95"][1] < 0
    json.dumps(found)


def test_right_structures_are_ranked_by_weight_and_ties_count_half() -> None:
    right, weights = np.array([True, False, False]), np.array([1.0, 0.75, 0.25])
    assert auroc(np.array([0.5, 0.2, 0.9]), right, weights) == pytest.approx(0.75)
    assert auroc(np.array([0.5, 0.2, 0.5]), right, weights) == pytest.approx(0.875)


def test_heavy_atoms_are_counted_without_reading_the_structure() -> None:
    assert _heavy("C[C@@H](Cl)c1c[nH]nc1[N+](=O)[O-]") == (("C", 5), ("Cl", 1), ("N", 3), ("O", 2))
