"""`acml-search query`: observations or a molecule in, hits out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from acml_search.cli import options
from acml_search.cli.app import check_out, format_of, opened, show, source_of, written
from acml_search.cli.options import Adduct, Observed, flags, takes_observations

if TYPE_CHECKING:
    from acml_search.search.batch import Ask
    from acml_search.search.query import Index
    from acml_search.search.request import Conditions

FORMATS = ("table", "json", "csv", "sdf", "html")
RUN_FORMATS = ("jsonl", "json", "csv", "tsv", "parquet", "mztab", "html")


@takes_observations
def query(
    observed: Observed,
    index: Annotated[Path, typer.Argument(help="Index directory.", readable=False)] = Path("indexes/default"),
    smiles: Annotated[str | None, typer.Option(help="A molecule to search for.", metavar="TEXT")] = None,
    batch: Annotated[
        Path | None,
        typer.Option(
            help="A run: a file of molecules (.smi, .csv, .sdf, ...), or with --modality of spectra (.mgf, "
            ".msp, .mzML, ..., a ZIP of NMR), a Parquet of records, a text of one printed NMR line each, a "
            "folder of such files or of pictures; - for stdin. One line of JSON a query, or by the ending of "
            "--out .csv, .tsv, .parquet, .mztab or .html.",
            readable=False,
        ),
    ] = None,
    smiles_column: options.SmilesColumn = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes for --batch. Default: one per core.")
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, max=10_000, help="Hits per list.")] = 10,
    where: Annotated[
        str | None,
        typer.Option(metavar="SQL", help='Condition on the library\'s columns: "exact_mass < 300".'),
    ] = None,
    formula: Annotated[str | None, typer.Option(metavar="F", help="Molecular formula, in any order.")] = None,
    only_elements: Annotated[
        str | None,
        typer.Option(
            "--only-elements",
            "--elements",
            metavar="E,E",
            help='Only molecules made of these elements: "C,H,N,O".',
        ),
    ] = None,
    must_contain: Annotated[
        str | None,
        typer.Option(
            "--must-contain",
            "--with-elements",
            metavar="E,E",
            help='Only molecules that contain all of these elements: "Br,N".',
        ),
    ] = None,
    hydrogens: Annotated[
        str | None, typer.Option(metavar="N|A-B", help="Only molecules with so many hydrogens: 18, or 18-24.")
    ] = None,
    carbons: Annotated[
        str | None, typer.Option(metavar="N|A-B", help="Only molecules with so many carbons.")
    ] = None,
    mass: Annotated[float | None, typer.Option(metavar="DA", help="Neutral exact mass in Da.")] = None,
    tol_ppm: Annotated[
        float | None, typer.Option(help="Tolerance of the mass in ppm (10 when none is given).")
    ] = None,
    tol_da: Annotated[float | None, typer.Option(help="Tolerance of the mass in Da.")] = None,
    adduct: Adduct = None,
    no_precursor_filter: Annotated[
        bool,
        typer.Option(
            "--no-precursor-filter",
            "--any-mass",
            help="Search molecules of any mass, not only of that by the precursor of an MS/MS spectrum.",
        ),
    ] = False,
    rerank: Annotated[
        bool | None,
        typer.Option(
            "--rerank/--no-rerank", help="Compare the best candidates of spectra peak by peak. Default: yes."
        ),
    ] = None,
    rerank_depth: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=10_000,
            metavar="N",
            help="Compare so many. Default: 200; 1,000 where the index keeps predicted peaks.",
        ),
    ] = None,
    min_probability: Annotated[
        float, typer.Option(min=0, max=1, metavar="P", help="Leave out hits of observations less probable.")
    ] = 0.0,
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
    out: options.Out = None,
) -> None:
    """Search an index by spectrum, picture or SMILES.

    Several observations are of one compound and count together. An MS/MS spectrum with its precursor and
    adduct limits the search to molecules of that mass.

    \b
    acml-search query --c-nmr "169.1, 153.2, 131.0, 121.2, 115.1, 23.9" -k 5
    acml-search query --c-nmr carbon.txt --h-nmr proton.txt --lc-ms spectra.mgf#3 --out hits.html
    acml-search query --image drawing.png --formula C8H9NO2
    acml-search query --image page.pdf --json             (a list: each structure of the page by itself)
    acml-search query indexes/mine --smiles CCO --where "vendor = 'X'" --mass 180.0423 --json
    acml-search query --batch run.mgf --modality lc_ms -k 3 --out hits.csv
    """

    def refuse(sentence: str, *names: str) -> None:
        raise typer.BadParameter(sentence, param_hint=" / ".join(f"'{name}'" for name in names))

    tolerances = ("--tol-ppm", "--tol-da")
    if sum([smiles is not None, batch is not None, bool(observed)]) != 1:
        refuse(f"give --smiles, --batch, or observations ({flags()})", "--smiles")
    massive = mass is not None or "lc_ms" in observed or (batch is not None and modality == "lc_ms")
    if not massive and (tol_ppm is not None or tol_da is not None):
        refuse("a tolerance needs --mass", *tolerances)
    if tol_ppm is not None and tol_da is not None:
        refuse("give one tolerance, in ppm or in Da", *tolerances)
    if smiles_column is not None and batch is None:
        refuse("a column goes with --batch", "--smiles-column")
    if workers is not None and batch is None:
        refuse("workers go with --batch", "--workers")
    check_out(out)
    if rerank and smiles is not None:
        refuse("there is nothing to re-rank a molecule's hits by", "--rerank")
    if rerank_depth is not None and (rerank is False or smiles is not None):
        refuse("a depth goes with observations that are re-ranked", "--rerank-depth")
    if modality is not None and observed:
        refuse("the option of an observation names its modality; --modality goes with --smiles or --batch",
               "--modality")  # fmt: skip
    offered, default = (FORMATS, "table") if batch is None else (RUN_FORMATS, "jsonl")
    form = format_of(format_, json_, out, offered=offered, default=default)
    if batch is not None and out is None and form not in ("json", "jsonl"):
        refuse(f"a run as {form} goes to a file; name it with --out", "--format")

    from acml_search.core.errors import InvalidRecord
    from acml_search.search.query import open_index
    from acml_search.search.request import questions

    conditions: Conditions = {
        "where": where,
        "formula": formula,
        "elements_allowed": only_elements,
        "elements_required": must_contain,
        "hydrogens": hydrogens,
        "carbons": carbons,
        "mass": mass,
        "tol_ppm": tol_ppm,
        "tol_da": tol_da,
    }
    with open_index(index, model=model) as opened_index:
        if batch is not None:
            from acml_search.search.batch import Ask

            ask = Ask(
                modality, k, adduct, rerank is not False, rerank_depth, not no_precursor_filter,
                min_probability, conditions, smiles_column,
            )  # fmt: skip
            _run_batch(opened_index, batch, ask, out, form, workers)
        elif smiles is not None:
            show(opened_index.search(smiles, k=k, modality=modality, **conditions), form, out)
        else:
            asked, answers, refused = questions(observed, adduct), [], []
            for observations in asked:
                try:
                    answer = opened_index.identify(
                        observations,
                        k=k,
                        adduct=adduct,
                        rerank=rerank is not False,
                        rerank_depth=rerank_depth,
                        min_probability=min_probability,
                        by_precursor=not no_precursor_filter,
                        occlude=form in ("json", "html"),
                        **conditions,
                    )
                    answers.append(answer)
                except InvalidRecord as error:
                    refused.append(error)
            if not answers:
                raise refused[0]
            if len(asked) > 1:
                several = f"the picture shows several structures, or parts ({len(asked)}), each by itself"
                typer.echo(f"acml-search: {several}", err=True)
            for reason in refused:
                typer.echo(f"acml-search: {reason}", err=True)
            show(answers if len(asked) > 1 else answers[0], form, out)


def _run_batch(index: Index, batch: Path, ask: Ask, out: Path | None, form: str, workers: int | None) -> None:
    """Answer a run: to stdout or a pipe as it goes, to a file when it is complete."""
    from acml_search.search.batch import finished_lines, run
    from acml_search.search.render.run import write_run

    with source_of(batch) as source:
        if out is None or (out.exists() and not out.is_file()):
            with opened(out) as stream:
                report = run(index, source, ask, stream, workers=workers)
        else:
            kept = out.with_name(f"{out.name}.unfinished")
            if kept.exists():
                typer.echo(f"acml-search: going on with the run that was interrupted ({kept})", err=True)
            try:
                report = run(index, source, ask, kept, workers=workers)
            except KeyboardInterrupt:
                typer.echo(f"acml-search: {kept} keeps what is done; the same command goes on", err=True)
                raise
            with written(out) as target:
                write_run(lambda: finished_lines(kept), target, form, name=out.stem, source=batch)
            kept.unlink()
    said = [f"{report.queries:,} queries"]
    said += [f"{report.failed:,} could not be read, their lines say why"] if report.failed else []
    said += [f"{report.empty:,} have no candidate, their lines say why"] if report.empty else []
    said += [f"{report.passed_over:,} spectra of another kind passed over"] if report.passed_over else []
    typer.echo(f"acml-search: {'; '.join(said)}", err=True)
    for reason, n in report.reasons.most_common(5):
        typer.echo(f"  {n:,} unreadable: {reason}", err=True)
    if report.failed + report.empty == report.queries:
        raise typer.Exit(1)
