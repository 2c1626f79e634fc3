"""`acml-search bench recall | isomers | throughput`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from acml_search.cli.app import Model, Seed, SmilesColumn, Workers, columns, command_line, with_options

app = typer.Typer(no_args_is_help=True, help="Measure: retrieval quality and speed.")

Out = Annotated[Path, typer.Option(help="JSON file to write.", readable=False)]
Leakage = Annotated[
    Literal["report", "drop", "fail"],
    typer.Option(
        "--leakage",
        "--seen",
        help="Molecules that the model's training saw: report them, drop them, or fail.",
    ),
]
RUN = ("out", "model", "workers", "seed", "smiles_column", "cache")
"""how they are answered; the rest is the question"""


def _question(
    modality: Annotated[str, typer.Option(help="Modality of the observations, such as c_nmr.")],
    queries: Annotated[
        Path, typer.Option(help="File of the queries: structures and their observations.", readable=False)
    ],
    out: Out,
    library: Annotated[
        list[Path] | None,
        typer.Option(help="More molecules for the pool; further files may follow it.", readable=False),
    ] = None,
    more: Annotated[list[Path] | None, typer.Argument(metavar="LIBRARY", hidden=True, readable=False)] = None,
    rerank: Annotated[
        bool,
        typer.Option("--rerank/--no-rerank", help="Re-rank the best 200 by the weights in the model's card."),
    ] = False,
    model: Model = "acml-base",
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most this many queries, chosen at random; the pool stays.")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="Only the queries with this value of the column `split`; the pool stays."),
    ] = None,
    where: Annotated[
        str | None, typer.Option(help="Only the queries that fulfil this SQL condition on their columns.")
    ] = None,
    seed: Seed = 0,
    workers: Workers = None,
    smiles_column: SmilesColumn = None,
    cache: Annotated[
        Path | None,
        typer.Option(help="Folder that keeps structures and vectors between runs.", readable=False),
    ] = None,
    leakage: Leakage = "report",
) -> dict[str, Any]:
    return locals()


@app.command()
@partial(with_options, name="asked", options=_question)
def recall(
    asked: dict[str, Any],
    direction: Annotated[
        Literal["to-molecule", "to-record"],
        typer.Option(help="to-molecule: observations rank molecules. to-record: molecules rank records."),
    ] = "to-molecule",
    formula_filter: Annotated[
        bool, typer.Option("--formula-filter", help="Rank only among molecules of the truth's formula.")
    ] = False,
    mass_filter_da: Annotated[
        float | None,
        typer.Option(min=0, help="Rank only within this distance (Da) of the neutral exact mass."),
    ] = None,
    mass_filter_ppm: Annotated[
        float | None, typer.Option(min=0, help="The same, in ppm of that mass.")
    ] = None,
    pool: Annotated[
        int | None, typer.Option(min=1, help="Pool of this many molecules, filled at random from the rest.")
    ] = None,
) -> None:
    """How often is the true molecule (or record) among the first, in a stated pool? Ties lose, failures miss.

    \b
    acml-search bench recall --modality smiles --queries mine.parquet --library zinc.smi --out recall.json
    """
    from acml_search.evaluation.retrieval import Filter

    filters = (Filter(formula=formula_filter, da=mass_filter_da, ppm=mass_filter_ppm),)
    _measure(asked, direction=direction, filters=filters, pool=pool)


@app.command()
@partial(with_options, name="asked", options=_question)
def isomers(asked: dict[str, Any]) -> None:
    """How often is the true molecule strictly first among all molecules of its formula in the pool?

    \b
    acml-search bench isomers --modality smiles --queries mine.parquet --library zinc.smi --out isomers.json
    """
    from acml_search.evaluation.retrieval import Filter

    _measure(asked, isomers_only=True, filters=(Filter(formula=True),))


@app.command()
def throughput(
    out: Out,
    n: Annotated[int, typer.Option("--n", min=1, help="Molecules per round, a seeded choice.")] = 10_000,
    library: Annotated[
        list[Path] | None, typer.Option(help="Real SMILES. Default: RDKit's own molecules.", readable=False)
    ] = None,
    model: Model = "acml-base",
    workers: Workers = 2,
    rounds: Annotated[int, typer.Option(min=1, help="Every pipeline is timed this often, in turns.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the choice of molecules.")] = 0,
    smiles_column: SmilesColumn = None,
    one_space: Annotated[
        str | None,
        typer.Option(
            "--space",
            "--one-space",
            help="Space that is timed alone, against all in one pass. Default: smiles.",
        ),
    ] = None,
) -> None:
    """How fast are SMILES embedded? RDKit's parsing alone and plain PyG are timed in the same run.

    \b
    acml-search bench throughput --out throughput.json
    """
    options = {**locals(), "library": tuple(library or ()), "command": command_line()}
    from acml_search.evaluation.throughput import measure_throughput

    typer.echo(throughput_table(measure_throughput(**options).document()))


def _measure(options: dict[str, Any], **question: Any) -> None:
    """Measure one question and print its table; a line on stderr where training saw molecules."""
    from acml_search.evaluation.leakage import warning
    from acml_search.evaluation.retrieval import Question, measure_files

    how = {name: options.pop(name) for name in RUN}
    library = (*(options.pop("library") or ()), *(options.pop("more") or ()))
    asked = Question(name=str(options["queries"]), library=library, **options, **question)
    result = measure_files(asked, **how, command=command_line())
    line = warning(result.leakage)
    if line is not None:
        typer.echo(f"warning: {line}", err=True)
    typer.echo(ranking_table(result.document()))


def ranking_table(result: Mapping[str, Any]) -> str:
    """Recall (or accuracy among isomers) and MRR with their intervals and chance levels."""
    if result["kind"] == "recall":
        filtered = f", {result['filter']}" if result["filter"] else ""
        what, pool = (
            f"{result['modality']} {result['direction']}",
            f", pool of {result['n_pool']:,}{filtered}",
        )
        figures = {
            f"recall@{k}": (value, result["ci95"][k], result["chance"][k])
            for k, value in result["recall"].items()
        }
        figures["mrr"] = (result["mrr"], result["ci95"]["mrr"], result["chance"]["mrr"])
    else:
        size = result["group_size"]
        sizes = f"groups of {size['median']:g} (median) to {size['max']:,} molecules"
        what, pool = result["modality"], f" in {result['n_groups']:,} formulas, {sizes}"
        figures = {
            "accuracy": (result["accuracy"], result["ci95"], result["chance"]),
            "mrr": (result["mrr"], result["mrr_ci95"], result["mrr_chance"]),
        }
    rows: list[Sequence[object]] = [("", "value", "95 % interval", "chance")]
    for name, (value, (low, high), chance) in figures.items():
        rows.append((name, f"{value:.4f}", f"{low:.4f} to {high:.4f}", f"{chance:.2g}"))
    n = f"{result['n_queries']:,} queries ({result['n_failed']:,} failed)"
    return f"{what}: {n}{pool}{', re-ranked' if result['rerank'] else ''}\n{columns(rows)}"


def throughput_table(result: Mapping[str, Any]) -> str:
    """Molecules per second of every pipeline, and where the time goes."""
    rates: list[Sequence[object]] = [("pipeline", "molecules/s", "lowest to highest of the rounds")]
    for name, (low, high) in result["spread"].items():
        rates.append((name, f"{result[f'{name}_per_second']:,.0f}", f"{low:,.0f} to {high:,.0f}"))
    stages: list[Sequence[object]] = [("stage", "µs/molecule", "share of end to end")]
    for name, one in result["stages"].items():
        part = "" if one["share"] is None else f"{one['share']:.0%}"
        stages.append((name, f"{one['microseconds']:.1f}", part))
    ratios = [f"{result['ratio_to_parse']:.2f} x parse_only"]
    ratios += [f"{result[f'ratio_to_{name}']:.1f} x {name}" for name in ("pyg", "pyg_in_workers")]
    alone = ""
    if result["ratio_to_one_space"] is not None:
        times = f"{result['ratio_to_one_space']:.2f} x {result['one_space']} alone"
        alone = f"; {len(result['spaces'])} spaces in one pass run at {times}"
    head = f"{result['n']:,} molecules, {result['workers']} workers, {result['rounds']} rounds"
    ratio = f"end to end is {', '.join(ratios)}{alone}"
    return f"{head}\n{columns(rates)}\n{ratio}\n\n{columns(stages)}"
