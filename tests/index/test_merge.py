"""Duplicates and column types over all shards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acml_search.index.merge import column_types, conform, find_duplicates


def molecules(path: Path, keys: list[int], inchikeys: list[str], **columns: list[object]) -> Path:
    n = len(keys)
    pq.write_table(
        pa.table(
            {
                "key": pa.array(keys, pa.int64()),
                "smiles": ["C"] * n,
                "inchikey": inchikeys,
                "formula": ["CH4"] * n,
                "exact_mass": [16.0313] * n,
                "source_row": pa.array(keys, pa.int64()),
                "removed": pa.array([None] * n, pa.string()),
                **columns,
            }
        ),
        path,
    )
    return path


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from("ABCDEFG"), min_size=1, max_size=40), st.integers(1, 15))
def test_the_first_of_equal_molecules_stays(
    tmp_path_factory: pytest.TempPathFactory, inchikeys: list[str], size: int
) -> None:
    folder = tmp_path_factory.mktemp("merge")
    files = [
        molecules(
            folder / f"{start:03d}.parquet",
            list(range(start, min(start + size, len(inchikeys)))),
            inchikeys[start : start + size],
        )
        for start in range(0, len(inchikeys), size)
    ]
    dropped = find_duplicates(files, None, folder / "scratch", folder / "duplicates.parquet")
    first = {inchikey: row for row, inchikey in reversed(list(enumerate(inchikeys)))}
    assert dropped.tolist() == [row for row, inchikey in enumerate(inchikeys) if first[inchikey] != row]
    table = pq.read_table(folder / "duplicates.parquet")
    assert table.column("source_row").to_pylist() == dropped.tolist()
    assert table.column("key").to_pylist() == [first[inchikeys[row]] for row in dropped]


@pytest.mark.parametrize(
    ("values", "kind", "wanted"),
    [
        (["1", "-2", ""], pa.int64(), [1, -2, None]),
        (["1", "2.5", "-1e3"], pa.float64(), [1.0, 2.5, -1000.0]),
        ([".5", "1.", "+3"], pa.float64(), [0.5, 1.0, 3.0]),
        (["007", "12"], pa.string(), ["007", "12"]),  # an identifier, not a number
        (["50-00-0", "1"], pa.string(), ["50-00-0", "1"]),
        (["nan", "1"], pa.string(), ["nan", "1"]),
        (["1234567890123456789012", "1"], pa.float64(), [1234567890123456789012.0, 1.0]),
        (["", ""], pa.string(), ["", ""]),
        ([None, "4"], pa.int64(), [None, 4]),
        ([" 4", "5"], pa.string(), [" 4", "5"]),
    ],
)
def test_text_that_is_all_numbers_becomes_numbers(
    tmp_path: Path, values: list[str | None], kind: pa.DataType, wanted: list[object]
) -> None:
    # One value per file: a type is decided over all of them.
    files = [
        molecules(tmp_path / f"{row}.parquet", [row], [str(row)], x=pa.array([value], pa.string()))
        for row, value in enumerate(values)
    ]
    schema = column_types(files, [True] * len(files), tmp_path / "scratch")
    assert schema.field("x").type == kind
    found = [conform(pq.read_table(file), schema).column("x").to_pylist()[0] for file in files]
    assert found == wanted


def test_text_of_a_typed_file_stays_text(tmp_path: Path) -> None:
    file = molecules(tmp_path / "a.parquet", [0], ["A"], x=["12"])
    assert column_types([file], [False], tmp_path / "scratch").field("x").type == pa.string()


def test_files_that_disagree_meet_in_the_wider_type(tmp_path: Path) -> None:
    a = molecules(tmp_path / "a.parquet", [0], ["A"], x=np.array([1], np.int64), y=["p"])
    b = molecules(tmp_path / "b.parquet", [1], ["B"], x=["2.5"], y=["3"], z=["4"])
    schema = column_types([a, b], [False, True], tmp_path / "scratch")
    assert schema.names[-3:] == ["x", "y", "z"]
    assert [schema.field(name).type for name in "xyz"] == [pa.float64(), pa.string(), pa.int64()]
    merged = pa.concat_tables([conform(pq.read_table(file), schema) for file in (a, b)])
    assert merged.select(["x", "y", "z"]).to_pylist() == [
        {"x": 1.0, "y": "p", "z": None},
        {"x": 2.5, "y": "3", "z": 4},
    ]


def test_a_star_in_a_path_is_no_pattern(tmp_path: Path) -> None:
    for folder in ("a*b", "aXb"):
        (tmp_path / folder).mkdir()
    file = molecules(tmp_path / "a*b" / "m.parquet", [0, 2], ["A", "B"], x=["1", "2"])
    molecules(tmp_path / "aXb" / "m.parquet", [1], ["A"], x=["text"])
    found = find_duplicates([file], None, tmp_path / "scratch", tmp_path / "duplicates.parquet")
    assert found.tolist() == []
    assert column_types([file], [True], tmp_path / "scratch").field("x").type == pa.int64()


def test_quotes_in_a_column_name_are_no_sql(tmp_path: Path) -> None:
    file = molecules(tmp_path / "a.parquet", [0], ["A"], **{'a"; DROP TABLE x; --': ["1"]})
    schema = column_types([file], [True], tmp_path / "scratch")
    assert schema.field('a"; DROP TABLE x; --').type == pa.int64()
