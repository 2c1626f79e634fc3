"""An index that is built anew, or added to, while it is open: each answer is of one index."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

import acml_search
from acml_search.core.errors import IndexReplaced
from acml_search.index.build import add_library
from acml_search.search.pipeline import Index

SHIFTS = {"c_nmr": "168.1, 153.2, 130.9, 121.2, 115.0, 23.9"}


@pytest.fixture
def place(spectral_index: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(spectral_index, tmp_path / "index"))


def put_another(place: Path) -> None:
    """As `put_in_place`: the same index, other files."""
    shutil.copytree(place, place.with_name("new"))
    os.utime(place.with_name("new") / "manifest.json")
    os.replace(place, place.with_name("old"))
    os.replace(place.with_name("new"), place)
    shutil.rmtree(place.with_name("old"))


def test_the_next_question_is_asked_of_the_new_index(place: Path, tmp_path: Path) -> None:
    more = tmp_path / "more.smi"
    more.write_text("CC(=O)Nc1ccc(OCC)cc1\n")
    with acml_search.open_index(place) as opened:
        before = len(opened)
        assert len(opened.search("CCO", k=5).lists[0].hits) > 0
        add_library(place, more, workers=1)
        found = opened.search("CCOc1ccc(NC(C)=O)cc1", k=1).lists[-1]
        assert [row["smiles"] for row in found.rows()] == ["CCOc1ccc(NC(C)=O)cc1"]
        assert len(opened) == before + 1
        assert len(opened.identify(SHIFTS, k=before + 1).lists[0]) == before + 1
        key = int(found.hits.keys[0, 0])
        assert [row["key"] for row in opened.explain(SHIFTS, [key]).lists[0].rows()] == [key]


def ask(opened: Index, how: str) -> Any:
    if how == "search":
        return opened.search("CCO", k=2)
    return opened.identify(SHIFTS, k=2) if how == "identify" else opened.explain(SHIFTS, [3])


@pytest.mark.parametrize("how", ["search", "identify", "explain"])
@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("times", [1, 2])
def test_a_question_is_asked_again_where_the_index_was_replaced_within_it(
    how: str, fails: bool, times: int, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from acml_search.library.catalog import Catalog

    original = Catalog.rows
    left = [times]

    def slow(self: Catalog, *given: Any, **options: Any) -> Any:
        if not left[0]:
            return original(self, *given, **options)
        left[0] -= 1
        put_another(place)
        if fails:
            raise OSError("half of another file")
        return original(self, *given, **options)

    with acml_search.open_index(place) as opened:
        right = [row["key"] for row in ask(opened, how).lists[0].rows()]
        monkeypatch.setattr(Catalog, "rows", slow)
        if times == 1:
            assert [row["key"] for row in ask(opened, how).lists[0].rows()] == right
        else:
            with pytest.raises(IndexReplaced, match="was replaced by another while it was asked; ask again"):
                ask(opened, how)
        assert left == [0]
        assert [row["key"] for row in ask(opened, how).lists[0].rows()] == right


def test_an_error_of_its_own_stays_what_it_is(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from acml_search.library.catalog import Catalog

    def broken(*given: Any, **options: Any) -> Any:
        raise OSError("a disk that fails")

    monkeypatch.setattr(Catalog, "rows", broken)
    with acml_search.open_index(place) as opened, pytest.raises(OSError, match="a disk that fails"):
        opened.search("CCO", k=2)
