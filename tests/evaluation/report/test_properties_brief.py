"""What of a property benchmark a README has room for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from acml_search.evaluation.report.found import Found
from acml_search.evaluation.report.properties import brief


def _of(mean: float) -> dict[str, Any]:
    return {"mean": mean, "sd": 0.0, "values": [mean]}


def test_trunks_of_an_ablation_stand_in_ranks_and_not_among_the_scores() -> None:
    systems = {"acml": _of(0.9), "untrained": _of(0.6), "full": _of(0.8), "full-each": _of(0.7)}
    data = {
        "benchmark": "toy",
        "sets": [{"set": "one", "metric": "roc-auc", "n": 10, "systems": systems}],
        "groups": {
            "modalities": {"ranks": {"full": 1.0, "untrained": 2.0}, "sets": ["one"]},
            "modalities, each as long as alone": {"ranks": {"full-each": 1.0}, "sets": ["one"]},
        },
    }
    shown = brief(Found("properties", data, Path("toy.json")))
    assert "| set | metric | molecules | acml | untrained |" in shown
    assert "| full-each | 1.00 |" in shown
    assert "| full | 1.00 |" in shown
