"""Do attributions name the atoms that matter? The deletion test (Samek et al. 2017; DeYoung et al. 2020).

Of each molecule with n heavy atoms, k = round(n / 5) atoms, at least two, are removed at once, and |score -
score without them| is how far the score moves. Removed are the k with the largest |attribution| ("named"),
the k with the smallest ("least"), and several random sets of k ("random", their mean). Paired by molecule:

    gain over random = moved(named) - mean of moved(random)        gain over least likewise

Removing is done in two ways:

- `mask`: the first-layer embeddings of the k atoms are zero together. Occlusion does the same to single
  atoms, so with k = 1 it would win by construction; with k of two or more atoms, that overlap and cancel,
  nothing is guaranteed. For gradient x input nothing is at any k.
- `cut`: the atoms and their bonds are taken out of the graph, with what NMR heads predict for them;
  neighbours keep their features. Neither method does this anywhere, so this is the fairer test; the network
  never saw such graphs in training.

What a gain does not show: that the atoms are the chemical cause. It shows that the network's score hangs on
them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from acml_search import __version__
from acml_search.core.errors import ConfigError
from acml_search.core.progress import progress
from acml_search.evaluation.measures.metrics import bootstrap_interval
from acml_search.interpret.attribution import METHODS, attribute
from acml_search.interpret.sample import Sample, read_sample
from acml_search.interpret.score import Score, evaluate, probe_score, similarity
from acml_search.interpret.views import TRUNK, trunk_and_spaces

if TYPE_CHECKING:
    from acml_search.chem.graph import MolGraph

SHARE = 0.2
"""of the heavy atoms that are removed"""
LEAST_ATOMS = 8
"""of a molecule that takes part: two of them are removed"""
RANDOM_SETS = 10
REMOVALS = ("mask", "cut")
PROBED = ("logP", "TPSA", "carbonyl, any")

Floats = npt.NDArray[np.float64]
Removal = npt.NDArray[np.int64]


@dataclass(frozen=True)
class DeletionOptions:
    """Of a test. n: molecules that are tested; fit_on: others of the same library, that probes learn from."""

    where: Path | None = None
    model: str | None = None
    n: int = 200
    fit_on: int = 1_500
    seed: int = 0
    command: str = ""


def measure_deletion(options: DeletionOptions) -> dict[str, Any]:
    """The test, for all methods, scores and ways of removing; the JSON document.

    `scores`: [{score, unit, tests: [{method, removal, n, moved: {named, random, least}, gain_over_random,
    gain_over_random_ci95, gain_over_least, ..., times_random, wins}]}]; `summary` likewise over all scores,
    the gain of each score divided by how far random sets move it. Raises ConfigError for too few molecules.
    """
    started = time.perf_counter()
    sample = read_sample(options.where, n=options.n + options.fit_on, seed=options.seed, model=options.model)
    order = np.random.default_rng(options.seed).permutation(len(sample)).tolist()
    large = [i for i in order if sample.molecules[i].mol.GetNumAtoms() >= LEAST_ATOMS]
    tested = large[: options.n]
    if len(tested) < 10 or len(sample) - len(tested) < 200:
        raise ConfigError(
            f"{sample.source} gave {len(sample)} molecules; 200 to fit probes on and 10 of at least "
            f"{LEAST_ATOMS} heavy atoms to test are needed"
        )
    rest = sorted(set(order) - set(tested))
    fitted = Sample(sample.source, [sample.molecules[i] for i in rest], sample.model)
    graphs = [sample.model.featurise(sample.molecules[i].mol) for i in tested]
    sets = _random_sets(graphs, options.seed)
    rows = []
    for scores in progress(_scores(fitted, graphs, options.seed), desc="attributions", unit="score"):
        rows.append(_tests(sample, scores, graphs, sets))
    return {
        "kind": "attributions",
        "source": sample.source,
        "model": {"name": sample.model.card.name, "digest": sample.model.card.digest},
        "n_molecules": len(tested),
        "n_fitted_on": len(fitted),
        "share_removed": SHARE,
        "random_sets": RANDOM_SETS,
        "removals": {
            "mask": "the first-layer embeddings of the k atoms are set to zero together; bonds stay",
            "cut": "the k atoms and their bonds are taken out of the graph; neighbours keep their features",
        },
        "guaranteed": "nothing; k >= 2 atoms are removed together, where occlusion removes one",
        "scores": [{key: value for key, value in row.items() if key != "_gains"} for row in rows],
        "summary": _summary(rows, len(tested)),
        "seed": options.seed,
        "command": options.command,
        "version": __version__,
        "seconds": round(time.perf_counter() - started, 1),
    }


def _scores(fitted: Sample, graphs: Sequence[MolGraph], seed: int) -> list[tuple[str, list[Score]]]:
    """(name, a score per molecule): the similarity to its nearest other tested molecule, and probes."""
    model = fitted.model
    trunk, spaces = trunk_and_spaces(model, graphs, list(model.spaces))
    found: list[tuple[str, list[Score]]] = []
    known: list[npt.NDArray[np.float32]] = []
    for part, x in {TRUNK: trunk, **spaces}.items():
        if any(x.shape == other.shape and np.abs(x - other).max() < 1e-3 for other in known):
            continue  # two modalities with one graph side would count twice
        known.append(x)
        unit = x / np.linalg.norm(x, axis=1, keepdims=True)
        cosines = unit @ unit.T
        np.fill_diagonal(cosines, -2)
        nearest = cosines.argmax(axis=1)
        name = f"similarity to the nearest in {part}"
        found.append((name, [similarity(model, graphs[i], part, "the nearest") for i in nearest.tolist()]))
    for concept in PROBED:
        score = probe_score(fitted, concept, TRUNK, seed=seed)
        found.append((f"probe of {TRUNK}: {concept}", [score] * len(graphs)))
    return found


def _tests(
    sample: Sample,
    named: tuple[str, list[Score]],
    graphs: Sequence[MolGraph],
    sets: list[list[Removal]],
) -> dict[str, Any]:
    name, scores = named
    whole = _each(sample, scores, [[graph] for graph in graphs], None)
    tests, gains = [], {}
    random_moved = {
        removal: [
            float(np.abs(full[0] - part).mean())
            for full, part in zip(whole, _removed(sample, scores, graphs, sets, removal), strict=True)
        ]
        for removal in REMOVALS
    }
    for method in METHODS:
        shares = [
            attribute(sample.model, score, [graph], method)[0]
            for score, graph in zip(scores, graphs, strict=True)
        ]
        ends = [_ends(share) for share in shares]
        for removal in REMOVALS:
            parts = _removed(sample, scores, graphs, ends, removal)
            moved = np.array([np.abs(full[0] - part) for full, part in zip(whole, parts, strict=True)])
            at_random = np.array(random_moved[removal])
            row = _row(method, removal, moved[:, 0], at_random, moved[:, 1])
            tests.append(row)
            usual = float(at_random.mean()) or 1.0
            gains[method, removal] = ((moved[:, 0] - at_random) / usual, (moved[:, 0] - moved[:, 1]) / usual)
    return {"score": name, "unit": scores[0].unit, "tests": tests, "_gains": gains}


def _row(method: str, removal: str, named: Floats, at_random: Floats, least: Floats) -> dict[str, Any]:
    return {
        "method": method,
        "removal": removal,
        "n": len(named),
        "moved": {
            "named": float(named.mean()),
            "random": float(at_random.mean()),
            "least": float(least.mean()),
        },
        "times_random": float(named.mean() / at_random.mean()) if at_random.mean() else None,
        "gain_over_random": float((named - at_random).mean()),
        "gain_over_random_ci95": list(bootstrap_interval(named - at_random)),
        "gain_over_least": float((named - least).mean()),
        "gain_over_least_ci95": list(bootstrap_interval(named - least)),
        "share_of_molecules_ahead_of_random": float((named > at_random).mean()),
    }


def _summary(rows: list[dict[str, Any]], n: int) -> list[dict[str, Any]]:
    """Per method and removal: the gains in units of the random movement, meaned over scores of one molecule
    first, so that the interval is over molecules.
    """
    found = []
    for key in rows[0]["_gains"]:
        over_random = np.mean([row["_gains"][key][0] for row in rows], axis=0)
        over_least = np.mean([row["_gains"][key][1] for row in rows], axis=0)
        found.append(
            {
                "method": key[0],
                "removal": key[1],
                "n": n,
                "n_scores": len(rows),
                "gain_over_random": float(over_random.mean()),
                "gain_over_random_ci95": list(bootstrap_interval(over_random)),
                "gain_over_least": float(over_least.mean()),
                "gain_over_least_ci95": list(bootstrap_interval(over_least)),
                "unit": "the movement by random atoms",
            }
        )
    return found


def removed_size(n: int) -> int:
    """How many of n atoms are removed."""
    return max(2, round(SHARE * n))


def _ends(shares: Floats) -> list[Removal]:
    """The atoms named most and named least; of equals, the first."""
    order, k = np.argsort(-np.abs(shares), kind="stable"), removed_size(len(shares))
    return [order[:k], order[-k:]]


def _random_sets(graphs: Sequence[MolGraph], seed: int) -> list[list[Removal]]:
    """Per molecule the random sets, the same for every score, method and way of removing."""
    rng = np.random.default_rng(seed)
    return [
        [
            rng.choice(len(graph.atoms), removed_size(len(graph.atoms)), replace=False)
            for _ in range(RANDOM_SETS)
        ]
        for graph in graphs
    ]


def _removed(
    sample: Sample,
    scores: Sequence[Score],
    graphs: Sequence[MolGraph],
    removals: Sequence[Sequence[Removal]],
    how: str,
) -> list[Floats]:
    """Per molecule (sets,): the score without each set of atoms."""
    masks = [
        [~np.isin(np.arange(len(graph.atoms)), gone) for gone in sets]
        for graph, sets in zip(graphs, removals, strict=True)
    ]
    if how == "mask":
        return _each(sample, scores, [[g] * len(m) for g, m in zip(graphs, masks, strict=True)], masks)
    return _each(
        sample, scores, [[cut(g, one) for one in m] for g, m in zip(graphs, masks, strict=True)], None
    )


def _each(
    sample: Sample,
    scores: Sequence[Score],
    variants: Sequence[Sequence[MolGraph]],
    masks: Sequence[Sequence[npt.NDArray[np.bool_]]] | None,
) -> list[Floats]:
    """Each molecule's variants by its own score; all in one go where the score is the same for all."""
    if all(score is scores[0] for score in scores):
        flat_masks = None if masks is None else [mask for part in masks for mask in part]
        flat = evaluate(sample.model, scores[0], [g for part in variants for g in part], flat_masks)
        return np.split(flat, np.cumsum([len(part) for part in variants])[:-1])
    return [
        evaluate(sample.model, score, part, None if masks is None else masks[i])
        for i, (score, part) in enumerate(zip(scores, variants, strict=True))
    ]


def cut(graph: MolGraph, kept: npt.NDArray[np.bool_]) -> MolGraph:
    """The graph without the other atoms and their bonds; what is left keeps its features as they were."""
    from acml_search.chem.graph import MolGraph

    number = np.cumsum(kept) - 1
    bonds = kept[graph.edges[0]] & kept[graph.edges[1]]
    return MolGraph(graph.atoms[kept], number[graph.edges[:, bonds]].astype(np.int32), graph.bonds[bonds])
