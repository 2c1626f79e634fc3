"""Indexes that hold measured records: every spectrum is a record of its own and leads to its molecule."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from spectra_files import SPECTRA, msp

import acml_search
from acml_search.core.errors import ConfigError, LibraryError
from acml_search.encoders.checkpoint import load_model
from acml_search.index.build import add_library, build_index, embed_library
from acml_search.index.directory import IndexDirectory, file_entry, read_manifest, write_manifest
from acml_search.index.embeddings import Embeddings, embedding_table
from acml_search.index.factory import build_vectors
from acml_search.index.merge import Merge
from acml_search.index.verify import verify
from acml_search.search.render.files import write_csv
from tests.index.conftest import contents

GOOD = [0, 1, 2, 6, 7]
"""Places in `SPECTRA` of those that can be used."""


@pytest.fixture(scope="module")
def structures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("structures") / "mine.csv"
    path.write_text("smiles,vendor\nCCCO,A\nCCO,B\nnonsense,C\n")
    return path


@pytest.fixture(scope="module")
def built(structures: Path, spectra: Path, toy_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The index of three structures and eight spectra, in shards of two rows."""
    out = tmp_path_factory.mktemp("built") / "index"
    report = build_index([structures, spectra], out, model=toy_model, workers=1, shard_size=2).to_dict()
    assert {name: (side["graph"], side["records"]) for name, side in report["spaces"].items()} == {
        "smiles": (4, 4),
        "c_nmr": (4, 0),
        "lc_ms": (4, 5),
    }
    return out


def test_every_row_is_accounted_for(built: Path, spectra: Path) -> None:
    manifest = read_manifest(built)
    assert manifest.format_version == 3
    assert manifest.counts == {"rows": 11, "molecules": 4, "rejected": 4, "duplicates": 3, "no_record": 0}
    rejects = pq.read_table(built / "rejects.parquet").to_pylist()
    assert [reject["source_row"] for reject in rejects] == [2, 6, 7, 8]
    assert rejects[1]["input"] == f"{spectra}#4"
    assert "no structure" in rejects[1]["reason"]
    assert rejects[2]["input"] == "C1CC"
    assert rejects[3]["input"] == f"{spectra}#6"
    assert "zero" in rejects[3]["reason"]
    duplicates = pq.read_table(built / "duplicates.parquet").to_pylist()
    assert [(item["source_row"], item["key"]) for item in duplicates] == [(3, 1), (5, 1), (10, 1)]


def test_every_record_is_kept_and_leads_to_its_molecule(built: Path, spectra: Path, toy_model: Path) -> None:
    with IndexDirectory(built) as index:
        side = index.vectors("lc_ms", "records")
        assert index.is_measured("lc_ms")
        assert not index.is_measured("smiles")
        assert side.keys.tolist() == [3 + n for n in GOOD]
        rows = index.records("lc_ms").rows(side.keys).to_pylist()
        assert [row["molecule_key"] for row in rows] == [1, 4, 1, 9, 1]
        assert [row["record_number"] for row in rows] == [n + 1 for n in GOOD]
        assert {row["record_file"] for row in rows} == {str(spectra)}
        assert [row["Name"] for row in rows] == [SPECTRA[n][1] for n in GOOD]
        assert [row["collision_energy"] for row in rows] == [f"{10 * n} eV" for n in GOOD]
        assert rows[0]["record_positions"] == [29.04, 31.02, 45.03]
        assert rows[0]["record_intensities"] == [10.0, 99.0, 50.0]
        smiles = {key: index.catalog.rows([key]).column("smiles")[0].as_py() for key in (1, 4, 9)}
        assert [smiles[row["molecule_key"]] for row in rows] == [row["smiles"] for row in rows]
        model = load_model(toy_model)
        read = acml_search.modalities.get("lc_ms").read
        items = [
            read(
                {
                    "mzs": [mz for mz, _ in SPECTRA[n][2]],
                    "intensities": [height for _, height in SPECTRA[n][2]],
                    "precursor_mz": 100.5 + n,
                    "adduct": "[M+H]+",
                    "collision_energy": f"{10 * n} eV",
                }
            )
            for n in GOOD
        ]
        wanted = model.encode_items("lc_ms", items)
        np.testing.assert_allclose(side.stored(np.arange(5)), wanted, atol=1e-3)


def test_a_molecule_query_returns_the_records_with_their_ids(built: Path, spectra: Path) -> None:
    with acml_search.open_index(built) as index:
        answer = index.search("CCO", k=5)
        lists = {(hits.modality, hits.side): hits for hits in answer.lists}
        assert set(lists) == {("lc_ms", "records"), ("smiles", "records"), ("smiles", "graph")}
        hits = list(lists["lc_ms", "records"].rows())
        assert sorted(hit["record_id"] for hit in hits) == [3, 4, 5, 9, 10]
        assert sorted(hit["key"] for hit in hits) == [1, 1, 1, 4, 9]
        assert lists["lc_ms", "records"].hits.keys[0].tolist() == [hit["key"] for hit in hits]
        for hit in hits:
            assert hit["record_file"] == str(spectra)
            assert hit["Name"] == SPECTRA[hit["record_number"] - 1][1]
            assert hit["record_positions"] == [mz for mz, _ in SPECTRA[hit["record_number"] - 1][2]]
        scores = [hit["score"] for hit in hits]
        assert scores == sorted(scores, reverse=True)
        assert "record_id" not in lists["smiles", "records"].molecules.column_names
        table = answer.to_arrow()
        assert table.num_rows == 5 + 4 + 4
        assert table.column("record_id").null_count == 8
        text = io.StringIO()
        write_csv(answer, text)
        lines = list(csv.reader(io.StringIO(text.getvalue())))
        assert {len(line) for line in lines} == {len(lines[0])}
        assert [line[lines[0].index("record_number")] for line in lines[1:6]] == [
            str(hit["record_number"]) for hit in hits
        ]


def test_scores_are_those_of_the_vectors(built: Path, toy_model: Path) -> None:
    from acml_search.chem.molecule import parse

    query = load_model(toy_model).encode_molecules([parse("c1ccccc1O")[0]])["lc_ms"][0]
    with acml_search.open_index(built) as index, IndexDirectory(built) as directory:
        side = directory.vectors("lc_ms", "records")
        wanted = dict(zip(side.keys.tolist(), side.stored(np.arange(5)) @ query, strict=True))
        (hits, _) = index.search("c1ccccc1O", k=3, modality="lc_ms").lists
        assert len(hits) == 3
        for hit in hits.rows():
            assert hit["score"] == pytest.approx(wanted[hit["record_id"]], abs=2e-3)


def test_a_filter_judges_each_record_by_its_own_row(built: Path) -> None:
    with acml_search.open_index(built) as index:
        (hits, similar) = index.search("CCO", modality="lc_ms", formula="C2H6O").lists
        assert sorted(hit["record_id"] for hit in hits.rows()) == [3, 5, 10]
        assert [hit["key"] for hit in similar.rows()] == [1]
        (hits, similar) = index.search("CCO", modality="lc_ms", where="\"DB#\" = 'X006'").lists
        assert [hit["record_id"] for hit in hits.rows()] == [9]
        assert [hit["key"] for hit in similar.rows()] == [9]
        answer = index.search("CCO", modality="lc_ms", where="vendor = 'A'")
        assert [len(hits) for hits in answer.lists] == [0, 1]
        assert any("lc_ms records: 0 of" in note for note in answer.notes)


@pytest.mark.usefixtures("in_process")
def test_it_is_sound_and_the_same_command_does_nothing(
    built: Path, structures: Path, spectra: Path, toy_model: Path
) -> None:
    assert verify(built) == []
    before = contents(built)
    report = build_index([structures, spectra], built, model=toy_model, workers=1, shard_size=2)
    assert report.complete
    assert contents(built) == before
    with pytest.raises(ConfigError, match="--restart"):
        build_index([structures, spectra], built, model=toy_model, records=None)


@pytest.mark.usefixtures("in_process")
def test_interrupted_it_resumes_to_the_same_bytes(
    built: Path, structures: Path, spectra: Path, toy_model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "index"

    def stop(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Merge, "_write_records", stop)
        with pytest.raises(KeyboardInterrupt):
            build_index([structures, spectra], out, model=toy_model, workers=1, shard_size=2)
    shard = tmp_path / "index.building" / "shards" / "000002"
    whole = (shard / "done.json").stat().st_mtime_ns
    cut = tmp_path / "index.building" / "shards" / "000001" / "records.lc_ms.parquet"
    cut.write_bytes(cut.read_bytes()[:50])
    build_index([structures, spectra], out, model=toy_model, workers=2, shard_size=2)
    assert whole < (out / "manifest.json").stat().st_mtime_ns
    assert contents(out) == contents(built)


def test_changed_vectors_of_records_are_found(built: Path, tmp_path: Path) -> None:
    """Checksums that fit do not make vectors true: a sample is embedded again."""
    copy = tmp_path / "index"
    shutil.copytree(built, copy)
    with IndexDirectory(built) as index:
        keys = index.vectors("lc_ms", "records").keys
        turned = index.vectors("lc_ms", "records").stored(np.arange(len(keys)))[::-1]
    part = tmp_path / "part.parquet"
    pq.write_table(embedding_table(keys, turned.astype(np.float16)), part)
    build_vectors(copy / "faiss" / "lc_ms.records", Embeddings([part]), "flat")
    manifest = read_manifest(copy)
    for path in (copy / "faiss").glob("lc_ms.records.*"):
        manifest.files[path.relative_to(copy).as_posix()] = file_entry(path)
    write_manifest(copy, manifest)
    assert {problem.file for problem in verify(copy)} == {"faiss/lc_ms.records"}


def test_records_that_lead_nowhere_are_found(built: Path, tmp_path: Path) -> None:
    copy = tmp_path / "index"
    shutil.copytree(built, copy)
    part = sorted((copy / "records" / "lc_ms").glob("*.parquet"))[0]
    table = pq.read_table(part)
    at = table.schema.get_field_index("molecule_key")
    lost = pa.array([777] * table.num_rows, pa.int64())
    pq.write_table(table.set_column(at, table.schema.field(at), lost), part)
    manifest = read_manifest(copy)
    manifest.files[part.relative_to(copy).as_posix()] = file_entry(part)
    write_manifest(copy, manifest)
    (problem,) = verify(copy, sample=0)
    assert problem.file == "records/lc_ms"
    assert "molecules that the index does not hold" in problem.what


@pytest.mark.usefixtures("in_process")
def test_spectra_are_added_to_an_index_that_had_none(
    structures: Path, toy_model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "index"
    build_index(structures, out, model=toy_model, workers=1)
    first, second = tmp_path / "first.msp", tmp_path / "second.msp"
    first.write_text(msp(SPECTRA[:3]))
    second.write_text(msp(SPECTRA[6:]))
    shifts = tmp_path / "shifts.parquet"
    pq.write_table(
        pa.table({"smiles": ["CCO", "CCCCO"], "shifts": [[18.1, 57.8], [13.9, 19.0, 34.9, 62.3]]}), shifts
    )
    assert add_library(out, first, workers=1).to_dict()["spaces"]["lc_ms"]["records"] == 3
    assert add_library(out, second, workers=1).to_dict()["spaces"]["lc_ms"]["records"] == 5
    with pytest.raises(LibraryError, match="--records"):
        add_library(out, shifts, workers=1)
    assert add_library(out, shifts, records=["c_nmr"], workers=1).to_dict()["spaces"]["c_nmr"]["records"] == 2
    assert add_library(out, shifts, records=["c_nmr"], workers=1).complete
    more = tmp_path / "more.smi"
    more.write_text("CCCCCCO\n")
    add_library(out, more, workers=1)
    assert verify(out) == []
    with IndexDirectory(out) as index:
        side = index.vectors("lc_ms", "records")
        rows = index.records("lc_ms").rows(side.keys).to_pylist()
        assert [row["smiles"] for row in rows] == ["CCO", "CCN", "CCO", "Oc1ccccc1", "CCO"]
        assert [row["molecule_key"] for row in rows] == [1, 4, 1, 6, 1]
        rows = index.records("c_nmr").rows(index.vectors("c_nmr", "records").keys).to_pylist()
        assert [row["molecule_key"] for row in rows] == [1, 9]
        assert rows[1]["record_positions"] == [13.9, 19.0, 34.9, 62.3]
        assert rows[1]["record_intensities"] is None
    # what the index holds says what the shifts are
    again = tmp_path / "again.parquet"
    pq.write_table(pa.table({"smiles": ["CCC"], "shifts": [[15.6, 16.1]]}), again)
    assert add_library(out, again, workers=1).to_dict()["spaces"]["c_nmr"]["records"] == 3


@pytest.mark.usefixtures("in_process")
def test_a_parquet_of_records(toy_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "shifts.parquet"
    rows = {
        "smiles": ["CCO", "CCO", "CCN", "CCC", None],
        "shifts": [[18.1, 57.8], [58.0, 18.0, 18.0], [], [15.6, 1300.0], [20.0]],
        "spectrum_id": ["a", "b", "c", "d", "e"],
    }
    pq.write_table(pa.table(rows), path)
    with pytest.raises(
        LibraryError, match=r"shifts may be records of c_nmr or h_nmr; name the one with --records"
    ):
        build_index(path, tmp_path / "index", model=toy_model, workers=1)
    build_index(path, tmp_path / "index", model=toy_model, workers=1, records=["c_nmr"], modalities=())
    assert verify(tmp_path / "index") == []
    rejects = pq.read_table(tmp_path / "index" / "rejects.parquet").to_pylist()
    assert [reject["input"] for reject in rejects] == [f"{path}#3 CCN", f"{path}#4 CCC", ""]
    assert "empty" in rejects[0]["reason"]
    assert "1300" in rejects[1]["reason"]
    with acml_search.open_index(tmp_path / "index") as index:
        (hits, _) = index.search("CCO", modality="c_nmr").lists
        found = {hit["spectrum_id"]: hit for hit in hits.rows()}
        assert set(found) == {"a", "b"}
        assert found["b"]["record_positions"] == [18.0, 18.0, 58.0]
        assert found["b"]["record_number"] == 2
        assert "shifts" not in found["b"]


@pytest.mark.usefixtures("in_process")
def test_structures_alone(spectra: Path, toy_model: Path, tmp_path: Path) -> None:
    build_index(spectra, tmp_path / "index", model=toy_model, workers=1, records=None, modalities=())
    manifest = read_manifest(tmp_path / "index")
    assert list(manifest.spaces["lc_ms"].sides) == ["graph"]
    assert manifest.counts["molecules"] == 3


@pytest.mark.usefixtures("in_process")
def test_embeddings_of_records_without_a_search_index(spectra: Path, toy_model: Path, tmp_path: Path) -> None:
    report = embed_library(spectra, tmp_path / "vectors", model=toy_model, workers=1, records=())
    assert report.manifest.spaces["lc_ms"].sides["records"] == {"n": 5, "measured": True}
    assert verify(tmp_path / "vectors") == []


def test_what_cannot_be_is_refused_before_any_work(
    spectra: Path, structures: Path, toy_model: Path, tiny_model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "index"
    with pytest.raises(ConfigError, match="no space for lc_ms"):
        build_index(spectra, out, model=tiny_model)
    with pytest.raises(ConfigError, match="no file of the library holds records of c_nmr"):
        build_index(structures, out, model=toy_model, records=["c_nmr"])
    with pytest.raises(ConfigError, match="made from structures"):
        build_index(spectra, out, model=toy_model, records=["smiles"])
    with pytest.raises(ConfigError, match="no space for gc_ms"):
        build_index(spectra, out, model=toy_model, records=["gc_ms"])
    assert list(tmp_path.iterdir()) == []
