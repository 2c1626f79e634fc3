"""What is a part of the embedding worth for properties? Scored inside training parts, where choices are made.

    python -m benchmarks.property_folds benchmarks/moleculenet.toml --only lipophilicity esol \\
        --out benchmarks/results/folds.json

Molecules of the test part of any run of a set are left out, so that what is chosen here has not seen them.
Whole Bemis-Murcko scaffolds go to five folds by a hash. Each fold is scored once, by the head that did best
on the next one after being fitted on the others; all lists of parts see the same folds. Reported are the mean
over folds, the gain over the first list, and its standard error over folds.
"""

from __future__ import annotations

import argparse
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from acml_search.chem.molecule import parse
from acml_search.chem.splits import scaffold
from acml_search.cli.app import command_line
from acml_search.core.io import write_json
from acml_search.core.typing import Float32s, Floats, Ints
from acml_search.core.workers import Workers
from acml_search.encoders.checkpoint import Model, load_model
from acml_search.evaluation.pool import described_file
from acml_search.properties.features import descriptors, embeddings, part_names, part_of_columns
from acml_search.properties.heads import KINDS, fit_head
from benchmarks.properties import Cleaner, PropertySet, Rows, read_plan, read_rows, score

FOLDS = 5
DESCRIPTORS = "descriptors"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("benchmark", type=Path)
    parser.add_argument("--only", nargs="+", required=True, metavar="SET")
    parser.add_argument(
        "--parts",
        nargs="+",
        metavar="A,B",
        default=["trunk,maxima,spaces", "trunk,maxima,environments,spaces"],
        help="lists of parts; `spaces` is all of them, `descriptors` RDKit's",
    )
    parser.add_argument("--heads", nargs="+", choices=KINDS, default=["linear", "kernel"])
    parser.add_argument("--seed", type=int, default=0, help="of the folds")
    parser.add_argument("--model", default="acml-base")
    parser.add_argument("--cache", type=Path, default=Path("benchmarks/results/cache"))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    plan, model = read_plan(options.benchmark), load_model(options.model)
    result: dict[str, Any] = {"kind": "property folds", "seed": options.seed, "heads": options.heads}
    result |= {"sets": [], "command": command_line()}
    for asked in (one for one in plan.set if one.name in options.only):
        with Workers(1) as workers:
            rows = read_rows(asked, described_file(asked.file, workers, options.cache))
        about = measure(asked, rows, model, options.parts, options.heads, options.seed)
        result["sets"].append(about)
        write_json(result, options.out)
        gains = "; ".join(
            f"{name} {one['mean']:.3f} (gain {one['gain']:+.4f} +- {one['standard_error']:.4f})"
            for name, one in about["systems"].items()
        )
        print(f"{about['set']}, {about['metric']}, {about['n']:,} molecules: {gains}", flush=True)


def measure(
    asked: PropertySet, rows: Rows, model: Model, lists: list[str], heads: list[str], seed: int
) -> dict[str, Any]:
    """One set. Raises ConfigError for a part that the model does not have."""
    parts = {
        one: [p for part in one.split(",") for p in (model.networks if part == "spaces" else (part,))]
        for one in lists
    }
    for of in parts.values():
        part_names(model, [part for part in of if part != DESCRIPTORS])
    in_test = (rows.splits == "test").any(axis=1).to_numpy()
    tested = {rows.inchikey14[i] for i in np.flatnonzero(in_test)}
    free = [i for i, key in enumerate(rows.inchikey14) if key not in tested]
    mols = [parse(rows.smiles[i])[0] for i in free]
    x, part_of = embeddings(model, mols), part_of_columns(model.card)
    if any(DESCRIPTORS in of for of in parts.values()):
        values = descriptors(mols)
        x, part_of = np.hstack([x, values]), np.append(part_of, [DESCRIPTORS] * values.shape[1])
    scaffolds = [scaffold(mol) or rows.inchikey14[i] for mol, i in zip(mols, free, strict=True)]
    fold = np.array([zlib.crc32(f"{seed} {one}".encode()) % FOLDS for one in scaffolds])
    scores = [
        [_fold(asked, x[:, np.isin(part_of, of)], rows.y[free], fold, k, heads) for k in range(FOLDS)]
        for of in parts.values()
    ]
    values = np.array(scores, float)  # None becomes NaN
    values = values[:, np.isfinite(values).all(axis=0)]
    gains = asked.sign * (values - values[0])
    systems = {
        name: {
            "values": values[i].tolist(),
            "mean": float(values[i].mean()),
            "gain": float(gains[i].mean()),
            "standard_error": float(gains[i].std(ddof=1) / np.sqrt(values.shape[1])),
        }
        for i, name in enumerate(parts)
    }
    about = {"set": asked.name, "metric": asked.metric, "n": len(free)}
    return {**about, "folds": values.shape[1], "systems": systems}


def _fold(asked: PropertySet, x: Float32s, y: Floats, fold: Ints, k: int, heads: list[str]) -> float | None:
    """The metric on fold k, by the head that did best on the next one."""
    valid, scored = fold == (k + 1) % FOLDS, fold == k
    train = ~(valid | scored)
    clean = Cleaner.of(x[train])
    fitted = [
        fit_head(head, asked.task, clean(x[train]), y[train], clean(x[valid]), y[valid], seed=0)
        for head in heads
    ]
    best = max(fitted, key=lambda head: np.nan_to_num(head.valid_score, nan=-np.inf))
    return score(asked.metric, y[scored], best.predict(clean(x[scored])))


if __name__ == "__main__":
    main()
