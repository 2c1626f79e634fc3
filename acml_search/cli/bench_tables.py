"""What `acml-search bench` prints of its results."""

from __future__ import annotations

from typing import Any

from acml_search.cli.output import columns


def recall_table(result: dict[str, Any]) -> str:
    """Of `bench recall`: recall and MRR with their intervals and chance levels."""
    filtered = f", {result['filter']}" if result["filter"] else ""
    head = (
        f"{result['modality']} {result['direction']}: {result['n_queries']:,} queries "
        f"({result['n_failed']:,} failed), pool of {result['n_pool']:,}{filtered}"
        f"{', re-ranked' if result['rerank'] else ''}"
    )
    scores = {f"recall@{k}": (value, k) for k, value in result["recall"].items()} | {
        "mrr": (result["mrr"], "mrr")
    }
    rows: list[tuple[object, ...]] = [("", "value", "95 % interval", "chance")]
    for name, (value, key) in scores.items():
        low, high = result["ci95"][key]
        rows.append((name, f"{value:.4f}", f"{low:.4f} to {high:.4f}", f"{result['chance'][key]:.2g}"))
    return f"{head}\n{columns(rows)}"


def isomer_table(result: dict[str, Any]) -> str:
    """Of `bench isomers`: accuracy and MRR with their intervals and chance levels."""
    size = result["group_size"]
    head = (
        f"{result['modality']}: {result['n_queries']:,} queries ({result['n_failed']:,} failed) in "
        f"{result['n_groups']:,} formulas, groups of {size['median']:g} (median) to {size['max']:,} molecules"
        f"{', re-ranked' if result['rerank'] else ''}"
    )
    rows: list[tuple[object, ...]] = [("", "value", "95 % interval", "chance")]
    for name, prefix in (("accuracy", ""), ("mrr", "mrr_")):
        low, high = result[f"{prefix}ci95"]
        rows.append(
            (name, f"{result[name]:.4f}", f"{low:.4f} to {high:.4f}", f"{result[f'{prefix}chance']:.2g}")
        )
    return f"{head}\n{columns(rows)}"


def throughput_table(result: dict[str, Any]) -> str:
    """Of `bench throughput`: molecules per second of every pipeline, and where the time goes."""
    rows: list[tuple[object, ...]] = [("pipeline", "molecules/s", "lowest to highest of the rounds")]
    for name, (low, high) in result["spread"].items():
        rows.append((name, round(result[f"{name}_per_second"]), f"{low:,.0f} to {high:,.0f}"))
    stages: list[tuple[object, ...]] = [("stage", "µs/molecule", "share of end to end")]
    for name, stage in result["stages"].items():
        share = "" if stage["share"] is None else f"{stage['share']:.0%}"
        stages.append((name, f"{stage['microseconds']:.1f}", share))
    head = f"{result['n']:,} molecules, {result['workers']} workers, {result['rounds']} rounds"
    ratio = f"end to end is {result['ratio_to_parse']:.2f} x parse_only"
    for name in ("pyg", "pyg_in_workers", "chemprop", "chemprop_in_workers"):
        if result[f"ratio_to_{name}"] is not None:
            ratio += f", {result[f'ratio_to_{name}']:.1f} x {name}"
    for reason in dict.fromkeys(result["why_not"].values()):
        ratio += f"\nnot measured: {reason}"
    if result["ratio_to_one_space"] is not None:
        n = len(result["spaces"])
        alone = result["one_space"]
        ratio += f"; {n} spaces in one pass run at {result['ratio_to_one_space']:.2f} x {alone} alone"
    return f"{head}\n{columns(rows)}\n{ratio}\n\n{columns(stages)}"
