"""What each decision of the alignment is worth: the same short training with one thing changed.

    python benchmarks/ablations.py --out results/ablations.json [--only pooled frozen ...] [--epochs 4]

Every variant starts from the shift predictor (runs/shifts) and sees the same number of molecules; what is
reported is recall at 1 of the inner part of `train` (InChIKey blocks no training step sees) in a pool of its
10,000 molecules. Short runs compare decisions; they are not what the shipped weights reach. Needs the runs
that acml_search/training/configs/acml-base.toml names.
"""

from __future__ import annotations

import argparse
import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from acml_search.training.config import TrainingConfig, read_config
from acml_search.training.spaces import align

CONFIG = Path("acml_search/training/configs/acml-base.toml")
NMR = ("c_nmr", "h_nmr")


def full(data: dict[str, Any]) -> None:
    """One trunk, predicted peaks, simulated pairs, frozen encoders, isomers together: the shipped recipe."""


def pooled(data: dict[str, Any]) -> None:
    """ACML's graph side: a pooled vector instead of predicted peaks."""
    for name in NMR:
        data["space"][name]["head"]["pooled"] = True


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
        data["space"][name]["unfrozen"] = True


def no_isomers(data: dict[str, Any]) -> None:
    """Batches without isomers side by side."""
    for stream in data["stream"]:
        stream["isomers"] = 1


def own_trunk(name: str) -> Any:
    """A trunk for one space alone, for a share of the molecules: together as dear as the shared one."""

    def change(data: dict[str, Any]) -> None:
        share = len(data["space"])
        data["space"] = {name: data["space"][name]}
        records = [s for s in data["stream"] if s.get("records") in (None, name)]
        whole = sum(s["n"] for s in data["stream"])
        mine = sum(s["n"] for s in records)
        for stream in records:
            stream["n"] = round(stream["n"] * whole / mine)
        data["stream"] = records
        data["training"]["epoch_size"] //= share

    change.__doc__ = f"ACML's own trunk per modality: {name} alone, on its share of the same budget."
    return change


VARIANTS = {
    "full": full,
    "pooled": pooled,
    "direct": direct,
    "measured-only": measured_only,
    "unfrozen": unfrozen,
    "no-isomers": no_isomers,
    "own-trunk-c_nmr": own_trunk("c_nmr"),
    "own-trunk-h_nmr": own_trunk("h_nmr"),
    "own-trunk-lc_ms": own_trunk("lc_ms"),
    "own-trunk-smiles": own_trunk("smiles"),
}


def variant(config: TrainingConfig, name: str, epochs: int, epoch_size: int) -> dict[str, Any]:
    """Train one variant and return the last line of its log."""
    data = copy.deepcopy(config.data)
    data["start"] = "runs/shifts/shifts.safetensors"
    data["space"] = {key: space for key, space in data["space"].items() if "copy" not in space}
    data["training"] |= {"epochs": epochs, "epoch_size": epoch_size}
    VARIANTS[name](data)
    out = config.root / "runs" / "ablations" / f"{name}-{epochs}x{epoch_size}"
    align(replace(config, data=data, out=out))
    line: dict[str, Any] = json.loads((out / "log.jsonl").read_text().splitlines()[-1])
    return {"variant": name, "what": (VARIANTS[name].__doc__ or "").strip(), **line}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="*", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--epoch-size", type=int, default=40_000)
    arguments = parser.parse_args()
    config = read_config(CONFIG, ("name", "corpus", "trunk", "space", "stream", "training"))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    lines: list[dict[str, Any]] = []
    for name in arguments.only:
        lines.append(variant(config, name, arguments.epochs, arguments.epoch_size))
        arguments.out.write_text(json.dumps({"config": str(CONFIG), "variants": lines}, indent=1))
    ends = ("_inner_at_1", "_set_error")
    keys = list(dict.fromkeys(key for line in lines for key in line if key.endswith(ends)))
    print("| variant | " + " | ".join(keys) + " |")
    print("|---" * (len(keys) + 1) + "|")
    for line in lines:
        print(
            f"| {line['variant']} | " + " | ".join(f"{line[k]:.4f}" if k in line else "" for k in keys) + " |"
        )


if __name__ == "__main__":
    main()
