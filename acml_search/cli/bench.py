"""`acml-search bench recall | isomers | throughput`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from acml_search.cli.app import command_line
from acml_search.cli.options import Model, SmilesColumn, Workers

app = typer.Typer(no_args_is_help=True, help="Measure: retrieval quality and speed.")

Out = Annotated[Path, typer.Option(help="JSON file to write.", readable=False)]
Modality = Annotated[str, typer.Option(help="Modality of the observations, such as c_nmr.")]
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
    int | None, typer.Option(min=1, help="At most this many queries, chosen at random; the pool stays.")
]
Split = Annotated[
    str | None, typer.Option(help="Only the queries with this value of the column `split`; the pool stays.")
]
Where = Annotated[
    str | None, typer.Option(help="Only the queries that fulfil this SQL condition on their columns.")
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of every random choice.")]
Leakage = Annotated[
    Literal["report", "drop", "fail"],
    typer.Option(
        "--leakage",
        "--seen",
        help="Molecules that the model's training saw: report them, drop them, or fail.",
    ),
]
Cache = Annotated[
    Path | None, typer.Option(help="Folder that keeps structures between runs.", readable=False)
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
    leakage: Leakage = "report",
) -> None:
    """How often is the true molecule (or record) among the first, in a stated pool? Ties lose, failures miss.

    \b
    acml-search bench recall --modality smiles --queries mine.parquet --library zinc.smi --out recall.json
    """
    from acml_search.evaluation.retrieval import Filter

    _measure(
        locals(),
        direction=direction,
        filters=(Filter(formula=formula_filter, da=mass_filter_da, ppm=mass_filter_ppm),),
        pool=pool,
    )


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
    leakage: Leakage = "report",
) -> None:
    """How often is the true molecule strictly first among all molecules of its formula in the pool?

    \b
    acml-search bench isomers --modality smiles --queries mine.parquet --library zinc.smi --out isomers.json
    """
    from acml_search.evaluation.retrieval import Filter

    _measure(locals(), isomers_only=True, filters=(Filter(formula=True),))


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
    from acml_search.cli.bench_tables import throughput_table
    from acml_search.evaluation.throughput import measure_throughput

    typer.echo(throughput_table(measure_throughput(**options).document()))


QUESTION = ("modality", "queries", "rerank", "limit", "split", "where", "leakage")
RUN = ("out", "model", "workers", "seed", "smiles_column", "cache")


def _measure(options: Mapping[str, Any], **question: Any) -> None:
    """Measure one question of the command line and print its table; one line on stderr where training saw
    molecules that are asked for.
    """
    from acml_search.cli.bench_tables import isomer_table, recall_table
    from acml_search.evaluation.leakage import warning
    from acml_search.evaluation.retrieval import Question, measure_files

    asked = Question(
        name=str(options["queries"]),
        library=(*(options["library"] or ()), *(options["more"] or ())),
        **{name: options[name] for name in QUESTION},
        **question,
    )
    result = measure_files(asked, **{name: options[name] for name in RUN}, command=command_line())
    line = warning(result.leakage)
    if line is not None:
        typer.echo(f"warning: {line}", err=True)
    document = result.document()
    typer.echo(isomer_table(document) if asked.isomers_only else recall_table(document))
