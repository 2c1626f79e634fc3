"""`bench properties`: every system on every run of every set, what is done kept, what is left said."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from acml_search.core.errors import AcmlSearchError, ConfigError
from acml_search.core.progress import progress
from acml_search.encoders.card import read_card
from acml_search.encoders.seen import SeenList, training_list
from acml_search.evaluation.data.described import described_file
from acml_search.evaluation.results import write_json
from acml_search.evaluation.workers import Workers, chunks
from benchmarks.property_bench import cost
from benchmarks.property_bench.cells import (
    HEADS,
    ONCE,
    Cell,
    cell_path,
    kept,
    read_cell,
    run_cell,
)
from benchmarks.property_bench.features import PART, Task, compute
from benchmarks.property_bench.intervals import add_intervals
from benchmarks.property_bench.plan import Plan, PropertySet, System, check_named, read_plan
from benchmarks.property_bench.rows import Rows, failed_shown, parts_of, read_rows
from benchmarks.property_bench.summary import left_out, summarise_system, whole_result
from benchmarks.property_bench.ways import Way, key_of_cell, ways_of

FEATURE_PART = 2_048


@dataclass(frozen=True)
class PropertyOptions:
    """What is measured; the names are those of the command line."""

    benchmark: Path
    out: Path
    model: str | None = None
    only: tuple[str, ...] = ()
    systems: tuple[str, ...] = ()
    workers: int | None = None
    cache: Path | None = None
    peer_python: Path | None = None
    minutes: float | None = None
    """begin no further cell after so many"""
    command: str | None = None


@dataclass
class _Set:
    """A set in work: its rows, its cells, and what each system could not do."""

    asked: PropertySet
    rows: Rows
    cells: list[Cell] = field(default_factory=list)
    why_not: dict[str, str] = field(default_factory=dict)
    n_dropped: dict[str, int] = field(default_factory=dict)
    test: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))


def measure_properties(options: PropertyOptions) -> dict[str, Any]:
    """Do what is not done yet, write `<benchmark>.json` into OUT after every set, and return it.

    Cells of systems and sets that are not asked this time stay in the result. Raises ConfigError for an
    unknown set or system, LibraryError for a file that cannot be read.
    """
    plan = read_plan(options.benchmark)
    if options.model is not None:
        plan = replace(plan, model=options.model)
    check_named(plan, options.only, options.systems)
    options.out.mkdir(parents=True, exist_ok=True)
    bench = _Bench(plan, options)
    with Workers(options.workers) as workers:
        bench.read(workers)
        bench.report()
        bar = progress(total=sum(cell.estimate for cell in bench.left()), desc=plan.name, unit="s")
        with bar:
            for phase in bench.phases():
                bench.do(phase, workers, bar.update)
                bench.report()
    return bench.report(intervals=True)


class _Bench:
    def __init__(self, plan: Plan, options: PropertyOptions) -> None:
        self.plan, self.options = plan, options
        self.cache = options.cache or options.out.parent / "cache"
        self.began = time.perf_counter()
        self.sets: list[_Set] = []
        self.ways = ways_of(plan, options.peer_python, self.cache)
        try:
            card = read_card(plan.model)
            self.seen: SeenList | None = training_list(card)
            self.seen_list = card.data.get("training_list", {}).get("sha256")
        except AcmlSearchError:
            # without the model there are other systems to measure; its own say what is wrong
            self.seen, self.seen_list = None, None

    def read(self, workers: Workers) -> None:
        """Read the sets and lay out their cells, small sets first."""
        for asked in self.plan.sets:
            if self.options.only and asked.name not in self.options.only:
                continue
            structures = described_file(asked.file, workers, self.cache)
            one = _Set(asked, read_rows(asked, structures))
            self._lay_out(one)
            self.sets.append(one)
        self.sets.sort(key=lambda one: len(one.rows) * (1 + one.rows.y.shape[1]))

    def _lay_out(self, one: _Set) -> None:
        asked, rows = one.asked, one.rows
        digest = rows.digest()
        seen = None if self.seen is None else self.seen.any(rows.blocks)
        one.test = np.zeros(len(rows), bool)
        for index, (split, seed) in enumerate(self.plan.runs(asked)):
            parts = parts_of(asked, rows, split)
            one.n_dropped[split] = parts.n_dropped
            one.test[parts.test] = True
            for system in self.plan.systems.values():
                why = left_out(self.plan, asked, system.name, len(rows))
                way = self.ways[system.name]
                if why is not None or isinstance(way, str):
                    one.why_not[system.name] = why or str(way)
                    continue
                if system.runs is not None and index >= system.runs:
                    continue
                for head in self._heads(asked, system, split, index):
                    one.cells.append(
                        Cell(
                            asked=asked,
                            system=system,
                            head=head,
                            split=split,
                            seed=seed,
                            index=index,
                            rows=rows,
                            parts=parts,
                            out=self.options.out,
                            key=key_of_cell(way, head, digest, asked, split, seed),
                            estimate=cost.seconds(system, head, asked.task, parts, rows),
                            features=None if way.store is None else way.store.folder,
                            columns=way.columns,
                            model=way.model,
                            python=way.python,
                            seen_list=self.seen_list,
                            seen=seen,
                        )
                    )

    def _heads(self, asked: PropertySet, system: System, split: str, index: int) -> list[str]:
        if system.trained:
            return ["own"]
        first = [s for s, _ in self.plan.runs(asked)].index(split) == index
        boosted = asked.boosted_runs is None or index < asked.boosted_runs
        return [head for head in HEADS if (first if head in ONCE else boosted)]

    def left(self) -> list[Cell]:
        """The cells that are asked and not done."""
        systems = self.options.systems or tuple(self.plan.systems)
        cells = [cell for one in self.sets for cell in one.cells if cell.system.name in systems]
        return [cell for cell in cells if kept(cell) is None]

    def phases(self) -> Iterator[list[Cell]]:
        """Set by set the systems with heads; then those that are trained, first runs first."""
        left = self.left()
        for one in self.sets:
            mine = [cell for cell in left if cell.asked is one.asked and not cell.system.trained]
            yield sorted(mine, key=lambda cell: (cell.index, cell.estimate))
        trained = [cell for cell in left if cell.system.trained]
        for index in sorted({cell.index for cell in trained}):
            for one in self.sets:
                yield [cell for cell in trained if cell.index == index and cell.asked is one.asked]

    def do(self, cells: list[Cell], workers: Workers, tell: Any) -> None:
        """Features first, then the cells; a cell that could not be done leaves its reason."""
        if not cells or self._late():
            return
        for name in dict.fromkeys(cell.system.name for cell in cells):
            way = self.ways[name]
            if isinstance(way, Way) and way.store is not None:
                try:
                    self._features(way, cells[0].rows.smiles, workers)
                except ConfigError as error:  # a peer that stopped working
                    self._cannot(cells, name, str(error))
        known = self._set_of(cells[0]).why_not
        cells = [cell for cell in cells if cell.system.name not in known]
        told = (cell for cell in cells if not self._late())
        for result, cell in zip(workers.map(run_cell, told), cells, strict=False):
            tell(cell.estimate)
            if "why_not" in result:
                self._set_of(cell).why_not[cell.system.name] = result["why_not"]

    def _set_of(self, cell: Cell) -> _Set:
        return next(one for one in self.sets if one.asked is cell.asked)

    def _cannot(self, cells: list[Cell], name: str, why: str) -> None:
        self._set_of(cells[0]).why_not[name] = why

    def _features(self, way: Way, smiles: list[str], workers: Workers) -> None:
        if way.store is None or way.recipe is None:
            return
        missing = way.store.missing(smiles)
        if not missing:
            return
        size = PART.get(way.recipe.kind, FEATURE_PART)
        parts = list(chunks(missing, size))
        with progress(total=len(missing), desc=f"{way.name} features", unit="mol") as bar:
            tasks = (Task(way.recipe, part) for part in parts)
            for part, found in zip(parts, workers.map(compute, tasks), strict=True):
                way.store.add(part, found)
                bar.update(len(part))

    def _late(self) -> bool:
        minutes = self.options.minutes
        return minutes is not None and time.perf_counter() - self.began > 60 * minutes

    def report(self, *, intervals: bool = False) -> dict[str, Any]:
        """Write what is done so far, and return it; `intervals`: also those of the differences in duels."""
        sets = self._elsewhere() + [self._about(one) for one in self.sets]
        order = [asked.name for asked in self.plan.sets]
        sets.sort(key=lambda about: order.index(about["set"]))
        seconds = sum(
            value["seconds"] for one in sets for value in one["systems"].values() if "seconds" in value
        )
        result = whole_result(self.plan, sets, self.options.command, seconds)
        if intervals:
            add_intervals(result, self.plan, self.options.out)
        result["model"] = self.plan.model
        result["left"] = len(self.left())
        write_json(result, self._path)
        return result

    @property
    def _path(self) -> Path:
        return self.options.out / f"{self.plan.name}.json"

    def _elsewhere(self) -> list[dict[str, Any]]:
        """What the result of before says of the sets that are not asked now."""
        before = read_cell(self._path)
        mine = {one.asked.name for one in self.sets}
        known = {asked.name for asked in self.plan.sets} - mine
        return [] if before is None else [about for about in before["sets"] if about["set"] in known]

    def _about(self, one: _Set) -> dict[str, Any]:
        asked, rows = one.asked, one.rows
        runs = self.plan.runs(asked)
        systems: dict[str, Any] = {}
        for name in self.plan.systems:
            done = self._finished(one, name)
            if done:
                systems[name] = summarise_system(done, runs)
            else:
                systems[name] = {"why_not": one.why_not.get(name, "not measured yet")}
        tested = {rows.blocks[i] for i in np.flatnonzero(one.test).tolist()}
        n_seen = None if self.seen is None else int(self.seen.any(sorted(tested)).sum())
        return {
            "set": asked.name,
            "task": asked.task,
            "metric": asked.metric,
            "split": ", ".join(asked.splits),
            "runs": [{"split": split, "seed": seed} for split, seed in runs],
            "n": len(rows),
            "n_targets": rows.y.shape[1],
            "n_failed": len(rows.failed),
            "failed": failed_shown(rows),
            "n_dropped_from_training": one.n_dropped,
            "n_test_molecules": len(tested),
            "n_seen_in_training": n_seen,
            "systems": systems,
        }

    def _finished(self, one: _Set, name: str) -> list[dict[str, Any]]:
        """Results of a system that still hold. Where it cannot be run now, those of before are taken."""
        mine = [cell for cell in one.cells if cell.system.name == name]
        if mine:
            return [found for cell in mine if (found := kept(cell)) is not None]
        if name in one.asked.leave_out or not isinstance(self.ways[name], str):
            return []
        paths = [
            cell_path(self.options.out, one.asked.name, split, seed, name, head)
            for split, seed in self.plan.runs(one.asked)
            for head in (*HEADS, "own")
        ]
        before = [read_cell(path) for path in dict.fromkeys(paths)]
        return [cell for cell in before if cell is not None]
