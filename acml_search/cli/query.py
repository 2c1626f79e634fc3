"""`acml-search query`: observations or a molecule in, hits out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from acml_search.cli import options
from acml_search.cli.observations import Adduct, CNmr, GcMs, HNmr, Image, LcMs, given
from acml_search.cli.written import check_out, format_of, opened

if TYPE_CHECKING:
    from acml_search.search.answer import Answer
    from acml_search.search.filters import Conditions
    from acml_search.search.query import Index

FORMATS = ("table", "json", "csv", "sdf", "html")


def query(
    index: Annotated[Path, typer.Argument(help="Index directory.", readable=False)] = Path("indexes/default"),
    smiles: Annotated[str | None, typer.Option(help="A molecule to search for.", metavar="TEXT")] = None,
    c_nmr: CNmr = None,
    h_nmr: HNmr = None,
    lc_ms: LcMs = None,
    gc_ms: GcMs = None,
    image: Image = None,
    batch: Annotated[
        Path | None,
        typer.Option(
            help="A file of molecules (.smi, .csv, .sdf, .parquet, ...), or with --modality a Parquet of "
            "records: one JSON line of hits each.",
            readable=False,
        ),
    ] = None,
    smiles_column: options.SmilesColumn = None,
    k: Annotated[int, typer.Option("-k", min=1, max=10_000, help="Hits per list.")] = 10,
    where: Annotated[
        str | None,
        typer.Option(metavar="SQL", help='Condition on the library\'s columns: "exact_mass < 300".'),
    ] = None,
    formula: Annotated[str | None, typer.Option(metavar="F", help="Molecular formula, in any order.")] = None,
    elements: Annotated[
        str | None, typer.Option(metavar="E,E", help='Only molecules made of these: "C,H,N,O".')
    ] = None,
    with_elements: Annotated[
        str | None, typer.Option(metavar="E,E", help='Only molecules that contain all of these: "Br,N".')
    ] = None,
    mass: Annotated[float | None, typer.Option(metavar="DA", help="Neutral exact mass in Da.")] = None,
    tol_ppm: Annotated[
        float | None, typer.Option(help="Tolerance of the mass in ppm (10 when none is given).")
    ] = None,
    tol_da: Annotated[float | None, typer.Option(help="Tolerance of the mass in Da.")] = None,
    adduct: Adduct = None,
    any_mass: Annotated[
        bool, typer.Option("--any-mass", help="Do not keep to the mass that an MS/MS precursor tells.")
    ] = False,
    rerank: Annotated[
        bool | None,
        typer.Option(
            "--rerank/--no-rerank", help="Compare the best candidates of spectra peak by peak. Default: yes."
        ),
    ] = None,
    modality: Annotated[
        str | None,
        typer.Option(metavar="M", help="With --smiles: search these records alone. With --batch: see there."),
    ] = None,
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
    """Which molecules fit what was observed; or, with --smiles, what fits a molecule.

    Several observations are of one compound and count together. An MS/MS spectrum with its precursor and
    adduct keeps to molecules of that mass.

    \b
    acml-search query --c-nmr "169.1, 153.2, 131.0, 121.2, 115.1, 23.9" -k 5
    acml-search query --c-nmr carbon.txt --h-nmr proton.txt --lc-ms spectra.mgf#3 --out hits.html
    acml-search query --image drawing.png --formula C8H9NO2
    acml-search query indexes/mine --smiles CCO --where "vendor = 'X'" --mass 180.0423 --json
    acml-search query --batch queries.smi --out hits.jsonl
    """
    observed = given(c_nmr=c_nmr, h_nmr=h_nmr, lc_ms=lc_ms, gc_ms=gc_ms, image=image, adduct=adduct)
    if sum([smiles is not None, batch is not None, bool(observed)]) != 1:
        raise typer.BadParameter(
            "give --smiles, --batch, or observations (--c-nmr, --h-nmr, --lc-ms, --gc-ms, --image)",
            param_hint="'--smiles'",
        )
    if mass is None and not lc_ms and (tol_ppm is not None or tol_da is not None):
        raise typer.BadParameter("a tolerance needs --mass", param_hint="'--tol-ppm' / '--tol-da'")
    if tol_ppm is not None and tol_da is not None:
        raise typer.BadParameter("give one tolerance, in ppm or in Da", param_hint="'--tol-ppm' / '--tol-da'")
    if smiles_column is not None and batch is None:
        raise typer.BadParameter("a column goes with --batch", param_hint="'--smiles-column'")
    check_out(out)
    if rerank and smiles is not None:
        raise typer.BadParameter("there is nothing to re-rank a molecule's hits by", param_hint="'--rerank'")
    if modality is not None and observed:
        raise typer.BadParameter(
            "an observation says itself what it is; --modality goes with --smiles or --batch",
            param_hint="'--modality'",
        )
    wanted = format_of(format_, json_, out, offered=FORMATS, default="table")
    if batch is not None and (format_ not in (None, "json") or wanted not in ("table", "json")):
        raise typer.BadParameter(
            "--batch writes lines of JSON and no other format; let --out end in .jsonl",
            param_hint="'--format' / '--out'",
        )

    from acml_search.search import open_index

    conditions: Conditions = {
        "where": where,
        "formula": formula,
        "elements_allowed": elements,
        "elements_required": with_elements,
        "mass": mass,
        "tol_ppm": tol_ppm,
        "tol_da": tol_da,
    }
    asked = _How(k, rerank is not False, not any_mass, conditions)
    with open_index(index, model=model) as there:
        if batch is not None:
            _many(there, batch, asked, modality, smiles_column, out)
        elif smiles is not None:
            _show(there.search(smiles, k=k, modality=modality, **conditions), wanted, out)
        else:
            answer = there.identify(
                observed,
                k=k,
                adduct=adduct,
                rerank=asked.rerank,
                by_precursor=asked.by_precursor,
                occlude=wanted in ("json", "html"),
                **conditions,
            )
            _show(answer, wanted, out)


class _How(NamedTuple):
    """What is the same for every query of a call."""

    k: int
    rerank: bool
    by_precursor: bool
    conditions: Conditions


def _show(answer: Answer, wanted: str, out: Path | None) -> None:
    from acml_search.search.write import WRITERS, write_table

    for note in answer.notes:
        typer.echo(f"acml-search: {note}", err=True)
    with opened(out) as stream:
        if wanted == "table":
            write_table(answer, stream, colour=stream.isatty() and "NO_COLOR" not in os.environ)
        else:
            WRITERS[wanted](answer, stream)


def _many(
    index: Index,
    batch: Path,
    asked: _How,
    modality: str | None,
    smiles_column: str | None,
    out: Path | None,
) -> None:
    from acml_search import modalities
    from acml_search.search.batch import run_batch, run_records
    from acml_search.search.filters import Filters

    spectra = modality is not None and not modalities.get(modality).derived and batch.suffix == ".parquet"
    with opened(out) as stream:
        if spectra and modality is not None:
            report = run_records(
                index,
                batch,
                modality,
                stream,
                k=asked.k,
                rerank=asked.rerank,
                by_precursor=asked.by_precursor,
                **asked.conditions,
            )
        else:
            filters = Filters(**asked.conditions)
            report = run_batch(
                index,
                batch,
                stream,
                k=asked.k,
                filters=filters,
                modality=modality,
                smiles_column=smiles_column,
            )
    failed = f"; {report.failed:,} could not be read, their lines say why" if report.failed else ""
    typer.echo(f"acml-search: {report.queries:,} queries{failed}", err=True)
    if report.failed == report.queries:
        raise typer.Exit(1)
