"""What all questions of a suite's run share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from acml_search.encoders.card import ModelCard
from acml_search.evaluation.data.structures import Described
from acml_search.evaluation.vectors.stored import StoredVectors
from acml_search.evaluation.workers import Workers
from benchmarks.suite.plan import Suite


@dataclass
class Bench:
    """What all questions of a run share."""

    suite: Suite
    card: ModelCard
    model: str
    out: Path
    cache: Path
    workers: Workers
    structures: Mapping[Path, list[Described]]
    """every row's, of the files"""
    vectors: StoredVectors
    command: str | None
    skipped: list[dict[str, str]]
    """what could not be asked, and why"""
