"""`bench suite`: every question of a suite from one embedding pass over all molecules."""

from __future__ import annotations

import os
import platform
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acml_search.encoders.card import read_card
from acml_search.errors import ConfigError
from acml_search.evaluation.described import described_file
from acml_search.evaluation.fused import ask_fused
from acml_search.evaluation.queries import QueryFile, read_queries
from acml_search.evaluation.question import Asking, Bench
from acml_search.evaluation.report import write_json
from acml_search.evaluation.retrieval import Clock
from acml_search.evaluation.stored import graph_vectors
from acml_search.evaluation.suite import FusedQuestion, Question, Suite, read_suite
from acml_search.evaluation.tables import suite_page
from acml_search.evaluation.workers import Workers

SUMMARY = "suite.json"
PAGE = "suite.md"


@dataclass(frozen=True)
class SuiteOptions:
    """What is measured; the names are those of the command line."""

    suite: Path
    out: Path
    model: str = "acml-base"
    cache: Path | None = None
    only: tuple[str, ...] = ()
    workers: int | None = None
    command: str | None = None
    """the command line that asked, for the results"""


def measure_suite(options: SuiteOptions) -> dict[str, Any]:
    """Answer all questions, write their files, `suite.json` and `suite.md` into OUT; returns `suite.json`.

    Questions about a modality that the model has no space for are skipped, and listed so. Raises ConfigError
    where none is left, LibraryError for a file that cannot be read.
    """
    suite = read_suite(options.suite)
    card = read_card(options.model)
    questions, skipped = _wanted(suite, options, set(card.spaces))
    fused = _wanted_fused(suite, options, set(card.spaces))
    parts = [one for one in suite.questions if any(one.name in two.parts for two in fused)]
    _check_folder(options.out)
    cache = options.cache or options.out.parent / "cache"
    clock = Clock()
    seconds: dict[str, dict[str, float]] = {}
    results: list[dict[str, Any]] = []
    with Workers(options.workers, model=options.model) as workers:
        everything = [*questions, *(one for one in parts if one not in questions)]
        files = dict.fromkeys(path for one in everything for path in (one.queries, *one.library))
        structures = {path: described_file(path, workers, cache) for path in files}
        read = {
            path: read_queries(path, workers, cache=cache) for path in {one.queries for one in everything}
        }
        for question in questions:  # what cannot be asked is said before the long part
            _check(question, read[question.queries])
        clock.lap("read structures")
        vectors = graph_vectors(structures.values(), card, workers, cache)
        clock.lap("embed molecules")
        bench = Bench(
            suite,
            card,
            options.model,
            options.out,
            cache,
            workers,
            structures,
            vectors,
            options.command,
            skipped,
        )
        left: list[Question | FusedQuestion] = [*questions, *fused]
        while left:
            now = left.pop(0)
            if isinstance(now, FusedQuestion):
                results += ask_fused(bench, now, read)
            else:
                asking = Asking(bench, now, read[now.queries])
                results += asking.run()
                seconds[now.name] = asking.clock.seconds
                del asking  # half a million vectors
            clock.lap("questions")
            summary = _summary(bench, options, clock, results)
            summary["seconds_by_question"] = seconds
            summary["left"] = [one.name for one in left]
            write_json(summary, options.out / SUMMARY)  # after each, so that what is done is of use
            (options.out / PAGE).write_text(suite_page(summary, results), encoding="utf-8")
    return summary


def _check(question: Question, file: QueryFile) -> None:
    """Raises ConfigError or FilterError for a column that is not there and a condition no row fulfils."""
    file.check_columns(question.modality)
    for where in (question.where, question.calibrate, question.training):
        file.select(where=where)


def _summary(
    bench: Bench, options: SuiteOptions, clock: Clock, results: list[dict[str, Any]]
) -> dict[str, Any]:
    known = {one.smiles for file in bench.structures.values() for one in file if not isinstance(one, str)}
    return {
        "suite": str(options.suite),
        "model": options.model,
        "model_digest": bench.card.digest,
        "spaces": sorted(bench.card.spaces),
        "n_molecules": len(known),
        "skipped": bench.skipped,
        "seconds": clock.seconds,
        "peak_memory_mb": _peak_memory(),
        "workers": bench.workers.n,
        "command": options.command,
        "versions": _versions(),
        "results": [result["result"] for result in results],
    }


def _wanted(
    suite: Suite, options: SuiteOptions, spaces: set[str]
) -> tuple[list[Question], list[dict[str, str]]]:
    names = {one.name for one in suite.questions} | {one.name for one in suite.fused}
    unknown = sorted(set(options.only) - names)
    if unknown:
        raise ConfigError(
            f"{suite.path} has no question {unknown[0]!r}; its questions: {', '.join(sorted(names))}"
        )
    chosen = [one for one in suite.questions if not options.only or one.name in options.only]
    missing = [one for one in chosen if one.modality not in spaces]
    skipped = [{"question": one.name, "why": f"the model has no space for {one.modality}"} for one in missing]
    left = [one for one in chosen if one.modality in spaces]
    if not left and not _wanted_fused(suite, options, spaces):
        raise ConfigError(
            f"{suite.path}: model {options.model} has spaces for {', '.join(sorted(spaces))} only, "
            "and no question asks for these"
        )
    return left, skipped


def _wanted_fused(suite: Suite, options: SuiteOptions, spaces: set[str]) -> list[FusedQuestion]:
    """Those asked for whose parts all have a space in the model."""
    modality = {one.name: one.modality for one in suite.questions}
    return [
        one
        for one in suite.fused
        if (not options.only or one.name in options.only)
        and all(modality[part] in spaces for part in one.parts)
    ]


def _check_folder(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is no folder; name one with --out")
    out.mkdir(parents=True, exist_ok=True)
    if not os.access(out, os.W_OK):
        raise ConfigError(f"{out}: the folder may not be written to; choose another --out")


def _peak_memory() -> dict[str, float]:
    """Highest resident memory so far, MB: this process (mapped files included), and its largest worker."""
    unit = 1 / 1024 if platform.system() == "Linux" else 1 / 1024**2
    return {
        "main": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit,
        "largest_worker": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit,
    }


def _versions() -> dict[str, str]:
    import numpy
    import rdkit

    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "rdkit": rdkit.__version__,
        "numpy": numpy.__version__,
    }
