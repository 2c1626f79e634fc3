"""`acml-search remove`, `compact` and `merge`: indexes after they were built."""

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
