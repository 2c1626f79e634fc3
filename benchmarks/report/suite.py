"""The page that `bench suite` writes beside its results and prints: tables, no plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import retrieval, tables
from benchmarks.report.found import NEEDED, Found
from benchmarks.report.markdown import joined

NOT_RECALL = "ACML's own metric: within shuffled batches, **not comparable with recall in a pool**"


def suite_page(
    summary: Mapping[str, Any], results: Sequence[Mapping[str, Any]], folder: Path = Path()
) -> str:
    """All tables of a suite's results, with the command that made them.

    `folder`: where the results were written; with it the model and its baselines are compared query by query.
    """
    found = [
        Found(one["kind"], one, folder / str(one.get("result", f"{one.get('question')}.json")))
        for one in results
        if one["kind"] in NEEDED
    ]
    memory = summary["peak_memory_mb"]
    spent = ", ".join(f"{what} {seconds:,.0f} s" for what, seconds in summary["seconds"].items())
    skipped = "\n".join(f"- {one['question']}: {one['why']}" for one in summary["skipped"])
    told = sections(found)
    return (
        joined(
            [
                f"# {summary['model']}: {summary['suite']}",
                f"Model digest `{summary['model_digest'][:16]}`. Made by:",
                f"```\n{summary['command'] or 'measure_suite'}\n```",
                retrieval.standing(found),
                *[f"## {title}\n\n{text}" for title, text in told],
                f"Not asked:\n{skipped}" if skipped else "",
                f"{summary['n_molecules']:,} molecules in {len(summary['spaces'])} spaces, "
                f"{summary['workers']} workers: {spent}. Memory at most {memory['main']:,.0f} MB, "
                f"{memory['largest_worker']:,.0f} MB in a worker.",
            ]
        )
        + "\n"
    )


def sections(found: Sequence[Found]) -> list[tuple[str, str]]:
    """(title, text) of every table of a suite that has a row."""

    def of(kind: str) -> list[Mapping[str, Any]]:
        return [one.data for one in found if one.kind == kind]

    every = [
        (
            "Recall in a pool",
            joined([retrieval.tables(found, "recall", commands=False), retrieval.not_made(found)]),
        ),
        ("Observations of one compound, together and alone", tables.gains(of("recall"))),
        (
            "Isomers: strictly first among all molecules of its formula in the pool",
            retrieval.tables(found, "isomers", commands=False),
        ),
        ("Stereoisomers", retrieval.tables(found, "stereoisomers", commands=False)),
        ("Re-ranking on the inner part of `train`", tables.reranking(of("rerank"))),
        ("Calibration", tables.calibration(of("calibration"))),
        ("Node head: predicted shifts", tables.peaks(of("peaks"))),
        (NOT_RECALL, tables.batches(of("batches"))),
        ("What must be reached", tables.reached([one.data for one in found])),
    ]
    return [(title, text) for title, text in every if text]
