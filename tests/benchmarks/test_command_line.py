"""The program `python -m benchmarks`."""

from __future__ import annotations

import json

from typer.testing import CliRunner

from benchmarks.__main__ import app


def run(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_suite(tmp_path, tiny_model) -> None:
    (tmp_path / "library.csv").write_text("smiles,vendor\nCCO,A\nOCC,B\nCC(=O)O,A\nc1ccccc1,B\nnonsense,A\n")
    suite = tmp_path / "suite.toml"
    suite.write_text(
        '[[question]]\nname = "spelled"\nmodality = "smiles"\nqueries = "library.csv"\n'
        'filters = ["none", "formula"]\nbatch = 2\n[question.targets]\n"none@5" = 0.7\n'
    )
    out = tmp_path / "suite"
    done = run("suite", suite, "--model", tiny_model, "--workers", 1, "--out", out)
    assert done.exit_code == 0, done.output
    assert done.stdout == (out / "suite.md").read_text()
    assert "| spelled none@5 | at least 0.7 | 0.750 | yes |" in done.stdout
    assert json.loads((out / "spelled.json").read_text())["recall"]["5"] == 0.75
    spoken = tmp_path / "spoken.toml"
    spoken.write_text(suite.read_text().replace("spelled", "spoken"))
    both = run("suite", suite, spoken, "--model", tiny_model, "--workers", 1, "--out", out)
    assert both.exit_code == 0, both.output
    assert (out / "spoken.json").exists()
    again = run("suite", suite, tmp_path / "absent.toml", "--model", tiny_model, "--out", out)
    assert (again.exit_code, again.stdout) == (1, "")
    assert "absent.toml: no such suite" in again.stderr
