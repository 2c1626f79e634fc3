"""What commands print, and where to: data to stdout or to a file that appears only when it is complete."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import typer

if TYPE_CHECKING:
    from acml_search.search.results import Answer


@contextmanager
def opened(out: Path | None) -> Iterator[TextIO]:
    """stdout, or `out`, which appears only when all was written to it.

    What is there and is no ordinary file (/dev/null, a pipe) is written to; renaming would replace it.
    """
    if out is None:
        yield sys.stdout
    elif out.exists() and not out.is_file():
        with out.open("w", encoding="utf-8", newline="") as stream:
            yield stream
    else:
        from acml_search.core.io import atomic

        target = out.resolve()  # of a link, what it points to
        with atomic(target) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
            yield stream


def check_out(out: Path | None) -> None:
    """Raises BadParameter (exit status 2) where `out` cannot become a file."""
    if out is not None and (out.is_dir() or not out.absolute().parent.is_dir()):
        raise typer.BadParameter(f"{out} must name a file in a folder that exists", param_hint="'--out'")


def format_of(name: str | None, json: bool, out: Path | None, *, offered: Sequence[str], default: str) -> str:
    """The format by name, by --json or by the ending of `out`.

    Raises BadParameter (exit status 2) for one that is not in `offered`, and for --json beside another.
    """
    hint = "'--format'"
    if name is not None and name not in offered:
        raise typer.BadParameter(f"{name!r} is not one of {', '.join(offered)}", param_hint=hint)
    if json and name not in (None, "json"):
        raise typer.BadParameter(f"--json and --format {name} contradict each other", param_hint=hint)
    if json:
        return "json"
    ending = out.suffix.lower().removeprefix(".") if out else ""
    return name or (ending if ending in offered else default)


def show(answer: Answer, form: str, out: Path | None) -> None:
    """Notes of an answer to stderr, the answer itself in the format `form` to `out`."""
    for note in answer.notes:
        typer.echo(f"acml-search: {note}", err=True)
    with opened(out) as stream:
        colour = stream.isatty() and "NO_COLOR" not in os.environ
        if form == "text":
            from acml_search.search.render.terminal import write_text

            write_text(answer, stream, colour=colour)
        elif form == "table":
            from acml_search.search.render.files import write_table

            write_table(answer, stream, colour=colour)
        else:
            from acml_search.search.render.files import WRITERS

            WRITERS[form](answer, stream)


def print_json(document: Any) -> None:
    """One JSON document and nothing else. JSON has no NaN: it is null there."""
    from acml_search.search.results import plain

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
    module of `benchmarks` (without its path, for no result is to tell a machine's).
    """
    script = Path(sys.argv[0])
    module = f"{script.parent.name}.{script.stem}".removesuffix(".__main__")
    program = ["python", "-m", module] if script.suffix == ".py" else ["acml-search"]
    return shlex.join([*program, *sys.argv[1:]])


def wanted_records(text: str | None) -> tuple[str, ...] | None:
    """What `--records` says: modalities; empty where the files are to tell; None for no records at all."""
    return None if text == "none" else names(text or "")
