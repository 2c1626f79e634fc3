"""Linear probes: what chemistry can be read from each space, on scaffolds that no probe saw.

Each representation of a molecule (the vector in each space, the pooled trunk, Morgan bits, an untrained
trunk) gets a ridge or logistic regression of each concept. Three folds of scaffolds choose its
penalty; R2 and AUROC are of the test molecules.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from acml_search import __version__
from acml_search.chem.fingerprints import morgan
from acml_search.chem.splits import scaffold
from acml_search.core.errors import ConfigError
from acml_search.core.extras import require
from acml_search.core.io import atomic, write_json
from acml_search.core.progress import progress
from acml_search.core.typing import Bools, Float32s, Floats, Ints
from acml_search.interpret.concepts import Concept, label
from acml_search.interpret.sample import MoleculeSample, read_sample
from acml_search.properties.features import TRUNK
from acml_search.properties.heads import by_target, linear_solutions, standardisation

if TYPE_CHECKING:
    from rdkit import Chem

    from acml_search.chem.graph import MolGraph
    from acml_search.encoders.checkpoint import Model

MORGAN, UNTRAINED = "Morgan", "untrained"
MORGAN_BITS = 2_048
TEST_SHARE = 0.25
"""share of the molecules, whole scaffolds, that no probe and no choice of a penalty sees"""
MIN_MOLECULES = 200
PENALTIES = (1e-3, 3e-2, 1.0, 30.0, 1e3)
"""on the squared weights of features of unit variance, for 1,000 molecules; more with more"""
FOLDS = 3
RESAMPLES = 1_000
_BATCH = 64


def probe(
    where: Path | None = None,
    *,
    model: str | None = None,
    n: int = 4_000,
    seed: int = 0,
    smiles_column: str | None = None,
    command: str = "",
) -> dict[str, Any]:
    """Probe all representations of `n` molecules for all concepts; the JSON document.

    where, model: as `read_sample` takes them; command: for the result.

    `concepts`: [{name, kind, metric, about, n_with, values: {view: {value, ci95, strength}}, best_space,
    best}]. Intervals are 95 % bootstraps over the test molecules, the same draws for all representations.
    Raises ConfigError for fewer than 200 molecules or a missing package, and what reading raises.
    """
    from acml_search.encoders.training_molecules import training_list

    require("sklearn", extra="maps")
    started = time.perf_counter()
    sample = read_sample(where, n=n, seed=seed, model=model, smiles_column=smiles_column)
    if len(sample) < MIN_MOLECULES:
        raise ConfigError(
            f"{sample.source} gave {len(sample)} molecules; probes need at least {MIN_MOLECULES} to learn "
            "and be tested on"
        )
    views = representations(sample, seed=seed)
    groups = scaffold_groups(sample.mols)
    test = split_groups(groups, [1 - TEST_SHARE, TEST_SHARE], seed) == 1
    labels = label(sample.mols, test=test)
    y = labels.values
    is_group = np.array([concept.kind == "group" for concept in labels.concepts], bool)
    counts = resample_counts(int(test.sum()), seed=seed)
    found: list[dict[str, dict[str, Any]]] = [{} for _ in labels.concepts]
    resampled: dict[str, list[Floats]] = {}
    for name, x in progress(views.items(), desc="probing", unit="space"):
        probes = fit_probes(x[~test], y[~test], is_group, groups[~test], seed=seed)
        resampled[name] = measures(y[test], probes(x[test]), is_group, counts)
        for one, values, penalty in zip(found, resampled[name], probes.penalties, strict=True):
            one[name] = {"value": float(values[0]), "ci95": list(interval(values[1:])), "strength": penalty}
    seen, spaces = training_list(sample.model.card), list(sample.model.networks)
    inchikeys = [one.inchikey14 for one in sample.molecules]
    return {
        "kind": "probe",
        "source": sample.source,
        "model": {"name": sample.model.card.name, "digest": sample.model.card.digest},
        "n_molecules": len(sample),
        "n_train": int((~test).sum()),
        "n_test": int(test.sum()),
        "n_scaffolds": len(np.unique(groups)),
        "n_seen_in_training": None if seen is None else int(seen.contains(inchikeys).sum()),
        "stored_spaces": sorted(sample.stored),
        "spaces": spaces,
        "views": {name: x.shape[1] for name, x in views.items()},
        "same_vectors": _same_vectors(views),
        "split": f"Bemis-Murcko scaffolds, {1 - TEST_SHARE:.0%} train, {TEST_SHARE:.0%} test",
        "inner": f"{FOLDS} folds of scaffolds, penalties {', '.join(f'{p:g}' for p in PENALTIES)}",
        "concepts": [
            {
                "name": concept.name,
                "kind": concept.kind,
                "metric": "AUROC" if group else "R2",
                "about": concept.about,
                "n_with": int(column.sum()) if group else len(column),
                "values": values,
                "best_space": _best(values, spaces),
                "best": _best(values, values),
            }
            for concept, group, column, values in zip(labels.concepts, is_group, y.T, found, strict=True)
        ],
        "left_out": labels.left_out,
        "reading": comparisons(labels.concepts, resampled, TRUNK, (MORGAN, UNTRAINED)),
        "seed": seed,
        "command": command,
        "version": __version__,
        "seconds": round(time.perf_counter() - started, 1),
    }


def _best(values: Mapping[str, dict[str, Any]], names: Iterable[str]) -> str:
    return max(names, key=lambda name: float(values[name]["value"]))


def representations(sample: MoleculeSample, *, seed: int) -> dict[str, Float32s]:
    """Name -> (n, f) float32, spaces first; `untrained` is the trunk with weights drawn by `seed`."""
    bits = morgan(sample.mols, MORGAN_BITS).astype(np.float32)
    graphs = [sample.model.featurise(mol) for mol in sample.mols]
    untrained = untrained_vectors(sample.model, graphs, seed)
    return {**sample.vectors([*sample.model.networks, TRUNK]), MORGAN: bits, UNTRAINED: untrained}


def untrained_vectors(model: Model, graphs: Sequence[MolGraph], seed: int) -> Float32s:
    """(n, layers x width): the model's trunk before any training, weights as torch draws them from `seed`.

    Its normalisations are set to the mean and variance of `graphs` (no labels take part): with torch's 0 and
    1, the layers of a random network would drown in the size of the first, and the comparison be too easy.
    """
    import torch
    from torch import nn

    from acml_search.chem.graph import ATOM_COLUMNS, N_BOND_CODES
    from acml_search.networks import GraphNet

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        trunk = GraphNet(list(ATOM_COLUMNS.values()), N_BOND_CODES, **model.card.data["hyper"]["trunk"])
    trunk.to(model.device).train()
    for module in trunk.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.momentum = None  # the plain mean over all batches

    def vectors(size: int) -> list[torch.Tensor]:
        starts = range(0, len(graphs), size)
        return [trunk(model.graph_batch(graphs[start : start + size])) for start in starts]

    with torch.no_grad():
        vectors(4 * _BATCH)
        trunk.eval()
        trunk.fold()
        pooled: Float32s = torch.cat(vectors(_BATCH)).cpu().numpy()
    return pooled


class LinearProbes(NamedTuple):
    """Fitted probes of k concepts: `(x - mean) / scale @ weights + bias`, a number or a logit.

    mean, scale (f,), weights (f, k), bias (k,): float32. penalties: of PENALTIES, as chosen.
    """

    mean: Float32s
    scale: Float32s
    weights: Float32s
    bias: Float32s
    penalties: list[float]

    def __call__(self, x: Float32s) -> Floats:
        """(n, f) -> (n, k) float64."""
        return np.asarray((x - self.mean) / self.scale @ self.weights + self.bias, np.float64)


def fit_probes(x: Float32s, y: Floats, is_group: Bools, groups: Ints, *, seed: int) -> LinearProbes:
    """Probes of the concepts y (n, k), on features x (n, f).

    is_group (k,): logistic where true (y is 0 or 1), ridge elsewhere. groups (n,): molecules of one scaffold
    stay together in the folds by which each concept's penalty is chosen, by R2 or AUROC.
    """
    fold_of = split_groups(groups, [1 / FOLDS] * FOLDS, seed)
    scores = np.zeros((len(PENALTIES), y.shape[1]))
    for fold in range(FOLDS):
        train, test = fold_of != fold, fold_of == fold
        once = np.ones((1, int(test.sum())))
        for p, probes in enumerate(_every_penalty(x[train], y[train], is_group)):
            # a fold that cannot judge a concept has no score for any of its penalties
            scores[p] += np.nan_to_num(np.ravel(measures(y[test], probes(x[test]), is_group, once)))
    chosen = scores.argmax(axis=0)
    fits = list(_every_penalty(x, y, is_group))
    solutions = by_target([(probes.weights, probes.bias) for probes in fits], chosen)
    return LinearProbes(fits[0].mean, fits[0].scale, *solutions, [PENALTIES[p] for p in chosen])


def _every_penalty(x: Float32s, y: Floats, is_group: Bools) -> Iterator[LinearProbes]:
    """Probes of all concepts at each of PENALTIES."""
    mean, scale = standardisation(x, bits="together")
    rows = ((x - mean) / scale).astype(np.float32)
    per_molecule = [penalty / 1000 for penalty in PENALTIES]
    fits = [
        (columns, linear_solutions(task, rows, y[:, columns], per_molecule))
        for task, columns in (("regression", ~is_group), ("classification", is_group))
        if columns.any()
    ]
    for penalty in PENALTIES:
        weights, bias = np.empty((x.shape[1], y.shape[1]), np.float32), np.empty(y.shape[1], np.float32)
        for columns, solutions in fits:
            weights[:, columns], bias[columns] = next(solutions)
        yield LinearProbes(mean, scale, weights, bias, [penalty] * y.shape[1])


def scaffold_groups(mols: Sequence[Chem.Mol]) -> Ints:
    """(n,) the number of each molecule's scaffold; each molecule without a ring has one of its own."""
    numbers: dict[str, int] = {}
    names = (scaffold(mol) or f"acyclic {i}" for i, mol in enumerate(mols))
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], np.int64)


def split_groups(groups: Ints, shares: Sequence[float], seed: int) -> Ints:
    """(n,) the part of each row: groups in random order, each to the part that lacks most of its share."""
    _, group_of, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    lacking = np.array(shares) * len(groups)
    part = np.empty(len(sizes), np.int64)
    for group in np.random.default_rng(seed).permutation(len(sizes)):
        part[group] = int(lacking.argmax())
        lacking[part[group]] -= sizes[group]
    return part[group_of]


def resample_counts(n: int, *, seed: int, number: int = RESAMPLES) -> Floats:
    """(number + 1, n) how often each of n molecules is drawn; the first row is 1 throughout: the sample."""
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=number)
    return np.concatenate([np.ones((1, n)), drawn])


def measures(y: Floats, predicted: Floats, is_group: Bools, counts: Floats) -> list[Floats]:
    """Of each of k concepts (r,): AUROC of groups, R2 of numbers, in the resamples `counts` (r, n)."""
    columns = zip(is_group.tolist(), y.T, predicted.T, strict=True)
    return [(aurocs if group else r_squared)(a, b, counts) for group, a, b in columns]


def r_squared(y: Floats, predicted: Floats, counts: Floats) -> Floats:
    """(r,) 1 - squared error / variance, weighted by counts (r, n); NaN where y does not vary."""
    total = counts.sum(axis=1)
    centred = y - y.mean()  # for precision: the variance does not depend on it
    spread = counts @ centred**2 - (counts @ centred) ** 2 / total
    error = counts @ (y - predicted) ** 2
    return np.where(spread > 1e-12, 1 - error / np.where(spread > 1e-12, spread, 1), np.nan)


def aurocs(y: Floats, score: Floats, counts: Floats) -> Floats:
    """(r,) AUROC, ties half, weighted by counts (r, n); NaN where one kind is missing."""
    has = y > 0.5
    with_group, without = counts[:, has].astype(np.float32), counts[:, ~has].astype(np.float32)
    above, below = score[has][:, None], score[~has][None]
    wins = (above > below) + np.float32(0.5) * (above == below)
    won = ((with_group @ wins) * without).sum(axis=1, dtype=np.float64)
    pairs = with_group.sum(axis=1, dtype=np.float64) * without.sum(axis=1, dtype=np.float64)
    return np.where(pairs > 0, won / np.where(pairs > 0, pairs, 1), np.nan)


def interval(values: Floats) -> tuple[float, float]:
    """95 % percentile interval of resampled values (r,); NaN twice where all are NaN."""
    known = values[~np.isnan(values)]
    low, high = np.quantile(known, [0.025, 0.975]) if len(known) else (np.nan, np.nan)
    return (float(low), float(high))


def comparisons(
    concepts: Sequence[Concept], resampled: dict[str, list[Floats]], ours: str, others: Sequence[str]
) -> list[str]:
    """Sentences: mean metrics, the best representation first, and how many concepts `ours` is ahead in of
    each of the others, by a paired bootstrap. resampled: by representation and concept, of the sample first.
    """
    lines = []
    for kind, metric in (("number", "R2"), ("group", "AUROC")):
        rows = [i for i, concept in enumerate(concepts) if concept.kind == kind]
        if rows:
            means = {name: float(np.mean([of[i][0] for i in rows])) for name, of in resampled.items()}
            ranked = ", ".join(f"{name} {means[name]:.3f}" for name in sorted(means, key=lambda m: -means[m]))
            lines.append(f"Mean {metric} over {len(rows)} {kind}s: {ranked}.")
    for other in others:
        limits = [interval(a[1:] - b[1:]) for a, b in zip(resampled[ours], resampled[other], strict=True)]
        behind = [c.name for c, (_, high) in zip(concepts, limits, strict=True) if high < 0]
        ahead = sum(low > 0 for low, _ in limits)
        named = f": {', '.join(behind)}" if behind else ""
        lines.append(
            f"The {ours} is ahead of {other} in {ahead} of {len(limits)} concepts and behind in {len(behind)}"
            f"{named}; the rest is within the 95 % interval."
        )
    return lines


def _same_vectors(views: dict[str, Float32s]) -> list[list[str]]:
    """Representations that are one and the same: two modalities may share a graph side."""
    groups: dict[str, list[str]] = {}
    for name, x in views.items():
        same = (one for one in groups if views[one].shape == x.shape and np.abs(views[one] - x).max() < 1e-3)
        groups.setdefault(next(same, name), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def write_probe(result: dict[str, Any], folder: Path) -> None:
    """`probe.json`, `probe.png` and `probe.svg` in `folder`. Raises ConfigError without matplotlib."""
    require("matplotlib")
    write_json(result, folder / "probe.json")
    figure = heat_map(result)
    for ending in ("png", "svg"):
        with atomic(folder / f"probe.{ending}") as path:
            figure.savefig(path, format=ending, dpi=110)


def headline(result: dict[str, Any]) -> str:
    seen = result["n_seen_in_training"]
    trained = "" if seen is None else f"; the model's training saw {seen:,} of them (structures, no labels)"
    same = "".join(f"; {' and '.join(group)} are the same vectors" for group in result["same_vectors"])
    return (
        f"{result['source']}: {result['n_molecules']:,} molecules, {result['n_train']:,} to learn from and "
        f"{result['n_test']:,} to test on, {result['n_scaffolds']:,} scaffolds{trained}{same}."
    )


def left_out_line(result: dict[str, Any]) -> str:
    """Which concepts were left out and why; empty for none."""
    left_out = [f"{one['concept']} ({one['why']}: {one['molecules']:,})" for one in result["left_out"]]
    return f"Left out: {', '.join(left_out)}." if left_out else ""


def heat_map(result: dict[str, Any]) -> Any:
    """The table as a figure of matplotlib."""
    from matplotlib.figure import Figure

    views, concepts = list(result["views"]), result["concepts"]
    values = np.array([[c["values"][v]["value"] for v in views] for c in concepts])
    # an AUROC of 0.5 and an R2 of 0 both mean: knows nothing
    is_r2 = np.array([[c["metric"] == "R2"] for c in concepts])
    shade = np.where(is_r2, values, 2 * values - 1).clip(0, 1)
    figure = Figure(figsize=(2.9 + 0.78 * len(views), 0.9 + 0.225 * len(concepts)), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(shade, aspect="auto", cmap="YlGnBu", vmin=0, vmax=1)
    axes.set_xticks(range(len(views)), views)
    axes.set_yticks(range(len(concepts)), [c["name"] for c in concepts], fontsize=8)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    for (i, j), value in np.ndenumerate(values):
        colour = "white" if shade[i, j] > 0.6 else "black"
        weight = "bold" if views[j] == concepts[i]["best_space"] else "normal"
        style = {"ha": "center", "va": "center", "fontsize": 7.5, "color": colour, "fontweight": weight}
        axes.text(j, i, f"{value:.2f}", **style)
    axes.axhline(is_r2.sum() - 0.5, color="white", linewidth=3)
    axes.axvline(len(result["spaces"]) - 0.5, color="white", linewidth=3)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, shrink=0.5, pad=0.02, ticks=[0, 0.5, 1])
    bar.ax.set_yticklabels(["nothing", "half", "all"], fontsize=8)
    bar.outline.set_visible(False)
    axes.set_xlabel(
        f"above the line R², below AUROC; {result['n_test']:,} test molecules of unseen scaffolds; bold: "
        "best space",
        fontsize=8,
    )
    return figure
