"""`acml-search explain`: which options it takes, what it asks the index for, what it prints where."""

from pathlib import Path
from typing import Any

import pytest
from answers import answer
from typer.testing import CliRunner

from acml_search.cli import app
from acml_search.search import pipeline

SHIFTS = "190.9, 151.7, 147.1"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the index was asked; the index itself answers by hand."""
    calls: list[Any] = []

    class Opened:
        def __init__(self, path: Path, *, model: str | None = None) -> None:
            calls.append((path, model))

        def __enter__(self) -> "Opened":
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def explain(self, observations: Any, keys: Any, **options: Any) -> Any:
            calls.append((observations, list(keys), options))
            return answer(list(observations), candidates={"vanillin": "COc1cc(C=O)ccc1O"})

    monkeypatch.setattr(pipeline, "Index", Opened)
    return calls


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["explain", *arguments])


def test_text_is_the_default(asked: list[Any]) -> None:
    result = run("ix", "100", "7", "--c-nmr", SHIFTS, "--lc-ms", "a.mgf#2", "--adduct", "[M+H]+")
    assert result.exit_code == 0, result.stderr
    assert "#1  key 100  vanillin" in result.stdout
    assert "left out" in result.stderr
    assert asked == [
        (Path("ix"), None),
        ({"c_nmr": [SHIFTS], "lc_ms": ["a.mgf#2"]}, [100, 7], {"adduct": "[M+H]+", "rerank": True}),
    ]


def test_the_ending_of_a_file_says_what_is_written(asked: list[Any], tmp_path: Path) -> None:
    assert run("ix", "100", "--h-nmr", "9.8, 3.9", "--out", str(tmp_path / "why.html")).exit_code == 0
    assert (tmp_path / "why.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert run("ix", "100", "--h-nmr", "9.8, 3.9", "--out", str(tmp_path / "why.txt")).exit_code == 0
    assert (tmp_path / "why.txt").read_text(encoding="utf-8").startswith("query   ¹H NMR")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ix", "100"], "give at least one"),
        (["ix", "--c-nmr", SHIFTS], "Missing argument"),
        (["ix", "abc", "--c-nmr", SHIFTS], "valid integer"),
        (["ix", "100", "--c-nmr", SHIFTS, "--adduct", "[M+H]+"], "an adduct needs"),
        (["ix", "100", "--c-nmr", SHIFTS, "--format", "sdf"], "is not one of text, json, html"),
        (["ix", "100", "--c-nmr", SHIFTS, "--format", "html", "--json"], "contradict"),
        (["ix", "100", "--c-nmr", SHIFTS, "--out", "/nowhere/x.html"], "in a folder that exists"),
    ],
)
def test_wrong_usage_is_2(arguments: list[str], words: str) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in " ".join(result.stderr.replace("│", " ").split())
