"""`python -m benchmarks index`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from acml_search.cli.options import Model, Workers
from acml_search.cli.output import columns, command_line


def index(
    plan: Annotated[Path, typer.Argument(metavar="PLAN.toml", help="Vectors and engines.", readable=False)],
    out: Annotated[Path, typer.Option(help="JSON file to write.", readable=False)],
    base: Annotated[
        list[Path] | None,
        typer.Option(help="Molecules to index instead of the plan's; may be repeated.", readable=False),
    ] = None,
    n: Annotated[
        int | None, typer.Option("--n", min=1, help="Index only so many vectors, a seeded choice.")
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(min=1, help="Every engine is timed this often, in turns. Default: the plan's."),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="ENGINE", help="Only this engine; may be repeated.")
    ] = None,
    model: Model = "acml-base",
    cache: Annotated[
        Path | None,
        typer.Option(
            help="Folder where structures and vectors are kept for other runs. Default: `cache` beside OUT.",
            readable=False,
        ),
    ] = None,
    workers: Workers = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Measure anew what an earlier run left in `OUT.engines`.")
    ] = False,
) -> None:
    """How much of an exact search do indexes find, how fast, in how much room? FAISS and usearch are peers.

    Interrupted, the same command goes on where it stopped.

    \b
    python -m benchmarks index benchmarks/index.toml --out benchmarks/results/index.json
    """
    from benchmarks.index_bench.run import IndexOptions, measure_index

    result = measure_index(
        IndexOptions(
            plan=plan,
            out=out,
            base=tuple(base or ()),
            n=n,
            rounds=rounds,
            only=tuple(only or ()),
            model=model,
            cache=cache,
            workers=workers,
            restart=restart,
            command=command_line(),
        )
    )
    typer.echo(_table(result))


def _table(result: dict[str, Any]) -> str:
    threads = result["threads"]
    head = (
        f"{result['n']:,} vectors of {result['d']} dimensions, {result['n_queries']:,} queries, "
        f"{result['rounds']} rounds; threads: {threads['single']} for one query, "
        f"{threads['batched']} for a batch"
    )
    cells: list[tuple[object, ...]] = [
        (
            "engine",
            "how",
            f"recall@{result['k']}",
            "p50 ms",
            "p95 ms",
            "q/s batched",
            "x flat",
            "x auto",
            "build s",
            "B/vector",
            "MB",
        )
    ]
    for one in result["engines"]:
        how = ", ".join(f"{key} {value}" for key, value in one["params"].items())
        if "why_not" in one:
            cells.append((one["name"], one["why_not"], *[""] * 9))
            continue
        memory = one["memory_mb"]
        cells.append(
            (
                one["name"],
                how,
                f"{one['recall_at_k']:.4f}",
                f"{one['p50_ms']:.2f}",
                f"{one['p95_ms']:.2f}",
                round(one["queries_per_second_batched"]),
                *(_times(one[f"ratio_to_{name}"]) for name in ("flat", "auto")),
                f"{one['build_seconds']:.1f}",
                f"{one['bytes_per_vector']:.0f}",
                "" if memory is None else round(memory),
            )
        )
    return f"{head}\n{columns(cells)}"


def _times(ratio: dict[str, float] | None) -> str:
    return "" if ratio is None else f"{ratio['median']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})"
