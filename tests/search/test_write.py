"""The formats: JSON as cli.md has it, CSV and SDF that others can read back, a table that fits."""

import csv
import io
import json
import re
import unicodedata
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

import numpy as np
import pyarrow as pa
import pytest
from rdkit import Chem

from acml_search.core.errors import InvalidMolecule
from acml_search.search.render.files import WRITERS, line
from acml_search.search.render.text import table
from acml_search.search.results import Answer, extra_columns, plain

ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"
STEREO = "C[C@H](N)C(=O)O"


def written(answer: Answer, name: str) -> str:
    out = io.StringIO()
    WRITERS[name](answer, out)
    return out.getvalue()


def test_json_document(answer: Answer) -> None:
    document = json.loads(written(answer, "json"))
    assert list(document) == ["query", "index", "p_in_library", "lists", "seconds", "notes"]
    first, second = document["lists"]
    assert (first["modality"], first["side"], second["side"], second["hits"]) == (
        "smiles",
        "records",
        "graph",
        [],
    )
    assert first["hits"][0] == {
        "rank": 1,
        "key": 12,
        "smiles": ASPIRIN,
        "inchikey": "BSYNRYMUTXBXSQ-UHFFFAOYSA-N",
        "formula": "C9H8O4",
        "exact_mass": 180.0422587,
        "score": 0.75,
        "probability": 0.9,
        "why": {"logits": {"smiles": 7.5}},
        "source_row": 12,
        "name": "aspirin\x1b[31m\nline",
        "input_score": 1.5,
        "price": 9.9,
        "seen": "2024-02-01",
        "tags": ["a", "b"],
    }
    assert first["hits"][1]["input_score"] is None  # NaN has no place in JSON


def test_csv_reads_back(answer: Answer) -> None:
    rows = list(csv.DictReader(io.StringIO(written(answer, "csv"))))
    assert [row["key"] for row in rows] == ["12", "3"]
    assert rows[0]["name"] == "aspirin\x1b[31m\nline"
    assert (rows[0]["score"], rows[0]["input_score"], rows[0]["seen"]) == ("0.75", "1.5", "2024-02-01")
    assert (rows[1]["name"], rows[1]["input_score"], rows[1]["tags"]) == ("", "", "")
    assert json.loads(rows[0]["tags"]) == ["a", "b"]


def test_sdf_reads_back_with_its_stereo_and_data(answer: Answer) -> None:
    supplier = Chem.SDMolSupplier()
    supplier.SetData(written(answer, "sdf"))
    mols = list(supplier)
    assert [Chem.MolToSmiles(mol) for mol in mols] == [ASPIRIN, STEREO]
    assert mols[0].GetProp("_Name") == "BSYNRYMUTXBXSQ-UHFFFAOYSA-N"
    assert mols[0].GetProp("rank") == "1"
    assert mols[0].GetProp("modality") == "smiles"
    assert mols[0].GetConformer().Is3D() is False


@pytest.mark.parametrize("text", ["a\n\nb", "a\r\n$$$$\nb", "$$$$", "> <x>\n\n"])
def test_no_text_of_a_library_can_end_an_sdf_record(answer: Answer, text: str) -> None:
    rows = answer.lists[0].molecules
    at = rows.column_names.index("name")
    rows = rows.set_column(at, "na<me>", [[text, "second"]])
    object.__setattr__(answer.lists[0], "molecules", rows)
    out = io.StringIO()
    WRITERS["sdf"](answer, out)
    supplier = Chem.SDMolSupplier()
    supplier.SetData(out.getvalue())
    assert [mol.GetProp("key") for mol in supplier] == ["12", "3"]
    assert [mol.GetProp("tags") for mol in supplier] == ['["a", "b"]', ""]


def test_a_line_of_a_batch(answer: Answer) -> None:
    good, bad = line(answer), line(InvalidMolecule("it is empty", smiles="x" * 9000, row=7))
    assert [hits["side"] for hits in json.loads(good)["lists"]] == ["records", "graph"]
    document = json.loads(bad)
    assert document["query"]["row"] == 7
    assert len(document["query"]["smiles"]) <= 500
    assert document["error"].startswith("row 7: it is empty")


def shown_width(line: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)


@pytest.mark.parametrize("width", [40, 50, 60, 72, 80, 100, 140, 200])
def test_the_table_fits_and_keeps_rank_key_and_structure(answer: Answer, width: int) -> None:
    text = table(answer, width=width)
    assert max(map(shown_width, text.splitlines())) <= width
    assert re.search(r"1 +0\.7500.* 12 .*CC\(=O\)Oc1", text)
    assert "no hits" in text


def test_a_wide_table_shows_all_and_a_narrow_one_says_what_it_left_out(answer: Answer) -> None:
    wide = table(answer, width=200)
    assert re.search(r"SMILES +name +input_score +price +seen +tags", wide)
    assert "not shown" not in wide
    narrow = table(answer, width=60)
    assert "not shown for width: name" in narrow
    assert "CC(=O)Oc1ccccc1C(=O)O" in narrow


def test_nothing_of_a_library_reaches_the_terminal_as_a_control_character(answer: Answer) -> None:
    text = table(answer, width=200)
    assert "\x1b" not in text
    assert "aspirin�[31m�line" in text


def test_a_column_without_a_value_takes_no_room(answer: Answer) -> None:
    hits = answer.lists[0]
    silent = hits.molecules.append_column("silence", pa.nulls(len(hits), pa.string()))
    shown = table(replace(answer, lists=[replace(hits, molecules=silent)]), width=200, colour=False)
    assert "silence" not in shown
    assert "silence" in replace(hits, molecules=silent).to_dict()["hits"][0]


def test_colour_only_adds_codes(answer: Answer) -> None:
    coloured = table(answer, width=120, colour=True)
    assert "\x1b[1m" in coloured
    assert re.sub(r"\x1b\[\d+m", "", coloured) == table(answer, width=120)


def test_str_of_an_answer_is_its_table(answer: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "90")
    assert str(answer) == table(answer, width=90)
    assert "smiles/records: 2 hits" in repr(answer)


def test_arrow_and_pandas_have_a_row_per_hit(answer: Answer) -> None:
    table = answer.to_arrow()
    assert table.num_rows == 2
    assert table.column_names[:9] == [
        "modality", "side", "rank", "key", "smiles", "inchikey", "formula", "exact_mass", "score",
    ]  # fmt: skip
    assert table.column("input_score")[0].as_py() == 1.5
    pytest.importorskip("pandas")
    assert answer.to_pandas()["rank"].tolist() == [1, 2]


def test_names_that_clash_are_told_apart() -> None:
    assert extra_columns(["key", "smiles", "score", "input_score", "x"]) == {
        "score": "input_input_score",
        "input_score": "input_score",
        "x": "x",
    }


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("inf"), None),
        (Decimal("NaN"), None),
        (np.float32(0.5), 0.5),
        (np.array([1, 2]), [1, 2]),
        (b"\x00\xff", "AP8="),
        (datetime(2024, 2, 1, 3, 4), "2024-02-01T03:04:00"),
        (timedelta(minutes=1), 60.0),
        ({"a": (1, None)}, {"a": [1, None]}),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    ],
)
def test_values_of_a_library_in_json(value: object, expected: object) -> None:
    assert plain(value) == expected
