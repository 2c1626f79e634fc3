"""`acml-search parse`: what is understood of an observation, before anything is searched."""

from __future__ import annotations

import json as json_lines
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from acml_search import modalities
from acml_search.cli import options
from acml_search.cli.app import columns, print_json
from acml_search.cli.options import Adduct, Observed, takes_observations

if TYPE_CHECKING:
    from acml_search.chem.peaks import PeakList
    from acml_search.modalities import Observation

MAX_SHOWN = 40  # peaks of a spectrum of intensities in the table, the largest
MAX_LINE = 4  # bytes of a line that are read, per character that a text may have
PEAK_KEYS = ("position", "low", "high", "count", "multiplicity", "couplings")


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
    json: options.Json = False,
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
        _lines(lines, modality, keep_solvent)
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
    from acml_search.nmr.parser import MAX_CHARACTERS

    kind: Any = modalities.get(modality)
    longest = MAX_LINE * MAX_CHARACTERS
    with path.open("rb") as file:
        number = 0
        while line := file.readline(longest + 1):
            number += 1
            complete = line.endswith(b"\n") or len(line) <= longest
            while not complete:  # the rest of an endless line is skipped in pieces
                rest = file.readline(longest)
                complete = not rest or rest.endswith(b"\n")
            try:
                peaks = kind.read_line(_decoded(line, modality), keep_solvent)
                yield _document(number, peaks, None)
            except InvalidRecord as error:
                yield _document(number, None, str(error))


def _decoded(line: bytes, modality: str) -> str:
    """The text of a line. Raises InvalidRecord where it is not UTF-8."""
    from acml_search.core.errors import InvalidRecord

    try:
        return line.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise InvalidRecord(
            f"byte {error.start + 1} of the line is not UTF-8; save the file as UTF-8", modality=modality
        ) from error


def _document(number: int, peaks: PeakList | None, error: str | None) -> dict[str, Any]:
    if peaks is None:
        empty: dict[str, Any] = {"peaks": [], "solvent": None, "field_mhz": None, "left_out": []}
        return {"line": number, **empty, "error": error}
    return {
        "line": number,
        "peaks": [{key: getattr(peak, key) for key in PEAK_KEYS} for peak in peaks],
        "solvent": peaks.solvent,
        "field_mhz": peaks.field_mhz,
        "left_out": [left._asdict() for left in peaks.left_out],
        "error": error,
    }


def _table(one: Observation) -> str:
    """A heading, the peaks in aligned columns, and what is left out."""
    kind, peaks = modalities.get(one.modality), one.peaks
    if peaks is None:
        return f"{one.modality}: {one.given}"
    parts = [f"{one.modality}: {', '.join([f'{len(peaks)} peaks', *_conditions(peaks)])}"]
    parts.append(_shifts(peaks, kind) if kind.nuclei else _intensities(peaks, kind))
    if peaks.left_out:
        parts.append("left out:\n" + "\n".join(f"  {left.text}: {left.why}" for left in peaks.left_out))
    return "\n".join([*parts, *(note for note in one.notes if ": left out " not in note)])


def _conditions(peaks: PeakList) -> Iterator[str]:
    if peaks.solvent is not None:
        yield peaks.solvent
    if peaks.field_mhz is not None:
        yield f"{peaks.field_mhz:g} MHz"
    if peaks.precursor_mz is not None:
        yield f"precursor m/z {peaks.precursor_mz:.4f}"
    yield from (text for text in (peaks.adduct, peaks.collision_energy) if text is not None)


def _shifts(peaks: PeakList, kind: modalities.Modality) -> str:
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


def _intensities(peaks: PeakList, kind: modalities.Modality) -> str:
    largest = sorted(peaks, key=lambda peak: -(peak.intensity or 0.0))[:MAX_SHOWN]
    decimals = 4 if kind.plot == "sticks" else kind.decimals
    rows: list[tuple[object, ...]] = [(kind.unit, "intensity")]
    for peak in sorted(largest):
        intensity = "" if peak.intensity is None else f"{peak.intensity:g}"
        rows.append((f"{peak.position:.{decimals}f}", intensity))
    more = f"\n… and {len(peaks) - MAX_SHOWN:,} smaller ones" if len(peaks) > MAX_SHOWN else ""
    return columns(rows) + more
