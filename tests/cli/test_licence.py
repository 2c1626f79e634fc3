"""Weights that are not for commercial use say so when they are named, and so does an index made with them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from acml_search.cli import app


@pytest.fixture(scope="module")
def restricted(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("restricted") / "tiny"
    shutil.copytree(tiny_model, directory)
    card = json.loads((directory / "card.json").read_text())
    card["licence"] = "CC BY-NC-SA 4.0"
    (directory / "card.json").write_text(json.dumps(card))
    return directory


def test_it_is_said_on_building_and_on_asking(restricted: Path, tmp_path: Path) -> None:
    (tmp_path / "library.smi").write_text("CCO\nCCN\n")
    build = ["build-index", str(tmp_path / "library.smi"), "--out", str(tmp_path / "index"), "--workers", "1"]
    built = CliRunner().invoke(app, [*build, "--model", str(restricted), "--json"])
    assert built.exit_code == 0, built.output
    assert "not for commercial use; CC BY-NC-SA 4.0" in built.stderr
    json.loads(built.stdout)
    asked = CliRunner().invoke(app, ["query", str(tmp_path / "index"), "--smiles", "CCO", "--json"])
    assert "not for commercial use; CC BY-NC-SA 4.0" in asked.stderr
    assert any("not for commercial use" in note for note in json.loads(asked.stdout)["notes"])


def test_a_free_model_says_nothing(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "library.smi").write_text("CCO\n")
    out = ["--out", str(tmp_path / "index"), "--workers", "1", "--model", str(tiny_model)]
    built = CliRunner().invoke(app, ["build-index", str(tmp_path / "library.smi"), *out])
    assert built.exit_code == 0, built.output
    assert "commercial" not in built.stderr
