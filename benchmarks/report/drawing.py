"""How plots look, and where they are written.

Colours are those of Okabe and Ito, told apart by colour-blind readers (Wong 2011, doi 10.1038/nmeth.1618); a
system has one colour and one marker in every plot of a page.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.report.found import Found

WIDTH = 8.6  # inches: what a README shows at about 900 pixels
DPI = 160
GREY = "#8c8c8c"
LINES = ("chance", "as it should be", "Pareto front")
"""what is no system stands last in a legend"""

STYLE: dict[str, Any] = {
    "font.size": 8.5,
    "font.family": "DejaVu Sans",
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.5,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "svg.hashsalt": "acml-search",  # else every SVG has other identifiers
    "svg.fonttype": "path",
}


class Look(NamedTuple):
    """How a system is drawn, everywhere."""

    colour: str
    marker: str


OURS, RERANKED = Look("#0072b2", "o"), Look("#d55e00", "s")
KNOWN = {
    "random": Look(GREY, "x"),
    "formula": Look("#000000", "v"),
    "nearest_spectrum": Look("#009e73", "^"),
    "fingerprint": Look("#e69f00", "D"),
    "shifts": Look("#cc79a7", "P"),
    "acml": Look("#56b4e9", "X"),
}
FURTHER = (
    *(Look(one.colour, marker) for one, marker in zip(KNOWN.values(), "<>hpd*", strict=True)),
    Look("#f0e442", "o"),
)
ENGINES = (OURS, RERANKED, *[look for name, look in KNOWN.items() if name != "random"], *FURTHER)


class Looks:
    """Gives every system its look, the same again when it is asked again."""

    def __init__(self, given: dict[str, Look] | None = None, further: Sequence[Look] = FURTHER) -> None:
        self._given = dict(given or KNOWN)
        self._further = further
        self._n = 0

    def of(self, name: str) -> Look:
        """Of a name that is not known before: the next in turn."""
        if name not in self._given:
            self._given[name] = self._further[self._n % len(self._further)]
            self._n += 1
        return self._given[name]

    def of_system(self, one: Found) -> Look:
        """Of what answered a retrieval question."""
        if one.baseline is None:
            return RERANKED if one.reranked else OURS
        return self.of(one.baseline)


@dataclass
class Plots:
    """Writes plots into a folder; `written` are their paths. One page has one of these."""

    folder: Path
    looks: Looks = field(default_factory=Looks)
    written: list[Path] = field(default_factory=list)

    def draw(self, name: str, text: str, make: Callable[[], Figure]) -> str:
        """Write `name`.png and `name`.svg; gives the Markdown that shows them. `text` says what is seen."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with rc_context(STYLE):
            figure = make()
            for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
                buffer = io.BytesIO()
                figure.savefig(buffer, format=kind, dpi=DPI, metadata=metadata)
                path = self.folder / f"{name}.{kind}"
                partial = path.with_name(f"{path.name}.partial")
                partial.write_bytes(buffer.getvalue())
                os.replace(partial, path)
                self.written.append(path)
        at = self.folder.name
        return f"![{text}]({at}/{name}.png)\n\n[As SVG]({at}/{name}.svg)"


def panels(n: int, *, height: float = 2.6, most: int = 3) -> tuple[Figure, list[Axes]]:
    """A figure of `n` panels, at most `most` beside each other; those that are left over are not shown."""
    columns = min(n, most)
    rows = -(-n // columns)
    width = WIDTH if columns > 1 else 0.62 * WIDTH
    figure = Figure(figsize=(width, height * rows + 0.6))
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for one in axes[n:]:
        one.set_axis_off()
    return figure, axes[:n]


def legend(figure: Figure, axes: Iterable[Axes]) -> None:
    """One legend for all panels, below them."""
    handles: dict[str, Any] = {}
    last: dict[str, Any] = {}
    for one in axes:
        for handle, name in zip(*one.get_legend_handles_labels(), strict=True):
            (last if name in LINES else handles).setdefault(name, handle)
    handles |= last
    if handles:
        columns = 4 if figure.get_size_inches()[0] >= WIDTH else 2
        figure.legend(
            list(handles.values()),
            list(handles),
            loc="outside lower center",
            ncols=min(columns, len(handles)),
        )
