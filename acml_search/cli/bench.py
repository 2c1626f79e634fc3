"""`acml-search bench recall | isomers | throughput`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from acml_search.cli.bench_tables import isomer_table, recall_table, throughput_table
from acml_search.cli.options import Model, SmilesColumn, Workers
from acml_search.cli.output import command_line

app = typer.Typer(no_args_is_help=True, help="Measure: retrieval quality and speed.")

Out = Annotated[Path, typer.Option(help="JSON file to write.", readable=False)]
Modality = Annotated[str, typer.Option(help="What is observed, such as smiles.")]
Queries = Annotated[
    Path, typer.Option(help="File of the queries: structures and their observations.", readable=False)
]
Library = Annotated[
    list[Path] | None,
    typer.Option(help="More molecules for the pool; further files may follow it.", readable=False),
]
More = Annotated[list[Path] | None, typer.Argument(metavar="LIBRARY", hidden=True, readable=False)]
Rerank = Annotated[
    bool,
    typer.Option("--rerank/--no-rerank", help="Re-rank the best 200 by the weights in the model's card."),
]
LimitQueries = Annotated[
    int | None, typer.Option(min=1, help="Ask only this many queries, chosen at random; the pool stays.")
]
Split = Annotated[
    str | None, typer.Option(help="Ask only the queries whose column `split` says this; the pool stays.")
]
Where = Annotated[
    str | None, typer.Option(help="Ask only the queries that fulfil this SQL condition on their columns.")
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of every random choice.")]
Seen = Annotated[
    Literal["report", "drop", "fail"],
    typer.Option(help="Molecules that the model's training saw: report them, drop them, or fail."),
]
Cache = Annotated[
    Path | None, typer.Option(help="Folder where structures, once read, are kept.", readable=False)
]


@app.command()
def recall(
    modality: Modality,
    queries: Queries,
    out: Out,
    library: Library = None,
    more: More = None,
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
    rerank: Rerank = False,
    model: Model = "acml-base",
    limit: LimitQueries = None,
    pool: Annotated[
        int | None, typer.Option(min=1, help="Pool of this many molecules, filled at random from the rest.")
    ] = None,
    split: Split = None,
    where: Where = None,
    seed: Seed = 0,
    workers: Workers = None,
    smiles_column: SmilesColumn = None,
    cache: Cache = None,
    seen: Seen = "report",
) -> None:
    """How often is the true molecule (or record) among the first, in a stated pool? Ties lose, failures miss.

    \b
    acml-search bench recall --modality smiles --queries mine.parquet --library zinc.smi --out recall.json
    """
    from acml_search.evaluation.recall import RecallOptions, measure_recall

    result = measure_recall(
        RecallOptions(
            modality=modality,
            queries=queries,
            out=out,
            library=(*(library or ()), *(more or ())),
            direction=direction,
            formula_filter=formula_filter,
            mass_filter_da=mass_filter_da,
            mass_filter_ppm=mass_filter_ppm,
            rerank=rerank,
            model=model,
            limit=limit,
            pool=pool,
            split=split,
            where=where,
            seed=seed,
            workers=workers,
            smiles_column=smiles_column,
            cache=cache,
            seen=seen,
            command=command_line(),
        )
    )
    _warn(result)
    typer.echo(recall_table(result))


@app.command()
def isomers(
    modality: Modality,
    queries: Queries,
    out: Out,
    library: Library = None,
    more: More = None,
    rerank: Rerank = False,
    model: Model = "acml-base",
    limit: LimitQueries = None,
    split: Split = None,
    where: Where = None,
    seed: Seed = 0,
    workers: Workers = None,
    smiles_column: SmilesColumn = None,
    cache: Cache = None,
    seen: Seen = "report",
) -> None:
    """How often is the true molecule strictly first among all molecules of its formula in the pool?

    \b
    acml-search bench isomers --modality smiles --queries mine.parquet --library zinc.smi --out isomers.json
    """
    from acml_search.evaluation.isomers import measure_isomers
    from acml_search.evaluation.recall import RetrievalOptions

    result = measure_isomers(
        RetrievalOptions(
            modality=modality,
            queries=queries,
            out=out,
            library=(*(library or ()), *(more or ())),
            rerank=rerank,
            model=model,
            limit=limit,
            split=split,
            where=where,
            seed=seed,
            workers=workers,
            smiles_column=smiles_column,
            cache=cache,
            seen=seen,
            command=command_line(),
        )
    )
    _warn(result)
    typer.echo(isomer_table(result))


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
        typer.Option(help="Space that is timed alone, against all in one pass. Default: smiles."),
    ] = None,
    peer_python: Annotated[
        Path | None,
        typer.Option(
            help="A Python with chemprop, timed too; see benchmarks/peers/README.md.", readable=False
        ),
    ] = None,
) -> None:
    """How fast are SMILES embedded? RDKit's parsing alone, plain PyG and chemprop are timed in the same run.

    \b
    acml-search bench throughput --out throughput.json
    """
    from acml_search.evaluation.throughput import ThroughputOptions, measure_throughput

    result = measure_throughput(
        ThroughputOptions(
            out=out,
            n=n,
            library=tuple(library or ()),
            model=model,
            workers=workers,
            rounds=rounds,
            seed=seed,
            smiles_column=smiles_column,
            one_space=one_space,
            peer_python=peer_python,
            command=command_line(),
        )
    )
    typer.echo(throughput_table(result))


def _warn(result: dict[str, Any]) -> None:
    """One line on stderr where training saw molecules that ask."""
    from acml_search.evaluation.ranks.leakage import warning

    line = warning(result["leakage"])
    if line is not None:
        typer.echo(f"warning: {line}", err=True)
