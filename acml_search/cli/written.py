"""Where a command's output goes: stdout, or a file that appears only when it is whole."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import typer


@contextmanager
def opened(out: Path | None) -> Iterator[TextIO]:
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


def check_out(out: Path | None) -> None:
    """Raises BadParameter (exit status 2) where `out` cannot become a file."""
    if out is not None and (out.is_dir() or not out.absolute().parent.is_dir()):
        raise typer.BadParameter(f"{out} must name a file in a folder that exists", param_hint="'--out'")


def format_of(name: str | None, json: bool, out: Path | None, *, offered: Sequence[str], default: str) -> str:
    """The format that was asked for by name, by --json or by the ending of `out`.

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
