"""A library of one or several files, from bad input to rows, molecules and rejects."""

from __future__ import annotations

import csv
import gzip
import random
import string
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acml_search.core.errors import ConfigError, LibraryError
from acml_search.library.source import Row
from acml_search.library.standardise import MAX_INPUT, prepare
from acml_search.library.stream import Library, default_library, open_library
from acml_search.library.text import MAX_LINE


def all_rows(library: Library) -> list[Row]:
    return [row for batch in library.batches(7) for row in batch]


def library_of(path: Path, text: str | bytes) -> Library:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return open_library(path)


def test_rows_are_numbered_over_all_files(tmp_path: Path):
    (tmp_path / "a.smi").write_text("C one\nCC two\n")
    (tmp_path / "b.csv").write_text("Name,smiles,n\nthree,CCC,3\n")
    pq.write_table(pa.table({"smiles": ["CCCC"], "n": [4]}), tmp_path / "c.parquet")
    library = open_library([tmp_path / "a.smi", tmp_path / "b.csv", tmp_path / "c.parquet"])
    rows = all_rows(library)
    assert [(row.row, row.text) for row in rows] == [(0, "C"), (1, "CC"), (2, "CCC"), (3, "CCCC")]
    # one spelling for all files, and text where an int64 and a text column meet
    assert rows[2].metadata == {"name": "three", "n": "3"}
    assert library.metadata_types == {"name": pa.string(), "n": pa.string()}
    assert library.total is None


def test_batches_and_limit(tmp_path: Path):
    (tmp_path / "a.smi").write_text("C\n" * 10)
    (tmp_path / "b.smi").write_text("CC\n" * 10)
    both = [tmp_path / "a.smi", tmp_path / "b.smi"]
    assert [len(batch) for batch in open_library(both).batches(8)] == [8, 8, 4]
    assert [row.text for row in all_rows(open_library(both, limit=11))] == ["C"] * 10 + ["CC"]
    assert all_rows(open_library(both, limit=0)) == []
    with pytest.raises(ConfigError, match="-1 rows"):
        open_library(both, limit=-1)
    with pytest.raises(ConfigError, match="at least one row"):
        list(open_library(both).batches(0))
    with pytest.raises(ConfigError, match="at least one file"):
        open_library([])


def test_total_of_parquet(tmp_path: Path):
    pq.write_table(pa.table({"smiles": ["C"] * 9}), tmp_path / "a.parquet")
    assert open_library(tmp_path / "a.parquet").total == 9
    assert open_library(tmp_path / "a.parquet", limit=4).total == 4


def test_the_digest_is_of_contents_and_options(tmp_path: Path):
    (tmp_path / "a.smi").write_text("C\n")
    (tmp_path / "b.smi").write_text("C\n")
    (tmp_path / "c.smi").write_text("N\n")
    a, b, c = (open_library(tmp_path / f"{name}.smi") for name in "abc")
    assert a.digest() == b.digest() != c.digest()
    assert open_library(tmp_path / "a.smi", limit=1).digest() != a.digest()
    assert open_library([tmp_path / "a.smi", tmp_path / "c.smi"]).digest() != (
        open_library([tmp_path / "c.smi", tmp_path / "a.smi"]).digest()
    )
    (described,) = a.describe()
    assert described["bytes"] == 2
    assert len(str(described["sha256"])) == 64


@pytest.mark.parametrize("name", ["a.smi", "a.smi.gz", "a.parquet"])
def test_the_fraction_grows_to_one(tmp_path: Path, name: str):
    rng = random.Random(3)
    smiles = ["".join(rng.choices("CNO", k=40)) for _ in range(10_000)]
    if name == "a.parquet":
        pq.write_table(pa.table({"smiles": smiles}), tmp_path / name)
    else:
        data = "\n".join(smiles).encode()
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    library = open_library(tmp_path / name)
    seen = [library.fraction() for _ in library.batches(500)]
    assert seen == sorted(seen)
    assert 0 < seen[0] < 0.9
    assert seen[-1] == 1.0


def test_memory_does_not_grow_with_the_file(tmp_path: Path):
    def peak(n: int) -> int:
        (tmp_path / "a.csv").write_text("smiles,note\n" + "CCO,some words of a note\n" * n)
        library = open_library(tmp_path / "a.csv")
        tracemalloc.start()
        for _ in library.batches(100):
            pass
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert peak(30_000) < 1.2 * peak(6_000)


def test_the_default_library_is_there():
    rows = all_rows(open_library(default_library(), limit=10_010))
    assert len(rows) == 10_010
    assert rows[0].metadata == {"name": "WEHI-0039854"}
    assert rows[10_000].metadata == {"name": "1"}
    assert {row.error for row in rows} == {None}


@pytest.mark.parametrize("ending", [".smi", ".csv"])
def test_a_gzipped_file_cut_off(tmp_path: Path, ending: str):
    rng = random.Random(5)
    smiles = ["".join(rng.choices("CNO", k=60)) for _ in range(5_000)]
    whole = gzip.compress("\n".join(["smiles", *smiles]).encode())
    library = library_of(tmp_path / f"a{ending}.gz", whole[: len(whole) // 2])
    rows = all_rows(library)
    assert 1_000 < len(rows) < 4_000
    assert [row.text for row in rows[:-1]] == smiles[: len(rows) - 1]
    assert "damaged or cut off here" in str(rows[-1].error)


def test_a_gzipped_file_cut_within_its_first_bytes(tmp_path: Path):
    with pytest.raises(LibraryError, match="not gzip data that can be read"):
        library_of(tmp_path / "a.smi.gz", gzip.compress(b"CCO\n" * 100)[:12])


def test_a_parquet_file_damaged_inside(tmp_path: Path):
    path = tmp_path / "a.parquet"
    smiles = ["".join(random.Random(n).choices(string.ascii_letters, k=30)) for n in range(3_000)]
    pq.write_table(pa.table({"smiles": smiles}), path, row_group_size=1_000, use_dictionary=False)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle - 2_000 : middle + 2_000] = bytes(4_000)
    rows = all_rows(library_of(path, bytes(content)))
    assert "the Parquet file is damaged here: the last" in str(rows[-1].error)
    assert [row.text for row in rows[:-1]] == smiles[: len(rows) - 1]


def test_bad_bytes_spoil_one_line(tmp_path: Path):
    rows = all_rows(library_of(tmp_path / "a.smi", b"C one\nCC \x81thane\nCCC three\n"))
    assert [row.error is None for row in rows] == [True, False, True]
    assert "neither UTF-8 nor Windows-1252 text (byte 0x81 at position 4)" in str(rows[1].error)


def test_a_line_without_end_spoils_one_row(tmp_path: Path):
    rows = all_rows(library_of(tmp_path / "a.smi", b"C\n" + b"N" * (5 * MAX_LINE) + b"\nCC\n"))
    assert [row.text[:2] for row in rows] == ["C", "NN", "CC"]
    assert [row.error for row in rows] == [None, f"the line is longer than {MAX_LINE:,} bytes", None]


TORTURE = [
    "CCO",
    "OCC",
    "CC(=O)[O-].[Na+]",
    "CC1(C)CCCC(C)(C)N1[O]",
    "[Fe]",
    "C[Hg]C",
    "*CC",
    "not_a_molecule",
    "C" * 10_000,
    "CC(C)(C)(C)C",
    "c1cccc1",
    "CCé",
    "日本語",
    "C\u2212C",
    "[H][H]",
    "C>>C",
    "C1CC",
]


def test_every_row_is_accepted_or_rejected_with_its_reason(tmp_path: Path):
    library = library_of(
        tmp_path / "a.csv", "\r\n".join(["smiles,n", *(f"{s},1" for s in TORTURE), ",1", "x"])
    )
    rows = all_rows(library)
    prepared = prepare(rows)
    assert len(prepared.accepted) + len(prepared.rejected) == len(rows) == len(TORTURE) + 2
    assert [item.row for item in prepared.accepted] == [0, 1, 2, 3, 4, 5]
    assert prepared.accepted[2].molecule.removed == "[Na+]"
    assert [item.row for item in prepared.rejected] == list(range(6, len(rows)))
    assert all(item.reason for item in prepared.rejected)
    assert max(len(item.input) for item in prepared.rejected) == MAX_INPUT
    assert prepared.rejected[-2].reason == "the SMILES is empty"


@given(st.binary(max_size=400), st.sampled_from([".smi", ".csv", ".tsv", ".sdf", ".parquet", ".smi.gz"]))
@settings(deadline=None, max_examples=150)
def test_any_bytes_are_rows_or_a_library_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, ending: str
):
    path = tmp_path_factory.mktemp("any") / f"a{ending}"
    try:
        rows = all_rows(library_of(path, data))
    except LibraryError as error:
        rows = []
        shown = str(error)
    else:
        shown = str(path)
    assert shown.startswith(str(path))
    prepared = prepare(rows)
    assert sorted(item.row for part in prepared for item in part) == list(range(len(rows)))


field = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8)


@given(st.lists(st.tuples(field, field), min_size=1, max_size=8), st.sampled_from(["\n", "\r\n"]))
@settings(deadline=None)
def test_csv_reads_back_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, values: list[tuple[str, str]], end: str
):
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator=end)
        writer.writerow(["smiles", "b", "c"])
        writer.writerows(("CCO", *pair) for pair in values)
    rows = all_rows(open_library(path))
    assert [(row.metadata["b"], row.metadata["c"]) for row in rows] == [
        (b or None, c or None) for b, c in values
    ]


def test_the_expected_number_of_rows_keeps_to_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "many.smi"
    path.write_text("CCO ethanol\n" * 1_000)
    whole, limited = open_library([path]), open_library([path], limit=300)
    assert (whole.expected(0), limited.expected(0)) == (None, 300)
    assert sum(len(rows) for rows in whole.batches(100)) == 1_000
    assert sum(len(rows) for rows in limited.batches(100)) == 300
    assert whole.expected(1_000) == 1_000
    assert limited.expected(300) == 300
