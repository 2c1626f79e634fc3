"""What each decision of the alignment is worth: the same short training with one thing changed.

    python -m benchmarks.ablations --out benchmarks/results/ablations.json [--only full pooled ...]

Every variant starts from the shift predictor (runs/shifts) and sees the same number of molecules; what is
reported is recall at 1 of the `valid` molecules among all molecules of their file (28,885 of 13C, 14,730 of
1H, 7,135 of MS/MS; 13C's for smiles), with the paired difference to the full recipe and its 95 % interval.
Short runs compare decisions; they are not what the shipped weights reach. Needs the runs that
acml_search/training/configs/acml-base.toml names, or with `--encoders acml-base` only the shift predictor:
frozen encoders are then those of that model, with projections that begin at random where an alignment
teaches them. A variant that was trained is only measured again, or with `--train-only` left as it is.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from acml_search.cli.app import command_line
from acml_search.core.io import write_json
from acml_search.encoders.card import read_card
from acml_search.encoders.checkpoint import Tower
from acml_search.evaluation.retrieval import Question, measure_files
from acml_search.networks import current_names
from acml_search.training.align import align
from acml_search.training.config import AlignPlan, ShiftPlan, plan_of, read_plan
from acml_search.training.shifts import simulate
from benchmarks.report import Entry, compare, share, signed

CONFIG = Path("acml_search/training/configs/acml-base.toml")
DATA = Path("../shared/data")
VALID = {
    "c_nmr": (DATA / "nmr_c13.parquet", "split = 'valid' AND spectrum_rank = 0"),
    "h_nmr": (DATA / "nmr_h1.parquet", "split = 'valid' AND spectrum_rank = 0"),
    "lc_ms": (DATA / "msms.parquet", "split = 'valid'"),
    "smiles": (DATA / "nmr_c13.parquet", "split = 'valid' AND spectrum_rank = 0"),
}
NMR = ("c_nmr", "h_nmr")
ALIGNED = (*NMR, "lc_ms", "smiles")
Change = Callable[[dict[str, Any]], None]


def full(data: dict[str, Any]) -> None:
    """One trunk, predicted peaks, simulated pairs, frozen encoders, isomers together: the shipped recipe."""


def pooled(data: dict[str, Any]) -> None:
    """ACML's graph side: a pooled vector instead of predicted peaks; both projections learn, as ACML's do."""
    for name in NMR:
        data["space"][name]["head"]["pooled"] = True
        del data["space"][name]["frozen_projection"]


def direct(data: dict[str, Any]) -> None:
    """Predicted peaks and, added to their vector, one that is learned from the pooled trunk."""
    for name in NMR:
        data["space"][name]["head"]["direct"] = True


def measured_only(data: dict[str, Any]) -> None:
    """No simulated spectra in alignment (the towers' pretraining still had them)."""
    for name in NMR:
        data["space"][name].pop("simulated")


def unfrozen(data: dict[str, Any]) -> None:
    """The NMR encoders learn along."""
    for name in NMR:
        data["space"][name]["train_encoder"] = True


def no_isomers(data: dict[str, Any]) -> None:
    """Batches without isomers side by side."""
    for sampler in data["sampler"]:
        sampler["group_size"] = 1


def alone(name: str, budget: str) -> Change:
    """A trunk for one space, as ACML trains one per modality.

    `budget` is "share" of the molecules, so that all such trunks together are as dear as the shared one, or
    "all" of them. What the shared trunk learned of NMR beforehand goes only to the NMR spaces.
    """

    def change(data: dict[str, Any]) -> None:
        share = len(data["space"])
        data["space"] = {name: data["space"][name]}
        records = [s for s in data["sampler"] if s.get("records") in (None, name)]
        whole = sum(s["n"] for s in data["sampler"])
        mine = sum(s["n"] for s in records)
        for sampler in records:
            sampler["n"] = round(sampler["n"] * whole / mine)
        data["sampler"] = records
        if name not in NMR:
            del data["start"]
        if budget == "share":
            data["training"]["epoch_size"] //= share

    change.__doc__ = f"ACML's own trunk per modality: {name} alone, on {budget} of the molecules."
    return change


VARIANTS: dict[str, Change] = {
    "full": full,
    "pooled": pooled,
    "direct": direct,
    "measured-only": measured_only,
    "unfrozen": unfrozen,
    "no-isomers": no_isomers,
    **{f"own-trunk-{name}": alone(name, "share") for name in ALIGNED},
    **{f"alone-{name}": alone(name, "all") for name in ALIGNED},
}


def variant(plan: AlignPlan, recipe: dict[str, Any], name: str, epochs: int, epoch_size: int) -> Path:
    """Train one variant, unless it is there, and return its folder."""
    data = copy.deepcopy(recipe)
    data["start"] = "runs/shifts/shifts.safetensors"
    data["space"] = {key: space for key, space in data["space"].items() if "copy_of" not in space}
    data["training"] |= {"epochs": epochs, "epoch_size": epoch_size}
    VARIANTS[name](data)
    data["out"] = f"runs/ablations/{name}-{epochs}x{epoch_size}"
    out = plan.below(data["out"])
    if not (out / "model" / "card.json").exists():
        align(plan_of(data, AlignPlan, plan.path))
    return out


def take_encoders(plan: AlignPlan, recipe: dict[str, Any], model: str) -> None:
    """Let the recipe's spaces meet the frozen encoders of a model, written as pretraining leaves them,
    and what the shift predictor simulates.
    """
    simulate(read_plan(CONFIG.with_name("shifts.toml"), ShiftPlan))
    card = read_card(model)
    given = current_names(load_file(card.weights))
    torch.manual_seed(plan.seed)
    for name, space in recipe["space"].items():
        if "copy_of" in space:
            continue
        hyper = card.data["hyper"]["spaces"][name]
        tower = Tower(name, hyper["encoder"], hyper["projection"])
        parts = ("encoder.", "projection.") if space.get("frozen_projection") else ("encoder.",)
        start = f"towers.{name}."
        known = {k.removeprefix(start): v.float() for k, v in given.items() if k.startswith(start)}
        tower.load_state_dict(tower.state_dict() | {k: v for k, v in known.items() if k.startswith(parts)})
        folder = plan.below(f"runs/ablations/encoders/{name}")
        folder.mkdir(parents=True, exist_ok=True)
        save_file(tower.state_dict(), folder / "encoder.safetensors")
        write_json({"tower": hyper["encoder"], "head": hyper["projection"]}, folder / "config.json")
        space["pretrained"] = str(folder.relative_to(plan.root_folder))
        if "features" in space:
            space["features"] = f"{space['pretrained']}/features.npy"


def measure(out: Path, results: Path, cache: Path, workers: int) -> dict[str, Entry]:
    """Recall on `valid`, by space; the queries stay in Parquet files."""
    entries = {}
    for space in read_card(out / "model").spaces:
        queries, where = VALID[space]
        question = Question(name=space, modality=space, queries=queries, where=where, leakage="report")
        path = results / out.name / f"{space}.json"
        options = {"model": str(out / "model"), "workers": workers, "cache": cache, "command": command_line()}
        entries[space] = Entry(measure_files(question, path, **options), path)
    return entries


def figures(one: Entry, full: Entry | None) -> dict[str, Any]:
    """Recall at 1 with its interval, and the difference to the full recipe, paired by query."""
    found = {
        "recall_at_1": one.first,
        "ci95": one.ci95["1"],
        "n_pool": one.n_pool,
        "n_molecules": one.n_molecules,
    }
    if full is None or full is one:
        return found
    difference = compare(one, full)
    return found | {"difference": difference.difference, "difference_ci95": difference.interval}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/ablations.json"))
    parser.add_argument("--only", nargs="*", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--epoch-size", type=int, default=40_000)
    parser.add_argument("--cache", type=Path, default=Path("benchmarks/results/cache"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--encoders", metavar="MODEL", help="model whose frozen encoders are met")
    parser.add_argument("--train-only", action="store_true", help="measure nothing")
    arguments = parser.parse_args()
    plan = read_plan(CONFIG, AlignPlan)
    recipe = plan.written()
    if arguments.encoders:
        take_encoders(plan, recipe, arguments.encoders)
    if arguments.train_only:
        for name in arguments.only:
            variant(plan, recipe, name, arguments.epochs, arguments.epoch_size)
        return
    results = arguments.out.with_suffix("")
    variants: list[dict[str, Any]] = []
    full: dict[str, Entry] = {}
    print("| variant | " + " | ".join(VALID) + " | 13C set error, ppm |\n" + "|---" * (len(VALID) + 2) + "|")
    for name in arguments.only:
        out = variant(plan, recipe, name, arguments.epochs, arguments.epoch_size)
        log = json.loads((out / "log.jsonl").read_text().splitlines()[-1])
        entries = measure(out, results, arguments.cache, arguments.workers)
        if name == "full":
            full = entries
        valid = {space: figures(one, full.get(space)) for space, one in entries.items()}
        what = (VARIANTS[name].__doc__ or "").strip()
        variants.append({"variant": name, "what": what, "valid": valid, "log": log})
        document = {"kind": "ablations", "config": str(CONFIG), "command": command_line()}
        write_json({**document, "variants": variants}, arguments.out)
        cells = [_cell(valid[space]) if space in valid else "" for space in VALID]
        print(f"| {name} | {' | '.join(cells)} | {share(log.get('c_nmr_set_error'))} |")


def _cell(found: dict[str, Any]) -> str:
    difference = found.get("difference")
    text = share(found["recall_at_1"])
    return text if difference is None else f"{text}, {signed(difference, found['difference_ci95'])}"


if __name__ == "__main__":
    main()
