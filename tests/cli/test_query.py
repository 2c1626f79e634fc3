"""`acml-search query`: what it prints where, and how it ends."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rdkit import Chem
from typer.testing import CliRunner

import acml_search
from acml_search.cli import app
from acml_search.search.request import MAX_K

LIBRARY = [*("C" * n + "O" for n in range(1, 20)), "CC(=O)Oc1ccccc1C(=O)O", "Cc1ccccc1"]


@pytest.fixture(scope="module")
def index(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("cli")
    library = folder / "library.csv"
    lines = ["smiles,vendor", *(f"{smiles},v{i % 3}" for i, smiles in enumerate(LIBRARY))]
    library.write_text("\n".join(lines), encoding="utf-8")
    acml_search.build_index([library], out=folder / "index", model=str(tiny_model), workers=1)
    return str(folder / "index")


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["query", *arguments])


def test_json_is_one_document_on_stdout(index: str) -> None:
    result = run(index, "--smiles", "OCC", "-k", "3", "--json")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert result.stderr.splitlines() == [f"acml-search: {note}" for note in document["notes"]]
    assert document["index"] == index
    assert document["query"]["smiles"] == "OCC"
    assert [(hits["modality"], hits["side"]) for hits in document["lists"]] == [
        ("smiles", "records"),
        ("smiles", "graph"),
    ]
    hit = document["lists"][1]["hits"][0]
    assert list(hit)[:9] == [
        "rank", "key", "smiles", "inchikey", "formula", "exact_mass", "score", "probability", "why",
    ]  # fmt: skip
    assert (hit["rank"], hit["smiles"], hit["vendor"]) == (1, "CCO", "v1")
    assert document["seconds"]["total"] > 0
    assert run(index, "--smiles", "OCC", "-k", "3", "--format", "json").stdout.count(
        "\n"
    ) == result.stdout.count("\n")


def test_fewer_hits_are_said_on_stderr(index: str) -> None:
    result = run(index, "--smiles", "OCC", "-k", "5", "--formula", "C3H8O", "--json")
    assert result.exit_code == 0
    assert "1 of the 5 hits asked for; molecules that pass the filter: 1" in result.stderr
    assert len(json.loads(result.stdout)["lists"][0]["hits"]) == 1


def test_out_takes_its_format_from_the_ending(index: str, tmp_path: Path) -> None:
    for name, opens in (
        ("hits.json", "{"),
        ("hits.csv", "modality,side"),
        ("hits.sdf", ""),
        ("hits.txt", "query"),
    ):
        result = run(index, "--smiles", "OCC", "-k", "2", "--out", str(tmp_path / name))
        assert (result.exit_code, result.stdout) == (0, "")
        assert (tmp_path / name).read_text(encoding="utf-8").startswith(opens)
    assert len(list(Chem.SDMolSupplier(str(tmp_path / "hits.sdf")))) == 4
    assert len(list(tmp_path.iterdir())) == 4  # no part files left behind


def test_a_failed_query_leaves_an_older_output_alone(index: str, tmp_path: Path) -> None:
    out = tmp_path / "hits.json"
    out.write_text("older")
    assert run(index, "--smiles", "C1CC", "--out", str(out)).exit_code == 1
    assert [path.read_text() for path in tmp_path.iterdir()] == ["older"]


def test_a_pipe_is_written_to_and_not_replaced(index: str, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert run(index, "--smiles", "CCO", "-k", "1", "--json", "--out", str(pipe)).exit_code == 0
        assert json.loads(os.read(reader, 1 << 16))["query"]["smiles"] == "CCO"
    finally:
        os.close(reader)
    assert pipe.is_fifo()


def test_a_link_is_followed_and_not_replaced(index: str, tmp_path: Path) -> None:
    link, target = tmp_path / "link.json", tmp_path / "target.json"
    link.symlink_to(target)
    assert run(index, "--smiles", "CCO", "-k", "1", "--out", str(link)).exit_code == 0
    assert link.is_symlink()
    assert json.loads(target.read_text())["query"]["smiles"] == "CCO"


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="a device of Linux")
def test_a_full_disk_behind_stdout_is_a_sentence(index: str) -> None:
    command = [sys.executable, "-c", "from acml_search.cli import main; main()", "query", index]
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*command, "--smiles", "CCO", "-k", "20"],
            env=buffered,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.endswith("acml-search: reading or writing failed: No space left on device\n")


def test_a_batch_may_call_its_column_otherwise(index: str, tmp_path: Path) -> None:
    queries = tmp_path / "queries.csv"
    queries.write_text("id,drawn\n1,CCO\n", encoding="utf-8")
    refused = run(index, "--batch", str(queries))
    assert refused.exit_code == 1
    assert "--smiles-column" in refused.stderr
    result = run(index, "--batch", str(queries), "--smiles-column", "drawn", "-k", "1")
    assert json.loads(result.stdout)["lists"][-1]["hits"][0]["smiles"] == "CCO"


def test_a_batch_without_a_good_query_fails(index: str, tmp_path: Path) -> None:
    queries = tmp_path / "queries.smi"
    queries.write_text("C1CC b\n")
    result = run(index, "--batch", str(queries))
    assert result.exit_code == 1
    assert "error" in json.loads(result.stdout)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--smiles", "C1CC"], "C1CC"),
        (["--smiles", "CCO", "--formula", "U"], "none of the 21 molecules"),
        (["--smiles", "CCO", "--modality", "image"], "no space 'image'"),
        (["--smiles", "CCO", "--where", "false) OR (true"], "SQL"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_exit_1(index: str, arguments: list[str], says: str) -> None:
    result = run(index, *arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert says in result.stderr
    assert result.stderr.startswith("acml-search: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "give --smiles, --batch, or observations"),
        (["--smiles", "C", "--batch", "x.smi"], "give --smiles, --batch, or observations"),
        (["--smiles", "C", "--format", "xml"], "not one of table, json, csv, sdf"),
        (["--smiles", "C", "--format", "csv", "--json"], "contradict"),
        (["--batch", "x.smi", "--format", "csv"], "a run as csv goes to a file"),
        (["--batch", "x.smi", "--out", "hits.xlsx"], ".xlsx is not written"),
        (["--smiles", "C", "--workers", "2"], "workers go with --batch"),
        (["--smiles", "C", "--smiles-column", "structure"], "goes with --batch"),
        (["--smiles", "C", "--tol-ppm", "5"], "needs --mass"),
        (["--smiles", "C", "--mass", "5", "--tol-ppm", "5", "--tol-da", "1"], "one tolerance"),
        (["--smiles", "C", "-k", "0"], "-k"),
        (["--smiles", "C", "-k", str(MAX_K + 1)], f"less than or equal to {MAX_K}"),
        (["--smiles", "C", "--mass", "much"], "--mass"),
        (["--smiles", "C", "--out", "no/such/folder/x.csv"], "a folder that exists"),
        (["--smiles", "C", "--nonsense"], "--nonsense"),
    ],
)
def test_wrong_usage_is_exit_2(arguments: list[str], says: str) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert says in " ".join(result.stderr.split())


def test_a_reader_that_stops_early_sees_no_traceback(index: str) -> None:
    command = (
        f"{sys.executable} -c 'from acml_search.cli import main; main()' query {index} --smiles OCC --json"
    )
    done = subprocess.run(f"{command} | head -c 1", shell=True, capture_output=True, text=True, check=False)
    assert done.stdout == "{"
    assert "Traceback" not in done.stderr


def test_no_rerank_is_accepted_and_rerank_has_nothing_to_do(index: str) -> None:
    assert run(index, "--smiles", "OCC", "--no-rerank").exit_code == 0
    refused = run(index, "--smiles", "OCC", "--rerank")
    assert refused.exit_code == 2
    assert "nothing to re-rank" in refused.stderr
    for asked in (["--smiles", "OCC"], ["--c-nmr", "20.1, 30.2", "--no-rerank"]):
        refused = run(index, *asked, "--rerank-depth", "500")
        assert refused.exit_code == 2
        assert "a depth goes with observations that are re-ranked" in refused.stderr.replace("\n", " ")


def test_numbers_of_atoms_are_filters(index: str) -> None:
    found = json.loads(run(index, "--smiles", "OCC", "--hydrogens", "6-8", "--carbons", "2", "--json").stdout)
    assert found["query"]["filter"] == {"hydrogens": [6, 8], "carbons": [2, 2]}
    assert all(hit["formula"].startswith("C2H") for hit in found["lists"][0]["hits"])
    refused = run(index, "--smiles", "OCC", "--carbons", "two")
    assert refused.exit_code == 1
    assert "the number of carbons is 'two'; give a number or a range, as in 18 or 18-24" in refused.stderr
