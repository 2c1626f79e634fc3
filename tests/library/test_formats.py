"""Each format: what it reads, and what it says of a bad file."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdkit import Chem

from acml_search.core.errors import LibraryError
from acml_search.library.source import Row, Source, endings, register, reserved_names, safe_names
from acml_search.library.standardise import prepare
from acml_search.library.stream import open_library
from acml_search.library.text import Delimited


def rows_of(path: Path, content: str | bytes, **options: object) -> list[Row]:
    """Writes `content` to `path` (gzipped if so named) and reads it as a library."""
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    library = open_library(path, **options)  # type: ignore[arg-type]
    return [row for batch in library.batches(3) for row in batch]


def refusal(path: Path, content: str | bytes | None, **options: object) -> str:
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(LibraryError) as caught:
        open_library(path, **options)  # type: ignore[arg-type]
    assert str(caught.value).startswith(str(path))
    return caught.value.reason


def texts(rows: list[Row]) -> list[str]:
    assert [row.row for row in rows] == list(range(len(rows)))
    assert [row.error for row in rows] == [None] * len(rows)
    return [row.text for row in rows]


@pytest.mark.parametrize("gz", ["", ".gz"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("last", [True, False])
def test_smi_line_ends_and_marks(tmp_path: Path, gz: str, end: str, bom: str, last: bool):
    text = bom + end.join(["CCO ethanol", "", "CCN\tethyl amine", "  ", "C"]) + (end if last else "")
    rows = rows_of(tmp_path / f"a.smi{gz}", text)
    assert texts(rows) == ["CCO", "CCN", "C"]
    assert [row.metadata for row in rows] == [{"name": "ethanol"}, {"name": "ethyl amine"}, {"name": None}]


def test_smi_header_names_the_second_column(tmp_path: Path):
    rows = rows_of(tmp_path / "a.smi", "smiles zinc_id\nCCO ZINC1\n")
    assert rows == [Row(0, "CCO", "smiles", {"zinc_id": "ZINC1"}, None)]
    assert texts(rows_of(tmp_path / "b.smi", "#SMILES\nCCO\n")) == ["CCO"]


def test_smi_keeps_a_cxsmiles_extension_with_its_smiles(tmp_path: Path):
    (row,) = rows_of(tmp_path / "a.smi", "C[C@H](N)O |o1:1| the name\n")
    assert (row.text, row.metadata) == ("C[C@H](N)O |o1:1|", {"name": "the name"})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "id,SMILES,note\n1,CCO,\n2,CCN,x y\n"),
        ("a.csv", '\ufeffid,"smiles",note\r\n1,"CCO",\r\n\r\n2,CCN,"x y"\r\n'),
        ("a.csv", "id;smiles;note\n1;CCO;\n2;CCN;x y"),
        ("a.tsv", "id\tsmiles\tnote\n1\tCCO\t\n2\tCCN\tx y\n"),
        ("a.txt", "id\tsmiles\tnote\n1\tCCO\t\n2\tCCN\tx y\n"),
        ("a.csv.gz", "id,canonical_smiles,note\n1,CCO,\n2,CCN,x y\n"),
    ],
)
def test_tables_of_text(tmp_path: Path, name: str, text: str):
    rows = rows_of(tmp_path / name, text)
    assert texts(rows) == ["CCO", "CCN"]
    assert [row.metadata for row in rows] == [{"id": "1", "note": None}, {"id": "2", "note": "x y"}]


def test_csv_quotes(tmp_path: Path):
    text = 'smiles,note\nCCO,"a, b"\nCCN,"two\nlines ""quoted"""\nC,5" pipe\nCC,"x""y"\n'
    rows = rows_of(tmp_path / "a.csv", text)
    assert texts(rows) == ["CCO", "CCN", "C", "CC"]
    assert [row.metadata["note"] for row in rows] == ["a, b", 'two\nlines "quoted"', '5" pipe', 'x"y']


def test_a_quote_never_closed_spoils_one_row(tmp_path: Path):
    lines = ["smiles,note", 'CCO,"never closed', *[f"C{'C' * n},{n}" for n in range(500)]]
    rows = rows_of(tmp_path / "a.csv", "\n".join(lines))
    assert len(rows) == 501
    assert rows[0].error == "a quote is opened and never closed"
    assert [row.error for row in rows[1:]] == [None] * 500


def test_csv_rows_with_too_few_or_too_many_fields(tmp_path: Path):
    rows = rows_of(tmp_path / "a.csv", "smiles,x\nCCO\nCCN,1\nCC,1,2\n")
    assert [row.error for row in rows] == [
        "the row has 1 fields where 2 are expected",
        None,
        "the row has 3 fields where 2 are expected",
    ]
    assert [row.text for row in rows] == ["CCO", "CCN", "CC,1,2"]


def test_csv_without_header(tmp_path: Path):
    rows = rows_of(tmp_path / "a.csv", '"CC(=O)Oc1ccccc1","x-1"\n"CCO","x-2"\n')
    assert texts(rows) == ["CC(=O)Oc1ccccc1", "CCO"]
    assert [row.metadata for row in rows] == [{"name": "x-1"}, {"name": "x-2"}]
    rows = rows_of(tmp_path / "b.csv", "x-1,CCO,7\nx-2,C,8\n", smiles_column="2")
    assert texts(rows) == ["CCO", "C"]
    assert rows[0].metadata == {"column_1": "x-1", "column_3": "7"}
    assert "its columns are 'x-1', 'CCO'" in refusal(tmp_path / "c.csv", "x-1,CCO\n", smiles_column="3")


def test_a_number_is_one_also_where_the_first_row_holds_it(tmp_path: Path):
    rows = rows_of(tmp_path / "a.csv", "CCO,1\nCCN,2\n", smiles_column="1")
    assert [(row.text, row.metadata) for row in rows] == [("CCO", {"name": "1"}), ("CCN", {"name": "2"})]
    (row,) = rows_of(tmp_path / "b.csv", "smiles,1\nCCO,C\n", smiles_column="1")
    assert row.text == "C"  # a column of that name


@pytest.mark.parametrize("names", ["SMILES,smiles", "smiles,SMILES"])
def test_the_column_named_exactly_so_comes_first(tmp_path: Path, names: str):
    at = names.split(",").index("smiles")
    (row,) = rows_of(tmp_path / "a.csv", f"{names}\n{'CCO,CCC' if at else 'CCC,CCO'}\n")
    assert row.text == "CCC"


def test_smiles_column_by_name(tmp_path: Path):
    text = "smiles,Product\nC,CCO\n"
    (row,) = rows_of(tmp_path / "a.csv", text, smiles_column="Product")
    assert (row.text, row.metadata) == ("CCO", {"input_smiles": "C"})
    assert "no column named 'Nope'; its columns are 'smiles', 'Product'" in refusal(
        tmp_path / "b.csv", text, smiles_column="Nope"
    )
    assert "no column named 'smiles'; its columns are 'id', 'name'" in refusal(
        tmp_path / "c.csv", "id,name\n1,x\n"
    )


def test_names_that_are_ours_or_taken_are_changed(tmp_path: Path):
    (row,) = rows_of(tmp_path / "a.csv", "smiles,Key,Score,x,X,,x\nC,1,2,3,4,5,6\n")
    assert list(row.metadata) == ["input_Key", "input_Score", "x", "X_2", "column_5", "x_3"]


@given(
    st.lists(
        st.one_of(st.text(max_size=5), st.sampled_from([*sorted(reserved_names()), "x", "X", "x_2", "KEY"]))
    )
)
def test_names_are_always_unique_and_never_ours(names: list[str]):
    folded = [name.casefold() for name in safe_names(names)]
    assert len(set(folded)) == len(names)
    assert not set(folded) & reserved_names()
    assert all(folded)


def sdf_record(smiles: str, title: str = "", **items: str) -> str:
    block = Chem.MolToMolBlock(Chem.MolFromSmiles(smiles))
    data = "".join(f">  <{name}>\n{value}\n\n" for name, value in items.items())
    return title + block + data + "$$$$\n"


@pytest.mark.parametrize("gz", ["", ".gz"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_sdf(tmp_path: Path, gz: str, end: str):
    text = sdf_record("CCO", "ethanol", ID="1", NOTE="two\nlines") + sdf_record("C", SMILES="C", late="x")
    rows = rows_of(tmp_path / f"a.sdf{gz}", text.replace("\n", end))
    assert [row.kind for row in rows] == ["molblock"] * 2
    assert [Chem.MolToSmiles(Chem.MolFromMolBlock(text)) for text in texts(rows)] == ["CCO", "C"]
    assert rows[0].metadata == {"name": "ethanol", "ID": "1", "NOTE": "two\nlines"}
    assert rows[1].metadata == {"name": None, "input_SMILES": "C", "late": "x"}
    library = open_library(tmp_path / f"a.sdf{gz}")
    assert library.metadata_columns == ["name", "ID", "NOTE", "input_SMILES", "late"]


def test_sdf_records_that_are_bad(tmp_path: Path):
    good = sdf_record("CCO")
    rows = rows_of(tmp_path / "a.sdf", good + "$$$$\n" + "no block\n$$$$\n" + good + good[:40])
    assert [None if row.error is None else row.error.split(",")[0] for row in rows] == [
        None,
        "the record is empty",
        "the record has no 'M  END'",
        None,
        "the record has no 'M  END'",
    ]


@pytest.mark.parametrize("gz", ["", ".gz"])
def test_parquet_keeps_types(tmp_path: Path, gz: str):
    table = pa.table(
        {
            "n": pa.array([1, 2, None], pa.int32()),
            "smiles": pa.array(["CCO", None, "C"]).dictionary_encode(),
            "tag": pa.array(["a", "b", "a"]).dictionary_encode(),
            "list": pa.array([[1.5], [], None], pa.list_(pa.float32())),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    rows = rows_of(tmp_path / f"b.parquet{gz}", (tmp_path / "a.parquet").read_bytes())
    assert [row.text for row in rows] == ["CCO", "", "C"]
    assert [row.error for row in rows] == [None, "the SMILES is missing (null)", None]
    assert rows[0].metadata == {"n": 1, "tag": "a", "list": [1.5]}
    library = open_library(tmp_path / f"b.parquet{gz}")
    assert library.total == 3
    assert library.metadata_types == {"n": pa.int32(), "tag": pa.string(), "list": pa.list_(pa.float32())}
    assert list(library.batches(2)) == list(library.batches(2))


def test_parquet_of_other_columns(tmp_path: Path):
    pq.write_table(pa.table({"a": [1], "b": ["C"]}), tmp_path / "a.parquet")
    assert "its columns are 'a', 'b'" in refusal(tmp_path / "a.parquet", None)
    assert "holds int64, and a SMILES is text" in refusal(tmp_path / "a.parquet", None, smiles_column="a")
    pq.write_table(pa.table({"smiles": pa.array([], pa.string())}), tmp_path / "b.parquet")
    assert "has no rows" in refusal(tmp_path / "b.parquet", None)


JUNK = bytes(range(256)) * 8


@pytest.mark.parametrize("ending", endings())
def test_every_format_refuses_empty_and_binary_files(tmp_path: Path, ending: str):
    assert "empty" in refusal(tmp_path / f"a{ending}", b"")
    assert "empty" in refusal(tmp_path / f"a{ending}.gz", b"")
    assert "empty" in refusal(tmp_path / f"a2{ending}.gz", gzip.compress(b"")) or ending in (
        ".parquet",
        ".pq",
    )
    assert "this is" in refusal(tmp_path / f"b{ending}", JUNK)
    assert "this is" in refusal(tmp_path / f"b{ending}.gz", gzip.compress(JUNK))
    (tmp_path / f"c{ending}.gz").write_bytes(b"this is not gzip")
    assert "gzip" in refusal(tmp_path / f"c{ending}.gz", None)
    assert "no such file" in refusal(tmp_path / f"d{ending}", None)
    (tmp_path / f"e{ending}").mkdir()
    assert "directory" in refusal(tmp_path / f"e{ending}", None)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.smi", "\n \n\r\n", "nothing but blank lines"),
        ("a.smi", "smiles name\n", "a header and no rows"),
        ("a.csv", "smiles,name\n\n", "a header and no rows"),
        ("a.csv", b"PK\x03\x04 and so on", "a spreadsheet or another archive"),
        ("a.xlsx", b"PK\x03\x04 and so on", "save the sheet as CSV"),
        ("a.XLS", b"\xd0\xcf\x11\xe0 and so on", "save the sheet as CSV"),
        ("a.csv", "sep=;\n", "no rows"),
        ("a.csv", "Name,SMILES A,SMILES B\nx,C,CC\n", "its columns are 'Name', 'SMILES A', 'SMILES B'"),
        ("a.csv", "id,note\n1,structure\n2,C\n", "its columns are 'id', 'note'"),
        ("a.sdf", "CCO\nCCN\n", "not an SD file"),
        ("a.xyz", "CCO", "of no known format; known are .csv"),
        ("a", "CCO", "of no known format"),
        ("a.gz", "CCO", "of no known format"),
    ],
)
def test_refused_files(tmp_path: Path, name: str, content: str | bytes, words: str):
    assert words in refusal(tmp_path / name, content)


@pytest.mark.parametrize("ending", [".smi", ".csv"])
def test_a_stray_zero_byte_spoils_its_row_only(tmp_path: Path, ending: str):
    separator = " " if ending == ".smi" else ","
    lines = ["smiles,name", *(f"{'C' * n}O,n{n}" for n in range(1, 30)), "C\x00C,bad", "CCN,good"]
    rows = rows_of(tmp_path / f"a{ending}", "\n".join(lines).replace(",", separator))
    prepared = prepare(rows)
    assert len(prepared.accepted) == 30
    assert [item.row for item in prepared.rejected] == [29]
    assert "'\\x00' at position 2" in prepared.rejected[0].reason


def test_an_ending_belongs_to_one_format():
    class Other(Source):
        pass

    with pytest.raises(ValueError, match="read by Delimited already"):
        register(".csv")(Other)
    register(".csv")(Delimited)  # the same again is no clash
