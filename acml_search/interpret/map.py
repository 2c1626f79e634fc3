"""A library as a map: every molecule a dot, near to what its space takes for similar."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from acml_search.core.errors import ConfigError
from acml_search.interpret.colour import colour_of
from acml_search.interpret.drawn import PALETTE, Map
from acml_search.interpret.pictures import save
from acml_search.interpret.project import METHODS, project
from acml_search.interpret.sample import Sample, read_sample
from acml_search.interpret.views import MORGAN, TRUNK, morgan, trunk_and_spaces

ENDINGS = (".png", ".svg", ".html")


@dataclass(frozen=True)
class MapOptions:
    """Of a map. where, model: as `sample.read_sample`; space: of the model, `trunk` or `Morgan`; colour: a
    column or concept; n: molecules.
    """

    out: Path
    where: Path | None = None
    space: str = TRUNK
    colour: str = "molecular weight"
    method: str = "pca"
    n: int = 5_000
    seed: int = 0
    model: str | None = None
    smiles_column: str | None = None
    command: str = ""


def draw_map(options: MapOptions) -> dict[str, Any]:
    """Make the map and write it; what was made, for `--json`.

    Raises ConfigError for an ending, a space, a column or a method that is not there, and what reading
    raises.
    """
    ending = options.out.suffix.lower()
    if ending not in ENDINGS:
        raise ConfigError(
            f"{options.out}: a map is written as {', '.join(ENDINGS)}; choose one of these endings"
        )
    if options.method not in METHODS:
        raise ConfigError(f"there is no method {options.method!r}; there are {', '.join(METHODS)}")
    sample = read_sample(
        options.where,
        n=options.n,
        seed=options.seed,
        model=options.model,
        smiles_column=options.smiles_column,
    )
    colour = colour_of(sample, options.colour)
    plane = project(_vectors(sample, options.space), options.method, seed=options.seed)
    made = Map(sample, options.space, plane, colour, options.command)
    partial = options.out.with_name(f".{options.out.stem}.{os.getpid()}{ending}")
    try:
        if ending == ".html":
            from acml_search.interpret.map_page import page

            partial.write_text(page(made), encoding="utf-8")
        else:
            picture(made, partial)
        os.replace(partial, options.out)
    finally:
        partial.unlink(missing_ok=True)
    return {
        "map": str(options.out),
        "molecules": len(sample),
        "space": options.space,
        "colour": colour.name,
        "method": options.method,
        "about": plane.about,
        "axes": list(plane.axes),
        "bytes": options.out.stat().st_size,
    }


def _vectors(sample: Sample, space: str) -> Any:
    """(n, f) float32 in one space. Raises ConfigError, listing what there is."""
    if space == MORGAN:
        return morgan(sample.mols)
    if space in sample.stored:
        return sample.stored[space]
    known = [*sample.model.spaces, TRUNK, MORGAN]
    if space not in known:
        raise ConfigError(
            f"the model {sample.model.card.name} has no space {space!r}; there are {', '.join(known)}"
        )
    graphs = [sample.model.featurise(mol) for mol in sample.mols]
    trunk, spaces = trunk_and_spaces(sample.model, graphs, [] if space == TRUNK else [space])
    return trunk if space == TRUNK else spaces[space]


def picture(made: Map, path: Path) -> None:
    """PNG or SVG, by the ending."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 5.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    colour, at = made.colour, made.plane.at
    style: dict[str, Any] = {"s": dot_size(len(at)), "linewidths": 0, "rasterized": True}
    missing = np.isnan(colour.values) | (colour.values < 0 if colour.categories else False)
    axes.scatter(*at[missing].T, color="#c9ced4", **style)
    if colour.categories is None:
        # the order of the dots must not tell: molecules are in random order already in an index's sample
        order = np.random.default_rng(0).permutation(np.flatnonzero(~missing))
        low, high = colour.limits
        dots = axes.scatter(
            *at[order].T, c=colour.values[order], cmap="viridis", vmin=low, vmax=high, **style
        )
        bar = figure.colorbar(dots, ax=axes, shrink=0.7, pad=0.02, extend="both")
        bar.set_label(literal(colour.name))
        bar.outline.set_visible(False)
    else:
        for i, name in enumerate(colour.categories):
            mine = colour.values == i
            axes.scatter(
                *at[mine].T, color=PALETTE[i], label=literal(f"{name} ({int(mine.sum()):,})"), **style
            )
        legend = axes.legend(
            title=literal(colour.name), loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=8
        )
        for handle in legend.legend_handles:
            if handle is not None:
                handle.set_sizes([30])
    axes.set_title(literal(made.title), loc="left", fontsize=11)
    axes.set_xlabel(literal(made.plane.axes[0]), fontsize=8)
    axes.set_ylabel(literal(made.plane.axes[1]), fontsize=8)
    figure.supxlabel(literal(made.about), fontsize=8, color="#5d6872")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color("#d5dae0")
    save(figure, path, dpi=120)


def dot_size(n: int) -> float:
    """Area of a dot in square points: small where there are many."""
    return float(np.clip(20_000 / n, 3, 40))


def literal(text: str) -> str:
    """`text` as matplotlib shows it letter by letter: a dollar sign would begin a formula."""
    printable = "".join(c if c.isprintable() else " " for c in text)[:120]
    return printable.replace("$", r"\$")
