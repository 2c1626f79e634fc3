"""`acml-search parse`: what is understood of an observation, before anything is searched."""

from __future__ import annotations

import json as json_lines
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from acml_search.cli import options
from acml_search.cli.output import columns, print_json

if TYPE_CHECKING:
    from acml_search.chem.peaks import Peak, PeakList
    from acml_search.search.observation import Observation

TEXTS = ("c_nmr", "h_nmr")
SHOWN = 40  # peaks of a mass spectrum in the table, the largest
PEAK_KEYS = ("position", "low", "high", "count", "multiplicity", "couplings")


def parse(
    c_nmr: Annotated[
        list[str] | None, typer.Option(metavar="TEXT|FILE", help="A 13C line as printed, or bare shifts.")
    ] = None,
    h_nmr: Annotated[
        list[str] | None, typer.Option(metavar="TEXT|FILE", help="A 1H line as printed, or bare shifts.")
    ] = None,
    lc_ms: Annotated[
        list[str] | None, typer.Option(metavar="FILE", help="MS/MS: MSP, MGF, mzML; FILE#n for the n-th.")
    ] = None,
    gc_ms: Annotated[
        list[str] | None, typer.Option(metavar="FILE", help="EI: MSP, MGF, mzML, JCAMP-DX; FILE#n.")
    ] = None,
    modality: Annotated[
        str | None, typer.Option(metavar="|".join(TEXTS), help="What the lines of --lines are.")
    ] = None,
    lines: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="One text per line; one line of JSON each.", readable=False),
    ] = None,
    keep_solvent: Annotated[
        bool, typer.Option("--keep-solvent", help="With --lines: solvent peaks stay among the peaks.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Show what is understood of spectra: peaks, couplings, solvent, field, what is left out and why.

    \b
    acml-search parse --c-nmr "13C NMR (151 MHz, CDCl3) δ 176.0, 85.8 (CH), 77.16, 48.5"
    acml-search parse --h-nmr shifts.txt --lc-ms library.msp#3 --json
    acml-search parse --modality c_nmr --lines printed.txt
    """
    given = [
        (name, text)
        for name, texts in (("c_nmr", c_nmr), ("h_nmr", h_nmr), ("lc_ms", lc_ms), ("gc_ms", gc_ms))
        for text in texts or ()
    ]
    if lines is not None:
        if given:
            raise typer.BadParameter("give observations or --lines, not both", param_hint="'--lines'")
        if modality not in TEXTS:
            raise typer.BadParameter(f"--lines needs {' or '.join(TEXTS)}", param_hint="'--modality'")
        _lines(lines, modality, keep_solvent)
        return
    if modality is not None or keep_solvent:
        raise typer.BadParameter("this goes with --lines", param_hint="'--modality' / '--keep-solvent'")
    if not given:
        raise typer.BadParameter("give an observation, such as --c-nmr, or --lines", param_hint="OBSERVATION")

    from acml_search.search.observation import read_observation

    read = [read_observation(name, text) for name, text in given]
    if json:
        print_json({"observations": [{**one.to_dict(), "notes": one.notes} for one in read]})
    else:
        typer.echo("\n\n".join(_table(one) for one in read))


def _lines(path: Path, modality: str, keep_solvent: bool) -> None:
    """A line of JSON on stdout per line of the file, whatever is wrong with it; how many failed on stderr."""
    total = failed = 0
    for document in _documents(path, modality, keep_solvent):
        typer.echo(json_lines.dumps(document, ensure_ascii=False))
        total += 1
        failed += document["error"] is not None
    if failed:
        typer.echo(f"acml-search: {failed:,} of {total:,} lines could not be read, each says why", err=True)


def _documents(path: Path, modality: str, keep_solvent: bool) -> Iterator[dict[str, Any]]:
    from acml_search.core.errors import InvalidRecord
    from acml_search.nmr.solvents import without_solvent
    from acml_search.nmr.text import MAX_CHARACTERS, read_nmr_text

    most = 4 * MAX_CHARACTERS  # bytes of a line that are worth keeping
    with path.open("rb") as file:
        number = 0
        while line := file.readline(most + 1):
            number += 1
            whole = line.endswith(b"\n") or len(line) <= most
            while not whole:  # the rest of an endless line is passed over in pieces
                rest = file.readline(most)
                whole = not rest or rest.endswith(b"\n")
            try:
                peaks = read_nmr_text(_decoded(line, modality), modality)
                yield _document(number, peaks if keep_solvent else without_solvent(peaks))
            except InvalidRecord as error:
                yield _refused(number, str(error))


def _decoded(line: bytes, modality: str) -> str:
    """The text of a line, or a sentence about it. Raises InvalidRecord where it is not UTF-8."""
    from acml_search.core.errors import InvalidRecord

    try:
        return line.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise InvalidRecord(
            f"byte {error.start + 1} of the line is not UTF-8; save the file as UTF-8", modality=modality
        ) from error


def _document(number: int, peaks: PeakList) -> dict[str, Any]:
    return {
        "line": number,
        "peaks": [{key: getattr(peak, key) for key in PEAK_KEYS} for peak in peaks.peaks],
        "solvent": peaks.solvent,
        "field_mhz": peaks.field_mhz,
        "left_out": [left._asdict() for left in peaks.left_out],
        "error": None,
    }


def _refused(number: int, sentence: str) -> dict[str, Any]:
    return {
        "line": number,
        "peaks": [],
        "solvent": None,
        "field_mhz": None,
        "left_out": [],
        "error": sentence,
    }


def _table(one: Observation) -> str:
    """A heading, the peaks in aligned columns, and what is left out."""
    peaks = one.peaks
    if peaks is None:  # no observation of this command is without peaks
        return f"{one.modality}: {one.given}"
    about = [f"{len(peaks)} peaks", *_conditions(peaks)]
    parts = [f"{one.modality}: {', '.join(about)}"]
    if peaks.unit == "ppm":
        parts.append(_shifts(peaks))
    else:
        parts.append(_masses(peaks))
    if peaks.left_out:
        parts.append("left out:\n" + "\n".join(f"  {left.text}: {left.why}" for left in peaks.left_out))
    told = [note for note in one.notes if ": left out " not in note]
    return "\n".join([*parts, *told])


def _conditions(peaks: PeakList) -> Iterator[str]:
    if peaks.solvent is not None:
        yield peaks.solvent
    if peaks.field_mhz is not None:
        yield f"{peaks.field_mhz:g} MHz"
    if peaks.precursor_mz is not None:
        yield f"precursor m/z {peaks.precursor_mz:.4f}"
    for text in (peaks.adduct, peaks.collision_energy):
        if text is not None:
            yield text


def _shifts(peaks: PeakList) -> str:
    rows: list[tuple[object, ...]] = [("ppm", "range", "nuclei", "multiplicity", "J / Hz")]
    for peak in peaks.peaks:
        rows.append(
            (
                f"{peak.position:g}",
                _range(peak),
                "" if peak.count is None else peak.count,
                peak.multiplicity or "",
                ", ".join(f"{coupling:g}" for coupling in peak.couplings),
            )
        )
    return columns(rows)


def _range(peak: Peak) -> str:
    return "" if peak.low is None or peak.high is None else f"{peak.low:g} – {peak.high:g}"


def _masses(peaks: PeakList) -> str:
    largest = sorted(peaks.peaks, key=lambda peak: -(peak.intensity or 0.0))[:SHOWN]
    rows: list[tuple[object, ...]] = [("m/z", "intensity")]
    for peak in sorted(largest):
        rows.append((f"{peak.position:.4f}", "" if peak.intensity is None else f"{peak.intensity:g}"))
    more = f"\n… and {len(peaks) - SHOWN:,} smaller ones" if len(peaks) > SHOWN else ""
    return columns(rows) + more
