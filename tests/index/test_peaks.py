"""Predicted peaks that an index keeps: those of each molecule, through duplicates, shards and additions."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import acml_search
from acml_search.chem.molecule import read_stored
from acml_search.core.errors import IndexCorrupt
from acml_search.encoders.checkpoint import load_model
from acml_search.index.build import add_library, build_index
from acml_search.index.directory import (
    IndexDirectory,
    file_entry,
    open_peaks,
    read_manifest,
    write_manifest,
)
from acml_search.index.shards import write_peaks
from acml_search.index.verify import verify
from acml_search.modalities.base import reranker
from acml_search.nmr.predicted import DTYPES, PeakLists

FIRST = ["OC(=O)c1ccccc1OC(C)=O", "O=C(C)O", "O", "CC(O)=O", "C(C)(C)(C)O", "Oc1ccccc1", "c1cc(O)ccc1", "CCN"]
SECOND = ["CCO", "CC(=O)O", "Cc1ccncc1", "NCC"]
ASKED = {"c_nmr": "170.1, 151.2, 132.4, 20.8"}


def without_peaks(index: Path, copy: Path) -> Path:
    """A copy as an earlier version wrote it."""
    shutil.copytree(index, copy)
    shutil.rmtree(copy / "peaks")
    manifest = read_manifest(copy)
    files = {name: entry for name, entry in manifest.files.items() if not name.startswith("peaks/")}
    write_manifest(copy, replace(manifest, files=files))
    return copy


@pytest.fixture(scope="module")
def built(toy_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("peaks")
    (folder / "in.smi").write_text("\n".join(FIRST) + "\n")
    build_index(folder / "in.smi", folder / "index", model=toy_model, workers=1, shard_size=3)
    return folder / "index"


@pytest.fixture(scope="module")
def added(built: Path, toy_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("added")
    shutil.copytree(built, folder / "index")
    (folder / "in.smi").write_text("\n".join(SECOND) + "\n")
    add_library(folder / "index", folder / "in.smi", workers=1, shard_size=2)
    return folder / "index"


@pytest.mark.parametrize("which", ["built", "added"])
def test_every_molecule_has_its_own(which: str, toy_model: Path, request: pytest.FixtureRequest) -> None:
    """Positions, and the atoms that they belong to in the stored SMILES."""
    path = request.getfixturevalue(which)
    assert verify(path) == []
    packer: Any = reranker("c_nmr")
    with IndexDirectory(path) as index:
        kept = index.peaks("c_nmr")
        assert kept is not None
        assert index.peaks("smiles") is None
        mols = [read_stored(text) for text in index.catalog.rows(index.keys).column("smiles").to_pylist()]
        assert len(mols) == {"built": 6, "added": 8}[which]
        wanted = packer.prepare(load_model(toy_model), mols)
        for one, again in zip(packer.unpack(kept, mols), wanted, strict=True):
            assert one.position == pytest.approx(again.position, abs=0.026)
            assert one.atoms == again.atoms
            assert one.attached.tolist() == again.attached.tolist()


def test_an_earlier_index_predicts_and_stays_so(built: Path, toy_model: Path, tmp_path: Path) -> None:
    path = without_peaks(built, tmp_path / "index")
    (tmp_path / "in.smi").write_text("\n".join(SECOND) + "\n")
    add_library(path, tmp_path / "in.smi", workers=1)
    assert verify(path) == []
    with IndexDirectory(path) as index:
        assert index.peaks("c_nmr") is None
        assert len(index.keys) == 8


def test_peaks_of_other_molecules_are_found(built: Path, tmp_path: Path) -> None:
    path = tmp_path / "index"
    shutil.copytree(built, path)
    lists = open_peaks(built / "peaks" / "c_nmr")
    n = len(lists.ends)

    def problems(*parts: tuple[PeakLists, Any]) -> list[str]:
        write_peaks(path / "peaks" / "c_nmr", parts)
        manifest = read_manifest(path)
        changed = {
            f"peaks/c_nmr{end}": file_entry(path / f"peaks/c_nmr{end}") for end in (".npy", ".sizes.npy")
        }
        write_manifest(path, replace(manifest, files={**manifest.files, **changed}))
        return [str(problem) for problem in verify(path)]

    assert problems((lists, None)) == []
    (found,) = problems((lists, np.roll(np.arange(n), 1)))
    assert "predicted again shows other peaks" in found
    (found,) = problems((lists, np.arange(n - 1)))
    assert found == "peaks/c_nmr.sizes.npy: not every molecule has one list of peaks"


def test_lists_are_written_and_read_as_they_are(tmp_path: Path) -> None:
    peaks = np.zeros(5, DTYPES["C"])
    peaks["shift"] = np.arange(5)
    lists = PeakLists(peaks, np.array([2, 2, 5]))
    write_peaks(tmp_path / "x", [(lists, None), (lists, np.array([2, 0]))])
    again = open_peaks(tmp_path / "x")
    assert again.peaks["shift"].tolist() == [0, 1, 2, 3, 4, 2, 3, 4, 0, 1]
    assert again.ends.tolist() == [2, 2, 5, 8, 10]
    assert again.take(np.array([0, 3])).peaks["shift"].tolist() == [0, 1, 2, 3, 4]
    write_peaks(tmp_path / "none", [(lists, np.zeros(0, np.int64))])
    assert open_peaks(tmp_path / "none").peaks.shape == (0,)
    np.save(tmp_path / "x.sizes.npy", np.array([2, 3]))
    with pytest.raises(IndexCorrupt, match="predicted peaks are not as the index wrote them"):
        open_peaks(tmp_path / "x")
    (tmp_path / "x.npy").write_bytes(b"")
    with pytest.raises(IndexCorrupt, match=r"x\.npy: it cannot be read"):
        open_peaks(tmp_path / "x")


def test_re_ranking_reads_them_and_explains_as_before(
    built: Path, toy_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network predicts nothing, molecules that are not shown are not read, and the answer is the same."""
    from acml_search.encoders import shifts
    from acml_search.search import pipeline

    model = Path(shutil.copytree(toy_model, tmp_path / "toy"))
    card = (model / "card.json").read_text()
    (model / "card.json").write_text(
        card.replace('"scale"', '"rerank": {"cosine": 1, "evidence": 1}, "scale"')
    )
    before = without_peaks(built, tmp_path / "before")
    with acml_search.open_index(before, model=model) as index:
        wanted = list(index.identify(ASKED, k=2).lists[0].rows())
    assert all(row["why"]["evidence"]["c_nmr"]["matched"] for row in wanted)
    read = []
    monkeypatch.setattr(shifts.ShiftModel, "predicted_peaks", None)
    monkeypatch.setattr(pipeline, "read_stored", lambda text: read.append(text) or read_stored(text))
    with acml_search.open_index(built, model=model) as index:
        found = list(index.identify(ASKED, k=2).lists[0].rows())
    assert len(read) == 2
    for one, other in zip(found, wanted, strict=True):
        assert one["key"] == other["key"]
        assert one["score"] == pytest.approx(other["score"], abs=0.05)
        atoms = [
            [match["atoms"] for match in row["why"]["evidence"]["c_nmr"]["matched"]] for row in (one, other)
        ]
        assert atoms[0] == atoms[1]
