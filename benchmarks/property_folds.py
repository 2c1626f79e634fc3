"""What is a part of the embedding worth for properties? Asked inside training parts, where choices are made.

    python benchmarks/property_folds.py benchmarks/moleculenet.toml --only lipophilicity esol \\
        --out benchmarks/results/folds.json

Molecules that stand in the test part of any run of a set are left out, so what is chosen here has not seen
them. Whole Bemis-Murcko scaffolds go to five folds by a hash. Each fold is scored once, by the head that did
best on the next one after being fitted on the others; both of the lists of parts see the same folds. What is
reported is the mean over folds, the gain over the first list, and its standard error over folds.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from acml_search.chem.molecule import parse
from acml_search.chem.splits import scaffold
from acml_search.cli.output import command_line
from acml_search.encoders.checkpoint import Model, load_model
from acml_search.evaluation.data.described import described_file
from acml_search.evaluation.results import check_out, write_json
from acml_search.evaluation.workers import Workers
from acml_search.properties.features import descriptors, embeddings, part_names, part_width
from acml_search.properties.heads import KINDS, fit_head
from benchmarks.property_bench.cells import Cleaner
from benchmarks.property_bench.plan import HIGHER_IS_BETTER, PropertySet, check_named, read_plan
from benchmarks.property_bench.rows import Rows, read_rows
from benchmarks.property_bench.scores import score

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
        help="lists of parts; `spaces` is all of them, `descriptors` RDKit's, which come last",
    )
    parser.add_argument("--heads", nargs="+", choices=KINDS, default=["linear", "kernel"])
    parser.add_argument("--seed", type=int, default=0, help="of the folds")
    parser.add_argument("--model", default="acml-base")
    parser.add_argument("--cache", type=Path, default=Path("benchmarks/results/cache"))
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    check_out(arguments.out)
    torch.set_num_threads(1)
    plan = read_plan(arguments.benchmark)
    check_named(plan, tuple(arguments.only), ())
    model = load_model(arguments.model)
    variants = {one: _parts(model, one) for one in arguments.parts}
    found = []
    for asked in (one for one in plan.sets if one.name in arguments.only):
        with Workers(1) as workers:
            rows = read_rows(asked, described_file(asked.file, workers, arguments.cache))
        found.append(_ask(asked, rows, model, variants, arguments.heads, arguments.seed))
        print(_line(found[-1]), flush=True)
        result = {"kind": "property folds", "seed": arguments.seed, "heads": arguments.heads, "sets": found}
        write_json(result | {"command": command_line()}, arguments.out)


def _parts(model: Model, said: str) -> list[str]:
    """Raises ConfigError for a part there is not."""
    wanted = [one for part in said.split(",") for one in (model.spaces if part == "spaces" else (part,))]
    part_names(model, [one for one in wanted if one != DESCRIPTORS])
    return wanted


def _ask(
    asked: PropertySet,
    rows: Rows,
    model: Model,
    variants: dict[str, list[str]],
    heads: Sequence[str],
    seed: int,
) -> dict[str, Any]:
    tested = np.zeros(len(rows), bool)
    for said in rows.splits.values():
        tested |= said == "test"
    blocks = {rows.blocks[i] for i in np.flatnonzero(tested).tolist()}
    free = [i for i, block in enumerate(rows.blocks) if block not in blocks]
    mols = [parse(rows.smiles[i])[0] for i in free]
    y = rows.y[free]
    every = part_names(model)
    trunk = model.card.data["hyper"]["trunk"]
    widths = [
        part_width(part, trunk["layers"], trunk["width"], {name: one.d for name, one in model.spaces.items()})
        for part in every
    ]
    x = embeddings(model, mols, every)
    if any(DESCRIPTORS in parts for parts in variants.values()):
        values = descriptors(mols)
        x, every, widths = np.hstack([x, values]), [*every, DESCRIPTORS], [*widths, values.shape[1]]
    part_of = np.repeat(every, widths)
    scaffolds = [scaffold(mol) or rows.blocks[i] for mol, i in zip(mols, free, strict=True)]
    fold = np.array([zlib.crc32(f"{seed} {one}".encode()) % FOLDS for one in scaffolds])
    scores = {
        name: [_fold(asked, x[:, np.isin(part_of, parts)], y, fold, k, heads) for k in range(FOLDS)]
        for name, parts in variants.items()
    }
    table = np.array([[np.nan if one is None else one for one in them] for them in scores.values()])
    table = table[:, np.isfinite(table).all(axis=0)]
    sign = 1.0 if HIGHER_IS_BETTER[asked.metric] else -1.0
    gains = sign * (table - table[0])
    return {
        "set": asked.name,
        "metric": asked.metric,
        "n": len(free),
        "folds": table.shape[1],
        "systems": {
            name: {
                "values": values.tolist(),
                "mean": float(values.mean()),
                "gain": float(gain.mean()),
                "standard_error": float(gain.std(ddof=1) / np.sqrt(len(gain))),
            }
            for name, values, gain in zip(scores, table, gains, strict=True)
        },
    }


def _fold(
    asked: PropertySet,
    x: npt.NDArray[np.float32],
    y: npt.NDArray[np.float64],
    fold: npt.NDArray[np.int64],
    k: int,
    heads: Sequence[str],
) -> float | None:
    """The metric on fold k, by the head that did best on the next one."""
    judged, scored = fold == (k + 1) % FOLDS, fold == k
    learned = ~(judged | scored)
    clean = Cleaner.of(x[learned])
    fitted = [
        fit_head(head, asked.task, clean(x[learned]), y[learned], clean(x[judged]), y[judged], seed=0)
        for head in heads
    ]
    best = max(fitted, key=lambda one: np.nan_to_num(one.valid_score, nan=-np.inf))
    return score(asked.metric, y[scored], best.predict(clean(x[scored])))


def _line(found: dict[str, Any]) -> str:
    told = "; ".join(
        f"{name} {one['mean']:.3f} (gain {one['gain']:+.4f} +- {one['standard_error']:.4f})"
        for name, one in found["systems"].items()
    )
    return f"{found['set']}, {found['metric']}, {found['n']:,} molecules: {told}"


if __name__ == "__main__":
    main()
