"""`acml-search query`: an observation in, hits out."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

if TYPE_CHECKING:
    from acml_search.search.filters import Conditions
    from acml_search.search.query import Index

FORMATS = ("table", "json", "csv", "sdf")
_ENDINGS = {".json": "json", ".csv": "csv", ".sdf": "sdf"}


def query(
    index: Annotated[Path, typer.Argument(help="Index directory.", readable=False)] = Path("indexes/default"),
    smiles: Annotated[str | None, typer.Option(help="A molecule to search for.", metavar="TEXT")] = None,
    batch: Annotated[
        Path | None,
        typer.Option(
            help="A file of molecules (.smi, .csv, .sdf, .parquet, ...): one JSON line of hits each.",
            readable=False,
        ),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, max=10_000, help="Hits per list.")] = 10,
    where: Annotated[
        str | None,
        typer.Option(metavar="SQL", help='Condition on the library\'s columns: "exact_mass < 300".'),
    ] = None,
    formula: Annotated[str | None, typer.Option(metavar="F", help="Molecular formula, in any order.")] = None,
    mass: Annotated[float | None, typer.Option(metavar="DA", help="Neutral exact mass in Da.")] = None,
    tol_ppm: Annotated[
        float | None, typer.Option(help="Tolerance of --mass in ppm (10 when none is given).")
    ] = None,
    tol_da: Annotated[float | None, typer.Option(help="Tolerance of --mass in Da.")] = None,
    rerank: Annotated[
        bool, typer.Option("--rerank/--no-rerank", help="Re-rank the shortlist (not for molecules).")
    ] = False,
    modality: Annotated[str | None, typer.Option(metavar="M", help="Search this modality alone.")] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME|DIR", help="Model that encodes the query; default: the index's own."),
    ] = None,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format", metavar="|".join(FORMATS), help="Default: by the ending of --out, else table."
        ),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write here instead of to stdout.", readable=False)
    ] = None,
) -> None:
    """Search an index with a molecule.

    One list per modality that has records (which of them would the molecule give?), and one of similar
    molecules.

    \b
    acml-search query --smiles "CC(=O)Nc1ccc(O)cc1" -k 5
    acml-search query indexes/mine --smiles CCO --where "vendor = 'X'" --mass 180.0423 --json
    acml-search query --batch queries.smi --out hits.jsonl
    """
    if (smiles is None) == (batch is None):
        raise typer.BadParameter("give either --smiles or --batch", param_hint="'--smiles'")
    if mass is None and (tol_ppm is not None or tol_da is not None):
        raise typer.BadParameter("a tolerance needs --mass", param_hint="'--tol-ppm' / '--tol-da'")
    if tol_ppm is not None and tol_da is not None:
        raise typer.BadParameter("give one tolerance, in ppm or in Da", param_hint="'--tol-ppm' / '--tol-da'")
    if out is not None and (out.is_dir() or not out.absolute().parent.is_dir()):
        raise typer.BadParameter(f"{out} must name a file in a folder that exists", param_hint="'--out'")
    if rerank:
        raise typer.BadParameter("there is nothing to re-rank a molecule's hits by", param_hint="'--rerank'")
    wanted = _format(format_, json_, out, lines=batch is not None)

    from acml_search.search import open_index

    conditions: Conditions = {
        "where": where,
        "formula": formula,
        "mass": mass,
        "tol_ppm": tol_ppm,
        "tol_da": tol_da,
    }
    with open_index(index, model=model) as opened:
        if smiles is not None:
            _one(opened, smiles, k, conditions, modality, wanted, out)
        elif batch is not None:
            _many(opened, batch, k, conditions, modality, out)


def _one(
    index: Index,
    smiles: str,
    k: int,
    conditions: Conditions,
    modality: str | None,
    wanted: str,
    out: Path | None,
) -> None:
    from acml_search.search.write import WRITERS, write_table

    answer = index.search(smiles, k=k, modality=modality, **conditions)
    for note in answer.notes:
        typer.echo(f"acml-search: {note}", err=True)
    with _opened(out) as stream:
        if wanted == "table":
            write_table(answer, stream, colour=stream.isatty() and "NO_COLOR" not in os.environ)
        else:
            WRITERS[wanted](answer, stream)


def _many(
    index: Index, batch: Path, k: int, conditions: Conditions, modality: str | None, out: Path | None
) -> None:
    from acml_search.search.batch import run_batch
    from acml_search.search.filters import Filters

    with _opened(out) as stream:
        report = run_batch(index, batch, stream, k=k, filters=Filters(**conditions), modality=modality)
    failed = f"; {report.failed:,} could not be read, their lines say why" if report.failed else ""
    typer.echo(f"acml-search: {report.queries:,} queries{failed}", err=True)
    if report.failed == report.queries:
        raise typer.Exit(1)


def _format(given: str | None, json_: bool, out: Path | None, *, lines: bool) -> str:
    """The name of the format to write. Raises BadParameter (exit status 2) for one that is not offered."""
    hint = "'--format'"
    if given == "html":
        raise typer.BadParameter(
            f"html is not offered yet; choose one of {', '.join(FORMATS)}", param_hint=hint
        )
    if given is not None and given not in FORMATS:
        raise typer.BadParameter(f"{given!r} is not one of {', '.join(FORMATS)}", param_hint=hint)
    if json_ and given not in (None, "json"):
        raise typer.BadParameter(f"--json and --format {given} contradict each other", param_hint=hint)
    if lines and given not in (None, "json"):
        raise typer.BadParameter("--batch writes lines of JSON and no other format", param_hint=hint)
    if json_ or lines:
        return "json"
    return given or _ENDINGS.get(out.suffix.lower() if out else "", "table")


@contextmanager
def _opened(out: Path | None) -> Iterator[TextIO]:
    """stdout, or `out`, which appears only when all was written to it.

    What is there and is no ordinary file (/dev/null, a pipe) is written to; renaming would replace it.
    """
    if out is None:
        yield sys.stdout
        return
    if out.exists() and not out.is_file():
        with out.open("w", encoding="utf-8", newline="") as stream:
            yield stream
        return
    target = out.resolve()  # of a link, what it points to
    partial = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with partial.open("w", encoding="utf-8", newline="") as stream:
            yield stream
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
