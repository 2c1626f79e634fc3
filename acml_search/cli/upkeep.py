"""`acml-search remove`, `compact`, `merge` and `push`: indexes after they were built."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from acml_search.cli import options
from acml_search.cli.app import print_json, print_report


def remove(
    index: options.Index,
    keys: Annotated[str, typer.Option(metavar="K[,K]", help="Keys of molecules, as answers have them.")] = "",
    inchikeys: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A file with one InChIKey a line.", exists=True, dir_okay=False),
    ] = None,
    json: options.Json = False,
) -> None:
    """Take molecules out of an index, with their records. `compact` frees the space.

    \b
    acml-search remove indexes/screening --keys 12,57
    acml-search remove indexes/screening --inchikeys withdrawn.txt
    """
    try:
        numbers = [int(key) for key in options.names(keys)]
    except ValueError:
        raise typer.BadParameter(f"{keys!r} is not made of whole numbers", param_hint="'--keys'") from None
    from acml_search.index import upkeep

    named = [] if inchikeys is None else upkeep.read_inchikeys(inchikeys)
    report = upkeep.remove(index, numbers, named)
    if report.unknown:
        shown = ", ".join(report.unknown[:5]) + (", ..." if len(report.unknown) > 5 else "")
        typer.echo(f"acml-search: {index} does not hold {len(report.unknown):,} of these: {shown}", err=True)
    if json:
        print_json(report.to_dict())
        return
    before = f" ({report.already:,} were removed before)" if report.already else ""
    left = report.manifest.counts["molecules"]
    typer.echo(f"{index}: {report.molecules:,} molecules removed{before}, {left:,} are left")


def compact(index: options.Index, json: options.Json = False) -> None:
    """Write an index anew without what was removed, in as few files as one build makes.

    \b
    acml-search compact indexes/screening
    """
    from acml_search.index.upkeep import compact as run

    print_report(run(index).to_dict(), json)


def merge(
    indexes: Annotated[list[Path], typer.Argument(help="Folders of the indexes.", readable=False)],
    out: Annotated[Path, typer.Option(help="Folder of the new index.")],
    json: options.Json = False,
) -> None:
    """Put indexes of one model into a new one. Molecules that several hold are in it once.

    \b
    acml-search merge indexes/screening indexes/vendor --out indexes/all
    """
    from acml_search.index.upkeep import merge as run

    print_report(run(indexes, out).to_dict(), json)


def push(
    index: options.Index,
    to: Annotated[
        str, typer.Argument(metavar="milvus:URI", help="milvus:http://HOST:19530, or milvus:FILE.db.")
    ],
    collection: Annotated[str | None, typer.Option(metavar="NAME", help="Name of the index there.")] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Drop what is there under this name first.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Copy an index to Milvus. `query milvus:URI` then asks it there; by another name, `milvus:URI#NAME`.

    The same command goes on with a push that was interrupted. MILVUS_TOKEN is the server's token.

    \b
    acml-search push indexes/screening milvus:http://localhost:19530
    acml-search push indexes/screening milvus:all.db --collection screening
    """
    if not to.startswith("milvus:"):
        raise typer.BadParameter(f"{to!r} is no milvus:URI", param_hint="'milvus:URI'")
    from acml_search.index.milvus import push as run

    report = run(index, to if collection is None else f"{to}#{collection}", restart=restart)
    if json:
        print_json(report)
        return
    already = " (complete already, nothing to do)" if report["already_complete"] else ""
    rows = ", ".join(f"{n:,} {side}" for side, n in report["rows"].items())
    typer.echo(f"{report['store']}: {rows}{already}")
