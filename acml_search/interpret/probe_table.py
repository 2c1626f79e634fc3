"""A probing as text, Markdown and heat map."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from acml_search.core.io import write_atomic
from acml_search.interpret.pictures import save

LEGEND = (
    "R2 of numbers, AUROC of groups, on test molecules of scaffolds that no probe saw. "
    "Half the width of the 95 % interval is beside each figure of the Markdown table."
)


def text(result: dict[str, Any]) -> str:
    """The table for a terminal, the checks and the reading."""
    views = list(result["views"])
    rows = [("concept", "", *views)]
    for concept in result["concepts"]:
        cells = [_mark(f"{concept['values'][v]['value']:.2f}", v == concept["best_space"]) for v in views]
        rows.append((concept["name"], concept["metric"], *cells))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [_head(result), ""]
    for row in rows:
        name, metric, *cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        lines.append(
            "  ".join([name, metric, *(c.strip().rjust(w) for c, w in zip(cells, widths[2:], strict=True))])
        )
    lines += [
        "",
        "*: best of the spaces",
        "",
        *_checks(result),
        "",
        *result["reading"],
        "",
        _left_out(result),
    ]
    return "\n".join(lines).rstrip() + "\n"


def markdown(result: dict[str, Any]) -> str:
    """The same as a page; the best description of a row in bold, the best space in italics."""
    views = list(result["views"])
    lines = [
        f"# What {result['model']['name']} knows",
        "",
        _head(result),
        "",
        LEGEND,
        "",
        f"| concept | metric | with it | {' | '.join(views)} |",
        f"|---|---|---|{'---|' * len(views)}",
    ]
    for concept in result["concepts"]:
        cells = []
        for view in views:
            one = concept["values"][view]
            low, high = one["ci95"]
            shown = f"{one['value']:.3f} ± {(high - low) / 2:.3f}"
            bold = "**" if view == concept["best"] else "_" if view == concept["best_space"] else ""
            cells.append(f"{bold}{shown}{bold}")
        n = f"{concept['n_with']:,}" if concept["kind"] == "group" else ""
        lines.append(f"| {concept['name']} | {concept['metric']} | {n} | {' | '.join(cells)} |")
    lines += ["", "Bold: best of all; italic: best of the spaces, where that is another.", ""]
    lines += ["## Against physics", "", *(f"- {line}" for line in _checks(result)), ""]
    lines += ["## Reading", "", *(f"- {line}" for line in result["reading"]), "", _left_out(result), ""]
    lines.append(f"Made by `{result['command']}` in {result['seconds']:.0f} s.")
    return "\n".join(lines) + "\n"


def heat_map(result: dict[str, Any], paths: Sequence[Path]) -> None:
    """The table as a picture, in the format of each path's ending."""
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    views, concepts = list(result["views"]), result["concepts"]
    values = np.array([[c["values"][v]["value"] for v in views] for c in concepts])
    # an AUROC of 0.5 and an R2 of 0 both mean: knows nothing
    shade = np.array(
        [row if c["metric"] == "R2" else 2 * row - 1 for row, c in zip(values, concepts, strict=True)]
    )
    figure = Figure(
        figsize=(1.6 + 0.78 * len(views) + 1.3, 0.9 + 0.225 * len(concepts)), layout="constrained"
    )
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    image = axes.imshow(shade.clip(0, 1), aspect="auto", cmap="YlGnBu", vmin=0, vmax=1)
    axes.set_xticks(range(len(views)), views)
    axes.set_yticks(range(len(concepts)), [c["name"] for c in concepts], fontsize=8)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    for i, concept in enumerate(concepts):
        for j, view in enumerate(views):
            axes.text(
                j,
                i,
                f"{values[i, j]:.2f}",
                ha="center",
                va="center",
                fontsize=7.5,
                color="white" if shade[i, j] > 0.6 else "black",
                fontweight="bold" if view == concept["best_space"] else "normal",
            )
    n_numbers = sum(c["metric"] == "R2" for c in concepts)
    axes.axhline(n_numbers - 0.5, color="white", linewidth=3)
    axes.axvline(len(result["spaces"]) - 0.5, color="white", linewidth=3)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, shrink=0.5, pad=0.02, ticks=[0, 0.5, 1])
    bar.ax.set_yticklabels(["nothing", "half", "all"], fontsize=8)
    bar.outline.set_visible(False)
    axes.set_xlabel(
        f"above the line R², below AUROC; {result['n_test']:,} test molecules of unseen scaffolds; "
        "bold: best space",
        fontsize=8,
    )
    for path in paths:
        save(figure, path, dpi=110)


def _head(result: dict[str, Any]) -> str:
    seen = result["n_seen_in_training"]
    told = "" if seen is None else f"; the model's training saw {seen:,} of them (structures, no labels)"
    same = "".join(f"; {' and '.join(group)} are the same vectors" for group in result["same_vectors"])
    return (
        f"{result['source']}: {result['n_molecules']:,} molecules, {result['n_train']:,} to learn from and "
        f"{result['n_test']:,} to test on, {result['n_scaffolds']:,} scaffolds{told}{same}."
    )


def _checks(result: dict[str, Any]) -> list[str]:
    lines = []
    for one in result["checks"]:
        low, high = one["ci95"]
        lines.append(
            f"{one['check']}: {one['found']}. {one['metric']} {one['value']:.3f} ({one['space']}) against "
            f"{one['rival_value']:.3f} ({one['rival']}), difference {one['difference']:+.3f} "
            f"({low:+.3f} to {high:+.3f}) over {', '.join(one['concepts'])}. Expected because {one['why']}."
        )
    return lines


def _left_out(result: dict[str, Any]) -> str:
    left_out = [f"{one['concept']} ({one['why']}: {one['molecules']:,})" for one in result["left_out"]]
    return f"Left out: {', '.join(left_out)}." if left_out else ""


def _mark(shown: str, best: bool) -> str:
    return f"{shown}*" if best else f"{shown} "


def write(result: dict[str, Any], folder: Path) -> None:
    """`probe.json`, `probe.md`, `probe.png` and `probe.svg` in `folder`, each whole or not at all."""
    from acml_search.evaluation.results import write_json

    folder.mkdir(parents=True, exist_ok=True)
    write_json(result, folder / "probe.json")
    write_atomic(folder / "probe.md", lambda path: path.write_text(markdown(result), encoding="utf-8"))
    partial = [folder / f".probe.{os.getpid()}.{ending}" for ending in ("png", "svg")]
    heat_map(result, partial)
    for path in partial:
        os.replace(path, folder / f"probe{path.suffix}")
