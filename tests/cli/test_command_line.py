"""How a result says what made it."""

from __future__ import annotations

import sys

import pytest

from acml_search.cli.app import command_line


@pytest.mark.parametrize(
    ("called", "said"),
    [
        ("/opt/venv/bin/acml-search", "acml-search --name 'two words'"),
        (
            "/home/somebody/acml-search/benchmarks/pictures.py",
            "python -m benchmarks.pictures --name 'two words'",
        ),
        ("/home/somebody/acml-search/benchmarks/__main__.py", "python -m benchmarks --name 'two words'"),
    ],
)
def test_programs_and_scripts_are_told_apart_and_no_machine_is_named(
    called: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [called, "--name", "two words"])
    assert command_line() == said
