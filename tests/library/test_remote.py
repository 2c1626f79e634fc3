"""Libraries in object stores read as the same files do on disk."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from acml_search.core.errors import LibraryError
from acml_search.library.stream import open_library

SDF = "\n\n\n  1  0  0  0  0  0            999 V2000\n    0.0    0.0    0.0 C   0  0\nM  END\n$$$$\n"


@pytest.mark.parametrize("store", ["memory:/{}", "file:{}"])  # as pathlib makes it of memory://, file://
@pytest.mark.parametrize("ending", ["smi", "csv.gz", "parquet", "parquet.gz", "sdf"])
def test_rows_and_digest_are_those_of_the_file(tmp_path: Path, store: str, ending: str) -> None:
    file = tmp_path / f"library.{ending}"
    kind = ending.split(".")[0]
    if kind == "parquet":
        pq.write_table(pa.table({"smiles": ["CCO", "c1ccccc1"], "n": [1, 2]}), tmp_path / "plain")
    else:
        text = {"smi": "CCO a\nc1ccccc1 b\n", "csv": "smiles,n\nCCO,1\n", "sdf": SDF}[kind]
        (tmp_path / "plain").write_text(text)
    packed = "gzip" if ending.endswith(".gz") else None
    with (tmp_path / "plain").open("rb") as plain, fsspec.open(str(file), "wb", compression=packed) as out:
        out.write(plain.read())
    url = store.format(file)
    if store.startswith("memory"):
        fsspec.filesystem("memory").pipe(str(file), file.read_bytes())
    here, there = open_library(file), open_library(url)
    assert list(there.batches(10)) == list(here.batches(10))
    assert there.digest() == here.digest()
    assert str(there.describe()[0]["path"]).split("://")[0] == store.split(":")[0]


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("memory://no/such.smi", "no such file"),
        ("nosuch://a/b.smi", "nosuch"),
        ("memory://no/such.xyz", "known"),
    ],
)
def test_what_is_not_there(url: str, why: str) -> None:
    with pytest.raises(LibraryError, match=why):
        open_library(url)
