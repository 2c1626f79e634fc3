"""The learning curves of a model's trainings as one picture.

    python benchmarks/curves.py acml_search/encoders/weights/acml-base/curves.png \\
        "smiles, pretrained=runs/smiles-pretrain/log.jsonl" "all spaces, aligned=runs/acml-base/log.jsonl"

Each log is a row: losses on the left (logarithmic where all are positive), what was measured on the inner
part on the right (shares from 0 to 1; errors in ppm in a third column). Needs matplotlib: dependency group
`bench`.
"""

from __future__ import annotations

import argparse
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator
from PIL import Image

NOT_LOSSES = {
    "epoch",
    "step",
    "lr",
    "seconds",
    "molecules_per_second",
    "inner",
    "inner_pool",
    "inner_queries",
    "scale",
    "best",
    "balance",
    "power",
}
MOST_LINES = 14  # more cannot be told apart
COLOURS = 7
FEW_LINES = 5  # more are named beside the panel, not in it


def read_log(path: Path) -> list[dict[str, Any]]:
    """The epochs of a log, a JSON line each; of an epoch that was run again, the last."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return sorted({line["epoch"]: line for line in lines}.values(), key=lambda line: line["epoch"])


def columns_of(log: list[dict[str, Any]]) -> tuple[list[str], list[str], list[str]]:
    """Names of the losses, of the shares measured on the inner part, and of its errors in ppm."""
    names = dict.fromkeys(
        key for line in log for key, value in line.items() if isinstance(value, int | float)
    )
    told = [name for name in names if name not in NOT_LOSSES and not name.endswith(("_scale", "_pool"))]
    measured = ("inner", "exact", "_error", "_at_")
    inner = [name for name in told if any(mark in name for mark in measured)]
    losses = [name for name in told if name not in inner]
    shares = [
        name
        for name in inner
        if not name.endswith("_error") and all(0 <= line[name] <= 1 for line in log if name in line)
    ]
    return losses, shares, [name for name in inner if name not in shares]


def draw(axes: Axes, log: list[dict[str, Any]], names: list[str], title: str, logarithmic: bool) -> None:
    """One panel with a line per name."""
    axes.set_title(title, fontsize=9, loc="left")
    axes.tick_params(labelsize=8)
    axes.set_xlabel("epoch", fontsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.25, which="both")
    for i, name in enumerate(names[:MOST_LINES]):
        points = [(line["epoch"], line[name]) for line in log if name in line]
        axes.plot(
            *zip(*points, strict=True),
            marker=".",
            markersize=4,
            linewidth=1.2,
            linestyle="-" if i < COLOURS else "--",
            color=f"C{i % COLOURS}",
            label=name.replace("_", " "),
        )
    if logarithmic and all(line[name] > 0 for line in log for name in names if name in line):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_locator(NullLocator())
    beside = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)} if len(names) > FEW_LINES else {}
    axes.legend(fontsize=6.5, frameon=False, **beside)


def panels_of(name: str, log: list[dict[str, Any]]) -> list[tuple[list[str], str, bool]]:
    """(names, title, whether the axis is logarithmic) of each panel that has something to show."""
    losses, shares, errors = columns_of(log)
    minutes = sum(line.get("seconds", 0) for line in log) / 60
    panels = [
        (losses, f"{name}: loss in training ({minutes:,.0f} min)", True),
        (shares, f"{name}: share right, inner part", False),
        (errors, f"{name}: error (ppm), inner part", True),
    ]
    return [panel for panel in panels if panel[0]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", type=Path)
    parser.add_argument("logs", nargs="+", metavar="NAME=LOG.jsonl")
    options = parser.parse_args()
    named = []
    for text in options.logs:
        name, _, path = text.rpartition("=")
        if not name or not Path(path).is_file():
            raise SystemExit(f"{text}: give NAME=FILE, and a file that exists")
        log = read_log(Path(path))
        if not log:
            raise SystemExit(f"{path}: the log has no epoch yet")
        named.append((log, panels_of(name, log)))
    wide = max(len(panels) for _, panels in named)
    figure, grid = plt.subplots(
        len(named), wide, figsize=(4.2 * wide, 2.5 * len(named)), squeeze=False, layout="constrained"
    )
    for row, (log, panels) in zip(grid, named, strict=True):
        for axes, panel in zip(row, panels, strict=False):
            draw(axes, log, *panel)
        for axes in row[len(panels) :]:
            axes.set_visible(False)
    options.picture.parent.mkdir(parents=True, exist_ok=True)
    drawn = BytesIO()
    figure.savefig(drawn, dpi=110)
    # lines and letters: 64 colours are enough, and a model travels with its picture
    Image.open(drawn).convert("RGB").quantize(64).save(options.picture, "PNG", optimize=True)
    print(f"{options.picture}: {options.picture.stat().st_size / 1024:.0f} KiB, {len(named)} logs")


if __name__ == "__main__":
    main()
