"""Molecule queries against a brute-force NumPy oracle, over real FAISS files and a made-up model."""

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rdkit import Chem

from acml_search.chem.molecule import describe, parse
from acml_search.core.errors import FilterError, IndexCorrupt, InvalidMolecule
from acml_search.index.embeddings import Embeddings, embedding_table
from acml_search.index.factory import build_vectors
from acml_search.index.vectors import VectorIndex
from acml_search.search.in_library import UNKNOWN
from acml_search.search.pipeline import BATCH, SHORTLIST, Pipeline, Side
from acml_search.search.request import Filters, MoleculeQuery, SearchRequest
from acml_search.search.results import Answer

D = 16
SCALE = 12.0
SMILES = [
    *(f"{'C' * n}{end}" for n in range(1, 25) for end in ("O", "N", "C(=O)O", "S", "Cl", "F")),
    "C[C@H](N)C(=O)O",
    "C[C@@H](N)C(=O)O",
]
TWINS = len(SMILES) - 2  # the first of two stereoisomers, which FakeModel cannot tell apart


class FakeModel:
    """A vector per molecule, drawn from its SMILES without stereo; the record side is a rotation of it."""

    def __init__(self) -> None:
        self.calls = 0
        self.turn = np.linalg.qr(np.random.default_rng(1).normal(size=(D, D)))[0]

    def encode_molecules(self, mols: list[Chem.Mol]) -> dict[str, np.ndarray]:
        self.calls += 1
        vectors = np.array(
            [self.draw(Chem.MolToSmiles(mol, isomericSmiles=False)) for mol in mols], np.float32
        )
        return {"smiles": vectors, "c_nmr": vectors[:, ::-1]}

    def encode_records(self, mols: list[Chem.Mol]) -> np.ndarray:
        return (
            self.encode_molecules(mols)["smiles"] + 0.3 * self.encode_molecules(mols)["smiles"] @ self.turn
        ) / 1.3

    @staticmethod
    def draw(text: str) -> np.ndarray:
        vector = np.random.default_rng(zlib.crc32(text.encode())).normal(size=D)
        return vector / np.linalg.norm(vector)


class FakeCatalog:
    def __init__(self, table: pa.Table) -> None:
        self.db = duckdb.connect()
        self.db.register("molecules", table)
        self.table = table

    def count(self) -> int:
        return self.table.num_rows

    def keys(self, where=None, formula=None, mass=None, tol_da=None, **elements: Any) -> Any:  # type: ignore[no-untyped-def]
        assert not any(elements.values())
        wanted = [f"({where})" if where else "true", f"formula = '{formula}'" if formula else "true"]
        if mass is not None:
            wanted.append(f"abs(exact_mass - {mass}) <= {tol_da}")
        found = self.db.execute(
            f"SELECT key FROM molecules WHERE {' AND '.join(wanted)} ORDER BY key"
        ).fetchnumpy()
        return found["key"].astype(np.int64)

    def of_inchikeys(self, inchikeys: Sequence[str]) -> dict[str, tuple[int, str]]:
        rows = self.table.select(["inchikey", "key", "smiles"]).to_pylist()
        return {row["inchikey"]: (row["key"], row["smiles"]) for row in rows if row["inchikey"] in inchikeys}

    def rows(self, keys: np.ndarray, columns: list[str] | None = None) -> pa.Table:
        place = {key: i for i, key in enumerate(self.table.column("key").to_pylist())}
        return self.table.take([place[key] for key in keys.tolist()])


class FakeSpace(NamedTuple):
    digest: str = "x"
    scale: float = SCALE
    configuration: float | None = None


class FakeDirectory:
    notes: tuple[str, ...] = ()
    manifest = SimpleNamespace(options={"tautomer": False}, model={})

    def __init__(self, path: Path, catalog: FakeCatalog) -> None:
        self.path, self.catalog = path, catalog
        self.spaces = {"smiles": FakeSpace(), "c_nmr": FakeSpace()}

    def is_measured(self, space: str, side: str = "records") -> bool:
        return False

    def vectors(self, space: str, side: str) -> VectorIndex:
        return VectorIndex.open(self.path / f"{space}.{side}")


class FakePipeline(Pipeline):
    def loaded(self, spaces: Any = ()) -> Any:
        self._model = self._model or FakeModel()  # type: ignore[assignment]
        return self._model


class World(NamedTuple):
    directory: FakeDirectory
    keys: np.ndarray
    sides: dict[str, np.ndarray]
    smiles: list[str]
    table: pa.Table

    def oracle(
        self, side: str, smiles: str, passing: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Keys and scores of all that pass, best first, by multiplying everything in float64."""
        query = FakeModel().encode_molecules([parse(smiles)[0]])["smiles"][0].astype(np.float16).astype(float)
        scores = self.sides[side].astype(float) @ query
        if passing is not None:
            scores[~np.isin(self.keys, passing)] = -np.inf
        order = np.lexsort((self.keys, -scores))
        order = order[np.isfinite(scores[order])]
        return self.keys[order], scores[order]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("world")
    mols = [parse(smiles)[0] for smiles in SMILES]
    molecules = [describe(mol) for mol in mols]
    keys = np.arange(len(mols), dtype=np.int64) * 3 + 1  # gaps, as duplicates and rejects leave them
    model = FakeModel()
    sides = {
        "graph": model.encode_molecules(mols)["smiles"].astype(np.float16),
        "records": model.encode_records(mols).astype(np.float16),
    }
    for side, vectors in sides.items():
        part = folder / f"{side}.parquet"
        pq.write_table(embedding_table(keys, vectors), part)
        build_vectors(folder / f"smiles.{side}", Embeddings([part]))
    table = pa.table({"key": keys}).append_column("smiles", [[m.smiles for m in molecules]])
    for name in ("inchikey", "formula", "exact_mass"):
        table = table.append_column(name, [[getattr(m, name) for m in molecules]])
    table = table.append_column("length", [[len(m.smiles) for m in molecules]])
    return World(FakeDirectory(folder, FakeCatalog(table)), keys, sides, [m.smiles for m in molecules], table)


@pytest.fixture
def engine(world: World) -> FakePipeline:
    return FakePipeline(world.directory, "fake")  # type: ignore[arg-type]


SIDES = [Side("smiles", "records"), Side("smiles", "graph")]


def ask(engine: Pipeline, *texts: str, k: int = 10, filters: Filters | None = None) -> list[Any]:
    request = SearchRequest(k, filters or Filters())
    return list(engine.molecules([MoleculeQuery(text) for text in texts], request, SIDES))


def check_against_oracle(
    world: World, answer: Answer, smiles: str, passing: np.ndarray | None = None
) -> None:
    """Scores equal; keys equal as sets within equal scores, so that ties may fall either way."""
    for hits in answer.lists:
        k = hits.hits.keys.shape[1]
        keys, scores = world.oracle(hits.side, smiles, passing)
        n = min(k, len(keys))
        assert len(hits) == n
        assert hits.hits.keys[0, n:].tolist() == [-1] * (k - n)
        assert np.sort(hits.hits.scores[0, :n])[::-1] == pytest.approx(scores[:n], abs=1e-5)
        for score in np.unique(scores[:n].round(4)):
            among = keys[np.abs(scores - score) < 2e-4]
            mine = hits.hits.keys[0, :n][np.abs(hits.hits.scores[0, :n] - score) < 1e-4]
            assert set(mine.tolist()) <= set(among.tolist())


@pytest.mark.parametrize("smiles", [SMILES[3], SMILES[77], "Cc1ccccc1", "CC(=O)[O-].[Na+]"])
@pytest.mark.parametrize("k", [1, 10, 1000])
def test_hits_are_those_of_brute_force(world: World, engine: Pipeline, smiles: str, k: int) -> None:
    (answer,) = ask(engine, smiles, k=k)
    assert [(hits.modality, hits.side) for hits in answer.lists] == SIDES
    check_against_oracle(world, answer, smiles)


@pytest.mark.parametrize("where", ["length <= 4", "length % 5 = 0", "key IN (1, 4, 7)"])
def test_filters_hold_before_the_search(world: World, engine: Pipeline, where: str) -> None:
    passing = world.directory.catalog.keys(where=where)
    (answer,) = ask(engine, "Cc1ccccc1", k=3, filters=Filters(where=where))
    check_against_oracle(world, answer, "Cc1ccccc1", passing)
    assert all(len(hits) == 3 for hits in answer.lists)


def test_formula_and_mass(world: World, engine: Pipeline) -> None:
    (answer,) = ask(engine, "CCO", filters=Filters(formula="H12 C5 O"))
    assert [row["smiles"] for row in answer.lists[1].rows()] == ["CCCCCO"]
    (answer,) = ask(engine, "CCO", filters=Filters(mass=88.0888, tol_da=0.001))
    assert [row["smiles"] for row in answer.lists[1].rows()] == ["CCCCCO"]
    assert answer.notes[0] == "smiles records: 1 of the 10 hits asked for; molecules that pass the filter: 1"


def test_a_filter_that_nothing_passes_is_an_error(engine: Pipeline) -> None:
    with pytest.raises(FilterError, match="none of the 146"):
        ask(engine, "CCO", filters=Filters(formula="U"))


def test_every_own_molecule_is_first_among_the_similar(world: World, engine: Pipeline) -> None:
    for smiles, answer in zip(world.smiles, ask(engine, *world.smiles, k=1), strict=True):
        (row,) = answer.lists[1].rows()
        assert row["smiles"] == smiles
        assert row["score"] == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("twin", [TWINS, TWINS + 1])
def test_of_stereoisomers_with_one_vector_the_own_is_first(world: World, engine: Pipeline, twin: int) -> None:
    (answer,) = ask(engine, world.smiles[twin], k=2)
    for hits in answer.lists:
        rows = list(hits.rows())
        if hits.side == "graph":
            assert rows[0]["smiles"] == world.smiles[twin]
            assert {row["smiles"] for row in rows} == set(world.smiles[TWINS:])
            assert rows[0]["score"] == rows[1]["score"]


def test_a_molecule_of_the_index_needs_no_model_and_others_do(world: World, engine: FakePipeline) -> None:
    (stored,) = ask(engine, "OCC")
    assert engine._model is None
    (other,) = ask(engine, "Cc1ccccc1")
    assert engine._model is not None
    (encoded,) = ask(engine, "OCC")
    for a, b in zip(stored.lists, encoded.lists, strict=True):
        assert a.hits == b.hits
    assert other.query["standardised"] == "Cc1ccccc1"


def test_only_the_first_query_looks_for_stored_vectors(engine: FakePipeline) -> None:
    """Among millions of molecules that takes longer than encoding, once the model is there."""
    ask(engine, "OCC")
    ask(engine, "OCC")
    assert engine._model is not None


def test_a_great_k_makes_smaller_batches(engine: FakePipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("acml_search.search.pipeline.MAX_BATCH_HITS", 20)
    queries = iter([MoleculeQuery("CCO")] * 5)
    next(engine.molecules(queries, SearchRequest(10), SIDES))
    assert len(list(queries)) == 3


def test_the_molecule_with_the_inchikey_is_first_in_an_older_form_too(
    world: World, engine: FakePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index of an earlier standardisation holds another graph of it, and so another vector."""
    (answer,) = ask(engine, "CCO", k=40)
    ranked = next(hits for hits in answer.lists if hits.side == "graph").hits.keys[0]
    mine, far = int(ranked[0]), int(ranked[-1])
    rows = engine._directory.catalog.table.to_pylist()
    of_key = {row["key"]: row for row in rows}
    of_key[mine]["inchikey"], of_key[far]["inchikey"] = of_key[far]["inchikey"], of_key[mine]["inchikey"]
    monkeypatch.setattr(engine._directory, "catalog", FakeCatalog(pa.Table.from_pylist(rows)))
    engine._model, engine._first = None, True
    for k in (1, 10):
        (answer,) = ask(engine, "CCO", k=k)
        similar = next(hits for hits in answer.lists if hits.side == "graph")
        assert similar.hits.keys[0, 0] == far
        assert similar.hits.counts[0] == k
        assert len(set(similar.hits.keys[0].tolist())) == k
        assert list(similar.hits.scores[0, 1:]) == sorted(similar.hits.scores[0, 1:], reverse=True)
    assert engine._model is not None  # the stored vector is of the other graph


def test_a_batch_gives_the_same_as_one_by_one(world: World, engine: FakePipeline) -> None:
    texts = [*SMILES[:40], "Cc1ccccc1", "c1ccncc1"]
    engine.loaded()
    together = ask(engine, *texts)
    for text, answer in zip(texts, together, strict=True):
        (alone,) = ask(engine, text)
        assert [hits.to_dict() for hits in alone.lists] == [hits.to_dict() for hits in answer.lists]


def test_bad_queries_stand_in_their_places_and_the_run_goes_on(engine: FakePipeline) -> None:
    queries = [
        MoleculeQuery("CCO", row=0),
        MoleculeQuery("not a smiles", row=1),
        MoleculeQuery("", row=2),
        MoleculeQuery("C1CC", row=3),
        MoleculeQuery("garbled", row=4, error="the line has 1 field where 3 are needed"),
        MoleculeQuery("CCN", row=5, about={"id": "x"}),
    ]
    answers = list(engine.molecules(iter(queries), SearchRequest(2), SIDES))
    assert [isinstance(answer, InvalidMolecule) for answer in answers] == [
        False,
        True,
        True,
        True,
        True,
        False,
    ]
    assert [answer.row for answer in answers if isinstance(answer, InvalidMolecule)] == [1, 2, 3, 4]
    assert "3 are needed" in str(answers[4])
    assert answers[5].query["row"] == 5
    assert answers[5].query["about"] == {"id": "x"}


def test_only_bad_queries(engine: FakePipeline) -> None:
    (answer,) = ask(engine, "C1CC")
    assert isinstance(answer, InvalidMolecule)
    assert engine._model is None


def test_many_queries_are_read_a_batch_at_a_time(engine: FakePipeline) -> None:
    taken = 0

    def endless() -> Iterator[MoleculeQuery]:
        nonlocal taken
        while True:
            taken += 1
            yield MoleculeQuery("CCO")

    answers = engine.molecules(endless(), SearchRequest(1), SIDES)
    next(answers)
    assert taken == BATCH


def test_a_structure_is_a_query_in_any_form(engine: Pipeline) -> None:
    mol = Chem.MolFromSmiles("CCO")
    block, name = Chem.MolToMolBlock(mol), Chem.MolToInchi(mol)
    queries = [
        MoleculeQuery(block, kind="molblock"),
        *map(MoleculeQuery, (block, name, mol, Chem.AddHs(mol))),
    ]
    for query, answer in zip(queries, engine.molecules(queries, SearchRequest(1), SIDES), strict=True):
        assert isinstance(answer, Answer)
        assert answer.query["standardised"] == "CCO"
        assert answer.query["smiles"] == (name if query.text == name else "CCO")


def test_probabilities_share_out_the_shortlist(world: World, engine: Pipeline) -> None:
    (answer,) = ask(engine, "Cc1ccccc1", k=SHORTLIST)
    for hits in answer.lists:
        _, scores = world.oracle(hits.side, "Cc1ccccc1")
        weights = np.exp(SCALE * scores[:SHORTLIST])
        assert hits.probabilities.sum() == pytest.approx(UNKNOWN)  # no hit is toluene
        assert hits.probabilities == pytest.approx(UNKNOWN * weights / weights.sum(), rel=1e-3)
    (short,) = ask(engine, "Cc1ccccc1", k=3)
    assert short.lists[0].probabilities == pytest.approx(answer.lists[0].probabilities[:3])
    (known,) = ask(engine, SMILES[3], k=SHORTLIST)
    assert [hits.probabilities.sum() for hits in known.lists] == pytest.approx([1.0] * len(known.lists))


def test_the_answer_says_what_was_removed_and_when_there_are_fewer(world: World, engine: Pipeline) -> None:
    (answer,) = ask(engine, "CCO.Cl", k=1000)
    assert answer.query["removed"] == "Cl"
    assert "Cl" in answer.notes[0]
    assert answer.notes[1] == "smiles records: 146 of the 1,000 hits asked for"


def test_seconds_add_up(engine: Pipeline) -> None:
    (answer,) = ask(engine, "CCO")
    assert set(answer.seconds) == {"filter", "read", "encode", "search", "rows", "total"}
    assert sum(answer.seconds.values()) == pytest.approx(2 * answer.seconds["total"])


def test_hits_without_a_molecule_are_a_corrupt_index(world: World) -> None:
    directory = FakeDirectory(world.directory.path, FakeCatalog(world.table.slice(0, 20)))
    with pytest.raises(IndexCorrupt, match=r"a hit has no row .*run `acml-search verify`"):
        ask(FakePipeline(directory, "fake"), "Cc1ccccc1", k=100)  # type: ignore[arg-type]
