"""The README's tables, each between two markers; every other byte of the file stays."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from acml_search.core.errors import ConfigError
from benchmarks.report.compare import best_baseline, first, nearest_baseline
from benchmarks.report.found import Found, Results, by_maker
from benchmarks.report.markdown import (
    commands,
    count,
    joined,
    share,
    table,
    with_interval,
)
from benchmarks.report.properties import brief
from benchmarks.report.retrieval import in_order, modalities

HEAD = [
    "modality", "pool", "molecules asked", "R@1 (95 %)", "R@10", "R@1 within 5 Da", "R@1 within 10 ppm",
    "R@1 of its formula", "among isomers", "best baseline, R@1",
]  # fmt: skip


def replaced_tables(path: Path, results: Results, command: str | None) -> bytes:
    """The file with a table between each pair of its markers, `<!-- results: begin -->` and `end`, and the
    same with `properties`. A table of which no result was named stays as it is.

    Raises ConfigError where the file has no markers, or one of them twice, or nothing named fills any.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: there is no such file; name the README whose table is to be replaced")
    data = path.read_bytes()
    makers = {"results": results_table, "properties": properties_table}
    marked = [name for name in makers if _mark(name, "begin") in data or _mark(name, "end") in data]
    if not marked:
        raise ConfigError(f"{path}: {_how('results')}")
    texts = {name: makers[name](results.every, command) for name in marked}
    if not any(texts.values()):
        raise ConfigError(
            f"{path} was left as it was: no result that fills its table ({', '.join(marked)}) was named"
        )
    for name, text in texts.items():
        data = _filled(path, data, name, text)
    return data


def _mark(name: str, side: str) -> bytes:
    return f"<!-- {name}: {side} -->".encode()


def _how(name: str) -> str:
    begin, end = _mark(name, "begin").decode(), _mark(name, "end").decode()
    return (
        f"put the line `{begin}` once where the table of {name} is to begin, and `{end}` once after it; what "
        "stands between them is replaced"
    )


def _filled(path: Path, old: bytes, name: str, text: str) -> bytes:
    begin, end = _mark(name, "begin"), _mark(name, "end")
    first, last = old.find(begin), old.find(end)
    if old.count(begin) != 1 or old.count(end) != 1 or last < first:
        raise ConfigError(f"{path}: {_how(name)}")
    if not text:
        return old
    newline = "\r\n" if b"\r\n" in old else "\n"
    middle = f"\n{text}\n".replace("\n", newline).encode()
    return old[: first + len(begin)] + middle + old[last:]


def results_table(found: Sequence[Found], command: str | None) -> str:
    """The table, one per model where there are several, with the command lines under it."""
    chosen = [
        one for one in found if one.kind in ("recall", "isomers") and not one.question.endswith("-alone")
    ]
    groups = by_maker(chosen)
    parts = []
    for (model, digest), group in groups.items():
        if len(groups) > 1:
            parts.append(f"{model}, digest `{digest[:12]}`:")
        rows = _rows(group)
        # A column that says nothing is left out.
        shown = [i for i in range(len(HEAD)) if any(row[i] for row in rows) or i == 0]
        parts.append(table([HEAD[i] for i in shown], [[row[i] for i in shown] for row in rows]))
        parts.append(commands(one.command for one in group))
    if parts and command:
        parts.append(f"This table was put here by `{command}`.")
    return joined(parts)


def properties_table(found: Sequence[Found], command: str | None) -> str:
    """The scores of each property benchmark, and who is ahead of whom, with the command line under it."""
    asked = [one for one in found if one.kind == "properties"]
    parts = [joined([f"### {one.data['benchmark']}" if len(asked) > 1 else "", brief(one)]) for one in asked]
    if parts and command:
        parts.append(f"This table was put here by `{command}`.")
    return joined(parts)


def _rows(found: Sequence[Found]) -> list[list[str]]:
    rows = []
    for modality in modalities(found):
        mine = [one for one in in_order(found) if one.modality == modality and one.baseline is None]
        for question, direction in dict.fromkeys((one.question, one.direction) for one in mine):
            for reranked in (False, True):
                row = [
                    one
                    for one in mine
                    if (one.question, one.direction, one.reranked) == (question, direction, reranked)
                ]
                if row:
                    rows.append(_row(row, found))
    return rows


def _row(row: Sequence[Found], found: Sequence[Found]) -> list[str]:
    """One row of the table, from the results of one question with all filters."""
    one = row[0]
    of = {each.filter: each for each in row if each.kind == "recall"}
    isomers = next((each for each in row if each.kind == "isomers"), None)
    every = of.get("all")
    name = f"`{one.question}`"
    if one.direction == "to-record":
        name += ", to record"
    if one.reranked:
        name += ", re-ranked"
    return [
        name,
        count(one.data["n_pool"]),
        count(one.data.get("n_molecules") or one.data["n_queries"]),
        with_interval(every.data["recall"]["1"], every.data["ci95"]["1"]) if every else "",
        share(every.data["recall"].get("10")) if every else "",
        *[share(of[key].data["recall"]["1"]) if key in of else "" for key in ("5 Da", "10 ppm", "formula")],
        share(isomers.data["accuracy"]) if isomers else "",
        _baselines(row, found),
    ]


def _baselines(row: Sequence[Found], found: Sequence[Found]) -> str:
    """The best baseline with the row's widest filter; and each column in which the model is not ahead."""
    best = next((each for one in row if (each := best_baseline(one, found)) is not None), None)
    if best is None:
        return ""
    what = "" if best.filter == "all" else f" ({best.filter})"
    text = f"{best.system} {share(first(best))}{what}"
    duels = [(one, nearest_baseline(one, found)) for one in row]
    behind = [
        f"{_column(one)}: {duel.baseline.system} {share(first(duel.baseline))}"
        for one, duel in duels
        if duel is not None and not duel.ahead
    ]
    return f"{text}; **not ahead**: {', '.join(behind)}" if behind else text


def _column(one: Found) -> str:
    return "isomers" if one.kind == "isomers" else one.filter


def write_bytes(path: Path, data: bytes) -> None:
    """Write whole or not at all; a file that is there keeps its mode, a link to it stays a link."""
    real = path.resolve()
    partial = real.with_name(real.name + ".partial")
    partial.write_bytes(data)
    if real.exists():
        shutil.copymode(real, partial)
    os.replace(partial, real)
