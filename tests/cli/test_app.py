"""How the program leaves: exit status, and what stands on stdout and stderr."""

from __future__ import annotations

import pytest
import typer
from typer.testing import CliRunner

import acml_search
from acml_search.cli import app
from acml_search.cli.app import ErrorGroup
from acml_search.core.errors import LibraryError

runner = CliRunner()

COMMANDS = ["build-index", "query", "explain", "check", "parse", "add", "info", "verify", "embed", "models"]
COMMANDS += ["remove", "compact", "merge", "push", "serve", "mcp", "probe", "map", "attribute", "read-images"]
GROUPS = {
    "bench": ["recall", "isomers", "throughput"],
    "properties": ["fit", "predict"],
    "train": ["pretrain", "align", "hard-negatives", "memory"],
}
PATHS = [[name] for name in COMMANDS] + [[group, name] for group, names in GROUPS.items() for name in names]


def program(error: BaseException) -> typer.Typer:
    """A program of the same kind with commands that fail in one way."""
    found = typer.Typer(cls=ErrorGroup)

    def fail() -> None:
        raise error

    for name in ("build-index", "query"):
        found.command(name)(fail)
    return found


def test_version() -> None:
    done = runner.invoke(app, ["--version"])
    assert (done.exit_code, done.output) == (0, f"acml-search {acml_search.__version__}\n")


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_every_command_has_help_with_an_example(path) -> None:
    done = runner.invoke(app, [*path, "--help"])
    assert done.exit_code == 0
    assert f"\n  acml-search {' '.join(path)}" in done.output


def test_no_command_is_missing_here() -> None:
    names = [info.name or info.callback.__name__ for info in app.registered_commands]
    assert sorted(names) == sorted(COMMANDS)
    assert sorted(group.name for group in app.registered_groups) == sorted(GROUPS)


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["build-index", "--nonsense"], ["bench", "recall"], ["build-index", "--workers", "0"]],
)
def test_wrong_usage_is_2(arguments) -> None:
    done = runner.invoke(app, arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: ")


@pytest.mark.parametrize(
    ("error", "command", "status", "said"),
    [
        (LibraryError("mine.smi", "there is no such file"), "query", 1, "mine.smi: there is no such file"),
        (PermissionError(13, "Permission denied", "/indexes"), "query", 1, "/indexes: Permission denied"),
        (OSError(28, "No space left"), "query", 1, "reading or writing failed: No space left"),
        (
            KeyboardInterrupt(),
            "build-index",
            130,
            "interrupted; the same command goes on where this one stopped",
        ),
        (KeyboardInterrupt(), "query", 130, "interrupted"),
    ],
)
def test_an_error_is_one_sentence_on_stderr(error, command, status, said) -> None:
    done = runner.invoke(program(error), [command])
    assert (done.exit_code, done.stdout, done.stderr) == (status, "", f"acml-search: {said}\n")


def test_our_own_mistakes_keep_their_traceback() -> None:
    done = runner.invoke(program(ZeroDivisionError("ours")), ["query"])
    assert isinstance(done.exception, ZeroDivisionError)
