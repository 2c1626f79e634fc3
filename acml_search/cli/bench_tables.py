"""What `acml-search bench` prints of its results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table


def recall_table(result: dict[str, Any]) -> str:
    """Of `bench recall`: recall and MRR with their intervals and chance levels."""
    filtered = f", {result['filter']}" if result["filter"] else ""
    head = (
        f"{result['modality']} {result['direction']}: {result['n_queries']:,} queries "
        f"({result['n_failed']:,} failed), pool of {result['n_pool']:,}{filtered}"
        f"{', re-ranked' if result['rerank'] else ''}"
    )
    values = {f"recall@{k}": (k, value) for k, value in result["recall"].items()}
    values["mrr"] = ("mrr", result["mrr"])
    rows = [
        _figures(name, value, result["ci95"][key], result["chance"][key])
        for name, (key, value) in values.items()
    ]
    return f"{head}\n{_table(('', 'value', '95 % interval', 'chance'), rows)}"


def isomer_table(result: dict[str, Any]) -> str:
    """Of `bench isomers`: accuracy and MRR with their intervals and chance levels."""
    size = result["group_size"]
    head = (
        f"{result['modality']}: {result['n_queries']:,} queries ({result['n_failed']:,} failed) in "
        f"{result['n_groups']:,} formulas, groups of {size['median']:g} (median) to {size['max']:,} molecules"
        f"{', re-ranked' if result['rerank'] else ''}"
    )
    rows = [
        _figures("accuracy", result["accuracy"], result["ci95"], result["chance"]),
        _figures("mrr", result["mrr"], result["mrr_ci95"], result["mrr_chance"]),
    ]
    return f"{head}\n{_table(('', 'value', '95 % interval', 'chance'), rows)}"


def throughput_table(result: dict[str, Any]) -> str:
    """Of `bench throughput`: molecules per second of every pipeline, and where the time goes."""
    head = f"{result['n']:,} molecules, {result['workers']} workers, {result['rounds']} rounds"
    rates = [
        (name, f"{result[f'{name}_per_second']:,.0f}", f"{low:,.0f} to {high:,.0f}")
        for name, (low, high) in result["spread"].items()
    ]
    stages = [
        (name, f"{stage['microseconds']:.1f}", "" if stage["share"] is None else f"{stage['share']:.0%}")
        for name, stage in result["stages"].items()
    ]
    ratio = f"end to end is {result['ratio_to_parse']:.2f} x parse_only"
    for name in ("pyg", "pyg_in_workers"):
        ratio += f", {result[f'ratio_to_{name}']:.1f} x {name}"
    if result["ratio_to_one_space"] is not None:
        alone = f"{result['ratio_to_one_space']:.2f} x {result['one_space']} alone"
        ratio += f"; {len(result['spaces'])} spaces in one pass run at {alone}"
    pipelines = _table(("pipeline", "molecules/s", "lowest to highest of the rounds"), rates)
    return (
        f"{head}\n{pipelines}\n{ratio}\n\n{_table(('stage', 'µs/molecule', 'share of end to end'), stages)}"
    )


def _figures(name: str, value: float, interval: Sequence[float], chance: float) -> tuple[str, ...]:
    low, high = interval
    return name, f"{value:.4f}", f"{low:.4f} to {high:.4f}", f"{chance:.2g}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
    for i, title in enumerate(header):
        table.add_column(title, justify="right" if i == 1 else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console = Console(width=200, color_system=None)
    with console.capture() as captured:
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())
