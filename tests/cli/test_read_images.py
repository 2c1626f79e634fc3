"""`acml-search read-images`, and `query --image` of a page."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from picture_files import ASPIRIN, PARACETAMOL, page
from rdkit import Chem
from typer.testing import CliRunner

import acml_search
from acml_search.cli import app
from acml_search.modalities import get


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    page(ASPIRIN, PARACETAMOL).save(folder / "b.png")
    for name, smiles in (("a", PARACETAMOL), ("d", "c1ccccc1CCO")):
        (folder / f"{name}.png").write_bytes(get("image").derive(smiles))
    (folder / "c.png").write_text("no picture")
    (folder / "notes.txt").write_text("no picture either")
    return folder


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(one) for one in arguments])


@pytest.mark.parametrize("ending", ["csv", "jsonl", "sdf"])
def test_each_structure_is_a_row_and_a_run_goes_on(folder: Path, tmp_path: Path, ending: str) -> None:
    out = tmp_path / f"readings.{ending}"
    done = run("read-images", folder, "--out", out, "--workers", 1)
    assert done.exit_code == 0, done.output
    assert "4 files, 4 structures; 1 parts or files show none" in done.stderr
    whole = out.read_text(encoding="utf-8")
    if ending == "csv":
        rows = list(csv.DictReader(whole.splitlines()))
    elif ending == "jsonl":
        rows = [json.loads(line) for line in whole.splitlines()]
        assert Chem.MolFromMolBlock(rows[0]["mol_block"]).GetNumAtoms() == 11
    else:
        rows = [
            {"part": 1, "smiles": "", "error": "", **mol.GetPropsAsDict()}
            for mol in Chem.SDMolSupplier(str(out))
        ]
    assert [(Path(row["file"]).name, int(row["part"]), row["smiles"]) for row in rows] == [
        ("a.png", 1, PARACETAMOL), ("b.png", 1, ASPIRIN), ("b.png", 2, PARACETAMOL), ("c.png", 1, ""),
        ("d.png", 1, "OCCc1ccccc1"),
    ]  # fmt: skip
    assert all(0 < float(row["probability"]) <= 1 for row in rows if row["smiles"])
    assert [bool(row["error"]) for row in rows] == [False, False, False, True, False]
    for cut in (whole.index("b.png"), whole.rindex("b.png"), len(whole) - 3, len(whole)):
        out.write_text(whole[:cut], encoding="utf-8")
        assert run("read-images", folder, "--out", out, "--workers", 1).exit_code == 0
        assert out.read_text(encoding="utf-8") == whole


def test_wrong_usage_is_said(folder: Path, tmp_path: Path) -> None:
    assert run("read-images", folder, "--out", tmp_path / "readings.xlsx").exit_code == 2
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    for arguments in ((folder, "--out", tmp_path / "other.csv"), (tmp_path, "--out", tmp_path / "new.csv")):
        done = run("read-images", *arguments)
        assert done.exit_code == 1
        assert len(done.stderr.splitlines()) == 1
    assert (tmp_path / "other.csv").read_text() == "a,b\n1,2\n"


def test_each_structure_of_a_page_is_answered(folder: Path, tmp_path: Path) -> None:
    library = tmp_path / "library.csv"
    library.write_text(f"smiles\n{ASPIRIN}\n{PARACETAMOL}\nCCO\n")
    acml_search.build_index([library], out=tmp_path / "index", workers=1)
    ask = ("query", tmp_path / "index", "--image", folder / "b.png", "-k", 1)
    answers = json.loads(run(*ask, "--json").stdout)
    found = [one["lists"][0]["hits"][0]["smiles"] for one in answers]
    assert found == [ASPIRIN, PARACETAMOL]
    table = run(*ask).stdout
    assert table.index("b.png#1") < table.index(ASPIRIN) < table.index("b.png#2") < table.index(PARACETAMOL)
    assert run(*ask, "--format", "csv").stdout.splitlines()[0].startswith("part,modality")
    assert run(*ask, "--format", "sdf").stdout.count("$$$$") == 2
    html = run(*ask, "--format", "html")
    assert (html.exit_code, "FILE#1" in html.stderr) == (1, True)
    nothing = run("query", tmp_path / "index", "--image", folder / "c.png")
    assert (nothing.exit_code, len(nothing.stderr.splitlines())) == (1, 1)
