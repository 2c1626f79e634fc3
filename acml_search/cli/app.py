"""What commands share: their options, what they print and where to, and how errors leave the program.

A command opens the library's object, calls it and prints. Imports that cost time stand inside the commands,
so that `--help` answers at once.
"""

from __future__ import annotations

import inspect
import json
import os
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from inspect import Parameter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer
from typer.core import TyperGroup

from acml_search import __version__, modalities
from acml_search.core.errors import AcmlSearchError

if TYPE_CHECKING:
    from acml_search.search.results import Answer


# these go on where they stopped when the same command is given again
RESUMABLE = {"build-index", "add", "embed", "push", "read-images", "train"}
# endings of formats that answers are not written in, and that text under them would belie
NOT_WRITTEN = set(
    ["xlsx", "xls", "ods", "tsv", "parquet", "mol", "pdf", "doc", "docx", "png", "svg", "mztab", "zip"]
)


class ErrorGroup(TyperGroup):
    """Turns what a user can cause into one sentence on stderr and an exit status.

    1: could not be done. 130: interrupted (128 + SIGINT, as shells have it). Usage errors are Typer's own, 2.
    """

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except AcmlSearchError as error:
            for note in getattr(error, "__notes__", ()):
                say(note)
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
    say(sentence)
    return typer.Exit(status)


def say(sentence: object) -> None:
    typer.echo(f"acml-search: {sentence}", err=True)


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
            say(f"reading or writing failed: {error.strerror}")
            raise SystemExit(1) from error


def _discard_stdout() -> None:
    """Send what is still buffered for stdout nowhere, so that the interpreter's own flush succeeds."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
        with written(out) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
            yield stream


@contextmanager
def written(out: Path) -> Iterator[Path]:
    """A file to write to, which becomes `out`, or what that links to, when all was written."""
    from acml_search.core.io import atomic

    with atomic(out.resolve()) as temporary:
        yield temporary


@contextmanager
def source_of(path: Path) -> Iterator[Path]:
    """`path`, or for `-` a file of what stdin holds."""
    if str(path) != "-":
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "stdin")
        with file.open("wb") as stream:
            shutil.copyfileobj(sys.stdin.buffer, stream)
        yield file


def check_out(out: Path | None) -> None:
    """Raises BadParameter (exit status 2) where `out` cannot become a file."""
    if out is not None and (out.is_dir() or not out.absolute().parent.is_dir()):
        raise typer.BadParameter(f"{out} must name a file in a folder that exists", param_hint="'--out'")


def format_of(name: str | None, json: bool, out: Path | None, *, offered: Sequence[str], default: str) -> str:
    """The format by name, by --json or by the ending of `out`.

    Raises BadParameter (exit status 2) for one that is not in `offered`, an ending of a format that is not
    written, and --json beside another.
    """
    hint = "'--format'"
    if name is not None and name not in offered:
        raise typer.BadParameter(f"{name!r} is not one of {', '.join(offered)}", param_hint=hint)
    if json and name not in (None, "json"):
        raise typer.BadParameter(f"--json and --format {name} contradict each other", param_hint=hint)
    if json:
        return "json"
    ending = out.suffix.lower().removeprefix(".") if out else ""
    if name is None and ending in NOT_WRITTEN and ending not in offered:
        raise typer.BadParameter(
            f".{ending} is not written; choose one of {', '.join(offered)}", param_hint="'--out'"
        )
    return name or (ending if ending in offered else default)


def show(answer: Answer | Sequence[Answer], form: str, out: Path | None) -> None:
    """Notes of an answer, or of several, to stderr, the answer itself in the format `form` to `out`."""
    answers = answer if isinstance(answer, Sequence) else [answer]
    for note in dict.fromkeys(note for one in answers for note in one.notes):
        say(note)
    with opened(out) as stream:
        colour = stream.isatty() and "NO_COLOR" not in os.environ
        if form in ("text", "table"):
            from acml_search.search.render.text import explained, table

            text = explained if form == "text" else table
            stream.write("\n\n".join(text(one, colour=colour) for one in answers) + "\n")
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


def print_report(report: dict[str, Any], as_json: bool) -> None:
    """What was built: JSON, or a line for the molecules and one per space; cut files on stderr."""
    for damage in report["damaged"]:
        say(damage)
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
        if "added" in report and space["factory"] != "SQfp16":
            lines.append(f"    {space['reason']}")
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


# Options. Those that take observations are made of the modalities.


KEYWORD = Parameter.KEYWORD_ONLY


def say_licence(model: str | None) -> str | None:
    """A model whose weights are not for commercial use says so, on stderr, whenever it is named."""
    if model not in (None, "acml-base"):
        from acml_search.encoders.card import read_card

        restriction = read_card(model).restriction
        if restriction:
            say(restriction)
    return model


Device = Annotated[
    str,
    typer.Option(
        help="Where networks run: auto (CUDA where there is one, else the CPU), cpu, cuda or mps.",
        metavar="auto|cpu|cuda|mps",
    ),
]
FILES = "Files .smi, .csv, .tsv, .sdf, .parquet; spectra .msp, .mgf, .mzML, .mzXML, .json; also .gz."

Index = Annotated[Path, typer.Argument(help="Folder of the index.", readable=False)]
IndexModel = Annotated[
    str | None,
    typer.Option(
        help="Where the index's model is now. Default: where it was.",
        metavar="NAME|DIR",
        callback=say_licence,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]

Model = Annotated[
    str,
    typer.Option(help="Name or folder of a checkpoint; see `acml-search models`.", callback=say_licence),
]
Out = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write here instead of to stdout.", readable=False)
]
Records = Annotated[
    str | None,
    typer.Option(
        metavar="M[,M]|none",
        help="Modality of the spectra in the library, where its files leave that open (a Parquet with "
        "`shifts`: c_nmr or h_nmr); none: take the structures alone.",
    ),
]
SmilesColumn = Annotated[
    str | None, typer.Option(help="Column that holds the SMILES. Default: the one named smiles.")
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of every random choice.")]
Tautomer = Annotated[
    bool, typer.Option("--tautomer", help="Replace every molecule by its canonical tautomer (slow).")
]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes. Default: one per core.")]


Adduct = Annotated[
    str | None,
    typer.Option("--adduct", metavar="A", help='Ion of an MS/MS spectrum that does not state it: "[M+H]+".'),
]
Observed = dict[str, list[str] | str]
"""texts and files by modality, and one by each of its details"""
Embedding = dict[str, Any]
"""how a library is read and embedded, by the keywords of `index.build`"""


def flags() -> str:
    """The options as a list in words."""
    return ", ".join(option.flag for name in modalities.names() if (option := modalities.get(name).option))


def takes_observations(
    command: Callable[..., None], wanted: Callable[[modalities.Modality], bool] = lambda kind: True
) -> Callable[..., None]:
    """Decorator: in place of the parameter `observed` the command line gets the options of the modalities
    that are `wanted`.

    Wrong usage (exit status 2): an adduct without a spectrum of ions.
    """

    def observed(**given: Any) -> Observed:
        return {name: values for name, values in given.items() if values}

    def check(given: dict[str, Any]) -> None:
        ions = [modalities.get(name) for name in modalities.names() if modalities.get(name).has_precursor]
        asked = {*given["observed"], *([given.get("modality")] if given.get("batch") is not None else [])}
        if given.get("adduct") is not None and not any(kind.name in asked for kind in ions):
            needed = " or ".join(kind.option.flag for kind in ions if kind.option)
            raise typer.BadParameter(f"an adduct needs an MS/MS spectrum ({needed})", param_hint="'--adduct'")

    options = []
    for kind in map(modalities.get, modalities.names()):
        for name, option in {kind.name: kind.option, **kind.details}.items():
            if kind.option and option and wanted(kind):
                said = typer.Option(option.flag, metavar=option.metavar, help=option.help)
                given = list[str] if name == kind.name else str
                options.append(
                    Parameter(name, KEYWORD, default=None, annotation=Annotated[given | None, said])
                )
    observed.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    return with_options(command, "observed", observed, check)


def _embedding(
    records: Records = None,
    workers: Workers = None,
    shard_size: Annotated[
        int, typer.Option(min=1, help="Input rows per shard, the unit of resuming.")
    ] = 10_000,
    limit: Annotated[int | None, typer.Option(min=1, help="Read only the first rows of the library.")] = None,
    smiles_column: SmilesColumn = None,
    inchikey_column: Annotated[
        str | None,
        typer.Option(
            help="Column that holds standard InChIKeys, which are not made then; a sample is checked."
        ),
    ] = None,
    device: Device = "auto",
    restart: Annotated[
        bool, typer.Option("--restart", help="Throw away what is in the folder and begin again.")
    ] = False,
) -> Embedding:
    # none: no records at all; not said: the files are to tell
    return {**locals(), "records": None if records == "none" else names(records or "")}


def takes_embedding(command: Callable[..., None]) -> Callable[..., None]:
    """Decorator: in place of the parameter `embedding` the command line gets the options that every command
    has which embeds a library."""
    return with_options(command, "embedding", _embedding)


def with_options(
    command: Callable[..., None],
    name: str,
    options: Callable[..., Any],
    check: Callable[[dict[str, Any]], None] = lambda given: None,
) -> Callable[..., None]:
    """`command` with the parameters of the function `options` in place of its parameter `name`, which gets
    what that returns for them; `check` sees all that the command gets."""
    signature, own = inspect.signature(command, eval_str=True), inspect.signature(options, eval_str=True)

    @wraps(command)
    def run(**given: Any) -> None:
        given[name] = options(**{option: given.pop(option) for option in own.parameters})
        check(given)
        command(**given)

    parameters: list[Parameter] = []
    for parameter in signature.parameters.values():
        parameters += own.parameters.values() if parameter.name == name else [parameter]
    parameters = [parameter.replace(kind=KEYWORD) for parameter in parameters]
    del run.__wrapped__
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def names(text: str) -> tuple[str, ...]:
    """`"smiles, image"` -> `("smiles", "image")`."""
    return tuple(name for name in (part.strip() for part in text.split(",")) if name)
