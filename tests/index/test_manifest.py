"""Sealed documents and the manifest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acml_search.core.errors import IndexCorrupt, IndexNotFound
from acml_search.core.io import atomic, digest_of
from acml_search.index.directory import read_checksummed, read_manifest, write_checksummed

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.text().filter(lambda name: name != "digest"), json_values, max_size=4))
def test_a_sealed_document_comes_back(
    tmp_path_factory: pytest.TempPathFactory, document: dict[str, object]
) -> None:
    path = tmp_path_factory.mktemp("sealed") / "x.json"
    write_checksummed(path, document)
    assert read_checksummed(path) == document


def test_every_changed_byte_of_a_sealed_document_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_checksummed(path, {"a": 1, "b": [1.5, "é", None], "c": {"d": True}})
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x01]) + whole[at + 1 :])
        with pytest.raises(IndexCorrupt):
            read_checksummed(path)


def test_no_manifest_is_no_index(tmp_path: Path) -> None:
    with pytest.raises(IndexNotFound, match=r"no manifest\.json.*build-index"):
        read_manifest(tmp_path)
    with pytest.raises(IndexNotFound, match=r"no index here.*build-index"):
        read_manifest(tmp_path / "nowhere")


def test_another_format_is_refused(tmp_path: Path) -> None:
    document = {"format_version": 99}
    (tmp_path / "manifest.json").write_text(
        json.dumps({**document, "digest": digest_of(document)}, indent=1, sort_keys=True) + "\n"
    )
    with pytest.raises(IndexCorrupt, match="format 99"):
        read_manifest(tmp_path)


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("before")

    def fail() -> None:
        with atomic(path) as temporary:
            temporary.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert path.read_text() == "before"
    assert [file.name for file in tmp_path.iterdir()] == ["x.txt"]
