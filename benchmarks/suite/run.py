"""`bench suite`: every question of a suite from one embedding pass over all molecules."""

from __future__ import annotations

import os
import platform
import resource
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from acml_search.core.errors import ConfigError
from acml_search.encoders.card import ModelCard, read_card
from acml_search.evaluation.data.described import described_file, kept_standardisation
from acml_search.evaluation.data.queries import QueryFile, read_queries
from acml_search.evaluation.ranks.leakage import check_standardisation
from acml_search.evaluation.ranks.retrieval import Clock
from acml_search.evaluation.results import write_json
from acml_search.evaluation.vectors.peaks import predicting
from acml_search.evaluation.vectors.stored import graph_vectors
from acml_search.evaluation.workers import Workers
from benchmarks.report import suite_page
from benchmarks.suite.asking import Asking
from benchmarks.suite.bench import Bench
from benchmarks.suite.chosen import chosen_of
from benchmarks.suite.files import read_suites
from benchmarks.suite.fused import ask_fused
from benchmarks.suite.plan import FusedQuestion, Question, Suite
from benchmarks.suite.question import answers

SUMMARY = "suite.json"
PAGE = "suite.md"


@dataclass(frozen=True)
class SuiteOptions:
    """What is measured; the names are those of the command line."""

    files: tuple[Path, ...]
    out: Path
    model: str = "acml-base"
    cache: Path | None = None
    baselines: bool = True
    """ask those too that the questions name"""
    workers: int | None = None
    command: str | None = None
    """the command line that asked, for the results"""


def measure_suite(options: SuiteOptions) -> dict[str, Any]:
    """Answer all questions, write their files, `suite.json` and `suite.md` into OUT; returns `suite.json`.

    Questions about a modality that the model has no space for are skipped, and listed so. Raises ConfigError
    where none is left, LibraryError for a file that cannot be read.
    """
    suite = read_suites(options.files)
    if not options.baselines:
        suite = replace(suite, questions=tuple(replace(one, baselines=()) for one in suite.questions))
    card = read_card(options.model)
    questions, fused, skipped = _wanted(suite, options.model, set(card.spaces))
    parts = [suite.part(name) for name in dict.fromkeys(name for one in fused for name in one.parts)]
    _check_folder(options.out)
    cache = options.cache or options.out.parent / "cache"
    clock = Clock()
    seconds: dict[str, dict[str, float]] = {}
    results: list[dict[str, Any]] = []
    with Workers(options.workers, model=options.model) as workers:
        everything = [*questions, *(one for one in parts if one not in questions)]
        files = dict.fromkeys(path for one in everything for path in (one.queries, *one.library))
        files |= dict.fromkeys(path for one in questions if one.pools for path in one.large)
        structures = {path: described_file(path, workers, cache) for path in files}
        check_standardisation({path: kept_standardisation(path, cache) for path in files})
        read = {
            path: read_queries(path, workers, cache=cache) for path in {one.queries for one in everything}
        }
        for question in everything:  # what cannot be asked is said before the long part
            _check(question, read[question.queries], suite, card)
        clock.lap("read structures")
        spaces = sorted({one.modality for one in everything})
        comparing = sorted({one.modality for one in everything if one.rerank or "shifts" in one.baselines})
        peaks = predicting(card, comparing)
        vectors = graph_vectors(structures.values(), card, workers, cache, spaces=spaces, peaks=peaks)
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
                results += answers(asking)
                seconds[now.name] = asking.clock.seconds
                del asking  # half a million vectors
            clock.lap("questions")
            summary = _summary(bench, options, clock, results)
            summary["seconds_by_question"] = seconds
            summary["left"] = [one.name for one in left]
            _write(summary, results, options.out)  # after each, so that what is done is of use
    summary["peak_memory_mb"] = _peak_memory()  # of workers it is known when they have ended
    _write(summary, results, options.out)
    return summary


def _write(summary: dict[str, Any], results: list[dict[str, Any]], out: Path) -> None:
    write_json(summary, out / SUMMARY)
    (out / PAGE).write_text(suite_page(summary, results, out), encoding="utf-8")


def _check(question: Question, file: QueryFile, suite: Suite, card: ModelCard) -> None:
    """Raises ConfigError or FilterError for a column that is not there, a condition no row fulfils, and
    molecules that training saw.
    """
    file.check_columns(question.modality)
    for where in (question.calibrate, question.training):
        file.select(where=where)
    chosen_of(question, file, card, suite.seed)


def _summary(
    bench: Bench, options: SuiteOptions, clock: Clock, results: list[dict[str, Any]]
) -> dict[str, Any]:
    known = {one.smiles for file in bench.structures.values() for one in file if not isinstance(one, str)}
    return {
        "suite": bench.suite.path,
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
    suite: Suite, model: str, spaces: set[str]
) -> tuple[list[Question], list[FusedQuestion], list[dict[str, str]]]:
    """The questions that the model has spaces for, and what is skipped and why."""
    questions = [one for one in suite.questions if one.modality in spaces]
    skipped = [
        {"question": one.name, "why": f"the model has no space for {one.modality}"}
        for one in suite.questions
        if one.modality not in spaces
    ]
    fused = []
    for one in suite.fused:
        missing = [m for m in (suite.part(part).modality for part in one.parts) if m not in spaces]
        if missing:
            skipped.append({"question": one.name, "why": f"the model has no space for {missing[0]}"})
        else:
            fused.append(one)
    if not questions and not fused:
        raise ConfigError(
            f"{suite.path}: model {model} has spaces for {', '.join(sorted(spaces))} only, "
            "and no question asks for these"
        )
    return questions, fused, skipped


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
