"""What each space knows of chemistry: linear probes of every description, on unseen scaffolds."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from acml_search import __version__
from acml_search.core.errors import ConfigError
from acml_search.core.progress import progress
from acml_search.interpret.concepts import Labels, label
from acml_search.interpret.linear import FOLDS, STRENGTHS, deal, fit
from acml_search.interpret.measures import aurocs, interval, r_squared, resamples
from acml_search.interpret.reading import CHECKS, check, read
from acml_search.interpret.sample import read_sample
from acml_search.interpret.views import MORGAN, TRUNK, UNTRAINED, scaffolds, views

TEST = 0.25
"""share of the molecules, whole scaffolds, that no probe and no choice of a strength sees"""
FEWEST_TEST = 5
"""molecules of either part that must have a group, and lack it"""
LEAST_MOLECULES = 200

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ProbeOptions:
    """Of a probing. where, model: as `sample.read_sample`; n: molecules; command: for the result."""

    where: Path | None = None
    model: str | None = None
    n: int = 4_000
    seed: int = 0
    smiles_column: str | None = None
    command: str = ""


def probe(options: ProbeOptions) -> dict[str, Any]:
    """Probe all descriptions for all concepts; the JSON document, with the table's figures and the reading.

    `concepts`: [{name, kind, metric, about, n_with, values: {view: {value, ci95, strength}}, best_space,
    best}]. Intervals are 95 % bootstraps over the test molecules, the same draws for all descriptions.
    Raises ConfigError where there are fewer than 200 molecules, and what reading raises.
    """
    started = time.perf_counter()
    sample = read_sample(
        options.where,
        n=options.n,
        seed=options.seed,
        model=options.model,
        smiles_column=options.smiles_column,
    )
    if len(sample) < LEAST_MOLECULES:
        raise ConfigError(
            f"{sample.source} gave {len(sample)} molecules; probes need at least {LEAST_MOLECULES} to learn "
            "and be tested on"
        )
    described = views(sample, seed=options.seed)
    labels = label(sample.mols)
    groups = scaffolds(sample.mols)
    part = deal(groups, [1 - TEST, TEST], options.seed)
    train, test = np.flatnonzero(part == 0), np.flatnonzero(part == 1)
    labels = _asked(labels, train, test)
    found = _measured(described, labels, groups, train, test, options.seed)
    spaces, same = list(sample.model.spaces), _same(described)
    concepts = _rows(labels, found, spaces, len(sample))
    return {
        "kind": "probe",
        "source": sample.source,
        "model": {"name": sample.model.card.name, "digest": sample.model.card.digest},
        "n_molecules": len(sample),
        "n_train": len(train),
        "n_test": len(test),
        "n_scaffolds": len(np.unique(groups)),
        "n_seen_in_training": sample.n_seen(),
        "stored_spaces": sorted(sample.stored),
        "spaces": spaces,
        "views": {name: x.shape[1] for name, x in described.items()},
        "same_vectors": same,
        "split": f"Bemis-Murcko scaffolds, {1 - TEST:.0%} train, {TEST:.0%} test",
        "inner": f"{FOLDS} folds of scaffolds, penalties {', '.join(f'{s:g}' for s in STRENGTHS)}",
        "concepts": concepts,
        "left_out": labels.left_out,
        "checks": [
            done for one in CHECKS if (done := check(one, concepts, found.resampled, spaces)) is not None
        ],
        "reading": read(concepts, found.resampled, spaces, same, [TRUNK, MORGAN, UNTRAINED]),
        "seed": options.seed,
        "command": options.command,
        "version": __version__,
        "seconds": round(time.perf_counter() - started, 1),
    }


@dataclass(frozen=True)
class _Found:
    """values[view] (k, 1 + resamples): the metric of the test part, and of each resample of it."""

    resampled: dict[str, Floats]
    strengths: dict[str, list[float]]


def _asked(labels: Labels, train: npt.NDArray[np.int64], test: npt.NDArray[np.int64]) -> Labels:
    """Without what hardly varies in one of the two parts: one scaffold may hold nearly all of a group."""
    kept, left_out = [], list(labels.left_out)
    for i, concept in enumerate(labels.concepts):
        of = labels.values[:, i]
        # molecules that are not like most: of a group, the fewer of those that have it and those that lack it
        others = [len(rows) - int(np.unique(of[rows], return_counts=True)[1].max()) for rows in (train, test)]
        if min(others) >= FEWEST_TEST:
            kept.append(i)
        else:
            why = "too few in one part of the split"
            left_out.append({"concept": concept.name, "molecules": sum(others), "of": len(of), "why": why})
    return Labels([labels.concepts[i] for i in kept], labels.values[:, kept], left_out)


def _measured(
    described: dict[str, npt.NDArray[np.float32]],
    labels: Labels,
    groups: npt.NDArray[np.int64],
    train: npt.NDArray[np.int64],
    test: npt.NDArray[np.int64],
    seed: int,
) -> _Found:
    is_group = np.array([concept.kind == "group" for concept in labels.concepts])
    counts = resamples(len(test), seed=seed)
    found, strengths = {}, {}
    for name in progress(list(described), desc="probing", unit="view"):
        x = described[name]
        probes = fit(x[train], labels.values[train], is_group, groups[train], seed=seed)
        predicted = probes(x[test])
        found[name] = np.array(
            [
                (aurocs if group else r_squared)(labels.values[test, i], predicted[:, i], counts)
                for i, group in enumerate(is_group)
            ]
        )
        strengths[name] = probes.strengths
    return _Found(found, strengths)


def _rows(labels: Labels, found: _Found, spaces: list[str], n: int) -> list[dict[str, Any]]:
    rows = []
    for i, concept in enumerate(labels.concepts):
        values = {
            view: {
                "value": float(of[i, 0]),
                "ci95": list(interval(of[i, 1:])),
                "strength": found.strengths[view][i],
            }
            for view, of in found.resampled.items()
        }
        group = concept.kind == "group"
        rows.append(
            {
                "name": concept.name,
                "kind": concept.kind,
                "metric": "AUROC" if group else "R2",
                "about": concept.about,
                "n_with": int(labels.values[:, i].sum()) if group else n,
                "values": values,
                "best_space": _best(found, i, spaces),
                "best": _best(found, i, list(found.resampled)),
            }
        )
    return rows


def _best(found: _Found, i: int, views_: list[str]) -> str:
    """The description that knows concept i best; of equals, the first."""
    return views_[int(np.argmax([found.resampled[view][i, 0] for view in views_]))]


def _same(described: dict[str, npt.NDArray[np.float32]]) -> list[list[str]]:
    """Descriptions that are one and the same: two modalities may share a graph side."""
    groups: list[list[str]] = []
    for name, x in described.items():
        for group in groups:
            first = described[group[0]]
            if first.shape == x.shape and np.abs(first - x).max() < 1e-3:
                group.append(name)
                break
        else:
            groups.append([name])
    return [group for group in groups if len(group) > 1]
