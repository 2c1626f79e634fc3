"""Molecules and rejects as tables and files."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from acml_search.core.errors import AcmlSearchError
from acml_search.library.source import Row
from acml_search.library.standardise import Rejected, prepare
from acml_search.library.tables import (
    COUNTS,
    MOLECULES,
    REJECTS,
    counted,
    molecules_table,
    rejects_table,
    write_parquet,
)


def rows(*smiles: str, **metadata: object) -> list[Row]:
    return [Row(10 + n, text, "smiles", metadata, None) for n, text in enumerate(smiles)]


def test_molecules_table():
    table = molecules_table(prepare(rows("CCO", "C.Cl", id=7)).accepted)
    assert table.schema.names == [*MOLECULES.names, "id"]
    assert table.to_pylist()[1] == {
        "key": 11,
        "smiles": "C",
        "inchikey": "VNWKTOKETHGBQD-UHFFFAOYSA-N",
        "formula": "CH4",
        "exact_mass": 16.031300128,
        "source_row": 11,
        "removed": "Cl",
        "hydrogens": 4,
        "exchangeable": 0,
        "carbons": 1,
        "carbon_environments": 1,
        "id": 7,
    }


def test_metadata_types_make_shards_alike():
    kinds = {"n": pa.int64(), "text": pa.string(), "absent": pa.float64()}
    one = molecules_table(prepare(rows("C", n=1, text=2.5)).accepted, kinds)
    two = molecules_table(prepare(rows("C", n=None)).accepted, kinds)
    none = molecules_table([], kinds)
    assert one.schema == two.schema == none.schema
    assert one.column("text").to_pylist() == ["2.5"]
    assert one.column("absent").to_pylist() == [None]


def test_tables_of_older_indexes_are_counted():
    table = molecules_table(prepare(rows("CC(=O)Oc1ccccc1C(=O)O", "C", id=7)).accepted)
    older = table.drop_columns(COUNTS.names)
    assert counted(table) is table
    assert counted(older).select(table.column_names).equals(table)
    with pytest.raises(AcmlSearchError, match=r"'carbons' of its library's.*build the index again"):
        counted(older.append_column("carbons", pa.array([1, 2])))


def test_rejects_table_takes_any_text():
    table = rejects_table([Rejected(3, "C\udc80\x00é", "why")])
    assert table.schema == REJECTS
    assert table.to_pylist() == [{"source_row": 3, "input": "C?\x00é", "reason": "why"}]
    assert rejects_table([]).num_rows == 0


def test_the_same_table_gives_the_same_bytes(tmp_path: Path):
    table = molecules_table(prepare(rows("CCO", "C", id="x")).accepted)
    for name in ("a", "b"):
        write_parquet(table, tmp_path / "new" / f"{name}.parquet")
    assert (tmp_path / "new/a.parquet").read_bytes() == (tmp_path / "new/b.parquet").read_bytes()
    assert pq.read_table(tmp_path / "new/a.parquet").equals(table)
    assert sorted(os.listdir(tmp_path / "new")) == ["a.parquet", "b.parquet"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "a.parquet"
    write_parquet(pa.table({"x": [1]}), path)

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_parquet(pa.table({"x": [2]}), path)
    assert pq.read_table(path).column("x").to_pylist() == [1]
    assert os.listdir(tmp_path) == ["a.parquet"]
