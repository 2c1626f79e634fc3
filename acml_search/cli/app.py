"""The `acml-search` program: its commands, and how errors leave it.

A command opens the library's object, calls it and prints. Imports that cost time stand inside the commands,
so that `--help` answers at once.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from acml_search import __version__
from acml_search.core.errors import AcmlSearchError

# these go on where they stopped when the same command is given again
RESUMABLE = {"build-index", "add", "embed", "train"}


class ErrorGroup(TyperGroup):
    """Turns what a user can cause into one sentence on stderr and an exit status.

    1: could not be done. 130: interrupted (128 + SIGINT, as shells have it). Usage errors are Typer's own, 2.
    """

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except AcmlSearchError as error:
            raise _stop(str(error)) from error
        except KeyboardInterrupt as error:
            resumes = ctx.invoked_subcommand in RESUMABLE
            then = "; the same command goes on where this one stopped" if resumes else ""
            raise _stop(f"interrupted{then}", 128 + signal.SIGINT) from error
        except OSError as error:
            if isinstance(error, BrokenPipeError):
                raise  # the reader, such as `head`, has enough; Typer ends in silence
            what = error.strerror or str(error)
            where = error.filename or "reading or writing failed"  # streams and Arrow do not name the file
            raise _stop(f"{where}: {what}") from error


def _stop(sentence: str, status: int = 1) -> typer.Exit:
    typer.echo(f"acml-search: {sentence}", err=True)
    return typer.Exit(status)


app = typer.Typer(
    name="acml-search",
    cls=ErrorGroup,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"acml-search {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Find molecules by what was observed of them, in libraries embedded and indexed once.

    \b
    acml-search build-index                           (RDKit's own 15,000 molecules)
    acml-search query --smiles "CC(=O)Nc1ccc(O)cc1"
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program; the entry point of the package."""
    run(app, "acml-search", arguments)


def run(program: typer.Typer, name: str, arguments: Sequence[str] | None = None) -> None:
    """Run a Typer program and flush stdout, so that a full disk is reported before the interpreter ends."""
    try:
        program(args=arguments, prog_name=name)
    finally:
        try:
            sys.stdout.flush()
        except BrokenPipeError:  # the reader, such as `head`, has enough
            _discard_stdout()
        except OSError as error:
            _discard_stdout()
            typer.echo(f"acml-search: reading or writing failed: {error.strerror}", err=True)
            raise SystemExit(1) from error


def _discard_stdout() -> None:
    """Send what is still buffered for stdout nowhere, so that the interpreter's own flush succeeds."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
