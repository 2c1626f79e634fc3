"""What of a property benchmark a README has room for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from report_files import write_properties

from benchmarks.report.found import Found
from benchmarks.report.page import ReportOptions, make_report
from benchmarks.report.properties import brief


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


def test_several_property_benchmarks_are_told_apart_by_name(tmp_path) -> None:
    readme = tmp_path / "properties.md"
    readme.write_text("<!-- properties: begin -->\n<!-- properties: end -->\n")
    one = write_properties(tmp_path)
    made = (tmp_path / "toynet.json", tmp_path / "othernet.json")
    made[1].write_text(json.dumps({**one, "benchmark": "othernet"}))
    make_report(ReportOptions(made, tmp_path / "out", readme))
    text = readme.read_text()
    assert text.index("### toynet\n\n| set |") < text.index("### othernet\n\n| set |")
