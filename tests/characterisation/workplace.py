"""A folder with all inputs and indexes, made once for all tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from characterisation import snapshots
from characterisation.adapter import run_command
from characterisation.commands import PREPARING, Command
from characterisation.compare import stored
from characterisation.inputs import write_bench, write_inputs


def prepare(folder: Path) -> dict[str, dict[str, Any]]:
    """Write the inputs into `folder` and build the indexes; the results of these commands by name."""
    write_inputs(folder)
    write_bench(folder, snapshots.read("bench-queries.json.gz"))
    return {command.name: result_of(command, folder) for command in PREPARING}


def result_of(command: Command, folder: Path) -> dict[str, Any]:
    """Run a command in `folder`; what of its result is stored."""
    return stored(command, run_command(command.arguments, folder), folder)


def parsed_lines(lines: list[str], modality: str, folder: Path, *more: str) -> str:
    """What `acml-search parse --lines` prints for these lines."""
    (folder / "many-lines.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    command = ["parse", "--modality", modality, "--lines", "many-lines.txt", *more]
    outcome = run_command(command, folder)
    assert outcome.status == 0, outcome.stderr
    return outcome.stdout
