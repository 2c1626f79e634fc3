"""Scripts of `benchmarks`: what each prints."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.check import FIGURES, _heavy
from benchmarks.nmr_text import judge


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


def test_right_structures_are_ranked_by_weight_and_ties_count_half() -> None:
    right, weights = np.array([True, False, False]), np.array([1.0, 0.75, 0.25])
    assert FIGURES["auroc"](np.array([0.5, 0.2, 0.9]), right, weights) == pytest.approx(0.75)
    assert FIGURES["auroc"](np.array([0.5, 0.2, 0.5]), right, weights) == pytest.approx(0.875)


def test_heavy_atoms_are_counted_without_reading_the_structure() -> None:
    assert _heavy("C[C@@H](Cl)c1c[nH]nc1[N+](=O)[O-]") == (("C", 5), ("Cl", 1), ("N", 3), ("O", 2))
