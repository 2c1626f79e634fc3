"""Libraries in object stores read as the same files do on disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from acml_search.core import extras
from acml_search.core.errors import ConfigError, LibraryError
from acml_search.index.build import build_index, embed_library
from acml_search.library.stream import open_library

SDF = "\n\n\n  1  0  0  0  0  0            999 V2000\n    0.0    0.0    0.0 C   0  0\nM  END\n$$$$\n"


@pytest.fixture(scope="module")
def bucket() -> Iterator[None]:
    """A bucket in a server of S3, where there is one."""
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(port=0, verbose=False)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", "http://{}:{}".format(*server.get_host_and_port()))
        for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
            patch.setenv(f"AWS_{name}", "test")
        fsspec.filesystem("s3").mkdir("bucket")
        yield
    server.stop()


# As pathlib makes it of memory://, file://, s3://
@pytest.mark.parametrize("store", ["memory:/{}", "file:{}", "s3:/bucket{}"])
@pytest.mark.parametrize("ending", ["smi", "csv.gz", "parquet", "parquet.gz", "sdf"])
def test_rows_and_digest_are_those_of_the_file(
    tmp_path: Path, store: str, ending: str, request: pytest.FixtureRequest
) -> None:
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
    if store.startswith("s3"):
        request.getfixturevalue("bucket")
    if not store.startswith("file"):
        with fsspec.open(url.replace(":/", "://"), "wb") as out:
            out.write(file.read_bytes())
    here, there = open_library(file), open_library(url)
    assert list(there.batches(10)) == list(here.batches(10))
    assert there.digest() == here.digest()
    assert str(there.describe()[0]["path"]).split("://")[0] == store.split(":")[0]


@pytest.mark.parametrize("url", ["s3:/bucket/a.smi", "gs://bucket/a.smi"])
def test_a_package_that_is_missing_is_named(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(
        ConfigError, match=r"(s3fs|gcsfs) is not installed: pip install \"acml-search\[stores\]\""
    ):
        open_library(url)


def test_an_index_is_made_in_a_folder() -> None:
    for make in (build_index, embed_library):
        with pytest.raises(ConfigError, match=r"s3://b/out is no folder of this machine"):
            make(None, "s3://b/out")


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
