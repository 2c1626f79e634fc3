"""What is the user's stays: a build moves and deletes nothing but what a build made. And what it tells."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from acml_search.cli import app
from acml_search.core.errors import ConfigError
from acml_search.index.add import add_library
from acml_search.index.build import build_index


@pytest.fixture
def library(tmp_path: Path) -> Path:
    path = tmp_path / "library.csv"
    path.write_text("smiles\nCCO\nCCN\nOCC\nC1CC\n")
    return path


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(one) for one in arguments])


@pytest.mark.parametrize("ending", ["building", "replaced"])
@pytest.mark.parametrize("there", ["nothing", "an index"])
def test_a_folder_of_the_users_with_such_a_name(
    ending: str, there: str, library: Path, tiny_model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "mine"
    if there == "an index":
        build_index(library, out, model=tiny_model, workers=1)
    precious = tmp_path / f"mine.{ending}" / "notes.txt"
    precious.parent.mkdir()
    precious.write_text("precious")
    for restart in (False, True):
        with pytest.raises(ConfigError, match=rf"mine\.{ending} is in the way"):
            build_index(library, out, model=tiny_model, workers=1, restart=restart)
    assert precious.read_text() == "precious"
    assert out.exists() == (there == "an index")
    precious.unlink()  # an empty folder may be what an interruption left
    build_index(library, out, model=tiny_model, workers=1)
    assert not precious.parent.exists()


def test_a_file_of_the_users_with_such_a_name(library: Path, tiny_model: Path, tmp_path: Path) -> None:
    for ending in ("building", "replaced"):
        precious = tmp_path / f"mine.{ending}"
        precious.write_text("precious")
        with pytest.raises(ConfigError, match="is in the way"):
            build_index(library, tmp_path / "mine", model=tiny_model, workers=1)
        assert precious.read_text() == "precious"
        precious.unlink()


def test_a_library_that_was_cut_off_is_said(tiny_model: Path, tmp_path: Path) -> None:
    rows = "\n".join(["smiles", *("C" * (1 + n % 40) + "NO"[n % 2] for n in range(40_000))])
    library = tmp_path / "library.csv.gz"
    whole = gzip.compress(rows.encode())
    library.write_bytes(whole[: len(whole) // 2])
    build = ("build-index", library, "--out", tmp_path / "mine", "--model", tiny_model, "--workers", 1)
    for _ in range(2):  # also where all is done already
        done = run(*build)
        assert done.exit_code == 0
        (said,) = done.stderr.splitlines()
        assert said.startswith("acml-search: row ")
        assert "damaged or cut off here, and nothing after this was read" in said
    (damage,) = json.loads(run(*build, "--json").stdout)["damaged"]
    assert damage in said


def test_add_tells_what_is_new(library: Path, tiny_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    build_index(library, out, model=tiny_model, workers=1)
    more = tmp_path / "more.smi"
    more.write_text("CCO\nCCCl\nnone\n")
    first = run("add", out, more, "--workers", 1)
    assert "3 molecules, 2 duplicates, 2 rejected" in first.stdout
    assert "of these added now: 1 molecules, 1 duplicates, 1 rejected" in first.stdout
    again = json.loads(run("add", out, more, "--workers", 1, "--json").stdout)
    assert again["already_complete"]
    assert set(again["added"].values()) == {0}
    assert add_library(out, more, workers=1).damaged() == []


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"workers": "2"}, "workers is '2'; give a whole number"),
        ({"shard_size": 1.5}, "shard_size is 1.5; give a whole number"),
        ({"smiles_column": 0}, "smiles_column is 0; give the column's name"),
        ({"libraries": 5}, "a library is the path of a file, or a list of them, and not 5"),
        ({"factory": "IVF0,Flat"}, "'IVF0,Flat' has no inverted lists"),
    ],
)
def test_arguments_of_a_wrong_kind_are_one_sentence(
    wrong: dict[str, Any], says: str, library: Path, tiny_model: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=says):
        build_index(**{"libraries": library, "out": tmp_path / "x", "model": tiny_model, **wrong})
    assert not (tmp_path / "x").exists()
