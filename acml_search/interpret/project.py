"""Vectors to two dimensions."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from acml_search.core.errors import ConfigError

METHODS = ("pca", "umap", "tsne")
_FIRST = 50  # principal axes that t-SNE and UMAP start from

Floats = npt.NDArray[np.float64]


class Plane(NamedTuple):
    """Places of n molecules."""

    at: Floats
    """(n, 2)"""
    axes: tuple[str, str]
    about: str
    """how it was made, in a sentence"""


def project(x: npt.NDArray[np.float32], method: str, *, seed: int) -> Plane:
    """x (n, f) -> two dimensions, the same for the same seed.

    Raises ConfigError for an unknown method, or one whose package is not installed.
    """
    if method == "pca":
        scores, shares = principal(x, 2)
        names = [f"axis {i + 1} ({share:.0%} of the variance)" for i, share in enumerate(shares)]
        return Plane(scores, (names[0], names[1]), "principal components")
    if method == "tsne":
        return Plane(_tsne(x, seed), ("", ""), "t-SNE (distances between far groups mean little)")
    if method == "umap":
        return Plane(_umap(x, seed), ("", ""), "UMAP (distances between far groups mean little)")
    raise ConfigError(f"there is no method {method!r}; there are {', '.join(METHODS)}")


def principal(x: npt.NDArray[np.float32], k: int) -> tuple[Floats, list[float]]:
    """(n, k) places along the first k principal axes, and the share of the variance on each.

    An axis points to where its largest weight is positive: else two runs could be mirror images.
    """
    centred = x.astype(np.float64) - x.mean(axis=0, dtype=np.float64)
    values, axes = np.linalg.eigh(centred.T @ centred)
    values, axes = values[::-1][:k], axes[:, ::-1][:, :k]
    axes = axes * np.where(axes[np.abs(axes).argmax(axis=0), range(axes.shape[1])] < 0, -1.0, 1.0)
    total = float((centred**2).sum()) or 1.0
    return centred @ axes, [max(0.0, float(value)) / total for value in values]


def _start(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return principal(x, min(_FIRST, *x.shape))[0].astype(np.float32)


def _tsne(x: npt.NDArray[np.float32], seed: int) -> Floats:
    """openTSNE where it is installed, else scikit-learn's Barnes-Hut t-SNE."""
    start, perplexity = _start(x), min(30.0, (len(x) - 1) / 4)
    if find_spec("openTSNE") is not None:
        fast = import_module("openTSNE").TSNE(perplexity=perplexity, random_state=seed)
        return np.asarray(fast.fit(start), np.float64)
    from sklearn.manifold import TSNE

    embedded = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(start)
    return np.asarray(embedded, np.float64)


def _umap(x: npt.NDArray[np.float32], seed: int) -> Floats:
    if find_spec("umap") is None:
        raise ConfigError(
            "UMAP is not installed: pip install 'acml-search[maps]', or take --method tsne or pca"
        )
    reducer = import_module("umap").UMAP(
        n_neighbors=min(15, len(x) - 1), metric="cosine", random_state=seed, n_jobs=1
    )
    return np.asarray(reducer.fit_transform(x), np.float64)
