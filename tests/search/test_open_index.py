"""The public way in, on a small index that was really built: `open_index(...).search(...)` and `encode`."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import acml_search
from acml_search.chem.molecule import describe, parse
from acml_search.core.errors import (
    AcmlSearchError,
    CheckpointError,
    ConfigError,
    FilterError,
    IndexNotFound,
    InvalidMolecule,
    SpaceMismatch,
)
from acml_search.encoders.card import digest_of
from acml_search.index.build import add_library
from acml_search.index.directory import IndexDirectory
from acml_search.index.vectors import VectorIndex
from acml_search.index.verify import verify
from acml_search.search.batch import BatchReport, run
from acml_search.search.pipeline import Index
from acml_search.search.request import MAX_K, Ask

OUTSIDER = "CCOc1ccccc1"  # not in the library


@pytest.fixture(scope="module")
def index(small_index: Path, tiny_model: Path) -> Index:
    return acml_search.open_index(small_index)


def stored(index: Path, side: str) -> tuple[np.ndarray, np.ndarray]:
    """All keys (n,) and vectors (n, d) of one side."""
    side_index = VectorIndex.open(index / "faiss" / f"smiles.{side}")
    return np.asarray(side_index.keys), side_index.stored(np.arange(side_index.n)).astype(np.float64)


@pytest.mark.parametrize("smiles", [OUTSIDER, "CCCO", "OC(=O)c1ccccc1OC(C)=O", "C[N+](C)(C)CCO"])
@pytest.mark.parametrize("where", [None, "price > 10 AND formula LIKE '%O%'"])
def test_search_equals_brute_force(
    index: Index, small_index: Path, tiny_model: Path, smiles: str, where: str | None
) -> None:
    query = acml_search.encode([smiles], model=tiny_model)["smiles"][0].astype(np.float64)
    answer = index.search(smiles, k=7, where=where)
    assert [(hits.modality, hits.side) for hits in answer.lists] == [
        ("smiles", "records"),
        ("smiles", "graph"),
    ]
    for hits in answer.lists:
        keys, vectors = stored(small_index, hits.side)
        scores = dict(zip(keys.tolist(), (vectors @ query).tolist(), strict=True))
        if where:
            passing = {key for key in scores if passes(index, key)}
            scores = {key: score for key, score in scores.items() if key in passing}
        best = sorted(scores.values(), reverse=True)[:7]
        rows = list(hits.rows())
        assert [row["score"] for row in rows] == pytest.approx(best, abs=2e-4)
        assert [row["score"] for row in rows] == pytest.approx([scores[row["key"]] for row in rows], abs=2e-4)
        assert len({row["key"] for row in rows}) == 7


def passes(index: Index, key: int) -> bool:
    (row,) = index._directory.catalog.rows(np.array([key])).to_pylist()
    return row["price"] > 10 and "O" in row["formula"]


def test_every_molecule_of_the_library_is_its_own_best_likeness(index: Index, small_index: Path) -> None:
    tables = [pq.read_table(part) for part in sorted((small_index / "molecules").glob("*.parquet"))]
    smiles = [text for table in tables for text in table.column("smiles").to_pylist()]
    assert len(smiles) == len(index)
    for text, answer in zip(smiles, index.search_batch(smiles, k=5), strict=True):
        rows = list(answer.lists[-1].rows())
        own = next(row for row in rows if row["smiles"] == text)
        # Vectors are stored as float16: to an untrained model, homologues differ by less than that.
        assert rows[0]["score"] - own["score"] < 2e-4


def test_a_hit_carries_the_librarys_columns(index: Index) -> None:
    (row,) = index.search("CC(=O)Oc1ccccc1C(=O)O", k=1, formula="C9H8O4").lists[-1].rows()
    assert row["name"] == "m33"
    assert row["price"] == pytest.approx(49.5)
    assert row["input_score"] == 33
    assert row["score"] == pytest.approx(1.0, abs=1e-3)
    assert row["inchikey"] == "BSYNRYMUTXBXSQ-UHFFFAOYSA-N"


def test_a_salt_is_searched_without_its_counterion(index: Index) -> None:
    answer = index.search("C[N+](C)(C)CCO.[Br-]", k=1)
    assert answer.query["removed"] == "[Br-]"
    assert "Br" in answer.notes[0]
    assert next(answer.lists[-1].rows())["formula"] == "C5H14NO+"


def test_formula_and_mass_filters(index: Index) -> None:
    for conditions in (
        {"formula": "O4H8C9"},
        {"mass": 180.0423, "tol_ppm": 5.0},
        {"mass": 180, "tol_da": 0.05},
    ):
        answer = index.search(OUTSIDER, k=10, **conditions)
        assert [row["formula"] for row in answer.lists[-1].rows()] == ["C9H8O4"]
        assert "molecules that pass the filter: 1" in answer.notes[-2]
        assert "another molecule than the one asked about" in answer.notes[-1]
    (row,) = index.search(OUTSIDER, formula="C5H14NO⁺").lists[-1].rows()
    assert row["smiles"] == "C[N+](C)(C)CCO"


@pytest.mark.parametrize(
    "where",
    [
        "true; DROP TABLE molecules",
        "true; COPY molecules TO 'stolen.csv'",
        "true) TO 'stolen.csv' --",
        "(SELECT count(*) FROM read_text('/etc/passwd')) > 0",
        "(SELECT count(*) FROM read_csv('/etc/passwd')) > 0",
        "(SELECT count(*) FROM '/etc/passwd') > 0",
        "ATTACH 'other.db'",
        "true; ATTACH 'other.db'",
        "true; SET enable_external_access = true",
        "INSERT INTO molecules VALUES (1)",
        "DELETE FROM molecules",
        "PRAGMA database_list",
        "INSTALL httpfs",
        "no_such_column = 1",
        "price >",
        "name",
        "",
        "'unclosed",
        "/* unclosed",
        "-- nothing but a comment",
    ],
)
def test_sql_that_is_no_condition_is_refused_in_one_sentence(
    index: Index, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FilterError) as refused:
        index.search("CCO", where=where)
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []
    assert len(index.search("CCO", k=1).lists) == 2  # and the index still answers


def test_a_filter_that_nothing_passes(index: Index) -> None:
    with pytest.raises(FilterError, match="none of the 39 molecules"):
        index.search("CCO", where="price < 0")


@pytest.mark.parametrize("k", [0, -1, MAX_K + 1, 2.5])
def test_k_out_of_range(index: Index, k: int) -> None:
    with pytest.raises(ConfigError, match="ask for 1 to 10,000"):
        index.search("CCO", k=k)


def test_more_hits_than_molecules(index: Index) -> None:
    answer = index.search("CCO", k=1000)
    assert [len(hits) for hits in answer.lists] == [39, 39]
    assert answer.notes[0] == "smiles records: 39 of the 1,000 hits asked for"


def test_one_modality(index: Index) -> None:
    assert [hits.side for hits in index.search("CCO", modality="smiles").lists] == ["records", "graph"]
    with pytest.raises(ConfigError, match="no space 'image'; it has smiles"):
        index.search("CCO", modality="image")


def test_a_query_that_is_no_molecule(index: Index) -> None:
    with pytest.raises(InvalidMolecule):
        index.search("C1CC")


def test_search_batch_names_the_row_or_keeps_the_error(index: Index) -> None:
    with pytest.raises(InvalidMolecule, match="row 1"):
        index.search_batch(["CCO", "C1CC", "CCN"])
    kept = index.search_batch(["CCO", "C1CC", "CCN"], on_error="keep", k=2)
    assert [isinstance(answer, AcmlSearchError) for answer in kept] == [False, True, False]


def test_a_batch_file_gives_a_line_per_query(index: Index, tmp_path: Path) -> None:
    queries, hits = tmp_path / "queries.smi", tmp_path / "hits.jsonl"
    queries.write_text(f"CCO first\n\nC1CC second\n{OUTSIDER} third\n", encoding="utf-8")
    with hits.open("w", encoding="utf-8") as out:
        report = run(index, queries, Ask(k=2), out)
    assert report == BatchReport(3, 1)
    lines = [json.loads(line) for line in hits.read_text(encoding="utf-8").splitlines()]
    assert [line["query"]["row"] for line in lines] == [0, 1, 2]
    assert [len(line.get("lists", [])) for line in lines] == [2, 0, 2]
    assert "error" in lines[1]
    assert lines[2]["query"]["about"] == {"name": "third"}
    assert lines[0]["lists"][1]["hits"][0]["smiles"] == "CCO"


def test_a_batch_is_a_list_and_on_error_is_known(index: Index) -> None:
    with pytest.raises(ConfigError, match="a list of SMILES"):
        index.search_batch("CCO")
    with pytest.raises(ConfigError, match="'skip'"):
        index.search_batch(["CCO"], on_error="skip")
    assert index.search("CCO", mass=np.float32(46.0419), tol_da=0.01).query["passed"] == 1


def test_a_batch_file_may_be_parquet(index: Index, small_index: Path, tmp_path: Path) -> None:
    part = sorted((small_index / "molecules").glob("*.parquet"))[0]
    queries = tmp_path / "queries.parquet"
    pq.write_table(pq.read_table(part).select(["smiles", "name"]).slice(0, 5), queries)
    with (tmp_path / "out").open("w") as out:
        assert run(index, queries, Ask(k=1), out) == BatchReport(5, 0)


def test_another_model_is_refused(small_index: Path, tiny_model: Path, tmp_path: Path) -> None:
    import torch

    from acml_search.encoders.checkpoint import load_model, save_model

    other = load_model(tiny_model)
    with torch.no_grad():
        next(iter(other.network.parameters())).add_(1.0)
    save_model(
        tmp_path / "other", "other", other.network, other.card.data["hyper"], {"smiles": 14.0}, {"data": ""}
    )
    with pytest.raises(SpaceMismatch, match="'smiles'"):  # at once, not only for who is no member
        acml_search.open_index(small_index, model=tmp_path / "other")
    with pytest.raises(CheckpointError, match="nonsense"):
        acml_search.open_index(small_index, model="nonsense")


def test_a_model_that_is_gone_is_named(small_index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(IndexDirectory, "model", "gone")
    with acml_search.open_index(small_index) as opened:
        assert len(opened.search("CCO", k=1).lists) == 2  # stored vectors need no model
        with pytest.raises(CheckpointError, match="gone"):
            opened.search(OUTSIDER)


def test_no_index(tmp_path: Path) -> None:
    with pytest.raises(IndexNotFound, match="build-index"):
        acml_search.open_index(tmp_path / "nowhere")


def test_a_stored_molecule_is_found_without_torch(small_index: Path) -> None:
    code = (
        "import sys, acml_search\n"
        f"answer = acml_search.open_index({str(small_index)!r}).search('OCC', k=3, where='price >= 0')\n"
        "print(next(answer.lists[-1].rows())['smiles'], 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["CCO", "False"]


def test_an_index_shows_what_it_is(index: Index, small_index: Path) -> None:
    assert repr(index) == f"Index('{small_index}', 39 molecules, spaces: smiles)"
    assert index.spaces == ["smiles"]


def test_encode(tiny_model: Path) -> None:
    vectors = acml_search.encode(["CCO", "OCC", "c1ccccc1"], model=tiny_model)
    assert list(vectors) == ["smiles"]
    assert (vectors["smiles"].shape, vectors["smiles"].dtype) == ((3, 32), np.float32)
    assert np.linalg.norm(vectors["smiles"], axis=1) == pytest.approx([1, 1, 1], abs=1e-5)
    assert vectors["smiles"][0] == pytest.approx(vectors["smiles"][1], abs=1e-5)
    assert acml_search.encode([], model=tiny_model)["smiles"].shape == (0, 32)


def test_encode_names_the_row(tiny_model: Path) -> None:
    with pytest.raises(InvalidMolecule, match="row 1"):
        acml_search.encode(["CCO", "C1CC"], model=tiny_model)
    with pytest.raises(ConfigError, match="not one"):
        acml_search.encode("CCO", model=tiny_model)


def test_the_query_is_described_as_a_library_molecule_is(index: Index) -> None:
    query = index.search("OC(=O)c1ccccc1OC(C)=O.[Na+].[Cl-]", k=1).query
    molecule = describe(*parse("CC(=O)Oc1ccccc1C(=O)O"))
    assert query["standardised"] == molecule.smiles
    assert query["inchikey"] == molecule.inchikey


def test_stereoisomers_are_told_apart_and_an_index_of_before_says_that_it_cannot(
    tiny_model: Path, tmp_path: Path
) -> None:
    alanine, mirror, flat = "C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O", "CC(N)C(=O)O"
    model = shutil.copytree(tiny_model, tmp_path / "model")
    card = json.loads((model / "card.json").read_text())
    card["hyper"]["reads_stereo"] = False
    card["digest"] = digest_of(model / "model.safetensors", card["hyper"])
    (model / "card.json").write_text(json.dumps(card))
    (tmp_path / "a.smi").write_text("\n".join([mirror, flat, alanine, "CCO", "CCCC"]))
    acml_search.build_index([tmp_path / "a.smi"], tmp_path / "before", model=model, workers=1)
    card["spaces"]["smiles"]["configuration"] = {"weight": 0.02}
    (model / "card.json").write_text(json.dumps(card))
    acml_search.build_index([tmp_path / "a.smi"], tmp_path / "now", model=model, workers=1)
    for name, told in (("before", False), ("now", True)):
        assert verify(tmp_path / name) == []
        with acml_search.open_index(tmp_path / name) as opened:
            opened.search("CCO")  # what comes now is encoded, not looked up
            for asked in (alanine, flat):
                answer = opened.search(asked, k=3)
                similar = answer.lists[-1]
                assert similar.molecules.column("smiles")[0].as_py() == asked
                scores = similar.hits.scores[0]
                assert scores[0] == pytest.approx(1, abs=1e-3)
                tied = np.ptp(scores) < 1e-4
                assert tied == (not told or asked == flat)
                blind = any("does not tell stereoisomers apart" in note for note in answer.notes)
                assert blind == (not told and asked == alanine)
    with pytest.raises(ConfigError, match="restart"):  # another build than the one that lies there
        acml_search.build_index([tmp_path / "a.smi"], tmp_path / "before", model=model, workers=1)
    with pytest.raises(SpaceMismatch, match="build the index again"):
        add_library(tmp_path / "before", [tmp_path / "a.smi"], workers=1)
