"""Libraries as people bring them: every file of `tests/cases/libraries`, one of a kind."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from acml_search.core.errors import LibraryError
from acml_search.library.standardise import Prepared, prepare
from acml_search.library.stream import open_library

CASES = Path(__file__).parents[1] / "cases" / "libraries"
PROPANOL, ANILINE, ACETONE = "CCCO", "Nc1ccccc1", "CC(C)=O"
READ = {
    "concatenated.sdf": {PROPANOL: "propanol", ANILINE: "aniline", ACETONE: "acetone"},
    "one-delimiter-missing.sdf": {
        PROPANOL: {"name": "propanol", "id": "1"},
        ANILINE: {"name": "aniline", "id": "2"},
        ACETONE: {"name": "acetone", "id": "3"},
    },
    "no-blank-lines.sdf": {
        PROPANOL: {"name": "propanol", "id": "1", "boils": "97"},
        ACETONE: {"name": "acetone", "id": "2", "boils": "56"},
    },
    "values.sdf": {
        PROPANOL: {
            "title": None,
            "Name": "propanol",
            "Ki < 5 > 1": "yes",
            "note": "first\n\nthird",
            "CAS": "71-23-8\n67-63-0",
        }
    },
    "v3000-crlf.sdf": {PROPANOL: {"name": "propanol", "id": "1"}, "C[N+](C)(C)C": {"name": None}},
    "counts-line-lost.sdf": {PROPANOL: "propanol", ANILINE: "aniline"},
    "one.mol": {"CC(=O)Nc1ccc(O)cc1": "paracetamol"},
    "UPPER.SDF": {PROPANOL: "propanol"},
    "no-ending": {PROPANOL: "propanol"},
    "sdf-called.txt": {PROPANOL: "propanol"},
    "excel-sep.csv": {
        PROPANOL: {"Name": "propanol", "logP": "0,25"},
        ANILINE: {"Name": "aniline; pure", "logP": "0,90"},
    },
    "excel-title.csv": {
        PROPANOL: {"No.": "1", "IC50 (µM)": "1,5"},
        ANILINE: {"No.": "2", "IC50 (µM)": None},
    },
    "excel-utf16.txt": {PROPANOL: {"Number": "№ 1"}, ANILINE: {"Number": "№ 2"}},
    "structure.tsv": {PROPANOL: {"ID": "A-1"}, ANILINE: {"ID": "A-2"}},
    "inchi.csv": {PROPANOL: {"id": "1"}, ANILINE: {"id": "2"}},
}
"""Metadata by the SMILES of the molecule; a text is the name."""
REFUSED = {
    "workbook.xlsx": "spreadsheets are not read; save the sheet as CSV",
    "workbook-called.csv": "this is a spreadsheet or another archive, not text; save the sheet as CSV",
    "two-smiles.csv": "its columns are 'id', 'SMILES acid', 'SMILES base'; name one with --smiles-column",
}


def prepared(name: str) -> Prepared:
    return prepare(row for batch in open_library(CASES / name).batches(100) for row in batch)


def test_every_file_is_of_a_kind():
    assert {path.name for path in CASES.iterdir()} == {*READ, *REFUSED}


@pytest.mark.parametrize("name", READ)
def test_what_is_read(name: str):
    expected = {s: {"name": about} if isinstance(about, str) else about for s, about in READ[name].items()}
    assert {one.molecule.smiles: dict(one.metadata) for one in prepared(name).accepted} == expected


@pytest.mark.parametrize("name", [name for name in READ if b"M  END" in (CASES / name).read_bytes()])
def test_no_mol_block_is_lost(name: str):
    found = prepared(name)
    n_blocks = len(re.findall(rb"^M  END", (CASES / name).read_bytes(), re.MULTILINE))
    assert len(found.accepted) + len(found.rejected) == n_blocks


@pytest.mark.parametrize(
    ("name", "reason"),
    [("counts-line-lost.sdf", "RDKit cannot read the mol block"), ("inchi.csv", "cannot read this InChI")],
)
def test_what_is_rejected_says_why(name: str, reason: str):
    (rejected,) = prepared(name).rejected
    assert reason in rejected.reason


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_says_what_to_do(name: str):
    with pytest.raises(LibraryError) as caught:
        open_library(CASES / name)
    assert REFUSED[name] in str(caught.value)
