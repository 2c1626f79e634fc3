"""`bench report`: results of all kinds as one Markdown page with tables and plots."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from acml_search.core.errors import ConfigError
from benchmarks.report import about, curves, fronts, properties, retrieval, speed, tables
from benchmarks.report.drawing import Plots
from benchmarks.report.found import Found, Results, by_maker, read_results
from benchmarks.report.markdown import commands, joined, listed, table, with_interval
from benchmarks.report.points import Point, by_group_size, classed
from benchmarks.report.readme import replaced_tables, write_bytes
from benchmarks.report.reliability import diagram, part_of
from benchmarks.report.suite import NOT_RECALL

PAGE = "report.md"
PLOTS = "plots"
CLASSES = {
    "similarity": "similarity to training",
    "size": "heavy atoms",
}

CLASSED = (
    "R@1 (molecules); classes of fewer than 20 molecules are left out. Similarity is Tanimoto's, of Morgan "
    "fingerprints, to the nearest molecule that training saw with a record."
)

Questions = dict[str, list[Found]]


@dataclass(frozen=True)
class ReportOptions:
    """What is reported; the names are those of the command line."""

    results: tuple[Path, ...]
    out: Path
    readme: Path | None = None
    command: str | None = None
    """the command line that asked, for the page"""


def make_report(options: ReportOptions) -> dict[str, Any]:
    """Write the page and its plots into OUT, and the table into the README where one is named.

    Gives `{"page", "plots", "results", "left_out", "not_ahead", "readme"}`: paths, the number of results of
    each kind, sentences on files that were left out, and the rows in which a baseline is not beaten. Raises
    ConfigError where nothing is a result, or the README has no place for the table; then nothing is written.
    """
    results = read_results(options.results)
    text = replaced_tables(options.readme, results, options.command) if options.readme else None
    if options.out.exists() and not options.out.is_dir():
        raise ConfigError(f"{options.out} is no folder; name one with --out")
    options.out.mkdir(parents=True, exist_ok=True)
    plots = Plots(options.out / PLOTS)
    page = options.out / PAGE
    write_bytes(page, whole_page(results, plots, options.command).encode())
    if options.readme is not None and text is not None:
        write_bytes(options.readme, text)
    kinds = [one.kind for one in results.every]
    return {
        "page": str(page),
        "plots": [str(path) for path in plots.written],
        "results": {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)},
        "left_out": results.left_out,
        "not_ahead": retrieval.not_ahead(results.every),
        "readme": None if options.readme is None else str(options.readme),
    }


def whole_page(results: Results, plots: Plots, command: str | None) -> str:
    """The page's text; its plots are written on the way."""
    found = results.every
    sections = [(title, text) for title, text in _sections(found, plots) if text]
    notes = "\n".join(f"- {line}" for line in results.left_out)
    return (
        joined(
            [
                "# Results",
                f"Made by:\n\n```sh\n{command}\n```" if command else "",
                _makers(found),
                retrieval.standing(found),
                f"Left out:\n\n{notes}" if notes else "",
                "\n".join(f"- [{title}](#{_anchor(title)})" for title, _ in sections),
                *[f"## {title}\n\n{text}" for title, text in sections],
            ]
        )
        + "\n"
    )


def _anchor(title: str) -> str:
    kept = "".join(c for c in title.lower() if c.isalnum() or c in " -_")
    return kept.replace(" ", "-")


def _makers(found: Sequence[Found]) -> str:
    """Which models these are results of; where there are several, that they stand apart."""
    makers = [maker for maker in by_maker(found) if maker[1]]
    names = [f"{model} (`{digest[:12]}`)" for model, digest in makers]
    if len(makers) < 2:
        return f"Results of {names[0]}." if makers else ""
    return (
        f"**These are results of {len(makers)} models or states of a model**, told apart by their digests: "
        f"{listed(names)}. Each has tables and plots of its own."
    )


def _sections(found: Sequence[Found], plots: Plots) -> list[tuple[str, str]]:
    def told(kind: str, make: Callable[[Sequence[Mapping[str, Any]]], str]) -> str:
        parts = []
        for group in by_maker(one for one in found if one.kind == kind).values():
            text = make([one.data for one in group])
            if text:
                parts.append(_with_maker(group, found, joined([text, commands(x.command for x in group)])))
        return joined(parts)

    return [
        (
            "Retrieval: recall in a pool",
            joined([retrieval.tables(found, "recall"), retrieval.not_made(found)]),
        ),
        ("Several observations of one compound", told("recall", tables.gains)),
        ("Recall against the size of the pool", _pools(found, plots)),
        (
            "Isomers: strictly first among all molecules of its formula",
            joined([retrieval.tables(found, "isomers"), _groups(found, plots)]),
        ),
        ("Stereoisomers", retrieval.tables(found, "stereoisomers")),
        ("Recall by class of molecule", _classes(found, plots)),
        ("Calibration", joined([_reliability(found, plots), told("calibration", tables.calibration)])),
        ("Re-ranking on the inner part of train", told("rerank", tables.reranking)),
        ("Predicted shifts", told("peaks", tables.peaks)),
        (NOT_RECALL, told("batches", tables.batches)),
        ("Index", _index(found, plots)),
        ("Properties", joined(properties.section(one) for one in found if one.kind == "properties")),
        *speed.sections(found),
        ("What must be reached", _reached(found)),
        ("Leakage", about.leakage(found)),
        ("Time", about.times(found)),
        ("Versions", about.versions(found)),
    ]


def _with_maker(group: Sequence[Found], found: Sequence[Found], text: str) -> str:
    """Says whose results these are, where the page holds those of several models."""
    several = len([maker for maker in by_maker(found) if maker[1]]) > 1
    return f"### {group[0].model} ({group[0].digest[:12]})\n\n{text}" if several else text


def _reached(found: Sequence[Found]) -> str:
    return joined(
        _with_maker(group, found, text)
        for group in by_maker(found).values()
        if (text := tables.reached([one.data for one in group]))
    )


def _drawn(
    found: Sequence[Found], every: Sequence[Found], plots: Plots, name: str, text: str,
    make: Callable[[Questions], Figure],
) -> str:  # fmt: skip
    """One plot per model of these results, sorted by question."""
    parts = []
    makers = by_maker(found)
    for (model, digest), group in makers.items():
        asked = _by_question(group)
        order = sorted(asked, key=lambda name: retrieval.place(retrieval.ORDER, asked[name][0].modality)[0])
        asked = {question: asked[question] for question in order}
        file = name if len(makers) == 1 else f"{name}-{model.rsplit('/', 1)[-1]}-{digest[:8]}"
        said = f"{text}, {model}"
        parts.append(_with_maker(group, every, plots.draw(file, said, partial(make, asked))))
    return joined(parts)


def _by_question(found: Sequence[Found]) -> Questions:
    asked: Questions = {}
    for one in retrieval.in_order(found):
        asked.setdefault(one.question, []).append(one)
    return asked


def _pools(found: Sequence[Found], plots: Plots) -> str:
    chosen = [one for one in found if one.kind == "recall" and one.data.get("by_pool")]
    if not chosen:
        return ""
    parts = [
        "Pools are nested: each holds the truth and the first others of one random order. Intervals of 95 % "
        "over molecules are shaded."
    ]
    for k in ("1", "10"):
        draw = partial(curves.against_pool, k=k, looks=plots.looks)
        parts.append(_drawn(chosen, found, plots, f"pools-recall{k}", f"Recall@{k} against pool size", draw))
    for group in by_maker(chosen).values():
        parts.append(_with_maker(group, found, _pool_table(group)))
    return joined([*parts, commands(one.command for one in chosen)])


def _pool_table(found: Sequence[Found]) -> str:
    sizes = sorted({point["n_pool"] for one in found for point in one.data["by_pool"]})
    rows = []
    for one in retrieval.in_order(found):
        of = {point["n_pool"]: point for point in one.data["by_pool"]}
        cells = [with_interval(of[n]["recall"]["1"], of[n]["ci95"]["1"]) if n in of else "" for n in sizes]
        rows.append([one.question, one.system, *cells])
    return table(["question", "R@1 (95 %) in a pool of", *[f"{n:,}" for n in sizes]], rows, left=2)


def _groups(found: Sequence[Found], plots: Plots) -> str:
    chosen = [one for one in found if one.kind == "isomers" and by_group_size(one)]
    if not chosen:
        return ""
    draw = partial(curves.against_group, points=by_group_size, looks=plots.looks)
    text = "Accuracy against the number of molecules of the formula"
    return joined(
        [
            f"{text}, and how many molecules asked have so many (sizes of "
            f"fewer than {curves.FEWEST} molecules are not drawn):",
            _drawn(chosen, found, plots, "isomers", text, draw),
        ]
    )


def _classes(found: Sequence[Found], plots: Plots) -> str:
    chosen = _plain(found)
    parts = []
    for name, axis in CLASSES.items():
        points = partial(classed, name=name)
        known = [one for one in chosen if points(one)]
        if known:
            draw = partial(curves.against_class, points=points, x=axis, looks=plots.looks)
            parts.append(_drawn(known, found, plots, f"classes-{name}", f"Recall@1 by {axis}", draw))
            for group in by_maker(known).values():
                parts.append(_with_maker(group, found, _class_table(group, points, axis)))
    return joined([*parts, commands(one.command for one in chosen) if parts else ""])


def _class_table(found: Sequence[Found], points: Callable[[Found], list[Point]], axis: str) -> str:
    order = {point.name: point.order for one in found for point in points(one)}
    names = sorted(order, key=lambda name: order[name])
    rows = []
    for one in retrieval.in_order(found):
        of = {point.name: point for point in points(one)}
        cells = [f"{of[name].value:.3f} ({of[name].n:,})" if name in of else "" for name in names]
        rows.append([one.question, one.system, *cells])
    head = table(["question", axis, *names], rows, left=2)
    return f"{CLASSED}\n\n{head}"


def _plain(found: Sequence[Found]) -> list[Found]:
    """Of every question the results with the widest filter it was asked with; parts of a fused one not."""
    recalls = [
        one
        for one in found
        if one.kind == "recall" and one.direction == "to-molecule" and not one.question.endswith("-alone")
    ]
    widest: dict[tuple[str, ...], str] = {}
    for one in retrieval.in_order(recalls):
        widest.setdefault((*one.maker, one.question), one.filter)
    return [one for one in recalls if widest[(*one.maker, one.question)] == one.filter]


def _reliability(found: Sequence[Found], plots: Plots) -> str:
    chosen = [one for one in found if one.kind == "calibration" and part_of(one) is not None]
    if not chosen:
        return ""

    def draw(asked: Questions) -> Figure:
        return diagram([one for group in asked.values() for one in group])

    return _drawn(chosen, found, plots, "calibration", "Probability against share of right first hits", draw)


def _index(found: Sequence[Found], plots: Plots) -> str:
    parts = []
    chosen = [one for one in found if one.kind == "index"]
    for one in chosen:
        name = "index" if len(chosen) == 1 else f"index-{one.path.stem}"
        text = "Recall of an index against its latency and its bytes per vector, the axis stretched near 1"
        if any(each.get("recall_at_k") is not None for each in one.data["engines"]):
            parts.append(plots.draw(name, text, partial(fronts.pareto, one.data)))
        parts.append(speed.index(one))
    return joined(parts)
