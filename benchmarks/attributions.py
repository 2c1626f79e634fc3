"""Do attributions name the atoms that a score depends on? The deletion test (Samek 2017; DeYoung 2020).

    python -m benchmarks.attributions --out benchmarks/results/attributions.json

Of each molecule with n heavy atoms, k = round(n / 5) atoms, at least two, are removed at once, and |score -
score without them| is how far the score moves. Removed are the k with the largest |attribution| ("named"),
the k with the smallest ("least"), and ten random sets of k ("random", their mean). Gains are paired.
Atoms are removed in two ways:

- `mask`: their first-layer embeddings are zero together. Occlusion does the same to single atoms.
- `cut`: they and their bonds are taken out of the graph; neighbours keep their features. Neither method does
  this, so this is the fairer test; the network never saw such graphs in training.

A gain shows that the network's score depends on these atoms, not that they are the chemical cause. 200
molecules of the default library take one to two minutes of processor time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rdkit import Chem

from acml_search import __version__
from acml_search.chem.graph import MolGraph
from acml_search.core.errors import ConfigError
from acml_search.core.io import write_json
from acml_search.core.progress import progress
from acml_search.core.typing import Bools, Float32s, Floats, Ints
from acml_search.evaluation.metrics import bootstrap_interval
from acml_search.interpret.attribute import METHODS, Score, attribute, evaluate, probe_score, similarity
from acml_search.interpret.sample import MoleculeSample, read_sample
from acml_search.properties.features import TRUNK, embeddings_by_part

SHARE = 0.2
"""of the heavy atoms that are removed"""
MIN_ATOMS = 8
"""of a molecule that is tested: two of them are removed"""
RANDOM_SETS = 10
REMOVALS = {
    "mask": "the first-layer embeddings of the k atoms are set to zero together; bonds stay",
    "cut": "the k atoms and their bonds are taken out of the graph; neighbours keep their features",
}
PROBED = ("logP", "TPSA", "carbonyl, any")


def measure_deletion(
    where: Path | None, model: str | None, n: int, fit_on: int, seed: int, command: str = ""
) -> dict[str, Any]:
    """The test of `n` molecules, for all methods, scores and removals; probes learn from `fit_on` others.

    `scores`: [{score, unit, tests: [{method, removal, n, moved: {named, random, least}, gain_over_random,
    gain_over_random_ci95, gain_over_least, ...}]}]; `summary` likewise over all scores, the gain of each
    score divided by how far random sets move it. Raises ConfigError for too few molecules.
    """
    started = time.perf_counter()
    sample = read_sample(where, n=n + fit_on, seed=seed, model=model)
    order = np.random.default_rng(seed).permutation(len(sample)).tolist()
    tested = [i for i in order if sample.mols[i].GetNumAtoms() >= MIN_ATOMS][:n]
    rest = sorted(set(order) - set(tested))
    if len(tested) < 10 or len(rest) < 200:
        raise ConfigError(
            f"{sample.source} gave {len(sample)} molecules; 200 to fit probes on and 10 of at least "
            f"{MIN_ATOMS} heavy atoms to test are needed"
        )
    fitted = MoleculeSample(sample.source, [sample.molecules[i] for i in rest], sample.model)
    mols = [sample.molecules[i].mol for i in tested]
    graphs = [sample.model.featurise(mol) for mol in mols]
    rng = np.random.default_rng(seed)
    random_sets = [
        [rng.choice(len(g.x), removed_size(len(g.x)), replace=False) for _ in range(RANDOM_SETS)]
        for g in graphs
    ]
    rows, gains = [], []
    for name, scores in progress(_scores(fitted, mols, seed), desc="attributions", unit="score"):
        tests, relative = _tests(sample, scores, graphs, random_sets)
        rows.append({"score": name, "unit": scores[0].unit, "tests": tests})
        gains.append(relative)
    summary = []
    for method, removal in gains[0]:
        over = [np.mean([one[method, removal][i] for one in gains], axis=0) for i in (0, 1)]
        about = {"method": method, "removal": removal, "n": len(tested), "n_scores": len(rows)}
        summary.append({**about, **_gains(*over), "unit": "the movement by random atoms"})
    return {
        "kind": "attributions",
        "source": sample.source,
        "model": {"name": sample.model.card.name, "digest": sample.model.card.digest},
        "n_molecules": len(tested),
        "n_fitted_on": len(fitted),
        "share_removed": SHARE,
        "random_sets": RANDOM_SETS,
        "removals": REMOVALS,
        "guaranteed": "nothing; k >= 2 atoms are removed together, where occlusion removes one",
        "scores": rows,
        "summary": summary,
        "seed": seed,
        "command": command,
        "version": __version__,
        "seconds": round(time.perf_counter() - started, 1),
    }


def _scores(fitted: MoleculeSample, mols: Sequence[Chem.Mol], seed: int) -> list[tuple[str, list[Score]]]:
    """(name, a score per molecule): the similarity to its nearest other tested molecule, and probes."""
    model = fitted.model
    found: list[tuple[str, list[Score]]] = []
    known: list[Float32s] = []
    for part, x in embeddings_by_part(model, mols, [TRUNK, *model.networks]).items():
        if any(x.shape == other.shape and np.abs(x - other).max() < 1e-3 for other in known):
            continue  # two modalities with one graph side would count twice
        known.append(x)
        unit = x / np.linalg.norm(x, axis=1, keepdims=True)
        cosines = unit @ unit.T
        np.fill_diagonal(cosines, -2)
        scores = [similarity(model, mols[i], part, "the nearest") for i in cosines.argmax(axis=1)]
        found.append((f"similarity to the nearest in {part}", scores))
    for concept in PROBED:
        score = probe_score(fitted, concept, TRUNK, seed=seed)
        found.append((f"probe of {TRUNK}: {concept}", [score] * len(mols)))
    return found


def _tests(
    sample: MoleculeSample, scores: list[Score], graphs: Sequence[MolGraph], random_sets: list[list[Ints]]
) -> tuple[list[dict[str, Any]], dict[tuple[str, str], tuple[Floats, Floats]]]:
    """A row per method and removal; and the gains over random and least (n,), over the random movement."""
    whole = [evaluate(sample.model, score, [graph])[0] for score, graph in zip(scores, graphs, strict=True)]

    def moved(sets: Sequence[Sequence[Ints]], removal: str) -> Floats:
        """(n, sets) how far each score moves."""
        return np.abs(_without(sample, scores, graphs, sets, removal) - np.array(whole)[:, None])

    at_random = {removal: moved(random_sets, removal).mean(axis=1) for removal in REMOVALS}
    tests, gains = [], {}
    for method in METHODS:
        ends = []
        for score, graph in zip(scores, graphs, strict=True):
            shares = attribute(sample.model, score, [graph], method)[0]
            order, k = np.argsort(-np.abs(shares), kind="stable"), removed_size(len(shares))
            ends.append([order[:k], order[-k:]])
        for removal in REMOVALS:
            (named, least), random = moved(ends, removal).T, at_random[removal]
            tests.append(
                {
                    "method": method,
                    "removal": removal,
                    "n": len(named),
                    "moved": {
                        "named": float(named.mean()),
                        "random": float(random.mean()),
                        "least": float(least.mean()),
                    },
                    "times_random": float(named.mean() / random.mean()) if random.mean() else None,
                    **_gains(named - random, named - least),
                    "share_of_molecules_ahead_of_random": float((named > random).mean()),
                }
            )
            usual = float(random.mean()) or 1.0
            gains[method, removal] = ((named - random) / usual, (named - least) / usual)
    return tests, gains


def _gains(over_random: Floats, over_least: Floats) -> dict[str, Any]:
    return {
        "gain_over_random": float(over_random.mean()),
        "gain_over_random_ci95": list(bootstrap_interval(over_random)),
        "gain_over_least": float(over_least.mean()),
        "gain_over_least_ci95": list(bootstrap_interval(over_least)),
    }


def removed_size(n: int) -> int:
    """How many of n atoms are removed."""
    return max(2, round(SHARE * n))


def _without(
    sample: MoleculeSample,
    scores: list[Score],
    graphs: Sequence[MolGraph],
    sets: Sequence[Sequence[Ints]],
    removal: str,
) -> Floats:
    """(n, sets) scores without each set of atoms; of all molecules at once where their score is the same."""
    n_sets = len(sets[0])
    flat = [
        (score, graph, ~np.isin(np.arange(len(graph.x)), gone))
        for score, graph, of in zip(scores, graphs, sets, strict=True)
        for gone in of
    ]
    step = len(flat) if all(score is scores[0] for score in scores) else n_sets
    found = []
    for start in range(0, len(flat), step):
        some = flat[start : start + step]
        if removal == "mask":
            variants, masks = [graph for _, graph, _ in some], [mask for _, _, mask in some]
        else:
            variants, masks = [cut(graph, mask) for _, graph, mask in some], None
        found.append(evaluate(sample.model, some[0][0], variants, masks))
    return np.concatenate(found).reshape(len(graphs), n_sets)


def cut(graph: MolGraph, kept: Bools) -> MolGraph:
    """The graph without the other atoms and their bonds; what is left keeps its features as they were."""
    number = np.cumsum(kept) - 1
    bonds = kept[graph.edge_index[0]] & kept[graph.edge_index[1]]
    return MolGraph(
        graph.x[kept], number[graph.edge_index[:, bonds]].astype(np.int32), graph.edge_attr[bonds]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "where", nargs="?", type=Path, help="index or library; default: RDKit's own molecules"
    )
    parser.add_argument("--model", help="name or folder of a checkpoint")
    parser.add_argument("--n", type=int, default=200, help="molecules that are tested")
    parser.add_argument("--fit-on", type=int, default=1_500, help="further molecules, that probes learn from")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/attributions.json"))
    options = parser.parse_args()
    command = (
        f"python -m benchmarks.attributions --n {options.n} --fit-on {options.fit_on} --seed {options.seed}"
    )
    result = measure_deletion(options.where, options.model, options.n, options.fit_on, options.seed, command)
    write_json(result, options.out)
    print("how much more the named atoms move a score, in units of the movement by random atoms:")
    for row in result["summary"]:
        parts = []
        for other, words in (("random", "random atoms"), ("least", "the least named")):
            low, high = row[f"gain_over_{other}_ci95"]
            parts.append(f"{row[f'gain_over_{other}']:+.2f} ({low:+.2f} to {high:+.2f}) than {words}")
        print(f"{row['method']}, {row['removal']}: {', '.join(parts)}; {row['n']} x {row['n_scores']} scores")


if __name__ == "__main__":
    main()
