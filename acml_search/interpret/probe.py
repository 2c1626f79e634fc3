"""Linear probes: what chemistry can be read from each space, on scaffolds that no probe saw.

Each representation of a molecule (the vector in each space, the pooled trunk, Morgan bits, an untrained
trunk) gets a ridge or logistic regression of each concept. Three folds of scaffolds choose its
penalty; R2 and AUROC are of the test molecules.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
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
from acml_search.interpret.concepts import Concept, Labels, label
from acml_search.interpret.sample import MoleculeSample, read_sample
from acml_search.properties.heads import linear_solutions

if TYPE_CHECKING:
    from rdkit import Chem

    from acml_search.chem.graph import MolGraph
    from acml_search.encoders.checkpoint import Model
    from acml_search.networks import GraphNet

TRUNK, MORGAN, UNTRAINED = "trunk", "Morgan", "untrained"
MORGAN_BITS = 2_048
TEST_SHARE = 0.25
"""share of the molecules, whole scaffolds, that no probe and no choice of a penalty sees"""
MIN_PER_PART = 5
"""molecules of either part that must have a group, and lack it"""
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
    require("sklearn", extra="maps")
    started = time.perf_counter()
    sample = read_sample(where, n=n, seed=seed, model=model, smiles_column=smiles_column)
    if len(sample) < MIN_MOLECULES:
        raise ConfigError(
            f"{sample.source} gave {len(sample)} molecules; probes need at least {MIN_MOLECULES} to learn "
            "and be tested on"
        )
    represented = representations(sample, seed=seed)
    groups = scaffold_groups(sample.mols)
    test = split_groups(groups, [1 - TEST_SHARE, TEST_SHARE], seed) == 1
    labels = _in_both_parts(label(sample.mols), test)
    is_group = np.array([concept.kind == "group" for concept in labels.concepts], bool)
    counts = resample_counts(int(test.sum()), seed=seed)
    resampled: dict[str, list[Floats]] = {}
    penalties: dict[str, list[float]] = {}
    for name, x in progress(represented.items(), desc="probing", unit="space"):
        probes = fit_probes(x[~test], labels.values[~test], is_group, groups[~test], seed=seed)
        predicted = probes(x[test])
        penalties[name] = probes.penalties
        resampled[name] = [
            (aurocs if group else r_squared)(labels.values[test, i], predicted[:, i], counts)
            for i, group in enumerate(is_group.tolist())
        ]
    spaces = list(sample.model.spaces)
    return {
        "kind": "probe",
        "source": sample.source,
        "model": {"name": sample.model.card.name, "digest": sample.model.card.digest},
        "n_molecules": len(sample),
        "n_train": int((~test).sum()),
        "n_test": int(test.sum()),
        "n_scaffolds": len(np.unique(groups)),
        "n_seen_in_training": sample.n_seen(),
        "stored_spaces": sorted(sample.stored),
        "spaces": spaces,
        "views": {name: x.shape[1] for name, x in represented.items()},
        "same_vectors": _same_vectors(represented),
        "split": f"Bemis-Murcko scaffolds, {1 - TEST_SHARE:.0%} train, {TEST_SHARE:.0%} test",
        "inner": f"{FOLDS} folds of scaffolds, penalties {', '.join(f'{p:g}' for p in PENALTIES)}",
        "concepts": [
            _about(
                concept,
                labels.values[:, i],
                {
                    name: {
                        "value": float(of[i][0]),
                        "ci95": list(interval(of[i][1:])),
                        "strength": penalties[name][i],
                    }
                    for name, of in resampled.items()
                },
                spaces,
            )
            for i, concept in enumerate(labels.concepts)
        ],
        "left_out": labels.left_out,
        "reading": comparisons(labels.concepts, resampled, TRUNK, (MORGAN, UNTRAINED)),
        "seed": seed,
        "command": command,
        "version": __version__,
        "seconds": round(time.perf_counter() - started, 1),
    }


def representations(sample: MoleculeSample, *, seed: int) -> dict[str, Float32s]:
    """Name -> (n, f) float32, spaces first. Spaces come from the index where it holds those of these weights,
    else from the model; `untrained` is the same trunk with weights drawn by `seed`.
    """
    model = sample.model
    graphs = [model.featurise(mol) for mol in sample.mols]
    trunk, spaces = embed(model, graphs, [name for name in model.spaces if name not in sample.stored])
    return {
        **{name: sample.stored[name] if name in sample.stored else spaces[name] for name in model.spaces},
        TRUNK: trunk,
        MORGAN: morgan(sample.mols, MORGAN_BITS).astype(np.float32),
        UNTRAINED: pooled_trunk(model, untrained_trunk(model, graphs, seed), graphs),
    }


def embed(
    model: Model, graphs: Sequence[MolGraph], spaces: Sequence[str]
) -> tuple[Float32s, dict[str, Float32s]]:
    """Pooled trunk (n, layers x width), and the graph vectors in `spaces`, in one pass of the trunk."""
    import torch

    outputs = []
    with torch.inference_mode():
        for start in progress(range(0, len(graphs), _BATCH), desc="embedding", unit="batch"):
            outputs.append(
                model.network.node_stage(model.graph_batch(graphs[start : start + _BATCH]), spaces)
            )
        vectors = model.network.graph_stage(outputs)
        pooled = torch.cat([output.pooled for output in outputs])
    return pooled.cpu().numpy(), {name: vectors[name].cpu().numpy() for name in spaces}


def pooled_trunk(model: Model, trunk: GraphNet, graphs: Sequence[MolGraph]) -> Float32s:
    """(n, layers x width) float32: what a trunk gives for molecules."""
    import torch

    with torch.inference_mode():
        parts = [
            trunk(model.graph_batch(graphs[start : start + _BATCH]))
            for start in range(0, len(graphs), _BATCH)
        ]
        pooled: Float32s = torch.cat(parts).cpu().numpy()
    return pooled


def untrained_trunk(model: Model, graphs: Sequence[MolGraph], seed: int) -> GraphNet:
    """The model's trunk before any training: weights as torch draws them, from `seed`.

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
    trunk.to(model.device)
    for module in trunk.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.momentum = None  # the plain mean over all batches
    trunk.train()
    with torch.no_grad():
        for start in range(0, len(graphs), 4 * _BATCH):
            trunk(model.graph_batch(graphs[start : start + 4 * _BATCH]))
    trunk.eval()
    trunk.fold()
    return trunk


class LinearProbes(NamedTuple):
    """Fitted probes of k concepts: `(x - mean) / scale @ weights + bias`, a number or a logit."""

    mean: Float32s
    """(f,)"""
    scale: Float32s
    """(f,)"""
    weights: Float32s
    """(f, k)"""
    bias: Float32s
    """(k,)"""
    penalties: list[float]
    """of PENALTIES, as chosen"""

    def __call__(self, x: Float32s) -> Floats:
        """(n, f) -> (n, k) float64."""
        return np.asarray((x - self.mean) / self.scale @ self.weights + self.bias, np.float64)


def fit_probes(x: Float32s, y: Floats, is_group: Bools, groups: Ints, *, seed: int) -> LinearProbes:
    """Probes of the concepts y (n, k), on features x (n, f).

    is_group (k,): logistic where true (y is 0 or 1), ridge elsewhere. groups (n,): molecules of one scaffold
    stay together in the folds by which each concept's penalty is chosen, by R2 or AUROC.
    """
    scores = np.full((FOLDS, len(PENALTIES), y.shape[1]), np.nan)
    fold_of = split_groups(groups, [1 / FOLDS] * FOLDS, seed)
    for fold in range(FOLDS):
        train, test = fold_of != fold, fold_of == fold
        for p, probes in enumerate(_every_penalty(x[train], y[train], is_group)):
            predicted, once = probes(x[test]), np.ones((1, int(test.sum())))
            for i, group in enumerate(is_group.tolist()):
                scores[fold, p, i] = (aurocs if group else r_squared)(y[test, i], predicted[:, i], once)[0]
    known = np.isfinite(scores)
    chosen = (np.where(known, scores, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)).argmax(axis=0)
    fits = list(_every_penalty(x, y, is_group))
    columns = np.arange(y.shape[1])
    weights = np.stack([probes.weights for probes in fits])[chosen, :, columns].T
    bias = np.stack([probes.bias for probes in fits])[chosen, columns]
    return LinearProbes(fits[0].mean, fits[0].scale, weights, bias, [PENALTIES[p] for p in chosen])


def _every_penalty(x: Float32s, y: Floats, is_group: Bools) -> Iterator[LinearProbes]:
    """Probes of all concepts at each of PENALTIES."""
    mean, scale = _standardisation(x)
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


def _standardisation(x: Float32s) -> tuple[Float32s, Float32s]:
    """Mean and standard deviation (f,). Bits are only centred and scaled alike: dividing by each deviation
    would make the rarest bits, of which the least is known, the loudest.
    """
    mean, spread = x.mean(axis=0), x.std(axis=0)
    if ((x == 0) | (x == 1)).all():
        return mean, np.full_like(spread, float(np.sqrt((spread**2).mean())) or 1.0)
    return mean, np.where(spread > 1e-6, spread, 1.0).astype(np.float32)


def scaffold_groups(mols: Sequence[Chem.Mol]) -> Ints:
    """(n,) the number of each molecule's scaffold. Each molecule without a ring has a number of its own:
    sharing "no scaffold" does not make two of them alike.
    """
    numbers: dict[str, int] = {}
    names = (scaffold(mol) or f"acyclic {i}" for i, mol in enumerate(mols))
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], np.int64)


def split_groups(groups: Ints, shares: Sequence[float], seed: int) -> Ints:
    """(n,) the part each row belongs to: groups in random order, each to the part that lacks most of its
    share of rows.
    """
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


def r_squared(y: Floats, predicted: Floats, counts: Floats) -> Floats:
    """(r,) 1 - squared error / variance, weighted by counts (r, n); NaN where y does not vary."""
    total = counts.sum(axis=1)
    centred = y - y.mean()  # for precision: the variance does not depend on it
    spread = counts @ centred**2 - (counts @ centred) ** 2 / total
    error = counts @ (y - predicted) ** 2
    return np.where(spread > 1e-12, 1 - error / np.where(spread > 1e-12, spread, 1), np.nan)


def aurocs(y: Floats, score: Floats, counts: Floats) -> Floats:
    """(r,) chance that a molecule that has the group scores above one that lacks it, ties half, weighted by
    counts (r, n); NaN where one kind is missing.
    """
    has = y > 0.5
    with_group, without = counts[:, has].astype(np.float32), counts[:, ~has].astype(np.float32)
    above, below = score[has][:, None], score[~has][None]
    wins = (above > below) + np.float32(0.5) * (above == below)
    won = ((with_group @ wins) * without).sum(axis=1, dtype=np.float64)
    pairs = with_group.sum(axis=1, dtype=np.float64) * without.sum(axis=1, dtype=np.float64)
    return np.where(pairs > 0, won / np.where(pairs > 0, pairs, 1), np.nan)


def interval(values: Floats, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of resampled values (r,); NaN twice where all are NaN."""
    known = values[~np.isnan(values)]
    if not len(known):
        return (float("nan"), float("nan"))
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return (float(low), float(high))


def _in_both_parts(labels: Labels, test: Bools) -> Labels:
    """Without what hardly varies in one of the two parts: one scaffold may hold nearly all of a group."""
    chosen, left_out = [], list(labels.left_out)
    for i, concept in enumerate(labels.concepts):
        column = labels.values[:, i]
        # molecules unlike most: of a group, the fewer of those that have it and those that lack it
        others = [
            len(x) - int(np.unique(x, return_counts=True)[1].max()) for x in (column[~test], column[test])
        ]
        if min(others) >= MIN_PER_PART:
            chosen.append(i)
        else:
            why = "too few in one part of the split"
            left_out.append(
                {"concept": concept.name, "molecules": sum(others), "of": len(column), "why": why}
            )
    return Labels([labels.concepts[i] for i in chosen], labels.values[:, chosen], left_out)


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


def _about(
    concept: Concept, values: Floats, by_view: dict[str, dict[str, Any]], spaces: list[str]
) -> dict[str, Any]:
    group = concept.kind == "group"
    return {
        "name": concept.name,
        "kind": concept.kind,
        "metric": "AUROC" if group else "R2",
        "about": concept.about,
        "n_with": int(values.sum()) if group else len(values),
        "values": by_view,
        "best_space": max(spaces, key=lambda name: by_view[name]["value"]),
        "best": max(by_view, key=lambda name: by_view[name]["value"]),
    }


def _same_vectors(represented: dict[str, Float32s]) -> list[list[str]]:
    """Representations that are one and the same: two modalities may share a graph side."""
    groups: list[list[str]] = []
    for name, x in represented.items():
        for group in groups:
            first = represented[group[0]]
            if first.shape == x.shape and np.abs(first - x).max() < 1e-3:
                group.append(name)
                break
        else:
            groups.append([name])
    return [group for group in groups if len(group) > 1]


def write_probe(result: dict[str, Any], folder: Path) -> None:
    """`probe.json`, `probe.md`, `probe.png` and `probe.svg` in `folder`. Raises ConfigError where matplotlib
    is missing.
    """
    require("matplotlib")
    write_json(result, folder / "probe.json")
    with atomic(folder / "probe.md") as path:
        path.write_text(markdown(result), encoding="utf-8")
    figure = heat_map(result)
    for ending in ("png", "svg"):
        with atomic(folder / f"probe.{ending}") as path:
            figure.savefig(path, format=ending, dpi=110)


def headline(result: dict[str, Any]) -> str:
    """What was probed, in a sentence."""
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


def markdown(result: dict[str, Any]) -> str:
    """The result as a page; the best representation of a row in bold, the best space in italics."""
    views = list(result["views"])
    lines = [
        f"# What {result['model']['name']} knows\n",
        f"{headline(result)}\n",
        "R2 of numbers, AUROC of groups, on test molecules of scaffolds that no probe saw. Half the width of "
        "the 95 % interval is beside each figure.\n",
        f"| concept | metric | with it | {' | '.join(views)} |",
        f"|---|---|---|{'---|' * len(views)}",
    ]
    for concept in result["concepts"]:
        cells = []
        for view in views:
            value = concept["values"][view]
            low, high = value["ci95"]
            mark = "**" if view == concept["best"] else "_" if view == concept["best_space"] else ""
            cells.append(f"{mark}{value['value']:.3f} ± {(high - low) / 2:.3f}{mark}")
        n = f"{concept['n_with']:,}" if concept["kind"] == "group" else ""
        lines.append(f"| {concept['name']} | {concept['metric']} | {n} | {' | '.join(cells)} |")
    lines += [
        "\nBold: best of all; italic: best of the spaces, where that is another.\n",
        *(f"{line}\n" for line in (*result["reading"], left_out_line(result)) if line),
        f"Made by `{result['command']}` in {result['seconds']:.0f} s.",
    ]
    return "\n".join(lines) + "\n"


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
