"""The command line answers as it did: exit status, data, and the options that it offers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from characterisation import compare, public, snapshots
from characterisation.commands import BENCH, COMMANDS, PREPARING, Command
from characterisation.workplace import result_of

EXPECTED = {one["name"]: one for one in snapshots.read_lines("commands.json.gz")}
BENCHES = {one["name"]: one for one in snapshots.read_lines("bench.json.gz")}
CALLS = {one["name"]: one["answer"] for one in snapshots.read_lines("python.json.gz")}


def _name(command: Command) -> str:
    return command.name


@pytest.mark.parametrize("command", PREPARING, ids=_name)
def test_building(command: Command, prepared: tuple[Path, dict[str, dict[str, Any]]]) -> None:
    compare.check(command, EXPECTED[command.name], prepared[1][command.name])


@pytest.mark.parametrize("name", public.CALLS)
def test_python(name: str, folder: Path) -> None:
    assert list(compare.documents(CALLS[name], public.call(name, folder))) == []


@pytest.mark.parametrize("command", COMMANDS, ids=_name)
def test_command(command: Command, folder: Path) -> None:
    compare.check(command, EXPECTED[command.name], result_of(command, folder))


@pytest.mark.parametrize("command", BENCH, ids=_name)
def test_bench(command: Command, folder: Path) -> None:
    compare.check(command, BENCHES[command.name], result_of(command, folder))
