"""What commands print: one JSON document, or aligned columns. Data goes to stdout."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer


def print_json(document: Any) -> None:
    """One JSON document and nothing else. JSON has no NaN: it is null there."""
    from acml_search.search.columns import plain

    typer.echo(json.dumps(plain(document), indent=2, ensure_ascii=False, allow_nan=False))


def columns(rows: Sequence[Sequence[object]]) -> str:
    """Rows of cells as lines with aligned columns; numbers to the right."""
    cells = [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))] if cells else []
    lines = []
    for row, texts in zip(rows, cells, strict=True):
        aligned = [
            text.rjust(width) if isinstance(cell, int | float) else text.ljust(width)
            for cell, text, width in zip(row, texts, widths, strict=True)
        ]
        lines.append("  ".join(aligned).rstrip())
    return "\n".join(lines)


def names(text: str) -> tuple[str, ...]:
    """`"smiles, image"` -> `("smiles", "image")`."""
    return tuple(name for name in (part.strip() for part in text.split(",")) if name)


def print_report(report: dict[str, Any], as_json: bool) -> None:
    """What was built: JSON, or a line for the molecules and one per space. Files that were cut off are named
    on stderr.
    """
    for damage in report["damaged"]:
        typer.echo(f"acml-search: {damage}", err=True)
    if as_json:
        print_json(report)
        return
    place = report["index"]
    counts = ", ".join(f"{report[what]:,} {what}" for what in ("molecules", "duplicates", "rejected"))
    already = " (complete already, nothing to do)" if report["already_complete"] else ""
    lines = [f"{place}: {counts}{already}"]
    if "added" in report:
        new = ", ".join(
            f"{report['added'][what]:,} {what}" for what in ("molecules", "duplicates", "rejected")
        )
        lines.append(f"  of these added now: {new}")
    for name, space in report["spaces"].items():
        line = f"  {name}: {space['graph']:,} graph vectors, {space['records']:,} records"
        if space["factory"]:
            line += f", {space['factory']}, {space['bytes_per_vector']:g} bytes per vector"
        lines.append(line)
    if report["rejected"]:
        lines.append(f"  rejected rows and why: {place}/rejects.parquet")
    typer.echo("\n".join(lines))


def command_line() -> str:
    """This very command as a shell would take it, so that a result says how it was made: the program, or a
    script of `benchmarks` (named from there, for no result is to tell a machine's paths).
    """
    script = Path(sys.argv[0])
    called = ["python", f"{script.parent.name}/{script.name}"] if script.suffix == ".py" else ["acml-search"]
    return shlex.join([*called, *sys.argv[1:]])


def wanted_records(text: str | None) -> tuple[str, ...] | None:
    """What `--records` says: modalities; empty where the files are to tell; None for no records at all."""
    return None if text == "none" else names(text or "")
