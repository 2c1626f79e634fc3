"""`acml-search parse`: what it shows, and that one bad line never stops the rest."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from acml_search.cli import app
from acml_search.nmr.parser import MAX_CHARACTERS

CARBON = "13C NMR (151 MHz, CDCl3) δ 176.0, 85.8 (CH), 128.5 (d, J = 245.1 Hz), 126.4 (2C), 77.16, 1300"


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["parse", *arguments])


def lines_of(path: Path, modality: str = "c_nmr", *more: str) -> list[dict[str, Any]]:
    done = run("--modality", modality, "--lines", str(path), *more)
    assert done.exit_code == 0
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_table() -> None:
    done = run("--c-nmr", CARBON)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "c_nmr: 4 peaks, CDCl3, 151 MHz",
        "ppm    range  nuclei  multiplicity  J / Hz",
        "176",
        "85.8                  CH",
        "128.5                 d             245.1",
        "126.4              2",
        "left out:",
        "  1300: 13C has no shift at 1300 ppm",
        "  77.16: it is the solvent CDCl3 (77.16 ppm)",
        "c_nmr: how many hydrogens each carbon carries, as it is stated, is compared as well",
    ]


def test_lines_have_exactly_their_keys(tmp_path: Path) -> None:
    path = tmp_path / "printed.txt"
    path.write_text(f"{CARBON}\nnothing here\n\n155.4, 151.7\n", encoding="utf-8")
    documents = lines_of(path)
    assert [list(document) for document in documents] == [
        ["line", "peaks", "solvent", "field_mhz", "left_out", "error"]
    ] * 4
    assert [document["line"] for document in documents] == [1, 2, 3, 4]
    assert documents[0]["peaks"][2] == {
        "position": 128.5,
        "low": None,
        "high": None,
        "count": None,
        "multiplicity": "d",
        "couplings": [245.1],
    }
    assert documents[0]["error"] is None
    assert "no peak list" in documents[1]["error"]
    assert "the text is empty" in documents[2]["error"]
    assert [peak["position"] for peak in documents[3]["peaks"]] == [155.4, 151.7]


def test_a_bad_line_never_stops_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "printed.txt"
    endless = b"1.1 " * MAX_CHARACTERS * 2
    path.write_bytes(b"\xef\xbb\xbf155.4, 151.7\r\n\xff\xfe\n" + endless + b"\n1.2, \x00\n148.6, 12.1")
    documents = lines_of(path)
    assert [document["line"] for document in documents] == [1, 2, 3, 4, 5]
    assert [len(document["peaks"]) for document in documents] == [2, 0, 0, 1, 2]
    assert "byte 1 of the line is not UTF-8" in documents[1]["error"]
    assert f"more than {MAX_CHARACTERS:,}" in documents[2]["error"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--c-nmr", "1H NMR δ 7.26 (s, 1H), 3.2 (s, 3H)"], "a 1H list and no 13C list"),
        (["--h-nmr", ""], "the text is empty"),
        (["--modality", "c_nmr", "--lines", "missing.txt"], "missing.txt: No such file"),
        (["--modality", "c_nmr", "--lines", "."], "Is a directory"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(arguments: list[str], sentence: str) -> None:
    done = run(*arguments)
    assert (done.exit_code, done.stdout) == (1, "")
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--lines", "x.txt"],
        ["--modality", "lc_ms", "--lines", "x.txt"],
        ["--modality", "c_nmr"],
        ["--c-nmr", "155.4", "--modality", "c_nmr", "--lines", "x.txt"],
    ],
)
def test_wrong_usage_is_2(arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2
