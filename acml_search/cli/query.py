"""What is asked about observations: `query`, `explain`, `check`, `parse` and `read-images`."""

from __future__ import annotations

import os
import sys
from functools import partial
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from acml_search import modalities
from acml_search.cli.app import (
    Adduct,
    IndexModel,
    Json,
    Model,
    Observed,
    Out,
    SmilesColumn,
    Workers,
    check_out,
    columns,
    flags,
    format_of,
    opened,
    print_json,
    say,
    show,
    source_of,
    takes_observations,
    written,
)

if TYPE_CHECKING:
    from acml_search.chem.peaks import PeakList
    from acml_search.modalities import Modality, Observation
    from acml_search.search.pipeline import Index
    from acml_search.search.request import Ask, Conditions

FORMATS = ("table", "json", "csv", "sdf", "html")
REASON_FORMATS = ("text", "json", "html")
RUN_FORMATS = ("jsonl", "json", "csv", "tsv", "parquet", "mztab", "html")
MAX_SHOWN = 40  # peaks of a spectrum of intensities in the table, the largest
MAX_LINE = 4  # bytes of a line that are read, per character that a text may have
PEAK_KEYS = ("position", "low", "high", "count", "multiplicity", "couplings")

JsonForm = Annotated[bool, typer.Option("--json", help="The same as --format json.")]


def _format_option(formats: tuple[str, ...], default: str) -> Any:
    said = f"Default: by the ending of --out, else {default}."
    return typer.Option("--format", metavar="|".join(formats), help=said)


@takes_observations
def query(
    observed: Observed,
    index: Annotated[Path, typer.Argument(help="Index directory.", readable=False)] = Path("indexes/default"),
    smiles: Annotated[str | None, typer.Option(help="A molecule to search for.", metavar="TEXT")] = None,
    batch: Annotated[
        Path | None,
        typer.Option(
            help="A run: a file of molecules (.smi, .csv, .sdf, ...) or of mass spectra (.mgf, .msp, .mzML, "
            "...); or with --modality a ZIP of NMR spectra, a Parquet of records, a text of one printed NMR "
            "line each, a folder of such files or of pictures; - for stdin. One line of JSON a query, or by "
            "the ending of --out .csv, .tsv, .parquet, .mztab or .html.",
            readable=False,
        ),
    ] = None,
    smiles_column: SmilesColumn = None,
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
    format_: Annotated[str | None, _format_option(FORMATS, "table")] = None,
    json_: JsonForm = False,
    out: Out = None,
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
    acml-search query --batch run.mgf -k 3 --out hits.csv
    """

    def refuse(sentence: str, *names: str) -> None:
        raise typer.BadParameter(sentence, param_hint=" / ".join(f"'{name}'" for name in names))

    tolerances = ("--tol-ppm", "--tol-da")
    if sum([smiles is not None, batch is not None, bool(observed)]) != 1:
        refuse(f"give --smiles, --batch, or observations ({flags()})", "--smiles")
    massive = mass is not None or "lc_ms" in observed or (batch is not None and modality in (None, "lc_ms"))
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
    from acml_search.search.pipeline import open_index
    from acml_search.search.request import Ask, questions

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
    ask = Ask(
        modality, k, adduct, rerank is not False, rerank_depth, not no_precursor_filter, min_probability,
        conditions, smiles_column,
    )  # fmt: skip
    with open_index(index, model=model) as opened_index:
        if batch is not None:
            _run_batch(opened_index, batch, ask, out, form, workers)
        elif smiles is not None:
            show(opened_index.search(smiles, k=k, modality=modality, **conditions), form, out)
        else:
            asked, answers, refused = questions(observed, adduct), [], []
            for observations in asked:
                try:
                    answer = opened_index.identify(
                        observations, occlude=form in ("json", "html"), **ask.how()
                    )
                    answers.append(answer)
                except InvalidRecord as error:
                    refused.append(error)
            if not answers:
                raise refused[0]
            if len(asked) > 1:
                several = f"the picture shows several structures, or parts ({len(asked)}), each by itself"
                say(several)
            for reason in refused:
                say(reason)
            show(answers if len(asked) > 1 else answers[0], form, out)


def _run_batch(index: Index, batch: Path, ask: Ask, out: Path | None, form: str, workers: int | None) -> None:
    """Answer a run: to stdout or a pipe as it goes, to a file when it is complete."""
    from acml_search.search.batch import finished_lines, run
    from acml_search.search.render.files import write_run

    with source_of(batch) as source:
        if out is None or (out.exists() and not out.is_file()):
            with opened(out) as stream:
                report = run(index, source, ask, stream, workers=workers)
        else:
            kept = out.with_name(f"{out.name}.unfinished")
            if kept.exists():
                say(f"going on with the run that was interrupted ({kept})")
            try:
                report = run(index, source, ask, kept, workers=workers)
            except KeyboardInterrupt:
                say(f"{kept} keeps what is done; the same command goes on")
                raise
            with written(out) as target:
                write_run(lambda: finished_lines(kept), target, form, name=out.stem, source=batch)
            kept.unlink()
    if report.taken_as is not None:
        say(f"{batch} holds mass spectra, asked as --modality {report.taken_as}")
    said = [f"{report.queries:,} queries"]
    said += [f"{report.failed:,} could not be read, their lines say why"] if report.failed else []
    said += [f"{report.empty:,} have no candidate, their lines say why"] if report.empty else []
    said += [f"{report.passed_over:,} spectra of another kind passed over"] if report.passed_over else []
    say("; ".join(said))
    for reason, n in report.reasons.most_common(5):
        typer.echo(f"  {n:,} unreadable: {reason}", err=True)
    if report.failed + report.empty == report.queries:
        raise typer.Exit(1)


@takes_observations
def explain(
    index: Annotated[Path, typer.Argument(help="Index directory.", readable=False)],
    keys: Annotated[list[int], typer.Argument(metavar="KEY", help="Molecules, by their keys in answers.")],
    observed: Observed,
    adduct: Adduct = None,
    rerank: Annotated[
        bool, typer.Option("--rerank/--no-rerank", help="Compare spectra peak by peak. Default: yes.")
    ] = True,
    model: IndexModel = None,
    format_: Annotated[str | None, _format_option(REASON_FORMATS, "text")] = None,
    json_: JsonForm = False,
    out: Out = None,
) -> None:
    """Explain why molecules fit an observation, whatever their rank: which peak belongs to which atoms, and
    how far off it is.

    \b
    acml-search explain indexes/default 4711 --c-nmr "169.1, 153.2, 131.0, 121.2, 115.1, 23.9"
    acml-search explain indexes/mine 12 99 --c-nmr carbon.txt --lc-ms spectra.mgf#3 --out why.html
    """
    if not observed:
        raise typer.BadParameter(f"give at least one ({flags()})", param_hint="OBSERVATION")
    check_out(out)
    form = format_of(format_, json_, out, offered=REASON_FORMATS, default="text")

    from acml_search.search.pipeline import open_index

    with open_index(index, model=model) as opened_index:
        answer = opened_index.explain(observed, keys, adduct=adduct, rerank=rerank)
    show(answer, form, out)


@partial(takes_observations, wanted=lambda kind: bool(kind.nuclei) and not kind.made_of)
def check(
    smiles: Annotated[str, typer.Option(help="The structure.")],
    observed: Observed,
    alternative: Annotated[
        list[str] | None, typer.Option(metavar="SMILES", help="Compare it with this one; may be repeated.")
    ] = None,
    isomers: Annotated[
        bool,
        typer.Option(
            "--isomers",
            help="Compare it with isomers in which one substituent of a ring sits elsewhere on it, or two "
            "have changed places; at most 50.",
        ),
    ] = False,
    model: Model = "acml-base",
    json: Json = False,
) -> None:
    """Say how probable a structure is by its NMR spectra, which peaks of which atoms do not fit, and which of
    several structures fits best. Needs no index.

    \b
    acml-search check --smiles "CC(=O)Nc1ccc(O)cc1" --c-nmr "169.1, 153.2, 131.0, 121.2, 115.1, 23.9"
    acml-search check --smiles "COc1cc(C=O)ccc1O" --h-nmr proton.txt --c-nmr carbon.txt --isomers --json
    """
    if not observed:
        raise typer.BadParameter("give a spectrum: --c-nmr or --h-nmr", param_hint="OBSERVATION")

    from acml_search.search.check import check as answer_check
    from acml_search.search.render.text import checked

    answer = answer_check(smiles, alternatives=alternative or (), isomers=isomers, model=model, **observed)
    for note in answer.notes:
        say(note)
    if json:
        print_json(answer.to_dict())
    else:
        typer.echo(checked(answer, colour=sys.stdout.isatty() and "NO_COLOR" not in os.environ))


@takes_observations
def parse(
    observed: Observed,
    adduct: Adduct = None,
    modality: Annotated[
        str | None, typer.Option(metavar="c_nmr|h_nmr", help="What the lines of --lines are.")
    ] = None,
    lines: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="One text per line; one line of JSON each.", readable=False),
    ] = None,
    keep_solvent: Annotated[
        bool, typer.Option("--keep-solvent", help="With --lines: solvent peaks stay among the peaks.")
    ] = False,
    json: Json = False,
) -> None:
    """Show what is understood of observations: peaks, couplings, solvent, field, what is left out and why.

    \b
    acml-search parse --c-nmr "13C NMR (151 MHz, CDCl3) δ 176.0, 85.8 (CH), 77.16, 48.5"
    acml-search parse --h-nmr shifts.txt --lc-ms library.msp#3 --json
    acml-search parse --modality c_nmr --lines printed.txt
    """
    if lines is not None:
        if observed:
            raise typer.BadParameter("give observations or --lines, not both", param_hint="'--lines'")
        texts = [name for name in modalities.names() if modalities.get(name).reads_lines]
        if modality is None or modality not in texts:
            raise typer.BadParameter(f"--lines needs {' or '.join(texts)}", param_hint="'--modality'")
        _print_lines(lines, modality, keep_solvent)
        return
    if modality is not None or keep_solvent:
        raise typer.BadParameter("this goes with --lines", param_hint="'--modality' / '--keep-solvent'")
    if not observed:
        raise typer.BadParameter("give an observation, such as --c-nmr, or --lines", param_hint="OBSERVATION")

    from acml_search.search.request import read_observations

    read = read_observations(observed, adduct)
    if json:
        print_json({"observations": [{**one.to_dict(), "notes": one.notes} for one in read]})
    else:
        typer.echo("\n\n".join(_understood(one) for one in read))


def _print_lines(path: Path, modality: str, keep_solvent: bool) -> None:
    """A line of JSON on stdout per line of the file, whatever is wrong with it; how many failed on stderr."""
    from acml_search.core.errors import InvalidRecord
    from acml_search.nmr.parser import MAX_CHARACTERS

    kind: Any = modalities.get(modality)
    longest = MAX_LINE * MAX_CHARACTERS
    total = failed = 0
    with path.open("rb") as file:
        while line := file.readline(longest + 1):
            total += 1
            complete = line.endswith(b"\n") or len(line) <= longest
            while not complete:  # the rest of an endless line is skipped in pieces
                rest = file.readline(longest)
                complete = not rest or rest.endswith(b"\n")
            read: dict[str, Any] = {"peaks": [], "solvent": None, "field_mhz": None, "left_out": []}
            error = None
            try:
                peaks = kind.read_line(line.decode("utf-8-sig").rstrip("\r\n"), keep_solvent)
                read["peaks"] = [{key: getattr(peak, key) for key in PEAK_KEYS} for peak in peaks]
                read |= {"solvent": peaks.solvent, "field_mhz": peaks.field_mhz}
                read["left_out"] = [left._asdict() for left in peaks.left_out]
            except UnicodeDecodeError as wrong:
                said = f"byte {wrong.start + 1} of the line is not UTF-8; save the file as UTF-8"
                error = str(InvalidRecord(said, modality=modality))
            except InvalidRecord as wrong:
                error = str(wrong)
            failed += error is not None
            typer.echo(dumps({"line": total, **read, "error": error}, ensure_ascii=False))
    if failed:
        say(f"{failed:,} of {total:,} lines could not be read, each says why")


def _understood(one: Observation) -> str:
    """A heading, the peaks in aligned columns, and what is left out."""
    kind, peaks = modalities.get(one.modality), one.peaks
    if peaks is None:
        return f"{one.modality}: {one.given}"
    field = None if peaks.field_mhz is None else f"{peaks.field_mhz:g} MHz"
    precursor = None if peaks.precursor_mz is None else f"precursor m/z {peaks.precursor_mz:.4f}"
    stated = (peaks.solvent, field, precursor, peaks.adduct, peaks.collision_energy)
    said = [f"{len(peaks)} peaks", *(text for text in stated if text is not None)]
    parts = [f"{one.modality}: {', '.join(said)}"]
    parts.append(_shifts(peaks, kind) if kind.nuclei else _intensities(peaks, kind))
    if peaks.left_out:
        parts.append("left out:\n" + "\n".join(f"  {left.text}: {left.why}" for left in peaks.left_out))
    return "\n".join([*parts, *(note for note in one.notes if ": left out " not in note)])


def _shifts(peaks: PeakList, kind: Modality) -> str:
    if any(peak.proton is not None for peak in peaks):
        pairs = ((f"{peak.position:g}", f"{peak.proton:g}", peak.multiplicity or "") for peak in peaks)
        return columns([("¹³C / ppm", "¹H / ppm", "multiplicity"), *pairs])
    rows: list[tuple[object, ...]] = [(kind.unit, "range", "nuclei", "multiplicity", "J / Hz")]
    for peak in peaks:
        ends = "" if peak.low is None or peak.high is None else f"{peak.low:g} – {peak.high:g}"
        couplings = ", ".join(f"{coupling:g}" for coupling in peak.couplings)
        count = "" if peak.count is None else peak.count
        rows.append((f"{peak.position:g}", ends, count, peak.multiplicity or "", couplings))
    return columns(rows)


def _intensities(peaks: PeakList, kind: Modality) -> str:
    largest = sorted(peaks, key=lambda peak: -(peak.intensity or 0.0))[:MAX_SHOWN]
    decimals = 4 if kind.plot == "sticks" else kind.decimals
    rows: list[tuple[object, ...]] = [(kind.unit, "intensity")]
    for peak in sorted(largest):
        intensity = "" if peak.intensity is None else f"{peak.intensity:g}"
        rows.append((f"{peak.position:.{decimals}f}", intensity))
    more = f"\n… and {len(peaks) - MAX_SHOWN:,} smaller ones" if len(peaks) > MAX_SHOWN else ""
    return columns(rows) + more


def read_images(
    pictures: Annotated[
        list[Path],
        typer.Argument(metavar="FOLDER|FILE...", help="PNG, JPEG, TIFF, PDF and others.", exists=True),
    ],
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="Table to write: .csv, .jsonl or .sdf (with mol blocks).")
    ] = Path("readings.csv"),
    model: Model = "acml-base",
    workers: Workers = None,
) -> None:
    """Read the structures in many pictures: SMILES, probability, or why there is none.

    The same command again goes on after the last file that is in the table.

    \b
    acml-search read-images scans --out readings.csv
    acml-search read-images page.pdf figure.png --out readings.sdf
    """
    check_out(out)

    from acml_search.search.pictures import FORMATS, pictures_of
    from acml_search.search.pictures import read_images as read

    if out.suffix.lower() not in FORMATS:
        raise typer.BadParameter(f"{out} must end in {', '.join(FORMATS)}", param_hint="'--out'")
    report = read(pictures_of(pictures), out, model=model, workers=workers)
    before = f"; {report.already:,} were in {out} already" if report.already else ""
    failed = f"; {report.failed:,} parts or files show none, their rows say why" if report.failed else ""
    say(f"{report.files:,} files, {report.structures:,} structures{failed}{before}")
    if report.files and not report.structures:
        raise typer.Exit(1)
