"""Molecule queries, one and many: what is read, encoded or looked up, and in which order hits come.

That hits are those of brute force, test_open_index.py shows.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rdkit import Chem

from acml_search.chem.molecule import describe, parse
from acml_search.core.errors import IndexCorrupt, InvalidMolecule
from acml_search.index.directory import open_store
from acml_search.search.in_library import UNKNOWN
from acml_search.search.pipeline import BATCH, SHORTLIST, Pipeline, Side
from acml_search.search.request import MoleculeQuery, SearchRequest
from acml_search.search.results import Answer

SIDES = [Side("smiles", "records"), Side("smiles", "graph")]
OUTSIDER = "CCOc1ccccc1"


@pytest.fixture
def engine(small_index: Path) -> Iterator[Pipeline]:
    with open_store(small_index) as directory:
        yield Pipeline(directory, directory.model)


def ask(engine: Pipeline, *texts: str, k: int = 10) -> list[Any]:
    return list(engine.molecules([MoleculeQuery(text) for text in texts], SearchRequest(k), SIDES))


def scores(answer: Answer) -> np.ndarray:
    return np.concatenate([hits.hits.scores[0] for hits in answer.lists])


def test_a_molecule_of_the_index_needs_no_model_and_others_do(engine: Pipeline) -> None:
    (stored,) = ask(engine, "OCC")
    assert engine._model is None
    (other,) = ask(engine, OUTSIDER)
    assert engine._model is not None
    (encoded,) = ask(engine, "OCC")  # among millions of molecules finding it takes longer than encoding
    assert scores(stored) == pytest.approx(scores(encoded), abs=1e-3)
    assert other.query["standardised"] == OUTSIDER


def test_only_the_first_query_looks_for_stored_vectors(engine: Pipeline) -> None:
    ask(engine, "OCC")
    ask(engine, "OCC")
    assert engine._model is not None


def test_the_molecule_with_the_inchikey_is_first_in_an_older_form_too(
    engine: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index of an earlier standardisation holds another graph of it, and so another vector."""
    (answer,) = ask(engine, "CCO", k=30)
    own, far = (int(answer.lists[1].hits.keys[0, i]) for i in (0, -1))
    catalog, inchikey = engine._directory.catalog, describe(parse("CCO")[0]).inchikey
    rows = catalog.rows

    def swapped(keys: np.ndarray, columns: Any = None) -> Any:
        table = rows(keys, columns)
        names = {far: inchikey, own: "another molecule"}
        texts = zip(*(table.column(name).to_pylist() for name in ("key", "inchikey")), strict=True)
        new = [names.get(key, text) for key, text in texts]
        return table.set_column(table.schema.get_field_index("inchikey"), "inchikey", [new])

    monkeypatch.setattr(catalog, "rows", swapped)
    monkeypatch.setattr(catalog, "of_inchikeys", lambda inchikeys: {inchikey: (far, "another form")})
    engine._model, engine._first = None, True
    for k in (1, 10):
        (answer,) = ask(engine, "CCO", k=k)
        similar = answer.lists[1]
        assert similar.hits.keys[0, 0] == far
        assert similar.hits.counts[0] == k == len(set(similar.hits.keys[0].tolist()))
        assert list(similar.hits.scores[0, 1:]) == sorted(similar.hits.scores[0, 1:], reverse=True)
    assert engine._model is not None  # the stored vector is of the other graph


def test_a_batch_gives_the_same_as_one_by_one(engine: Pipeline) -> None:
    engine.loaded()
    texts = ["CCO", "CCCN", "Cc1ccccc1", "CC(=O)Oc1ccccc1C(=O)O", OUTSIDER, "c1ccncc1"]
    for text, answer in zip(texts, ask(engine, *texts), strict=True):
        (alone,) = ask(engine, text)
        assert scores(alone) == pytest.approx(scores(answer), abs=1e-3)
        assert alone.query == answer.query


def test_bad_queries_stand_in_their_places_and_the_run_goes_on(engine: Pipeline) -> None:
    queries = [
        MoleculeQuery("CCO", row=0),
        *(MoleculeQuery(text, row=row) for row, text in enumerate(["not a smiles", "", "C1CC"], 1)),
        MoleculeQuery("garbled", row=4, error="the line has 1 field where 3 are needed"),
        MoleculeQuery("CCN", row=5, about={"id": "x"}),
    ]
    answers = list(engine.molecules(iter(queries), SearchRequest(2), SIDES))
    assert [answer.row for answer in answers if isinstance(answer, InvalidMolecule)] == [1, 2, 3, 4]
    assert isinstance(answers[0], Answer)
    assert "3 are needed" in str(answers[4])
    assert (answers[5].query["row"], answers[5].query["about"]) == (5, {"id": "x"})


def test_only_bad_queries(engine: Pipeline) -> None:
    (answer,) = ask(engine, "C1CC")
    assert isinstance(answer, InvalidMolecule)
    assert engine._model is None


@pytest.mark.parametrize(("k", "most", "batch"), [(1, 50_000, BATCH), (10, 20, 2)])
def test_queries_are_read_a_batch_at_a_time_and_fewer_for_a_great_k(
    engine: Pipeline, monkeypatch: pytest.MonkeyPatch, k: int, most: int, batch: int
) -> None:
    monkeypatch.setattr("acml_search.search.pipeline.MAX_BATCH_HITS", most)
    queries = iter([MoleculeQuery("CCO")] * (BATCH + 5))
    next(engine.molecules(queries, SearchRequest(k), SIDES))
    assert len(list(queries)) == BATCH + 5 - batch


def test_a_structure_is_a_query_in_any_form(engine: Pipeline) -> None:
    mol = Chem.MolFromSmiles("CCO")
    block, name = Chem.MolToMolBlock(mol), Chem.MolToInchi(mol)
    forms = map(MoleculeQuery, (block, name, mol, Chem.AddHs(mol)))
    queries = [MoleculeQuery(block, kind="molblock"), *forms]
    for query, answer in zip(queries, engine.molecules(queries, SearchRequest(1), SIDES), strict=True):
        assert isinstance(answer, Answer)
        assert answer.query["standardised"] == "CCO"
        assert answer.query["smiles"] == (name if query.text == name else "CCO")


@pytest.mark.parametrize("smiles", [OUTSIDER, "CCO"])
def test_probabilities_share_out_the_shortlist(engine: Pipeline, smiles: str) -> None:
    (answer,), (short,) = ask(engine, smiles, k=SHORTLIST), ask(engine, smiles, k=3)
    for hits in answer.lists:
        weights = np.exp(hits.scale * hits.hits.scores[0, : len(hits)].astype(float))
        known = hits.molecules.column("smiles")[0].as_py() == smiles
        share = 1.0 if known else UNKNOWN
        assert known == ((smiles, hits.side) == ("CCO", "graph"))
        assert hits.probabilities == pytest.approx(share * weights / weights.sum(), rel=1e-3)
    assert short.lists[0].probabilities == pytest.approx(answer.lists[0].probabilities[:3])


def test_seconds_add_up(engine: Pipeline) -> None:
    (answer,) = ask(engine, "CCO")
    assert set(answer.seconds) == {"filter", "read", "encode", "search", "rows", "total"}
    assert sum(answer.seconds.values()) == pytest.approx(2 * answer.seconds["total"])


def test_hits_without_a_molecule_are_a_corrupt_index(
    engine: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rows(keys: np.ndarray, columns: Any = None) -> Any:
        raise KeyError(f"there is no molecule with key {keys[0]}")

    monkeypatch.setattr(engine._directory.catalog, "rows", rows)
    with pytest.raises(IndexCorrupt, match=r"a hit has no row .*run `acml-search verify`"):
        ask(engine, "CCO")
