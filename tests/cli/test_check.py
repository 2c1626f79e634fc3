"""`acml-search check`: its options, what goes where, exit statuses."""

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from acml_search.cli import app

VANILLIN = "COc1cc(C=O)ccc1O"
SHIFTS = "191.1, 151.9, 147.3, 129.9, 127.6, 114.5, 108.9, 56.2"


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["check", *arguments])


def test_text_and_json() -> None:
    asked = ("--smiles", VANILLIN, "--c-nmr", SHIFTS, "--alternative", "COC(=O)c1ccccc1O", "--isomers")
    shown, read = run(*asked), run(*asked, "--json")
    assert (shown.exit_code, read.exit_code) == (0, 0), shown.stderr
    assert shown.stdout.startswith("query   ¹³C NMR: 8 peaks")
    assert "asked about" in shown.stdout
    assert "positional isomers" in shown.stderr
    document = json.loads(read.stdout)
    assert {"smiles", "probability"} <= set(document["alternatives"][0])
    assert document["smiles"] == VANILLIN


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (("--smiles", VANILLIN), 2, "give a spectrum"),
        (("--c-nmr", SHIFTS), 2, "--smiles"),
        (("--smiles", VANILLIN, "--lc-ms", "a.mgf"), 2, "--lc-ms"),
        (("--smiles", "CCX", "--c-nmr", SHIFTS), 1, "CCX"),
        (("--smiles", VANILLIN, "--c-nmr", SHIFTS, "--c-nmr", SHIFTS), 1, "2 spectra of c_nmr"),
    ],
)
def test_what_is_refused(arguments: tuple[str, ...], status: int, sentence: str) -> None:
    done = run(*arguments)
    assert done.exit_code == status
    assert sentence in done.stderr
