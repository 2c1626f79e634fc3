"""How much more data would help: a pretraining with a share of its measured molecules.

    python benchmarks/learning_curve.py acml_search/training/configs/gc_ms-research-pretrain.toml \\
        --shares 0.25 0.5 1 --out benchmarks/results/learning-gc_ms.json

Molecules are chosen by a hash of the InChIKey's first block, so a smaller share is part of a larger one; the
epochs shrink with the share, so that each molecule is visited as often. What is reported is the last line of
each run's log: measures on the inner part of `train`, which stays whole. A run that is there is used again;
the share of 1 is the configuration's own run.
"""

from __future__ import annotations

import argparse
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import duckdb

from acml_search.chem.splits import is_inner
from acml_search.cli.output import command_line
from acml_search.evaluation.results import write_json
from acml_search.training.pretrain import pretrain

# 32 bits of an MD5: DuckDB's hash() may change from version to version
SHARE = "(('0x' || substr(md5(inchikey14), 1, 8))::UINTEGER < {limit} OR inchikey14 IN ({inner}))"


def run(config: Path, share: float, runs: Path) -> dict[str, Any]:
    """Train with a share of the molecules; the last line of the log."""
    data = tomllib.loads(config.read_text())
    root = (config.parent / data["root"]).resolve()
    if share == 1:
        out = root / data["out"]
    else:
        out = runs.resolve() / f"{config.stem}-{share:g}"
        text = _scaled(config.read_text(), data, share, root, out)
        out.mkdir(parents=True, exist_ok=True)
        (out / "config-of-run.toml").write_text(text)
        if not (out / "done").exists():
            pretrain(out / "config-of-run.toml")
            (out / "done").touch()
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return {"share": share, "log": log[-1], "epochs": [_measures(line) for line in log]}


def _scaled(text: str, data: dict[str, Any], share: float, root: Path, out: Path) -> str:
    """The configuration with fewer rows and smaller epochs, as text."""
    lines = []
    for line in text.splitlines():
        if "where =" in line and "split = 'train'" in line:
            file = re.findall(r'path = "([^"]+)"', line)[0]
            condition = SHARE.format(limit=round(share * 2**32), inner=_inner(root / file))
            line = line.replace("split = 'train'", f"split = 'train' AND {condition}")
        if line.startswith("epoch_size"):
            line = f"epoch_size = {round(data['training']['epoch_size'] * share)}"
        if line.startswith("root"):
            line = f'root = "{root}"'
        if line.startswith("out"):
            line = f'out = "{out}"'
        if line.startswith("file = "):
            line = f'file = "{(Path(__file__).parents[1] / "acml_search/training/configs/corpus.toml")}"'
        lines.append(line)
    return "\n".join(lines) + "\n"


def _inner(file: Path) -> str:
    """The InChIKey blocks of a file's inner part, as SQL lists them."""
    rows = duckdb.execute("SELECT DISTINCT inchikey14 FROM read_parquet(?)", [str(file)]).fetchall()
    return ", ".join(f"'{block}'" for (block,) in sorted(rows) if is_inner(block))


def _measures(line: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in line.items() if "dev_" in key or key.endswith("_error")}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", type=Path)
    parser.add_argument("--shares", nargs="+", type=float, default=[0.25, 0.5, 1.0])
    parser.add_argument("--runs", type=Path, default=Path("runs/learning"))
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    found = [run(arguments.config, share, arguments.runs) for share in arguments.shares]
    write_json(
        {"kind": "learning", "config": str(arguments.config), "command": command_line(), "runs": found},
        arguments.out,
    )
    keys = [key for key in found[-1]["log"] if "dev_" in key or key.endswith("_error")]
    print("| share of the molecules | " + " | ".join(keys) + " |")
    print("|---" * (len(keys) + 1) + "|")
    for one in found:
        print(f"| {one['share']:g} | " + " | ".join(f"{one['log'][key]:.3f}" for key in keys) + " |")


if __name__ == "__main__":
    main()
