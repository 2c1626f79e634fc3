"""A library as a map: every molecule a dot, near the molecules that its space takes for similar.

The picture is matplotlib's. The page is self-contained: dots on a canvas, structures on hover; nothing comes
from elsewhere, and its content security policy runs only the script of this package, by its hash. Data are in
a JSON block whose texts the script shows as text; jinja2 escapes whatever else comes from a library.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import zlib
from collections import Counter
from dataclasses import dataclass
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from acml_search import __version__
from acml_search.chem.fingerprints import morgan
from acml_search.core.errors import ConfigError, shorten
from acml_search.core.extras import require
from acml_search.core.io import atomic
from acml_search.core.progress import progress
from acml_search.core.typing import Float32s, Floats
from acml_search.interpret.attribute import literal
from acml_search.interpret.concepts import CONCEPTS, concept_called
from acml_search.interpret.probe import MORGAN, MORGAN_BITS
from acml_search.interpret.sample import MoleculeSample, check_space, read_sample
from acml_search.properties.features import TRUNK

ENDINGS = (".png", ".svg", ".html")
METHODS = ("pca", "umap", "tsne")
PALETTE = (
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9",
    "#d55e00", "#b8a800", "#6a3d9a", "#7f4f24", "#9aa3ad",
)  # fmt: skip
"""Okabe and Ito (2008), told apart by colour-blind readers too; the last is "other" """
MAX_CATEGORIES = len(PALETTE) - 1
"""with a colour of their own; the rest is "other" """
CONCEPT_NAMES = {"mw": "molecular weight", "logp": "logP", "tpsa": "TPSA", "qed": "QED"}
CHUNK = 200
"""structures of a page that are deflated together: a tenth of a megabyte to unpack at the first hover"""
_MAX_TEXT = 120
_FIRST_AXES = 50
"""principal axes that t-SNE starts from"""


class Layout(NamedTuple):
    """Places of n molecules in the plane."""

    at: Floats
    """(n, 2)"""
    axes: tuple[str, str]
    about: str


@dataclass(frozen=True)
class Colour:
    """values (n,) float64: numbers, NaN for none; or places in `categories`, -1 for none."""

    name: str
    values: Floats
    categories: list[str] | None = None

    @property
    def missing(self) -> Any:
        """(n,) bool, molecules without a value."""
        return np.isnan(self.values) if self.categories is None else self.values < 0

    @property
    def limits(self) -> tuple[float, float]:
        """Ends of the colour scale: the 1st and 99th percentile, so that one giant does not grey the rest."""
        known = self.values[~np.isnan(self.values)]
        if not len(known):
            return (0.0, 1.0)
        low, high = (float(x) for x in np.quantile(known, [0.01, 0.99]))
        return (low, high) if high > low else (low, low + 1.0)


@dataclass(frozen=True)
class Map:
    sample: MoleculeSample
    space: str
    layout: Layout
    colour: Colour
    command: str

    @property
    def title(self) -> str:
        return f"{self.sample.source} in the space {self.space}"

    @property
    def about(self) -> str:
        card = self.sample.model.card
        return f"{len(self.sample):,} molecules, {card.name}, {self.layout.about}, by {self.colour.name}"


def draw_map(
    out: Path,
    where: Path | None = None,
    space: str = TRUNK,
    colour: str = "molecular weight",
    *,
    method: str = "pca",
    n: int = 5_000,
    seed: int = 0,
    model: str | None = None,
    smiles_column: str | None = None,
    command: str = "",
) -> dict[str, Any]:
    """Make the map of `n` molecules and write it; a summary.

    where, model: as `read_sample` takes them; space: of the model, `trunk` or `Morgan`; colour: a column or a
    concept.

    Raises ConfigError for an ending, a space, a column or a method that is not there, or a missing package,
    and what reading raises.
    """
    ending = out.suffix.lower()
    if ending not in ENDINGS:
        raise ConfigError(f"{out}: a map is written as {', '.join(ENDINGS)}; choose one of these endings")
    if method not in METHODS:
        raise ConfigError(f"there is no method {method!r}; there are {', '.join(METHODS)}")
    if ending != ".html":
        require("matplotlib")
    sample = read_sample(where, n=n, seed=seed, model=model, smiles_column=smiles_column)
    coloured = colour_of(sample, colour)
    layout = project(_vectors(sample, space), method, seed=seed)
    drawn = Map(sample, space, layout, coloured, command)
    with atomic(out) as path:
        if ending == ".html":
            path.write_text(page(drawn), encoding="utf-8")
        else:
            picture(drawn).savefig(path, format=ending[1:], dpi=120)
    return {
        "map": str(out),
        "molecules": len(sample),
        "space": space,
        "colour": coloured.name,
        "method": method,
        "about": layout.about,
        "axes": list(layout.axes),
        "bytes": out.stat().st_size,
    }


def _vectors(sample: MoleculeSample, space: str) -> Float32s:
    """(n, f) float32 in one space. Raises ConfigError, listing what there is."""
    check_space(sample.model, space, MORGAN)
    if space == MORGAN:
        return morgan(sample.mols, MORGAN_BITS).astype(np.float32)
    return sample.vectors([space])[space]


def project(x: Float32s, method: str, *, seed: int) -> Layout:
    """x (n, f) -> two dimensions, the same for the same seed. Raises ConfigError for the method."""
    if method not in METHODS:
        raise ConfigError(f"there is no method {method!r}; there are {', '.join(METHODS)}")
    if method == "umap":
        require("umap")
        umap = import_module("umap").UMAP
        made = umap(n_neighbors=min(15, len(x) - 1), metric="cosine", random_state=seed, n_jobs=1)
        at = np.asarray(made.fit_transform(x), np.float64)
        return Layout(at, ("", ""), "UMAP (distances between far groups mean little)")
    require("sklearn", extra="maps")
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    n_axes = min(2 if method == "pca" else _FIRST_AXES, *x.shape)
    axes = PCA(n_axes, svd_solver="full")
    with np.errstate(invalid="ignore"):  # molecules that are all the same have no variance to share
        places = axes.fit_transform(x.astype(np.float64))
    if method == "pca":
        shares = [*np.nan_to_num(axes.explained_variance_ratio_), 0.0]
        names = [f"axis {i + 1} ({share:.0%} of the variance)" for i, share in enumerate(shares[:2])]
        return Layout(np.pad(places, ((0, 0), (0, 2 - n_axes))), (names[0], names[1]), "principal components")
    perplexity = min(30.0, (len(x) - 1) / 4)
    tsne = TSNE(perplexity=perplexity, init="pca", random_state=seed)
    at = np.asarray(tsne.fit_transform(places.astype(np.float32)), np.float64)
    return Layout(at, ("", ""), "t-SNE (distances between far groups mean little)")


def colour_of(sample: MoleculeSample, name: str) -> Colour:
    """The library's column of this name, else the concept. Raises ConfigError, listing what there is."""
    values = sample.column(name)
    if values is not None:
        return _colour_of_column(name, list(values))
    concept = concept_called(CONCEPT_NAMES.get(name.casefold(), name))
    if concept is None:
        own = sorted({key for one in sample.molecules for key in one.columns})
        known = ", ".join(own[:20] + [c.name for c in CONCEPTS])
        raise ConfigError(
            f"there is no column or concept {shorten(name, 40)!r} to colour by; there are {known}"
        )
    found = np.array([concept.of(mol) for mol in sample.mols], np.float64)
    groups = [f"no {concept.name}", concept.name] if concept.kind == "group" else None
    return Colour(concept.name, found, groups)


def _colour_of_column(name: str, values: list[object]) -> Colour:
    """Numbers where every value is one and there are many, else categories, the most frequent first."""
    numbers = np.array([_number(value) for value in values])
    texts = ["" if value is None else str(value) for value in values]
    known = np.isfinite(numbers)
    if known.any() and known.sum() == sum(map(bool, texts)) and len(set(numbers[known])) > MAX_CATEGORIES:
        return Colour(name, numbers)
    frequent = [text for text, _ in Counter(text for text in texts if text).most_common(MAX_CATEGORIES)]
    if not frequent:
        raise ConfigError(f"the column {shorten(name, 40)!r} is empty; colour by another")
    places = {"": -1, **{text: i for i, text in enumerate(frequent)}}
    found = np.array([places.get(text, len(frequent)) for text in texts], np.float64)
    if (found == len(frequent)).any():
        frequent.append("other")
    return Colour(name, found, frequent)


def _number(value: object) -> float:
    """The value as a number; NaN for what is none. Text that spells a number is one: CSV has no others."""
    try:
        number = math.nan if isinstance(value, bool) else float(str(value))
    except ValueError:
        return math.nan
    return number if math.isfinite(number) else math.nan


def picture(drawn: Map) -> Any:
    """The map as a figure of matplotlib."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 5.6), layout="constrained")
    axes = figure.add_subplot()
    colour, at = drawn.colour, drawn.layout.at
    style: dict[str, Any] = {
        "s": float(np.clip(20_000 / len(at), 3, 40)),
        "linewidths": 0,
        "rasterized": True,
    }
    axes.scatter(*at[colour.missing].T, color="#c9ced4", **style)
    if colour.categories is None:
        # a random order: that of the library would decide which dots are on top
        order = np.random.default_rng(0).permutation(np.flatnonzero(~colour.missing))
        low, high = colour.limits
        dots = axes.scatter(
            *at[order].T, c=colour.values[order], cmap="viridis", vmin=low, vmax=high, **style
        )
        bar = figure.colorbar(dots, ax=axes, shrink=0.7, pad=0.02, extend="both")
        bar.set_label(literal(colour.name))
        bar.outline.set_visible(False)
    else:
        for (name, paint, count), i in zip(_legend(colour), range(len(PALETTE)), strict=False):
            axes.scatter(*at[colour.values == i].T, color=paint, label=literal(f"{name} ({count})"), **style)
        axes.legend(
            title=literal(colour.name),
            loc="center left",
            bbox_to_anchor=(1, 0.5),
            frameon=False,
            fontsize=8,
            markerscale=max(1.0, (30 / style["s"]) ** 0.5),
        )
    axes.set_title(literal(drawn.title), loc="left", fontsize=11)
    axes.set_xlabel(literal(drawn.layout.axes[0]), fontsize=8)
    axes.set_ylabel(literal(drawn.layout.axes[1]), fontsize=8)
    figure.supxlabel(literal(drawn.about), fontsize=8, color="#5d6872")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color("#d5dae0")
    return figure


def page(drawn: Map) -> str:
    """The map as HTML."""
    from jinja2 import ChoiceLoader, PackageLoader
    from jinja2.utils import htmlsafe_json_dumps
    from markupsafe import Markup

    from acml_search.search.render.html import environment

    folders = ("acml_search.interpret", "page"), ("acml_search.search.render", ".")
    pages = environment().overlay(loader=ChoiceLoader([PackageLoader(*folder) for folder in folders]))
    folder = files("acml_search.interpret").joinpath("page")
    script, style = (folder.joinpath(name).read_text(encoding="utf-8") for name in ("map.js", "map.css"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    colour = drawn.colour
    missing = int(colour.missing.sum())
    return pages.get_template("map.html").render(
        title=drawn.title,
        about=drawn.about,
        axes=drawn.layout.axes,
        colour=colour.name,
        categories=None if colour.categories is None else _legend(colour),
        low=f"{colour.limits[0]:.4g}",
        high=f"{colour.limits[1]:.4g}",
        missing=f"{missing:,}" if missing else "",
        command=drawn.command,
        version=__version__,
        style=Markup(style),
        script=Markup(script),
        script_hash=Markup(f"sha256-{digest}"),
        data=htmlsafe_json_dumps(_page_data(drawn), separators=(",", ":"), allow_nan=False),
    )


def _page_data(drawn: Map) -> dict[str, Any]:
    from acml_search.search.render.text import clean

    at, colour = drawn.layout.at, drawn.colour
    span = np.ptp(at, axis=0)
    span = np.where(span > 0, span, 1.0)
    unit = np.round((at - at.min(axis=0)) / span, 4)
    names = None if colour.categories is None else [clean(name, _MAX_TEXT) for name in colour.categories]
    shown = [
        "none" if missing else f"{value:.5g}" if names is None else names[int(value)]
        for value, missing in zip(colour.values.tolist(), colour.missing.tolist(), strict=True)
    ]
    label = clean(colour.name, _MAX_TEXT)
    return {
        "x": unit[:, 0].tolist(),
        "y": unit[:, 1].tolist(),
        "aspect": float(np.clip(span[0] / span[1], 0.75, 2.0)),
        "value": [
            None if math.isnan(value) else float(f"{value:.6g}") if names is None else int(value)
            for value in colour.values.tolist()
        ],
        "names": names,
        "paints": list(PALETTE),
        "low": colour.limits[0],
        "high": colour.limits[1],
        "radius": float(np.clip(150 / math.sqrt(len(at)), 2.2, 5)),
        "smiles": drawn.sample.smiles,
        "notes": [f"{label}: {text}" for text in shown],
        "chunk": CHUNK,
        "depictions": _depictions(drawn.sample.smiles),
    }


def _depictions(smiles: list[str]) -> list[str]:
    """Structures as SVG, CHUNK at a time: a JSON list, deflated, in base64."""
    from acml_search.search.render.html import drawing

    drawn = [str(drawing(one, small=True)) for one in progress(smiles, desc="drawing", unit="mol")]
    chunks = []
    for start in range(0, len(drawn), CHUNK):
        deflate = zlib.compressobj(9, zlib.DEFLATED, -15)  # "deflate-raw": no header
        content = json.dumps(drawn[start : start + CHUNK], ensure_ascii=False).encode()
        chunks.append(base64.b64encode(deflate.compress(content) + deflate.flush()).decode())
    return chunks


def _legend(colour: Colour) -> list[tuple[str, str, str]]:
    """Name, colour and number of molecules of each category."""
    return [
        (name, PALETTE[i], f"{int((colour.values == i).sum()):,}")
        for i, name in enumerate(colour.categories or [])
    ]
